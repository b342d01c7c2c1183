#include "config/fields.h"

#include <algorithm>

#include "config/field_rows.h"

namespace temper {

const std::vector<Field>& config_fields() {
  static const std::vector<Field> fields = [] {
    std::vector<Field> rows;
    add_run_fields(rows);
    add_optimizer_fields(rows);
    add_schedule_fields(rows);
    add_record_fields(rows);
    return rows;
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
       "How a gradient becomes an update. What has no default, or is `by_name`, is decided by the optimizer's name. A key that the "
       "optimizer does not read is refused, unless it has its default."},
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

std::string_view Field::section() const {
  const std::size_t dot = path.find('.');
  return dot == std::string_view::npos ? std::string_view{} : path.substr(0, dot);
}

std::string_view Field::key() const { return path.substr(path.find('.') + 1); }

}  // namespace temper
