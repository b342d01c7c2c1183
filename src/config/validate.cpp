#include "config/validate.h"

#include <cmath>

#include "config/fields.h"
#include "io/error.h"

namespace temper {
namespace {

using Problems = std::vector<std::string>;

std::string text(std::int64_t number) { return std::to_string(number); }

/// "4096 or 8192": the multiples of `unit` around `number`, positive and not above `most`.
std::string nearest_multiples(std::int64_t number, std::int64_t unit, std::int64_t most) {
  const std::int64_t below = number / unit * unit;
  std::string nearest = below > 0 ? text(below) : "";
  if (below + unit <= most) nearest += (nearest.empty() ? "" : " or ") + text(below + unit);
  return nearest.empty() ? "none in range" : nearest;
}

void check_ranges(const RunConfig& config, Problems& problems) {
  RunConfig scratch;
  for (const Field& field : config_fields()) {
    const Value value = get_field(field, config);
    const std::string problem = value.is_null() ? "" : set_field(field, scratch, value);
    if (!problem.empty()) problems.push_back(problem);
  }
}

void check_heads(const ModelConfig& model, Problems& problems) {
  constexpr std::int64_t largest_head = 256;
  const std::int64_t pair = 2 * model.n_head;  // n_embd a multiple of this: whole heads of even size
  if (model.n_embd % pair != 0) {
    problems.push_back("model.n_embd is " + text(model.n_embd) + " with model.n_head " + text(model.n_head) +
                       ", but n_embd / n_head, the size of a head, must be a whole even number; nearest n_embd: " +
                       nearest_multiples(model.n_embd, pair, 65536));
  } else if (model.n_embd / model.n_head > largest_head) {
    problems.push_back("model.n_embd / model.n_head is " + text(model.n_embd) + " / " + text(model.n_head) + " = " +
                       text(model.n_embd / model.n_head) + ", but a head is at most " + text(largest_head) + " wide; use n_head " +
                       text((model.n_embd + largest_head - 1) / largest_head) + " or more");
  }
}

/// Fields that say the same thing in two ways; `needed`: one of them must be given.
void check_alternatives(const RunConfig& config, Problems& problems) {
  for (const Field& field : config_fields()) {
    if (field.alternative.empty()) continue;
    const Field& other = *find_field(field.alternative);
    if (&other < &field) continue;  // each pair once
    const Value one = get_field(field, config), two = get_field(other, config);
    if (!one.is_null() && !two.is_null()) {
      problems.push_back(std::string(field.path) + " is " + to_text(one) + " and " + std::string(other.path) + " is " +
                         to_text(two) + "; give only one of them");
    }
  }
  if (config.train.steps == 0 && config.train.tokens == 0) {
    problems.push_back("the length of the run is not given; set train.steps or train.tokens");
  }
}

void check_batch(const RunConfig& config, Problems& problems) {
  const std::int64_t unit = config.batch.micro_batch * config.model.n_ctx;
  if (config.batch.tokens_per_step % unit != 0) {
    problems.push_back("batch.tokens_per_step is " + text(config.batch.tokens_per_step) +
                       ", not a multiple of batch.micro_batch x model.n_ctx = " + text(config.batch.micro_batch) + " x " +
                       text(config.model.n_ctx) + " = " + text(unit) +
                       "; nearest: " + nearest_multiples(config.batch.tokens_per_step, unit, std::int64_t{1} << 31));
  }
}

void check_schedule(const RunConfig& config, Problems& problems) {
  const std::int64_t steps = total_steps(config), warmup = warmup_steps(config);
  if (warmup > steps) {
    problems.push_back("schedule.warmup_steps is " + text(warmup) + ", but the run has " + text(steps) +
                       " steps; shorten the warmup or lengthen the run");
    return;
  }
  const double cooldown = config.schedule.cooldown_fraction * static_cast<double>(steps);
  if (config.schedule.name == ScheduleName::wsd && static_cast<double>(warmup) + cooldown > static_cast<double>(steps)) {
    problems.push_back("schedule: a warmup of " + text(warmup) + " steps and a cooldown of schedule.cooldown_fraction " +
                       to_text({config.schedule.cooldown_fraction}) + " x " + text(steps) + " = " + to_text({cooldown}) +
                       " steps do not fit into " + text(steps) + " steps; shorten one of them");
  }
}

}  // namespace

std::vector<std::string> config_problems(const RunConfig& config) {
  Problems problems;
  check_ranges(config, problems);
  if (!problems.empty()) return problems;
  check_heads(config.model, problems);
  if (config.data.train.empty()) problems.push_back("data.train is empty; name at least one shard or glob");
  check_batch(config, problems);
  const std::size_t before = problems.size();
  check_alternatives(config, problems);
  if (problems.size() == before) check_schedule(config, problems);
  return problems;
}

void validate(const RunConfig& config) { refuse_problems(config_problems(config)); }

void refuse_problems(const std::vector<std::string>& problems) {
  if (problems.empty()) return;
  if (problems.size() == 1) throw Error(ExitCode::usage, problems[0]);
  std::string message = std::to_string(problems.size()) + " problems in the configuration:";
  for (const std::string& problem : problems) message += "\n  " + problem;
  throw Error(ExitCode::usage, message);
}

std::int64_t total_steps(const RunConfig& config) {
  if (config.train.steps > 0) return config.train.steps;
  return (config.train.tokens + config.batch.tokens_per_step - 1) / config.batch.tokens_per_step;
}

std::int64_t warmup_steps(const ScheduleConfig& schedule, std::int64_t total) {
  if (schedule.warmup_steps >= 0) return schedule.warmup_steps;
  if (schedule.warmup_fraction < 0) return 0;
  return std::llround(schedule.warmup_fraction * static_cast<double>(total));
}

std::int64_t warmup_steps(const RunConfig& config) { return warmup_steps(config.schedule, total_steps(config)); }

std::int64_t micro_batches_per_step(const RunConfig& config) {
  return config.batch.tokens_per_step / (config.batch.micro_batch * config.model.n_ctx);
}

}  // namespace temper
