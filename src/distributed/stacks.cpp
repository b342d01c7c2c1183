#include "distributed/stacks.h"

#include <dirent.h>
#include <execinfo.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

namespace temper {

namespace {

std::atomic<pid_t> asked = 0;  // the thread whose turn it is; 0 when it has answered

int signal_number() { return SIGRTMIN + 5; }

void answer(int) {
  const auto self = static_cast<pid_t>(::syscall(SYS_gettid));
  if (asked.load() != self) return;  // it came too late
  std::array<void*, 64> frames{};
  const int depth = ::backtrace(frames.data(), static_cast<int>(frames.size()));
  // The first two are this handler and the kernel's return from it.
  if (depth > 2) ::backtrace_symbols_fd(frames.data() + 2, depth - 2, STDERR_FILENO);
  asked.store(0);
}

std::string name_of_thread(pid_t thread) {
  char name[64] = "";
  if (std::FILE* file = std::fopen(("/proc/self/task/" + std::to_string(thread) + "/comm").c_str(), "re")) {
    if (std::fgets(name, sizeof name, file) == nullptr) name[0] = '\0';
    std::fclose(file);
  }
  std::string text = name;
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

void prepare_stacks() {
  static std::once_flag once;
  std::call_once(once, [] {
    std::array<void*, 1> frame{};
    ::backtrace(frame.data(), 1);  // loads what it needs now: a handler must not
    struct sigaction action = {};
    action.sa_handler = answer;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(signal_number(), &action, nullptr);
  });
}

void print_stacks() {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  prepare_stacks();
  DIR* const folder = ::opendir("/proc/self/task");
  if (folder == nullptr) return;
  while (const dirent* entry = ::readdir(folder)) {
    const auto thread = static_cast<pid_t>(std::atoi(entry->d_name));
    if (thread == 0) continue;
    std::fprintf(stderr, "thread %d (%s):\n", thread, name_of_thread(thread).c_str());
    std::fflush(stderr);
    asked.store(thread);
    if (::syscall(SYS_tgkill, ::getpid(), thread, signal_number()) != 0) continue;
    for (int i = 0; i < 100 && asked.load() == thread; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::closedir(folder);
  asked.store(0);
}

}  // namespace temper
