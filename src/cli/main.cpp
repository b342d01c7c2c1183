// temper's entry: parses the command line, runs a subcommand, and turns what was thrown into a message and an exit code.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "cli/commands.h"
#include "distributed/launch.h"
#include "io/text.h"
#include "kernels/check.h"
#include "kernels/machine.h"
#include "train/signals.h"

namespace {

int fail(temper::ExitCode code, const std::string& what) {
  temper::tell("temper: " + what);
  return static_cast<int>(code);
}

/// Descriptors 0 to 2 that the program was started without are /dev/null: the first file opened, such as a run's log, would get one
/// of their numbers, and whatever is printed.
void fill_standard_streams() {
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream)
    if (::fcntl(stream, F_GETFD) < 0 && ::open("/dev/null", O_RDWR) != stream) ::_exit(static_cast<int>(temper::ExitCode::io));
}

/// Its place in a launch, where the environment makes sense; the command that needs it says what does not.
std::optional<temper::Launch> launch() {
  try {
    return temper::read_launch();
  } catch (const temper::Error&) {
    return std::nullopt;
  }
}

/// OpenMP's threads wait for each other by spinning, with GCC's runtime for some 15 ms. On a machine that does anything else
/// (another trial, a browser) the thread that is waited for often has no processor meanwhile, and runs take longer
/// (docs/performance.md).
/// 2,000 turns are about 0.1 ms, after that they sleep. And ranks on one machine share its processors. The runtime reads its
/// variables when it is loaded, so the program starts itself once more; where it cannot, it goes on as it is.
void settle_threads(char** argv) {
  bool changed = false;
  if (std::getenv("GOMP_SPINCOUNT") == nullptr && std::getenv("OMP_WAIT_POLICY") == nullptr) {
    ::setenv("GOMP_SPINCOUNT", "2000", 1);
    changed = true;
  }
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    const auto place = launch();
    const int ranks = place ? static_cast<int>(place->local_size) : 1;
    if (ranks > 1 || std::isfinite(temper::group_limits().processors)) {  // OpenMP knows of affinity, not of quotas
      ::setenv("OMP_NUM_THREADS", std::to_string(std::max(1, temper::usable_processors() / ranks)).c_str(), 1);
      changed = true;
    }
  }
  std::error_code unknown;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", unknown);
  if (changed && !unknown) ::execv(program.c_str(), argv);
}

std::string explained(const std::exception& error) {
  const temper::ExitCode code = temper::exit_code_of(error);
  if (code == temper::ExitCode::unexpected) return std::string("unexpected error, please report it: ") + error.what();
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr)
    return "out of memory: lower batch.micro_batch or model.n_ctx; --dry-run prints the plan";
  if (code == temper::ExitCode::memory && dynamic_cast<const std::system_error*>(&error) != nullptr)
    return "cannot start a thread: " + temper::thread_limits();
  return error.what();
}

/// Of several ranks, none waits at its end for libraries that still wait for others.
int leave(int code) {
  if (const auto place = launch(); !place || place->size == 1) return code;
  std::fflush(nullptr);
  ::_exit(code);
}

int run(int argc, char** argv) {
  // What saves on a signal listens before it begins; all else ends as any program does.
  const std::string_view command = argc > 1 ? argv[1] : "";
  std::optional<temper::StopSignals> signals;
  if (command == "train" || command == "sweep") signals.emplace();
  temper::hold_stop_signals(false);
  CLI::App app("Trains GPT-2: from a text to a model that writes, on CPU and GPU.", "temper");
  app.require_subcommand(1);
  app.set_version_flag("--version", temper::version);
  app.footer("Start with: scripts/quickstart.sh   More: README.md, docs/");
  temper::ExitCode exit_code = temper::ExitCode::ok;
  temper::add_train_command(app, exit_code);
  temper::add_eval_command(app);
  temper::add_sample_command(app);
  temper::add_data_command(app);
  temper::add_import_command(app);
  temper::add_export_command(app);
  temper::add_bench_command(app);
  temper::add_sweep_command(app, exit_code);
  temper::add_report_command(app);
  temper::add_config_command(app);
  temper::add_doctor_command(app);

  try {
    app.parse(argc, argv);  // runs the subcommand
    return static_cast<int>(exit_code);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help and --version come this way too
    std::string hint = "\n  --help says what there is";
    for (int i = 2; command == "train" && i < argc; ++i)
      if (std::string_view(argv[i]).starts_with("--") && std::string_view(argv[i]).find('=') != std::string_view::npos)
        hint = "\n  settings are written without dashes, as optimizer.learning_rate=3e-4; --help says what options there are";
    return fail(temper::ExitCode::usage, error.what() + hint);
  } catch (const std::exception& error) {
    return fail(temper::exit_code_of(error), explained(error));
  }
}

}  // namespace

int main(int argc, char** argv) {
  temper::hold_stop_signals(true);
  temper::make_faults_errors();
  fill_standard_streams();
  settle_threads(argv);
  return leave(run(argc, argv));
}
