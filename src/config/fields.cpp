#include "config/fields.h"

#include <algorithm>
#include <span>
#include <utility>

namespace temper {

std::string listed(const Names& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += std::string(i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + std::string(names[i]);
  return text;
}

bool has_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || text[at - 1] == ' ') && (end == text.size() || text[end] == ' ')) return true;
  }
  return false;
}

const FieldTable& config_table() {
  using enum ResumeClass;
  using Run = RunConfig;
  static const FieldTable table =
      FieldTable()
          .add<Run>(trajectory)
          .add("model", &Run::model, must_match, "The shape of the GPT-2 that is trained, and how its weights start.")
          .add("data", &Run::data, trajectory,
               "Where the tokens are. Relative paths are relative to the working directory, not to the configuration file.")
          .add("batch", &Run::batch, trajectory, "How many tokens go into a step, and how many at a time.")
          .add("train", &Run::train, trajectory,
               "How long to train (exactly one of steps and tokens is given), and what to start from.")
          .add(
              "optimizer", &Run::optimizer, trajectory,
              "How a gradient becomes an update. Defaults differ with the optimizer's name. A key that the optimizer does not read "
              "is refused, unless it has its default.")
          .add("schedule", &Run::schedule, trajectory,
               "How rate, momentum and batch change over the run. A key that the schedule does not read is refused, unless it has "
               "its default. `temper config plot FILE` draws what comes out.")
          .add("eval", &Run::eval, free, "What is measured along the way.")
          .add("checkpoint", &Run::checkpoint, free,
               "When the run is saved, and how many saves are kept. A run is saved at its end in any case.")
          .add("log", &Run::log, free, "What is written down, and how often.")
          .add("diagnostics", &Run::diagnostics, free, "What is measured about the updates. None of it changes the run.")
          .add("parallel", &Run::parallel, free,
               "How several ranks share a run (docs/distributed.md). A single process only reads `deterministic`.");
  return table;
}

const Field* FieldTable::find(std::string_view path) const {
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const Field& field) { return field.path == path; });
  return found == fields.end() ? nullptr : &*found;
}

const Section* FieldTable::find_section(std::string_view name) const {
  const auto found = std::find_if(sections.begin(), sections.end(), [&](const Section& section) { return section.name == name; });
  return found == sections.end() ? nullptr : &*found;
}

std::string FieldTable::keys_of(std::string_view section) const {
  std::string keys;
  for (const Field& field : fields)
    if (field.section() == section) keys += (keys.empty() ? "" : ", ") + std::string(field.key());
  return keys;
}

std::vector<const Field*> alternatives(const Field& field, const FieldTable& table) {
  std::vector<const Field*> others;
  for (const Field& other : table.fields)
    if (!field.group.empty() && other.group == field.group && other.path != field.path) others.push_back(&other);
  return others;
}

std::string full_help(const Field& field) {
  if (field.readers.text.empty()) return std::string(field.help);
  return (field.readers.are_names ? "" : "with ") + field.readers.text + ": " + std::string(field.help);
}

std::string default_text(const Field& field) {
  const Value initial = field.initial;
  if (!initial.is_null() || field.section() != "optimizer") return initial.is_null() ? "" : to_text(initial);
  // What most names give stands first, then who gives something else.
  std::vector<std::pair<std::string, std::vector<std::string_view>>> values;
  for (const OptimizerTraits& traits : optimizers) {
    RunConfig config;
    config.optimizer.name = traits.name;
    config.optimizer = resolved_optimizer(config.optimizer);
    if (!field.is_read(config) && field.readers.refuse_others) continue;
    const Value value = get_field(field, config);
    const std::string text = value.is_null() ? "required" : to_text(value);
    const auto same = std::find_if(values.begin(), values.end(), [&](const auto& one) { return one.first == text; });
    if (same == values.end())
      values.push_back({text, {traits.text}});
    else
      same->second.push_back(traits.text);
  }
  if (values.size() == 1 && values[0].first == "required") return "";  // it has an alternative
  std::stable_sort(values.begin(), values.end(), [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  std::string text;
  for (const auto& [value, names] : values) {
    if (!text.empty()) text += text.find('(') == std::string::npos ? " (" : "; ";
    text += text.empty() ? value : listed(names) + " " + value;
  }
  return text.find('(') == std::string::npos ? text : text + ")";
}

std::string_view Field::section() const {
  const std::size_t dot = path.find('.');
  return dot == std::string::npos ? std::string_view{} : std::string_view(path).substr(0, dot);
}

std::string_view Field::key() const { return std::string_view(path).substr(path.find('.') + 1); }

void say(Field& field, const row::Bound& bound) {
  if (auto* integer = std::get_if<IntegerKind>(&field.kind))
    (bound.is_upper ? integer->max : integer->min) = static_cast<std::int64_t>(bound.at);
  auto* list = std::get_if<NumberListKind>(&field.kind);
  if (auto* number = list != nullptr ? &list->each : std::get_if<NumberKind>(&field.kind)) {
    (bound.is_upper ? number->max : number->min) = bound.at;
    (bound.is_upper ? number->max_excluded : number->min_excluded) = bound.is_excluded;
  }
}

void say(Field& field, const row::OneOf& texts) {
  if (auto* text = std::get_if<TextKind>(&field.kind)) text->names = texts.names;
  if (auto* list = std::get_if<TextListKind>(&field.kind)) list->names = texts.names;
}

}  // namespace temper
