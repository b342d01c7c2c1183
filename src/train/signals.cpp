#include "train/signals.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string_view>
#include <utility>

#include "io/error.h"

namespace temper {

namespace {

constexpr std::array<std::pair<int, const char*>, 5> stop_signals = {
    {{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}, {SIGHUP, "SIGHUP"}}};

volatile std::sig_atomic_t received = 0;  // a signal handler can reach nothing else
std::array<struct sigaction, stop_signals.size()> previous;
int listening = 0;  // StopSignals that live

void on_signal(int signal) {
  if (received != 0) _exit(128 + signal);  // the last committed checkpoint stands
  received = signal;
}

}  // namespace

StopSignals::StopSignals() {
  if (listening++ > 0) return;
  received = 0;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < stop_signals.size(); ++i) {
    sigaction(stop_signals[i].first, nullptr, &previous[i]);
    // Not so for SIGINT: shells without job control start what runs in the background with it ignored, and nobody means that.
    const bool may_stay = stop_signals[i].first == SIGHUP || stop_signals[i].first == SIGTERM;
    if (!may_stay || previous[i].sa_handler != SIG_IGN) sigaction(stop_signals[i].first, &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  if (--listening > 0) return;
  for (std::size_t i = 0; i < stop_signals.size(); ++i) sigaction(stop_signals[i].first, &previous[i], nullptr);
}

bool StopSignals::requested() { return received != 0; }

const char* StopSignals::name() {
  for (const auto& [number, name] : stop_signals)
    if (number == received) return name;
  return "";
}

void make_faults_errors() {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  // There is no way back from it: whoever read goes on with nothing.
  signal(SIGBUS, [](int) {
    constexpr std::string_view message =
        "temper: a file was cut short while it was read, or its disk failed; run again when it is whole\n";
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, message.data(), message.size());
    _exit(static_cast<int>(ExitCode::io));
  });
}

void hold_stop_signals(bool hold) {
  sigset_t set;
  sigemptyset(&set);
  for (const auto& [number, name] : stop_signals) sigaddset(&set, number);
  sigprocmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, nullptr);
}

}  // namespace temper
