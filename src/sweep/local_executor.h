// Trials as processes of this machine, each in a process group of its own.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "sweep/executor.h"
#include "sweep/sweep_file.h"

namespace temper {

/// What the command line knows about this machine.
struct LocalMachine {
  std::filesystem::path program;         ///< temper itself
  std::vector<std::string> environment;  ///< NAME=VALUE
  std::int64_t cores = 1;
  std::vector<std::string> gpus;  ///< names that CUDA_VISIBLE_DEVICES understands
};

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
  std::vector<Slot> slots_;
};

}  // namespace temper
