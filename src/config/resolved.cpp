#include "config/resolved.h"

#include <cmath>
#include <map>

#include "config/validate.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json.h"

namespace temper {
namespace {

std::string text_or_not_given(const Value& value) { return value.is_null() ? "not given" : to_text(value); }

}  // namespace

RunConfig resolved(RunConfig config) {
  config.optimizer = resolved_optimizer(config.optimizer);
  return config;
}

bool counts_epochs(const OptimizerConfig& config) {
  return config.decay_timescale && parse_timescale(*config.decay_timescale)->unit == Timescale::Unit::epochs;
}

OptimizerConfig settled_optimizer(const RunConfig& config, double epoch) {
  OptimizerConfig settled = resolved_optimizer(config.optimizer);
  if (!settled.decay_timescale) return settled;
  const auto run = static_cast<double>(total_steps(config));
  const Timescale given = *parse_timescale(*settled.decay_timescale);
  const double steps = given.number * (given.unit == Timescale::Unit::steps  ? 1.0
                                       : given.unit == Timescale::Unit::runs ? run
                                                                             : epoch);
  if (!(steps >= 1.0))
    throw Error(ExitCode::usage,
                "optimizer.decay_timescale is \"{}\", which is {:.3g} steps: no update can take more than all of a weight; give at "
                "least one step",
                *settled.decay_timescale, steps);
  if (!std::isfinite(steps))
    throw Error(
        ExitCode::usage,
        "optimizer.decay_timescale is \"{}\", which is more steps than a number can say; give less, or optimizer.decay=none",
        *settled.decay_timescale);
  settled.weight_decay = 1.0 / steps;
  if (decay_follows_rate(*settled.decay)) *settled.weight_decay /= *settled.learning_rate;
  if (settled.decay == DecayMode::normalized) *settled.weight_decay *= std::sqrt(run);
  settled.decay_timescale.reset();
  return settled;
}

std::string table_to_json(const FieldTable& table, const std::any& root, const std::any& whole) {
  Json json = Json::object();
  for (const Field& field : table.fields) {
    const Value value = field.read(root);
    if (value.is_null() || (field.readers.read && !field.readers.read(whole))) continue;
    Json& section = field.section().empty() ? json : json[std::string(field.section())];
    section[std::string(field.key())] = to_json(value);
  }
  return json_text(json, 2) + "\n";
}

std::string config_to_json(const RunConfig& config) {
  const RunConfig whole = resolved(config);
  return table_to_json(config_table(), &whole, &whole);
}

std::string base_to_json(const RunConfig& config) {
  const RunConfig whole = resolved(config);
  return table_to_json(config_table(), &config, &whole);
}

std::string config_identity(const RunConfig& config, const std::vector<Field>& fields) {
  const RunConfig whole = resolved(config);
  std::map<std::string, std::string> lines;
  for (const Field& field : fields) {
    const Value value = get_field(field, whole);
    if (!field.in_identity || value.is_null() || !field.is_read(whole) || value == field.as_before) continue;
    lines[field.path] = to_text(value);
  }
  std::string text;
  for (const auto& [path, value] : lines) text += path + "=" + value + "\n";
  return hash_bytes(text).substr(0, 16);
}

std::string format_problem(std::int64_t found) {
  if (found >= oldest_run_format && found <= run_format) return "";
  return "is of format " + std::to_string(found) + ", this temper goes on with " +
         (oldest_run_format == run_format ? "" : std::to_string(oldest_run_format) + " to ") + std::to_string(run_format) +
         (found < oldest_run_format ? ": older ones do not say all that they were trained with; start anew in another folder"
                                    : "; use the newer temper that wrote it");
}

std::vector<FieldDifference> compare(const RunConfig& before, const RunConfig& after) {
  std::vector<FieldDifference> differences;
  const RunConfig first = resolved(before), second = resolved(after);
  for (const Field& field : config_fields()) {
    const Value old_value = get_field(field, first), new_value = get_field(field, second);
    if (old_value != new_value && (field.is_read(first) || field.is_read(second)))
      differences.push_back({field.path, field.resume, text_or_not_given(old_value), text_or_not_given(new_value)});
  }
  return differences;
}

}  // namespace temper
