// Where trials run. The scheduler decides what runs next and what an end means; an executor starts processes and tells how they
// ended.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace temper {

struct TrialLaunch {
  std::string id;                ///< the trial's
  std::filesystem::path folder;  ///< its run directory: config.json is there, what the process writes is added to trial.log
};

struct ProcessEnd {
  int exit_code = 0;
  int signal = 0;  ///< that ended it; 0: it ended by itself
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

}  // namespace temper
