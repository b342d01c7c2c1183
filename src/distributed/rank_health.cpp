#include "distributed/rank_health.h"

#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>

#include "distributed/stacks.h"
#include "io/error.h"
#include "io/text.h"

namespace temper {

namespace {

std::string message_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    return known.what();
  }
}

/// What a main thread that is not in a collective, but well, may need until it looks at its peers.
constexpr std::chrono::milliseconds time_to_notice{300};

/// Ends the process without destructors and exit handlers, which might wait for other ranks.
[[noreturn]] void end_process() { ::_exit(static_cast<int>(ExitCode::distributed)); }

}  // namespace

// ---- RankHealth ------------------------------------------------------------------------------------------------------

struct RankHealth::State {
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::exception_ptr error;
  bool released = false;
};

RankHealth::RankHealth(std::int64_t rank, std::int64_t size, std::unique_ptr<Peers> peers, const CommunicatorSettings& settings)
    : rank_(rank), size_(size), peers_(std::move(peers)), settings_(settings), state_(std::make_shared<State>()), watcher_([this] {
        watch();
      }) {
  prepare_stacks();
}

RankHealth::~RankHealth() {
  release();
  watcher_.join();
}

/// Speaks up where nobody asks: the main thread may compute, and a library's call to a rank that is gone need not come back.
void RankHealth::watch() {
  constexpr auto interval = std::chrono::milliseconds(200);
  std::unique_lock lock(state_->mutex);
  while (!state_->changed.wait_for(lock, interval, [&] { return state_->released; })) {
    if (!peers_->lost()) continue;
    const auto noticed = [&] { return state_->released || state_->error != nullptr; };
    if (state_->changed.wait_for(lock, time_to_notice, noticed)) return;
    // The others have ended or end, and this rank's main thread is somewhere else.
    std::fprintf(stderr, "rank %lld does not come back from:\n", static_cast<long long>(rank_));
    print_stacks();
    if (state_->changed.wait_for(lock, grace, noticed)) return;
    lock.unlock();
    try {
      peers_->check("its own work to end");
    } catch (const Error&) {
      report(std::current_exception());
    }
    return;
  }
}

std::string RankHealth::ranks_on_hosts() const {
  const std::set<std::string> hosts(peers_->hosts().begin(), peers_->hosts().end());
  const auto count = [](std::size_t number, const std::string& noun) {
    return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
  };
  return count(static_cast<std::size_t>(size_), "rank") + " on " + count(hosts.size(), "host");
}

bool RankHealth::keep(const std::exception_ptr& error) {
  const std::lock_guard lock(state_->mutex);
  if (state_->error != nullptr) return false;
  state_->error = error;
  state_->changed.notify_all();
  return true;
}

void RankHealth::raise(const std::exception_ptr& error) {
  if (!keep(error)) return;
  // Before anything that could wait.
  try {
    std::thread([state = state_] {
      std::unique_lock lock(state->mutex);
      if (!state->changed.wait_for(lock, grace, [&] { return state->released; })) end_process();
    }).detach();
  } catch (const std::system_error&) {  // no thread to be had: there is nothing left to lose
    end_process();
  }
  peers_->fail(message_of(error));
}

void RankHealth::report(const std::exception_ptr& error) {
  if (!failed()) tell("temper: " + message_of(error));
  raise(error);
}

void RankHealth::fail(const std::string& reason) noexcept {
  try {
    if (keep(std::make_exception_ptr(Error(ExitCode::distributed, "rank " + std::to_string(rank_) + " ends: " + reason))))
      peers_->fail(reason);
  } catch (const std::exception&) {  // the others see the connection close
  }
}

bool RankHealth::failed() const {
  const std::lock_guard lock(state_->mutex);
  return state_->error != nullptr;
}

void RankHealth::check() const {
  std::exception_ptr error;
  {
    const std::lock_guard lock(state_->mutex);
    error = state_->error;
  }
  if (error != nullptr) std::rethrow_exception(error);
}

void RankHealth::release() {
  const std::lock_guard lock(state_->mutex);
  state_->released = true;
  state_->changed.notify_all();
}

// ---- Wait ------------------------------------------------------------------------------------------------------------

Wait::Wait(const RankHealth& health, std::string what, std::chrono::milliseconds timeout)
    : health_(health), what_(std::move(what)), timeout_(timeout) {}

void Wait::look(const std::function<std::vector<std::int64_t>()>& missing) {
  health_.check();
  health_.peers().check(what_);
  waited_ += time_.look();
  if (waited_ < timeout_) return;
  std::string ranks;
  const std::vector<std::int64_t> absent = missing();
  for (const std::int64_t rank : absent)
    ranks +=
        (ranks.empty() ? "" : ", ") + std::to_string(rank) + " (" + health_.peers().hosts()[static_cast<std::size_t>(rank)] + ")";
  const double seconds = std::chrono::duration<double>(timeout_).count();
  char text[32];
  std::snprintf(text, sizeof text, "%.4g s", seconds);
  const std::string message =
      "rank " + std::to_string(health_.rank()) + " waited " + text + " in " + what_ + " and nothing came from " +
      (absent.empty() ? "one or more ranks" : (absent.size() == 1 ? "rank " : "ranks ") + ranks) +
      ", though the connection lives: look at what that rank does; one that is only slow needs a longer timeout";
  std::fprintf(stderr, "rank %lld waits in %s:\n", static_cast<long long>(health_.rank()), what_.c_str());
  print_stacks();
  throw Error(ExitCode::distributed, message);
}

// ---- PeerCommunicator ------------------------------------------------------------------------------------------------

std::vector<std::string> PeerCommunicator::exchange(const std::string& mine, const std::string& what) {
  health_->check();
  try {
    return health_->peers().exchange(mine, what, health_->settings().timeout);
  } catch (const Error&) {
    health_->raise(std::current_exception());
    throw;
  }
}

void PeerCommunicator::meet(const std::string& what) {
  health_->check();
  try {
    health_->peers().exchange("", what, very_long);
  } catch (const Error&) {
    health_->raise(std::current_exception());
    throw;
  }
}

bool PeerCommunicator::part() noexcept {
  try {
    if (std::uncaught_exceptions() > 0) fail("it ended with an exception");
    if (health_->failed()) return false;
    health_->peers().exchange("", "the end of the run", health_->settings().timeout);
    return true;
  } catch (const std::exception&) {
    health_->report(std::current_exception());
    return false;
  }
}

}  // namespace temper
