// SIGINT, SIGTERM, SIGUSR1, SIGUSR2 and SIGHUP ask a run to stop: the first one sets a flag that loops poll, a second one ends
// the process at once. SIGHUP or SIGTERM stays ignored where it is when temper begins: nohup asks for it, and batch scripts that
// pass signals on themselves.
#pragma once

namespace temper {

/// Several may live at once: the first listens, and what it heard is forgotten when the last is gone and another begins.
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

/// A closed pipe and a file that would grow beyond its limit (ulimit -f) are errors of the write, not the end of the process. A mapped
/// file that is cut short under its reader ends it with ExitCode::io.
void make_faults_errors();

/// Keeps stop signals waiting, also across exec, until somebody listens.
void hold_stop_signals(bool hold);

}  // namespace temper
