#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/config_plot.h"
#include "config/parse.h"
#include "config/resolved.h"
#include "config/schema.h"
#include "sweep/sweep_file.h"

namespace temper {

void add_config_command(CLI::App& app) {
  struct Arguments {
    std::string config;
    std::vector<std::string> overrides;
    bool json = false, sweep = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("config", "Show and check configurations");
  command->require_subcommand(1);

  CLI::App* show = command->add_subcommand("show", "Print the resolved configuration, as a run would record it");
  show->add_option("config", arguments->config, "Configuration file (JSON)")->required();
  show->add_option("overrides", arguments->overrides, "section.key=value, over the file's values");
  show->callback([arguments] { write_output(config_to_json(load_config(arguments->config, arguments->overrides))); });

  CLI::App* plot = command->add_subcommand("plot", "Draw rate, weight decay and momentum over the run");
  plot->add_option("config", arguments->config, "Configuration file (JSON)")->required();
  plot->add_option("overrides", arguments->overrides, "section.key=value, over the file's values");
  plot->add_flag("--json", arguments->json, "Print the numbers, one JSON object a line, instead of charts");
  plot->footer(
      "A picture (needs Python with matplotlib):\n"
      "  temper config plot configs/quickstart.json --json | scripts/plots/schedule.py -o schedule.svg");
  plot->callback([arguments] {
    const RunConfig config = load_config(arguments->config, arguments->overrides);
    const std::vector<SchedulePoint> points = schedule_points(config);
    write_output(arguments->json ? schedule_table(points) : schedule_charts(config, points));
  });

  CLI::App* schema = command->add_subcommand("schema", "Print the JSON Schema (draft-07), for completion in an editor");
  schema->add_flag("--sweep", arguments->sweep, "Of sweep files instead of configurations");
  schema->callback([arguments] { write_output(arguments->sweep ? sweep_schema() : config_schema()); });

  CLI::App* reference = command->add_subcommand("reference", "Print every key as a Markdown page (docs/configuration.md)");
  reference->add_flag("--sweep", arguments->sweep, "Those of sweep files, with which docs/sweeps.md ends");
  reference->callback([arguments] { write_output(arguments->sweep ? sweep_reference() : config_reference()); });

  CLI::App* keys = command->add_subcommand("keys", "Print every key with its meaning, for the terminal");
  keys->callback([] { write_output(config_help()); });
}

}  // namespace temper
