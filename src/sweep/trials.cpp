#include "sweep/trials.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "config/fields.h"
#include "config/parse.h"
#include "config/resolved.h"
#include "config/validate.h"
#include "io/error.h"
#include "io/file.h"
#include "io/text.h"
#include "kernels/philox.h"
#include "model/parameters.h"
#include "sweep/metric.h"
#include "train/device_peak.h"

namespace temper {
namespace {

using Shape = Distribution::Shape;

constexpr std::size_t most_trials = 100'000;
constexpr double most_points = 1e7;  // of a grid, before conditions; enumerating more would take minutes

[[noreturn]] void refuse(const std::string& why) { throw Error(ExitCode::usage, why); }

/// A whole number is one, so that a table shows 20, and a key that takes integers takes it.
Value number_value(double number) {
  constexpr double exact = 9007199254740992.0;
  if (std::trunc(number) == number && std::abs(number) <= exact) return {static_cast<std::int64_t>(number)};
  return {number};
}

/// The value of `key` as a trial would hold it.
Value held_value(const std::string& key, const Value& value) {
  RunConfig scratch;
  const Field& field = *find_field(key);
  return set_field(field, scratch, value).empty() ? get_field(field, scratch) : value;
}

Choice choice_of(const SweptParameter& parameter, double number) {
  const Value value = held_value(parameter.name, number_value(number));
  return {value, {{parameter.where, parameter.name, value, false}}};
}

/// How many values a grid takes of a parameter, and one of them.
double values_of(const SweptParameter& parameter) {
  if (!parameter.distribution) return static_cast<double>(parameter.choices.size());
  return parameter.distribution->max - parameter.distribution->min + 1.0;
}
Choice value_at(const SweptParameter& parameter, std::size_t index) {
  if (!parameter.distribution) return parameter.choices[index];
  return choice_of(parameter, parameter.distribution->min + static_cast<double>(index));
}

Choice draw(const SweptParameter& parameter, std::uint64_t seed, std::uint64_t number) {
  const auto name = static_cast<std::uint32_t>(std::stoull(hash_bytes(parameter.name).substr(0, 8), nullptr, 16));
  const PhiloxBlock block = random_block(seed, RandomPurpose::sweep, name, number);
  const std::uint64_t bits = (static_cast<std::uint64_t>(block.word[0]) << 32 | block.word[1]) >> 11;
  const double share = (static_cast<double>(bits) + 0.5) * 0x1p-53;  // in (0, 1)
  if (!parameter.distribution) {
    const auto count = static_cast<double>(parameter.choices.size());
    return parameter.choices[std::min(parameter.choices.size() - 1, static_cast<std::size_t>(share * count))];
  }
  const Distribution& from = *parameter.distribution;
  if (from.shape == Shape::int_uniform)
    return choice_of(parameter, std::min(from.max, from.min + std::floor(share * (from.max - from.min + 1.0))));
  const bool logarithmic = from.shape == Shape::log_uniform_values || from.shape == Shape::q_log_uniform_values;
  double drawn =
      logarithmic ? from.min * std::exp(share * std::log(from.max / from.min)) : from.min + share * (from.max - from.min);
  if (from.q > 0) drawn = std::round(drawn / from.q) * from.q;
  return choice_of(parameter, std::clamp(to_digits(drawn, 6), from.min, from.max));
}

/// Refuses more than most_trials before they are made.
void check_count(const SweepFile& sweep, std::size_t configurations) {
  const std::size_t rungs = rung_shares(sweep).size();
  if (configurations <= most_trials / (sweep.seeds.size() * rungs)) return;
  refuse(
      fmt::format("the sweep has {} configurations or more x {} seeds x {} rungs; at most {} trials are allowed: use method random "
                  "with a smaller count",
                  configurations, sweep.seeds.size(), rungs, most_trials));
}

/// The settings of a choice for each parameter, with the ties computed; none where a condition does not hold.
std::optional<Configuration> join(const SweepFile& sweep, const std::vector<Choice>& chosen) {
  Configuration configuration;
  for (const Choice& choice : chosen) {
    configuration.labels.push_back(choice.label);
    configuration.settings.insert(configuration.settings.end(), choice.settings.begin(), choice.settings.end());
  }
  const auto value_of = [&](const std::string& key) {
    for (const Entry& setting : configuration.settings)
      if (setting.path == key) return setting.value;
    const Field& wanted = *find_field(key);
    if (Value value = get_field(wanted, sweep.base); !value.is_null()) return value;
    RunConfig config = sweep.base;  // it may follow from a name
    for (const Entry& setting : configuration.settings)
      if (const Field* field = find_field(setting.path)) set_field(*field, config, setting.value);
    return get_field(wanted, resolved(config));
  };
  for (const Tie& tie : sweep.ties) {
    const Value value = held_value(tie.key, number_value(to_digits(tie.formula.number(value_of), 12)));
    configuration.labels.push_back(value);
    configuration.settings.push_back({tie.formula.where(), tie.key, value, false});
  }
  for (const Formula& condition : sweep.conditions)
    if (!condition.holds(value_of)) return std::nullopt;
  return configuration;
}

std::vector<Configuration> grid(const SweepFile& sweep) {
  std::vector<std::size_t> sizes;
  double points = 1.0;
  for (const SweptParameter& parameter : sweep.parameters) {
    points *= values_of(parameter);
    if (points > most_points)
      refuse("the grid has " + to_text({points}) + " points or more, too many; use method random with a count");
    sizes.push_back(static_cast<std::size_t>(values_of(parameter)));
  }
  std::vector<Configuration> all;
  std::vector<Choice> chosen(sizes.size());
  for (std::size_t point = 0; point < static_cast<std::size_t>(points); ++point) {
    std::size_t rest = point;
    for (std::size_t i = sizes.size(); i-- > 0; rest /= sizes[i]) {
      chosen[i] = value_at(sweep.parameters[i], rest % sizes[i]);
      if (rest % sizes[i] != 0) break;  // the parameters before have the values that they had
    }
    std::optional<Configuration> configuration = join(sweep, chosen);
    if (!configuration) continue;
    all.push_back(std::move(*configuration));
    check_count(sweep, all.size());
  }
  if (all.empty()) refuse("the grid is empty: no combination of the values satisfies \"where\"; loosen a condition");
  return all;
}

std::vector<Configuration> draws(const SweepFile& sweep) {
  constexpr std::uint64_t attempts_each = 1000;  // then the space is taken for exhausted
  check_count(sweep, static_cast<std::size_t>(sweep.count));
  std::vector<Configuration> all;
  std::set<std::string> known;
  const auto wanted = static_cast<std::size_t>(sweep.count);
  std::uint64_t last_new = 0;
  for (std::uint64_t number = 0; all.size() < wanted; ++number) {
    if (number - last_new > attempts_each) {
      refuse("count is " + std::to_string(wanted) + ", but " + std::to_string(attempts_each) +
             " draws in a row gave nothing new after " + std::to_string(all.size()) +
             " configurations; lower count, give more values, or loosen \"where\"");
    }
    std::vector<Choice> choices;
    choices.reserve(sweep.parameters.size());
    for (const SweptParameter& parameter : sweep.parameters) choices.push_back(draw(parameter, sweep.seed, number));
    std::optional<Configuration> configuration = join(sweep, choices);
    if (!configuration || !known.insert(describe(sweep, *configuration)).second) continue;
    last_new = number;
    all.push_back(std::move(*configuration));
  }
  return all;
}

void shorten(RunConfig& config, double share) {
  if (share == 1.0) return;
  const double steps = std::round(share * static_cast<double>(total_steps(config)));
  config.train.tokens.reset();
  config.train.steps = std::max<std::int64_t>(1, static_cast<std::int64_t>(steps));
}

/// The trial's configuration at full length; throws what is wrong with it.
RunConfig full_config(const SweepFile& sweep, const Configuration& configuration, std::uint64_t seed,
                      std::vector<std::string>* notes = nullptr) {
  RunConfig base = sweep.base;
  if (sweep.seeds_given) base.seed = seed;
  RunConfig config = config_with(std::move(base), configuration.settings, describe(sweep, configuration), notes);
  if (config.batch.micro_batch == 0)
    refuse(describe(sweep, configuration) +
           ": batch.micro_batch is \"auto\", and trials are told apart and repeated by their configurations; name a number (temper "
           "train FILE --dry-run says which is the largest)");
  return config;
}

Trial make_trial(const SweepFile& sweep, const Configuration& configuration, std::uint64_t seed, double share) {
  Trial trial;
  trial.config = full_config(sweep, configuration, seed);
  trial.seed = trial.config.seed;
  shorten(trial.config, share);
  for (const std::string& problem : config_problems(trial.config))
    refuse(describe(sweep, configuration) + ", a rung of " + std::to_string(*trial.config.train.steps) + " steps: " + problem);
  if (const std::string problem = metric_problem(find_metric(sweep.metric.name), trial.config); !problem.empty()) refuse(problem);
  if (sweep.stop_condition) {
    for (const std::string& key : sweep.stop_condition->keys())
      if (const std::string problem = metric_problem(find_metric(key), trial.config, "in stop_when"); !problem.empty())
        refuse(problem);
  }
  trial.flops = training_flops(trial.config);
  trial.id = config_identity(trial.config);
  return trial;
}

/// Different problems once each: the same contradiction stands in every trial.
class Refusals {
 public:
  void add(const std::string& message) {
    if (seen_.insert(message).second) messages_.push_back(message);
  }
  void raise() const {
    constexpr std::size_t shown = 10;
    if (messages_.empty()) return;
    std::string all =
        messages_.size() == 1 ? "" : std::to_string(messages_.size()) + " problems with the trials, none was started:\n  ";
    for (std::size_t i = 0; i < std::min(shown, messages_.size()); ++i) all += (i == 0 ? "" : "\n  ") + messages_[i];
    refuse(all + (messages_.size() > shown ? "\n  ..." : ""));
  }

