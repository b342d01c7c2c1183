// The field table as pages for people: Markdown for docs/, plain text for a terminal.
#include <algorithm>

#include "config/fields.h"
#include "config/schema.h"

namespace temper {
namespace {

constexpr std::string_view introduction =
    R"(<!-- Made by `temper config reference > docs/configuration.md`; change src/config/*_config.h instead of this page. -->
# Configuration

A run is described by one JSON file: `temper train configs/quickstart.json`. `configs/` holds complete examples.

```jsonc
{
  "$schema": "schema.json",       // lets an editor complete and check; temper does not read it
  "extends": "gpt2-124m.json",    // a file or a list of files, relative to this one
  "name": "gpt2-124m-low-decay",
  "optimizer": { "weight_decay": 0.01 }
}
```

- **Layers.** Defaults, then the files that `extends` names (in their order, at most 64 in all), then the file, then the command line. A later layer
  replaces single keys; a list is replaced whole, and `null` takes a key back, as if no layer had given it.
- **Overrides.** `temper train FILE optimizer.learning_rate=3e-4 data.train='["a.bin", "b.bin"]'`. A value is JSON; where text is expected it
  can be bare (`device=cpu`). The last of several overrides of a key wins.
- **Either, or.** `train.steps` and `train.tokens` exclude one another, as do `train.init_from` and `train.branch_from`,
  `optimizer.weight_decay` and `optimizer.decay_timescale`, and `schedule.warmup_steps`, `schedule.warmup_fraction` and
  `schedule.warmup_tokens`. A layer that sets one takes back what an earlier layer set in the others; setting two in one layer is an error.
- **Numbers.** An integer may be written `5e8`. NaN and Infinity are refused.
- **Text.** `//` and `/* */` comments are allowed; trailing commas and keys given twice are not.
- **Errors.** An unknown key, a wrong type and a value out of range are errors (exit code 2) that name file, line, column, what is allowed
  and the nearest key; all of them are reported at once. `temper config show FILE [overrides]` prints the resolved configuration without
  training, `temper config schema` the JSON Schema (draft-07).
- **Editors.** With `"$schema": "schema.json"` a file in `configs/` is completed and checked while you type. The comments make it JSONC: in
  VS Code, set `"files.associations": { "**/configs/*.json": "jsonc" }`.

The resolved configuration is written to `config.json` in the run directory and into every checkpoint. `--resume` compares it with the
configuration it is given:

| On resume | A change of this key |
|---|---|
| must match | is refused: the checkpoint does not fit |
| trajectory | would continue another run; refused unless it is allowed by name |
| topology | is allowed; the same arithmetic is laid out differently, and results may differ in rounding |
| free | is allowed |

A key without a default is not given unless a file or an override sets it.
)";

std::string code(const std::string& text) { return text.empty() ? "" : "`" + text + "`"; }

std::string table_of(const FieldTable& table, std::string_view section, bool is_resumed) {
  const std::string resume = is_resumed ? " On resume |" : "";
  std::string text =
      "\n| Key | Type | Allowed | Default | Meaning |" + resume + "\n|---|---|---|---|---|" + (is_resumed ? "---|\n" : "\n");
  for (const Field& field : table.fields) {
    if (field.section() != section) continue;
    text += "| `" + field.path + "` | " + std::string(type_name(field)) + " | " + allowed_values(field) + " | " +
            code(default_text(field)) + " | " + full_help(field) + " |" +
            (is_resumed ? " " + std::string(to_string(field.resume)) + " |\n" : "\n");
  }
  return text;
}

}  // namespace

std::string reference_of(const FieldTable& table, const std::string& level, const std::string& top, bool is_resumed) {
  std::string text = level + " " + top + "\n" + table_of(table, "", is_resumed);
  for (const Section& section : table.sections) {
    text += "\n" + level + " " + std::string(section.name) + "\n\n" + std::string(section.help) + "\n" +
            table_of(table, section.name, is_resumed);
  }
  return text;
}

std::string config_reference() { return std::string(introduction) + "\n" + reference_of(config_table(), "##", "Top level", true); }

std::string config_help() {
  std::size_t width = 0;
  for (const Field& field : config_fields()) width = std::max(width, field.path.size() + 2);
  std::string text;
  for (const Field& field : config_fields()) {
    const std::string initial = default_text(field);
    text += field.path + std::string(width - field.path.size(), ' ') + full_help(field) + "\n" + std::string(width, ' ') + "(" +
            allowed_values(field) + (initial.empty() ? "" : "; default " + initial) + ")\n";
  }
  return text;
}

}  // namespace temper
