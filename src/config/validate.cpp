#include "config/validate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "config/fields.h"
#include "config/resolved.h"
#include "io/error.h"

namespace temper {
namespace {

using Problems = std::vector<std::string>;

/// That of kernels/host_device.h, which this room does not include.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// "4096 or 8192": the multiples of `unit` around `number`, positive and not above `most`.
std::string nearest_multiples(std::int64_t number, std::int64_t unit, std::int64_t most) {
  const std::int64_t below = number / unit * unit;
  std::string nearest = below > 0 ? std::to_string(below) : "";
  if (below + unit <= most) nearest += (nearest.empty() ? "" : " or ") + std::to_string(below + unit);
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
    problems.push_back("model.n_embd is " + std::to_string(model.n_embd) + " with model.n_head " + std::to_string(model.n_head) +
                       ", but n_embd / n_head, the size of a head, must be a whole even number; nearest n_embd: " +
                       nearest_multiples(model.n_embd, pair, 65536));
  } else if (model.n_embd / model.n_head > largest_head) {
    problems.push_back("model.n_embd / model.n_head is " + std::to_string(model.n_embd) + " / " + std::to_string(model.n_head) +
                       " = " + std::to_string(model.n_embd / model.n_head) + ", but a head is at most " +
                       std::to_string(largest_head) + " wide; use n_head " + std::to_string(ceil_div(model.n_embd, largest_head)) +
                       " or more");
  }
}

/// Fields that exclude one another, and the length of the run, which must be given.
void check_alternatives(const RunConfig& config, Problems& problems) {
  for (const Field& field : config_fields()) {
    for (const Field* other : alternatives(field)) {
      if (other < &field) continue;  // each pair once
      const Value one = get_field(field, config), two = get_field(*other, config);
      if (!one.is_null() && !two.is_null()) {
        problems.push_back(field.path + " is " + to_text(one) + " and " + other->path + " is " + to_text(two) +
                           "; give only one of them");
      }
    }
  }
  if (!config.train.steps && !config.train.tokens)
    problems.push_back("the length of the run is not given; set train.steps or train.tokens");
}

void check_batch(const RunConfig& config, Problems& problems) {
  const std::int64_t unit = tokens_of_micro_batch(config);
  if (config.batch.tokens_per_step % unit != 0) {
    const bool decided = config.batch.micro_batch > 0;
    const std::string of_what =
        decided ? std::to_string(config.batch.micro_batch) + " x " + std::to_string(config.model.n_ctx) + " = " : "";
    problems.push_back("batch.tokens_per_step is " + std::to_string(config.batch.tokens_per_step) + ", not a multiple of " +
                       (decided ? "batch.micro_batch x " : "") + "model.n_ctx = " + of_what + std::to_string(unit) +
                       "; nearest: " + nearest_multiples(config.batch.tokens_per_step, unit, std::int64_t{1} << 31));
  }
}

void check_parallel(const RunConfig& config, Problems& problems) {
  if (config.parallel.zero_stage == 0) return;
  const DiagnosticsConfig& wanted = config.diagnostics;
  if (wanted.every > 0 || wanted.representation_every > 0 || wanted.histogram_every > 0)
    problems.push_back(
        "parallel.zero_stage is 1, and diagnostics look at states and weights that no rank has all of then; set "
        "parallel.zero_stage to 0, or diagnostics.every, representation_every and histogram_every to 0");
  if (config.eval.weight_average > 0.0)
    problems.push_back("parallel.zero_stage is 1, and eval.weight_average " + to_text({config.eval.weight_average}) +
                       " averages weights that no rank has all of then; set parallel.zero_stage or eval.weight_average to 0");
  if (config.optimizer.name == OptimizerName::schedule_free_adamw)
    problems.push_back(
        "parallel.zero_stage is 1, and schedule_free_adamw exchanges whole buffers when it evaluates; set "
        "parallel.zero_stage to 0");
}

/// Signal and noise are told apart by the halves of each step's micro-batches.
void check_halves(const RunConfig& config, Problems& problems) {
  if (config.optimizer.rate_correction == RateCorrectionChoice::none || micro_batches_at(config, 0) > 1) return;
  const bool grows = micro_batches_per_step(config) > 1;
  const std::string key = grows ? "schedule.batch_start_tokens" : "batch.tokens_per_step";
  const auto text = [&](const std::string& path) { return path + " " + bare_text(get_field(*find_field(path), config)); };
  problems.push_back(text("optimizer.rate_correction") + " with one micro-batch in " + (grows ? "the first step" : "a step") +
                     " (" + text("batch.micro_batch") + ", " + text(key) +
                     "): signal and noise are told apart by two halves of a step's micro-batches; set batch.micro_batch to at most "
                     "half the step's sequences, or raise " +
                     key);
}

}  // namespace

std::string bare_text(const Value& value) {
  std::string text = to_text(value);
  std::erase(text, '"');
  return text;
}

