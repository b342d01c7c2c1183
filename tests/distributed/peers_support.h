// Ranks for tests: as objects of one process, or as processes that can be killed and stopped. All on 127.0.0.1.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "distributed/peers.h"
#include "io/error.h"

namespace temper {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// Where a test waits for what must happen: longer than any busy machine takes, so that only what never happens fails.
constexpr milliseconds patience{600'000};

/// No heartbeat is missed within a test: what is noticed, is noticed otherwise.
inline PeerSettings patient_settings() { return {patience, milliseconds(50), patience}; }
/// For tests in which a rank falls silent. The other ranks' threads must get a turn within the timeout.
inline PeerSettings quick_settings() { return {patience, milliseconds(50), milliseconds(2000)}; }

inline Launch launch_of(std::int64_t rank, std::int64_t size, int port) {
  return {rank, size, rank, size, "127.0.0.1", port, "test", "what these tests alone know"};
}

/// A port that is free now.
inline int free_port() { return Peers::place(*Peers::listen(0)).second; }

/// `count` ranks from `first` on, in this process, of a run of `size`; all come at the same time.
inline std::vector<std::unique_ptr<Peers>> meet(std::int64_t count, int port, const PeerSettings& settings, std::int64_t first = 0,
                                                std::int64_t size = 0) {
  std::vector<std::future<std::unique_ptr<Peers>>> coming;
  for (std::int64_t rank = first; rank < first + count; ++rank)
    coming.push_back(std::async(std::launch::async, [=] {
      return std::make_unique<Peers>(launch_of(rank, size == 0 ? count : size, port), "key", settings);
    }));
  std::vector<std::unique_ptr<Peers>> peers;
  for (auto& one : coming) peers.push_back(one.get());
  return peers;
}

/// The error that `action` ends with, or "".
inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::distributed) << error.what();
    return error.what();
  }
  return "";
}

#define EXPECT_CONTAINS(text, part) \
  EXPECT_NE(std::string(text).find(part), std::string::npos) << "\"" << (text) << "\" lacks \"" << (part) << "\""

/// The rank that `peers` lost, waited for.
inline LostPeer lost_of(const Peers& peers) {
  for (const auto end = steady_clock::now() + patience; steady_clock::now() < end; std::this_thread::sleep_for(milliseconds(2)))
    if (const auto lost = peers.lost()) return *lost;
  ADD_FAILURE() << "no rank was lost";
  return {-1, "", ""};
}

/// A process of its own that runs `action`, made before this process has threads. It says through a pipe what it was asked to say
/// or what error ended it.
class Child {
 public:
  using Say = std::function<void(const std::string&)>;
  explicit Child(const std::function<void(const Say&)>& action) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that dies must leave no process behind
      const Say say = [&](const std::string& text) {
        if (::write(ends[1], (text + "\n").data(), text.size() + 1) < 0) ::_exit(3);
      };
      try {
        action(say);
      } catch (const std::exception& error) {
        say(error.what());
        ::_exit(7);
      }
      ::_exit(0);
    }
    ::close(ends[1]);
    pipe_ = ends[0];
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    wait();
    ::close(pipe_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void signal(int number) const { ::kill(pid_, number); }
  /// The next line it says; "" where it ended.
  std::string line() const {
    std::string line;
    for (char c; ::read(pipe_, &c, 1) == 1 && c != '\n';) line += c;
    return line;
  }
  int wait() {
    if (!ended_) ::waitpid(pid_, &status_, 0);
    ended_ = true;
    return status_;
  }

 private:
  pid_t pid_ = -1;
  int pipe_ = -1, status_ = 0;
  bool ended_ = false;
};

/// A process that is one rank, says "met", and then does nothing for itself.
inline std::unique_ptr<Child> idle_rank(std::int64_t rank, std::int64_t size, int port, const PeerSettings& settings) {
  return std::make_unique<Child>([=](const Child::Say& say) {
    Peers peers(launch_of(rank, size, port), "key", settings);
    say("met");
    std::this_thread::sleep_for(patience);
  });
}

}  // namespace temper
