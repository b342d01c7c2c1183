// Where trials run: on this machine, or wherever else an Executor brings them. The scheduler decides what runs next and what an end
// means; an executor starts processes and tells how they ended.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/process.h"
#include "sweep/sweep_file.h"

namespace temper {

struct TrialLaunch {
  std::string id;                ///< the trial's
  std::filesystem::path folder;  ///< its run directory: config.json is there, what the process writes is added to trial.log
  std::string stop_when = {};    ///< the sweep's
};

/// When a process worked, in seconds since 1970.
struct ProcessTimes {
  double started = 0.0, ended = 0.0;
};

inline double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

struct EndedTrial {
  std::string id;
  ProcessEnd end;
  ProcessTimes times;  ///< started 0: nobody saw it run
};

/// What a trial's command line has after its configuration and folder.
std::vector<std::string> trial_options(const SweepResources& resources, const std::string& stop_when);

class Executor {
 public:
  virtual ~Executor() = default;
  /// Takes over those of these trials that an earlier process of the sweep started and whose end it has not told; returns their
  /// ids. From then on they are as if start() had been called.
  virtual std::vector<std::string> adopt(const std::vector<TrialLaunch>&) { return {}; }
  /// Whether another trial may start now.
  virtual bool has_room() const = 0;
  virtual void start(const TrialLaunch& launch) = 0;
  /// Whether a trial that was started waits for a machine.
  virtual bool waits(const std::string&) const { return false; }
  /// The trials that ended since the last call; does not wait for any.
  virtual std::vector<EndedTrial> poll() = 0;
  /// Asks what runs to save and stop, and starts nothing that waits; poll() tells when each has ended.
  virtual void cancel() = 0;
};

/// What the command line knows about this machine.
struct LocalMachine {
  std::filesystem::path program;         ///< temper itself
  std::vector<std::string> environment;  ///< NAME=VALUE
  std::int64_t cores = 1;
  std::vector<std::string> gpus;             ///< names that CUDA_VISIBLE_DEVICES understands
  std::int64_t threads_per_process = cores;  ///< at most, where resources.threads_per_trial does not say
};

/// Trials as processes of this machine, each in a process group of its own.
class LocalExecutor : public Executor {
 public:
  /// Resources that the machine does not have: Error(ExitCode::usage).
  LocalExecutor(LocalMachine machine, const SweepResources& resources);
  /// Asks what still runs to save, and waits for it.
  ~LocalExecutor() override;

  bool has_room() const override;
  void start(const TrialLaunch& launch) override;
  std::vector<EndedTrial> poll() override;
  void cancel() override;

 private:
  /// A share of the machine: its environment, and who has it.
  struct Slot {
    std::vector<std::string> environment;
    std::string trial;
    pid_t process = 0;      ///< 0: free
    double started = 0.0;   ///< seconds since 1970
    bool stopping = false;  ///< was asked to; a second signal would end it before it has saved
  };

  std::filesystem::path program_;
  SweepResources resources_;
  std::vector<Slot> slots_;
};

}  // namespace temper