 private:
  std::set<std::string> seen_;
  std::vector<std::string> messages_;
};

}  // namespace

std::vector<std::string> columns(const SweepFile& sweep) {
  std::vector<std::string> names;
  for (const SweptParameter& parameter : sweep.parameters) names.push_back(parameter.name);
  for (const Tie& tie : sweep.ties) names.push_back(tie.key);
  return names;
}

std::vector<Configuration> configurations(const SweepFile& sweep) { return sweep.count > 0 ? draws(sweep) : grid(sweep); }

std::vector<std::string> drop_repeated(const SweepFile& sweep, std::vector<Configuration>& all) {
  std::map<std::string, std::string> first_of;  // a run's id, what the first configuration with it is called
  std::vector<std::string> told;
  std::vector<Configuration> kept;
  for (Configuration& configuration : all) {
    try {
      std::vector<std::string> notes;
      const std::string name = describe(sweep, configuration);
      const std::string id = config_identity(full_config(sweep, configuration, sweep.seeds.front(), &notes));
      const auto [first, is_new] = first_of.emplace(id, name);
      if (!is_new) notes = {name + " is the same run as " + first->second + ", which is trained once"};
      for (const std::string& note : notes)
        if (std::find(told.begin(), told.end(), note) == told.end()) told.push_back(note);
      if (is_new) kept.push_back(std::move(configuration));
    } catch (const Error&) {
      kept.push_back(std::move(configuration));  // make_trials() says what is wrong with it
    }
  }
  all = std::move(kept);
  return told;
}

std::vector<double> rung_shares(const SweepFile& sweep) {
  return sweep.method == SweepMethod::halving ? sweep.halving.rungs : std::vector<double>{1.0};
}

std::size_t rung_size(const SweepFile& sweep, std::size_t rung, std::size_t first) {
  auto size = static_cast<double>(first);
  for (std::size_t i = 0; i < rung; ++i) size = std::max(1.0, std::floor(size / sweep.halving.eta + 1e-9));
  return static_cast<std::size_t>(size);
}

std::vector<Trial> make_trials(const SweepFile& sweep, const std::vector<Configuration>& all, std::size_t rung) {
  const double share = rung_shares(sweep)[rung];
  std::vector<Trial> trials;
  std::map<std::string, std::size_t> known;
  Refusals refusals;
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (const std::uint64_t seed : sweep.seeds) {
      try {
        Trial trial = make_trial(sweep, all[i], seed, share);
        trial.configuration = i;
        trial.rung = rung;
        const auto [other, is_new] = known.emplace(trial.id, i);
        if (!is_new && other->second != i) {
          refusals.add("two configurations are the same run: " + describe(sweep, all[other->second]) + " and " +
                       describe(sweep, all[i]) + "; take one away");
        }
        trials.push_back(std::move(trial));
      } catch (const Error& error) {
        refusals.add(error.what());
        break;  // the next seed has the same problem
      }
    }
  }
  refusals.raise();
  return trials;
}