void check_unread(const RunConfig& config, Problems& problems) {
  const RunConfig whole = resolved(config), defaults;
  for (const Field& field : config_fields()) {
    if (field.is_read(whole) || !field.readers.refuse_others) continue;
    const Value value = get_field(field, config), initial = get_field(field, defaults);
    if (value == initial) continue;
    RunConfig without = config;
    reset_field(field, without);
    if (value == get_field(field, resolved(without))) continue;
    const Field* name = find_field(std::string(field.section()) + ".name");
    problems.push_back(field.path + " is " + bare_text(value) +
                       (name != nullptr ? " with " + name->path + " " + bare_text(get_field(*name, config)) : "") +
                       ": nothing reads it there, it is for " + field.readers.text + "; remove it" +
                       (initial.is_null() ? "" : " or set it back to " + to_text(initial)) + ", or choose one of those");
  }
}

std::vector<std::string> config_problems(const RunConfig& given) {
  Problems problems;
  check_ranges(given, problems);
  if (!problems.empty()) return problems;
  const RunConfig config = resolved(given);
  check_heads(config.model, problems);
  if (config.data.train.empty()) problems.push_back("data.train is empty; name at least one shard or glob");
  check_unread(given, problems);
  check_optimizer(config, problems);
  const std::size_t before = problems.size();
  check_batch(config, problems);
  check_parallel(config, problems);
  check_alternatives(config, problems);
  if (problems.size() == before) check_schedule(config, problems);
  if (problems.size() == before) check_halves(config, problems);
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

std::int64_t tokens_of_micro_batch(const RunConfig& config) {
  return std::max<std::int64_t>(config.batch.micro_batch, 1) * config.model.n_ctx;
}

namespace {

/// Nearest whole number to a / b, halves up; a and b positive.
std::int64_t rounded(std::int64_t a, std::int64_t b) { return (2 * a + b) / (2 * b); }

}  // namespace

std::int64_t micro_batches_per_step(const RunConfig& config) {
  return config.batch.tokens_per_step / tokens_of_micro_batch(config);
}

std::int64_t micro_batches_at(const RunConfig& config, std::int64_t step) {
  const std::int64_t growth = config.schedule.batch_warmup_steps, start = config.schedule.batch_start_tokens.value_or(0);
  if (step >= growth) return micro_batches_per_step(config);
  const std::int64_t tokens_times_growth = start * growth + (config.batch.tokens_per_step - start) * step;
  return std::max<std::int64_t>(1, rounded(tokens_times_growth, tokens_of_micro_batch(config) * growth));
}

std::vector<std::int64_t> context_lengths(std::int64_t n_ctx) {
  const std::int64_t unit = std::gcd(n_ctx, std::int64_t{8});
  std::vector<std::int64_t> lengths;
  for (std::int64_t length = unit; length <= n_ctx; length += unit)
    if (n_ctx % length == 0) lengths.push_back(length);
  return lengths;
}

std::vector<ContextStage> context_stages(const RunConfig& config) {
  const std::int64_t n_ctx = config.model.n_ctx, growth = config.schedule.context_warmup_steps;
  if (growth == 0) return {{0, n_ctx}};
  const std::int64_t start = *config.schedule.context_start;
  std::vector<ContextStage> stages;
  for (const std::int64_t length : context_lengths(n_ctx)) {
    if (length < start) continue;
    const std::int64_t first = ceil_div((length - start) * growth, n_ctx - start);
    if (!stages.empty() && stages.back().first == first) stages.pop_back();  // a line so steep that it passes both
    stages.push_back({first, length});
  }
  return stages;
}

std::int64_t context_at(const RunConfig& config, std::int64_t step) {
  if (step >= config.schedule.context_warmup_steps) return config.model.n_ctx;
  std::int64_t length = 0;
  for (const ContextStage& stage : context_stages(config))
    if (stage.first <= step) length = stage.length;
  return length;
}

std::int64_t tokens_before(const RunConfig& config, std::int64_t step) {
  const std::int64_t growing = std::min(step, config.schedule.batch_warmup_steps);
  std::int64_t micro_batches = 0;
  for (std::int64_t k = 0; k < growing; ++k) micro_batches += micro_batches_at(config, k);
  return micro_batches * tokens_of_micro_batch(config) + (step - growing) * config.batch.tokens_per_step;
}

std::int64_t total_steps(const RunConfig& config) {
  if (config.train.steps) return *config.train.steps;
  std::int64_t left = config.train.tokens.value_or(0), steps = 0;
  for (; steps < config.schedule.batch_warmup_steps && left > 0; ++steps)
    left -= micro_batches_at(config, steps) * tokens_of_micro_batch(config);
  return left > 0 ? steps + ceil_div(left, config.batch.tokens_per_step) : steps;
}

std::int64_t warmup_steps(const ScheduleConfig& schedule, std::int64_t total, std::int64_t tokens_per_step) {
  if (schedule.warmup_steps) return *schedule.warmup_steps;
  if (schedule.warmup_tokens) return ceil_div(*schedule.warmup_tokens, tokens_per_step);
  return std::llround(schedule.warmup_fraction.value_or(0.0) * static_cast<double>(total));
}

std::int64_t warmup_steps(const RunConfig& config) {
  return warmup_steps(config.schedule, total_steps(config), config.batch.tokens_per_step);
}

}  // namespace temper
