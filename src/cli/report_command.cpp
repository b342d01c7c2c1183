#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "cli/commands.h"
#include "io/descriptor.h"
#include "io/file.h"
#include "io/process.h"
#include "sweep/ranking_table.h"
#include "sweep/report.h"
#include "sweep/tables.h"

namespace temper {

namespace {

namespace fs = std::filesystem;

struct ReportArguments {
  std::string folder;
  std::string out;
  std::string plots;
  bool json = false;
};

/// Python as a helper: isolated (-I), and not working in the current folder, so that no module or setting that lies there, or that
/// a variable names, takes part. Standard output and errors are ours, where it speaks.
int run_python(const fs::path& python, const std::vector<std::string>& arguments, int input, bool speaks) {
  Command command{.words = {python.string(), "-I", "-B"}, .environment = environment(), .input = input, .in_root = true};
  command.words.insert(command.words.end(), arguments.begin(), arguments.end());
  if (speaks) {
    command.output = STDOUT_FILENO;
    command.errors = STDERR_FILENO;
  }
  return run_to_end(command);
}

/// The Python that draws: one with matplotlib where there is one, otherwise any, otherwise "". The first in PATH is often one
/// that Debian's python3-matplotlib is not installed for.
fs::path find_python() {
  const char* path = std::getenv("PATH");
  fs::path any;
  for (const fs::path& python : {find_program("python3", path != nullptr ? path : ""), find_program("python3", "/usr/bin")}) {
    if (python.empty()) continue;
    if (run_python(python, {"-c", "import matplotlib"}, -1, false) == 0) return python;
    if (any.empty()) any = python;
  }
  return any;
}

/// The folder of sweep.py: of the sources that this program was built in (build/PRESET/temper), or below an install prefix
/// (bin/temper).
fs::path find_plots(const std::string& given) {
  if (!given.empty()) {
    if (fs::exists(fs::path(given) / "sweep.py")) return given;
    throw Error(ExitCode::usage, "--plots " + given + ": holds no sweep.py; name scripts/plots of temper's sources");
  }
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path();
  const fs::path built = (program / "../../scripts/plots").lexically_normal();
  const fs::path installed = (program / "../share/temper/plots").lexically_normal();
  for (const fs::path& folder : {built, installed})
    if (fs::exists(folder / "sweep.py")) return folder;
  throw Error(ExitCode::usage,
              "no pictures: sweep.py is neither in {} nor in {}; name scripts/plots of temper's sources with --plots",
              built.string(), installed.string());
}

void draw(const ReportSource& source, const fs::path& plots, const fs::path& out) {
  // A file and not a pipe: the script may end before it has read all, and nobody has to write while it draws.
  const Descriptor data = memory_file();
  const std::string json = report_json(source);
  if (const int failed = write_all(data.get(), json.data(), json.size())) throw_failure("write", "the data of the report", failed);
  const fs::path python = find_python();
  if (python.empty()) {
    std::fputs(
        "no pictures and no report.html: they need Python 3 with matplotlib; install it (Debian: apt install "
        "python3-matplotlib) and run the same command again\n",
        stderr);
    return;
  }
  ::lseek(data.get(), 0, SEEK_SET);
  const std::string script = fs::absolute(plots / "sweep.py").string();
  const int code = run_python(python, {script, "--out", fs::absolute(out).string()}, data.get(), true);
  if (code != 0) {
    throw Error(ExitCode::unexpected, "drawing the report failed: {} {} ended with {}, its message is above; all else is done",
                python.string(), script, code);
  }
}

/// Colours where a person looks and has not asked for none (no-color.org).
bool wants_colour() {
  const char* refused = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) == 1 && (refused == nullptr || *refused == '\0');
}

std::string summary(const ReportSource& source) {
  constexpr std::size_t most_rows = 20;  // what is seen at once
  const auto& [sweep, plan, is_run] = source;
  if (is_run) return run_text(sweep, plan);
  std::string text = RankingTable(sweep, plan).text(most_rows) + "\n";
  if (const std::string chart = sweep_chart(sweep, plan, wants_colour()); !chart.empty()) text += chart + "\n";
  text += status_text(sweep, plan) + timing_text(sweep, plan);
  if (const std::string command = best_command(source); !command.empty()) text += "best.json: " + command + "\n";
  return text;
}

void run(const ReportArguments& arguments) {
  fs::path folder = fs::path(arguments.folder).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // sweeps/decay/ is sweeps/decay
  const ReportSource source = open_report(folder);
  if (arguments.json) {
    write_output(report_json(source));
    return;
  }
  write_output(summary(source));
  const bool may_write = ::access(folder.c_str(), W_OK) == 0;  // it may be another's sweep, who wants it read
  if (!may_write && arguments.out.empty())
    throw Error(ExitCode::io, "no pictures and no report.html: {} cannot be written to; name another folder for them with --out",
                folder.string());
  const fs::path out = arguments.out.empty() ? folder / "report" : fs::path(arguments.out);
  arguments.out.empty() ? make_inner_folder(out) : make_folder(out);
  if (!source.is_run) write_tables(source.sweep, source.plan, may_write ? folder : out);
  draw(source, find_plots(arguments.plots), out);
}

}  // namespace

void add_report_command(CLI::App& app) {
  auto arguments = std::make_shared<ReportArguments>();
  CLI::App* command = app.add_subcommand("report", "Rank what a sweep has trained, and draw it: tables, pictures, report.html");
  command->add_option("folder", arguments->folder, "Folder of a sweep, or a run directory")->required();
  command->add_option("--out", arguments->out, "Folder for pictures and report.html (default: FOLDER/report)");
  command->add_option("--plots", arguments->plots, "Folder of sweep.py (default: the one that came with temper)");
  command->add_flag("--json", arguments->json, "Print the data of the report and stop; docs/reports.md describes it");
  command->footer(
      "Examples:\n  temper report sweeps/decay\n"
      "  temper report sweeps/decay --json | scripts/plots/sweep.py --out elsewhere\n"
      "A sweep that still runs gives a report of what is there. Pictures and report.html need Python 3 with matplotlib (Debian: "
      "python3-matplotlib); without it all else is done, and told.\n"
      "Exit codes: 0 done, 2 no such sweep, 8 disk.");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace temper