std::string label_text(const Value& label) {
  if (const auto* text = std::get_if<std::string>(&label.data)) return *text;
  const auto* number = std::get_if<double>(&label.data);
  return to_text(number != nullptr ? number_value(*number) : label);
}

std::string describe(const SweepFile& sweep, const Configuration& configuration) {
  const std::vector<std::string> names = columns(sweep);
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += (i == 0 ? "" : ", ") + names[i] + " " + label_text(configuration.labels[i]);
  return text.empty() ? "the base configuration" : text;
}

std::int64_t tokens_of(const RunConfig& config) { return tokens_before(config, total_steps(config)); }

void check_budget(const SweepFile& sweep, const std::vector<std::vector<Trial>>& rungs) {
  const std::size_t seeds = sweep.seeds.size();
  std::size_t trials = 0;
  double tokens = 0.0;
  for (std::size_t rung = 0; rung < rungs.size(); ++rung) {
    // Which configurations will reach a later rung is not known: the longest ones might.
    const std::size_t count = rung_size(sweep, rung, rungs[0].size() / seeds) * seeds;
    std::vector<double> each;
    for (const Trial& trial : rungs[rung]) each.push_back(static_cast<double>(tokens_of(trial.config)));
    std::sort(each.begin(), each.end(), std::greater<>());
    for (std::size_t i = 0; i < count; ++i) tokens += each[i];
    trials += count;
  }
  if (sweep.budget.trials > 0 && trials > static_cast<std::size_t>(sweep.budget.trials)) {
    refuse("the sweep takes " + std::to_string(trials) + " trials (seeds counted), budget.trials is " +
           std::to_string(sweep.budget.trials) + "; give fewer values or seeds, a smaller count, or raise the budget");
  }
  if (sweep.budget.tokens > 0 && tokens > static_cast<double>(sweep.budget.tokens)) {
    refuse("the sweep takes " + std::to_string(static_cast<std::int64_t>(tokens)) + " tokens in " + std::to_string(trials) +
           " trials, budget.tokens is " + std::to_string(sweep.budget.tokens) +
           "; give fewer values or seeds, shorter runs (train.steps), or raise the budget");
  }
}

}  // namespace temper
