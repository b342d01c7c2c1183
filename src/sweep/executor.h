// Where trials run. The scheduler decides what runs next and what an end means; an executor starts processes and tells how they
// ended.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace temper {

struct TrialLaunch {
  std::string id;                      ///< the trial's
  std::vector<std::string> arguments;  ///< of temper
  std::filesystem::path log;           ///< what the process writes is added to this file
};

struct ProcessEnd {
  int exit_code = 0;
  int signal = 0;  ///< that ended it; 0: it ended by itself
};

struct EndedTrial {
  std::string id;
  ProcessEnd end;
};

class Executor {
 public:
  virtual ~Executor() = default;
  /// Whether another trial may start now.
  virtual bool has_room() const = 0;
  virtual void start(const TrialLaunch& launch) = 0;
  /// The trials that ended since the last call; does not wait.
  virtual std::vector<EndedTrial> poll() = 0;
  /// Asks what runs to save and stop; poll() tells when each has.
  virtual void cancel() = 0;
};

}  // namespace temper
