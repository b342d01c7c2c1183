// SIGINT, SIGTERM, SIGUSR1, SIGUSR2 and SIGHUP ask a run to stop: the first one sets a flag that loops poll, a second one ends
// the process at once. SIGHUP or SIGTERM stays ignored where it is when temper begins: nohup asks for it, and batch scripts that
// pass signals on themselves. SIGPIPE is ignored: a closed pipe is a write error, not a death.
#pragma once

namespace temper {

class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// True once a signal has come.
  static bool requested();
  /// "SIGTERM"; "" when none has come.
  static const char* name();
};

/// Ignores SIGPIPE for the process; called once by main.
void ignore_closed_pipes();

}  // namespace temper
