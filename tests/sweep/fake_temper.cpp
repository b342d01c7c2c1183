// fake_temper train CONFIG --out DIR --resume [--stop-when TEXT]: behaves towards a sweep as temper does, in milliseconds and without training.
//
// The validation loss follows from the configuration. What a trial does beside is told by its configuration's name: "crash" dies of
// a signal, "killed" of SIGKILL at each start, "silent" ends without a summary; a weight decay of 0.66 diverges. Whatever its text, a condition holds
// at step 7 for a weight decay of 0.3. Each start adds a
// line to DIR/starts.log; a start in the folder of a finished trial leaves DIR/ran_twice.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "config/parse.h"
#include "config/validate.h"
#include "io/error.h"
#include "io/file.h"

namespace {

namespace fs = std::filesystem;
using temper::RunConfig;

volatile std::sig_atomic_t stop = 0;

void on_signal(int signal) {
  if (stop != 0) _exit(128 + signal);
  stop = signal;
}

double validation_loss(const RunConfig& config) {
  const double decay = *config.optimizer.weight_decay - 0.1;
  const double warmup = static_cast<double>(config.schedule.warmup_steps.value_or(0));
  return 3.0 + decay * decay + 0.001 * warmup + 0.0001 * static_cast<double>(config.seed % 10) +
         1.0 / static_cast<double>(*config.train.steps);
}

std::int64_t saved_step(const fs::path& folder) {
  std::int64_t step = 0;
  std::ifstream(folder / "checkpoint") >> step;
  return step;
}

/// The number that it resumes from, and an empty folder where temper has its checkpoint.
void save(const fs::path& folder, std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step-%08lld", static_cast<long long>(step));
  fs::create_directories(folder / "checkpoints" / name);
  temper::write_file_atomically(folder / "checkpoint", std::to_string(step));
}

int train(const RunConfig& config, const fs::path& folder, const char* stop_when) {
  const temper::FolderLock lock(folder);
  std::ofstream(folder / "starts.log", std::ios::app) << getpid() << " " << std::getenv("OMP_NUM_THREADS") << "\n";
  const bool finished =
      fs::exists(folder / "summary.json") && temper::read_file(folder / "summary.json").find("stopped") == std::string::npos;
  if (finished) std::ofstream(folder / "ran_twice") << "!\n";
  if (config.name == "crash") raise(SIGSEGV);
  if (config.name == "silent") return 0;

  std::int64_t step = saved_step(folder);
  std::string lines;
  const auto line = [&](std::int64_t at) {
    lines +=
        "{\"step\":" + std::to_string(at) + ",\"loss\":4.5,\"seconds\":" + std::to_string(0.01 * static_cast<double>(at)) + "}\n";
  };
  for (std::int64_t at = 1; at <= step; ++at) line(at);
  std::ofstream metrics(folder / "metrics.jsonl", std::ios::trunc);
  metrics << lines << std::flush;
  while (step < config.train.steps) {
    if (stop != 0) {
      save(folder, step);
      return static_cast<int>(temper::ExitCode::saved);
    }
    lines.clear();
    line(++step);
    metrics << lines << std::flush;
    if (config.name == "killed") raise(SIGKILL);
    if (config.optimizer.weight_decay == 0.66) {
      std::fprintf(stderr, "step %lld: not finite\n", static_cast<long long>(step));
      return static_cast<int>(temper::ExitCode::numeric);
    }
    if (stop_when != nullptr && step >= 7 && config.optimizer.weight_decay == 0.3) {
      save(folder, step);
      temper::write_file_atomically(folder / "summary.json", "{\"steps\": " + std::to_string(step) +
                                                                 ", \"val_loss\": 1.0, \"stopped\": {\"step\": 7, \"when\": \"" +
                                                                 stop_when + "\"}}");
      return 0;
    }
    if (step % 5 == 0) save(folder, step);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  char summary[160];
  std::snprintf(summary, sizeof(summary),
                "{\"steps\": %lld, \"val_loss\": %.17g, \"best_val_loss\": null, \"train_seconds\": %.3f}\n",
                static_cast<long long>(step), validation_loss(config), 0.01 * static_cast<double>(step));
  temper::write_file_atomically(folder / "summary.json", summary);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
    struct sigaction action = {}, before = {};
    action.sa_handler = on_signal;
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN || signal != SIGTERM) sigaction(signal, &action, nullptr);
  }
  try {
    return train(temper::load_config(argv[2]), argv[4], argc > 7 ? argv[7] : nullptr);
  } catch (const temper::Error& error) {
    std::fprintf(stderr, "fake: %s\n", error.what());
    return static_cast<int>(error.code());
  }
}
