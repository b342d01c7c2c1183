#include "config/fields.h"

#include <algorithm>
#include <span>
#include <utility>

namespace temper {
namespace {

template <class Part>
void add_section(std::vector<Field>& fields, std::string_view name, Part RunConfig::*part, ResumeClass resume) {
  SectionRows<Part> rows(
      fields, name, [part](RunConfig& config) -> Part& { return config.*part; }, resume);
  Part::declare(rows);
}

/// "sgd, sgdw and muon"
std::string listed(const std::vector<std::string_view>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i)
    text += std::string(i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + std::string(names[i]);
  return text;
}

template <class Traits>
void read_by_names(Field& field, std::span<const Traits> table, auto name_of) {
  std::vector<std::string_view> names;
  for (const Traits& traits : table)
    if (has_word(traits.reads, field.key())) names.push_back(traits.text);
  field.readers.text = listed(names);
  field.readers.are_names = true;
  field.readers.read = [table, name_of, key = std::string(field.key())](const RunConfig& config) {
    return has_word(table[static_cast<std::size_t>(name_of(config))].reads, key);
  };
}

}  // namespace

bool has_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || text[at - 1] == ' ') && (end == text.size() || text[end] == ' ')) return true;
  }
  return false;
}

const std::vector<Field>& config_fields() {
  static const std::vector<Field> fields = [] {
    using enum ResumeClass;
    std::vector<Field> all;
    SectionRows<RunConfig> top(
        all, "", [](RunConfig& config) -> RunConfig& { return config; }, trajectory);
    RunConfig::declare(top);
    add_section(all, "model", &RunConfig::model, must_match);
    add_section(all, "data", &RunConfig::data, trajectory);
    add_section(all, "batch", &RunConfig::batch, trajectory);
    add_section(all, "train", &RunConfig::train, trajectory);
    add_section(all, "optimizer", &RunConfig::optimizer, trajectory);
    add_section(all, "schedule", &RunConfig::schedule, trajectory);
    add_section(all, "eval", &RunConfig::eval, free);
    add_section(all, "checkpoint", &RunConfig::checkpoint, free);
    add_section(all, "log", &RunConfig::log, free);
    add_section(all, "diagnostics", &RunConfig::diagnostics, free);
    add_section(all, "parallel", &RunConfig::parallel, free);
    return all;
  }();
  return fields;
}

const std::vector<Section>& config_sections() {
  static const std::vector<Section> sections = {
      {"model", "The shape of the GPT-2 that is trained, and how its weights start."},
      {"data", "Where the tokens are. Relative paths are relative to the working directory, not to the configuration file."},
      {"batch", "How many tokens go into a step, and how many at a time."},
      {"train", "How long to train (exactly one of steps and tokens is given), and what to start from."},
      {"optimizer",
       "How a gradient becomes an update. Defaults differ with the optimizer's name. A key that the optimizer does not read is "
       "refused, "
       "unless it has its default."},
      {"schedule",
       "How rate, momentum and batch change over the run. A key that the schedule does not read is refused, unless it has its "
       "default. `temper config plot FILE` draws what comes out."},
      {"eval", "What is measured on the way."},
      {"checkpoint", "When the run is saved, and how many saves are kept. A run is saved at its end in any case."},
      {"log", "What is written down, and how often."},
      {"diagnostics", "What is measured about the updates. Nothing of it changes the run."},
      {"parallel", "How several ranks share a run (docs/distributed.md). A run by itself looks at `deterministic` only."},
  };
  return sections;
}

const Field* find_field(std::string_view path) {
  const auto& fields = config_fields();
  const auto found = std::find_if(fields.begin(), fields.end(), [&](const Field& field) { return field.path == path; });
  return found == fields.end() ? nullptr : &*found;
}

const Section* find_section(std::string_view name) {
  const auto& sections = config_sections();
  const auto found = std::find_if(sections.begin(), sections.end(), [&](const Section& section) { return section.name == name; });
  return found == sections.end() ? nullptr : &*found;
}

std::vector<const Field*> alternatives(const Field& field) {
  std::vector<const Field*> others;
  for (const Field& other : config_fields()) {
    if (!field.group.empty() && other.group == field.group && other.path != field.path) others.push_back(&other);
  }
  return others;
}

std::string full_help(const Field& field) {
  if (field.readers.text.empty()) return std::string(field.help);
  return (field.readers.are_names ? "" : "with ") + field.readers.text + ": " + std::string(field.help);
}

std::string default_text(const Field& field) {
  const Value initial = get_field(field, RunConfig{});
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

void say(Field& field, std::string_view help) { field.help = help; }

void say(Field& field, ResumeClass resume) { field.resume = resume; }

void say(Field& field, const row::Bound& bound) {
  if (auto* integer = std::get_if<IntegerKind>(&field.kind))
    (bound.is_upper ? integer->max : integer->min) = static_cast<std::int64_t>(bound.at);
  if (auto* number = std::get_if<NumberKind>(&field.kind)) {
    (bound.is_upper ? number->max : number->min) = bound.at;
    (bound.is_upper ? number->max_excluded : number->min_excluded) = bound.is_excluded;
  }
  if (auto* list = std::get_if<NumberListKind>(&field.kind)) (bound.is_upper ? list->below : list->above) = bound.at;
}

void say(Field& field, const row::OneOf& texts) {
  if (auto* text = std::get_if<TextKind>(&field.kind)) text->names = texts.names;
  if (auto* list = std::get_if<TextListKind>(&field.kind)) list->names = texts.names;
  if (auto* choice = std::get_if<ChoiceKind>(&field.kind)) choice->names = texts.names;
}

void say(Field& field, const row::FolderName&) { std::get<TextKind>(field.kind).is_folder_name = true; }

void say(Field& field, const row::GlobFactors&) { std::get<TextListKind>(field.kind).is_glob_factor = true; }

void say(Field& field, const row::Either& group) { field.group = group.group; }

void say(Field& field, const row::ReadBy& readers) {
  field.readers.text = readers.where;
  field.readers.read = readers.read;
}

void say(Field& field, const row::ReadByNames<OptimizerTraits>& readers) {
  read_by_names(field, readers.table, [](const RunConfig& config) { return config.optimizer.name; });
}

void say(Field& field, const row::ReadByNames<ScheduleTraits>& readers) {
  read_by_names(field, readers.table, [](const RunConfig& config) { return config.schedule.name; });
}

void say(Field& field, const row::OrIgnored&) { field.readers.refuse_others = false; }

void say(Field& field, const row::AsBefore& before) { field.as_before = before.value; }

void say(Field& field, const row::AlsoCalled& other) { field.also_called = other.names; }

}  // namespace temper
