#include "distributed/peers.h"

#include <signal.h>

#include <algorithm>
#include <asio.hpp>
#include <exception>
#include <future>
#include <iomanip>
#include <sstream>
#include <thread>
#include <utility>

#include "distributed/peer_connection.h"
#include "distributed/peer_messages.h"
#include "distributed/peer_network.h"
#include "io/descriptor.h"
#include "io/error.h"
#include "kernels/check.h"

namespace temper {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// How long a process that ends waits for what it has still to say: far more than a message takes, little beside a restart.
constexpr milliseconds ending_limit{2000};
// How long an exchange that ran out of time waits to hear from rank 0 who did not come.
constexpr milliseconds answer_limit{2000};

std::string rank_on_host(std::int64_t rank, const std::string& host) { return "rank " + std::to_string(rank) + " on " + host; }

}  // namespace

std::string duration_text(std::chrono::milliseconds duration) {
  std::ostringstream text;
  text << static_cast<double>(duration.count()) / 1000 << " s";
  return text.str();
}

std::string ranks_text(const std::vector<std::int64_t>& ranks) {
  constexpr std::size_t most = 8;
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  const std::size_t named = std::min(ranks.size(), most);
  for (std::size_t i = 0; i < named; ++i) {
    if (i > 0) text += i + 1 == ranks.size() ? " and " : ", ";
    text += std::to_string(ranks[i]);
  }
  if (ranks.size() > most) text += " and " + std::to_string(ranks.size() - most) + " more";
  return text;
}

PeerNetwork::PeerNetwork(asio::io_context& io, const PeerSetup& setup, PeerBoard& board)
    : io_(io),
      setup_(setup),
      board_(board),
      deadline_(steady_clock::now() + setup.settings.meeting_timeout),
      silent_("no sign of life for " + duration_text(setup.settings.heartbeat_timeout)) {}

bool PeerNetwork::beat_is_due(milliseconds passed) {
  const bool due = (since_beat_ += passed) >= setup_.settings.heartbeat_interval;
  if (due) since_beat_ = milliseconds(0);
  return due;
}

struct Peers::State {
  State(const Launch& launch, std::shared_ptr<Listener> listener, const std::string& key, const PeerSettings& settings);
  ~State();

  void start_thread();
  asio::awaitable<void> tick();
  void settle();
  [[noreturn]] void throw_lost(const LostPeer& lost, const std::string& what) const;
  [[noreturn]] void throw_late(std::uint64_t number, const std::string& what, milliseconds timeout,
                               std::unique_lock<std::mutex>& lock);

  PeerSetup setup;
  PeerBoard board;
  std::uint64_t exchanges = 0;
  bool late = false;  // one ran out of time

  asio::io_context io{1};
  milliseconds period{0};                // of ticks
  std::unique_ptr<PeerNetwork> network;  // none in a run of one process
  std::thread thread;
};

Peers::State::State(const Launch& launch, std::shared_ptr<Listener> listener, const std::string& key, const PeerSettings& settings)
    : setup{launch, readable(host_name(), max_host), key, settings} {
  require(key.size() <= max_key, "the key of a meeting is a hash, of 512 bytes at most");
  if (setup.size == 1) {
    board.met = Welcome{{setup.host}};
    return;
  }
  if (settings.heartbeat_timeout < 2 * settings.heartbeat_interval)
    throw Error(ExitCode::usage, "a heartbeat timeout of " + duration_text(settings.heartbeat_timeout) +
                                     " must be at least twice the heartbeat interval, " +
                                     duration_text(settings.heartbeat_interval));
  if (!listener && (setup.address.empty() || setup.port == 0))
    throw Error(ExitCode::usage, "rank " + std::to_string(setup.rank) + " does not know where rank 0 is: " + launch.launcher +
                                     " names no place; set MASTER_ADDR to rank 0's machine and MASTER_PORT to a free port there");
  period = std::clamp(settings.heartbeat_interval / 4, milliseconds(1), milliseconds(250));
  if (setup.rank == 0) {
    if (!listener) listener = std::make_shared<Listener>(setup.port, setup.address);
    setup.port = listener->place().port();
    network = make_peer_hub(io, setup, board, listener->take(io));
  } else {
    network = make_peer_spoke(io, setup, board);
  }
  start_thread();
}

Peers::State::~State() {
  if (!thread.joinable()) return;
  io.stop();
  thread.join();
}

void Peers::State::start_thread() {
  spawn(io.get_executor(), tick());
  // Signals are for the program's own threads: a handler must not run, nor a call be interrupted, on this one.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread = std::thread([this] {
    try {
      io.run();
    } catch (const std::exception& error) {
      board.publish(&PeerBoard::lost, {setup.rank, setup.host, std::string("its connections failed: ") + error.what()});
    }
  });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

asio::awaitable<void> Peers::State::tick() {
  asio::steady_timer timer(io);
  for (RunningTime time(2 * period);;) {
    network->tick(std::chrono::round<milliseconds>(time.look()));
    timer.expires_after(period);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

/// Returns when network->settled(), or after ending_limit.
void Peers::State::settle() {
  const auto deadline = steady_clock::now() + ending_limit;
  const auto wait = [this, deadline]() -> asio::awaitable<void> {
    asio::steady_timer pause(io);
    while (!network->settled() && steady_clock::now() < deadline) {
      pause.expires_after(milliseconds(1));
      co_await pause.async_wait(asio::use_awaitable);
    }
  };
  asio::co_spawn(io, wait, asio::use_future).wait_until(deadline);
}

void Peers::State::throw_lost(const LostPeer& lost, const std::string& what) const {
  const std::string who = rank_on_host(lost.rank, lost.host);
  if (lost.rank == setup.rank)
    throw Error(ExitCode::distributed, who + " (this process) was given up by the others (" + lost.reason + ") before " + what);
  throw Error(ExitCode::distributed,
              who + " is gone (" + lost.reason + ") while rank " + std::to_string(setup.rank) + " waited for " + what);
}

void Peers::State::throw_late(std::uint64_t number, const std::string& what, milliseconds timeout,
                              std::unique_lock<std::mutex>& lock) {
  late = true;
  asio::post(io, [this, number] { network->ask(number); });
  board.changed.wait_for(lock, answer_limit, [&] { return (board.absent && board.absent->number == number) || board.lost; });
  if (board.lost) throw_lost(*board.lost, what);
  const std::vector<std::string>& hosts = board.met->hosts;
  std::string who = "rank 0 on " + hosts.front() + " does not say who is missing";
  if (board.absent && board.absent->number == number) {
    const std::vector<std::int64_t>& ranks = board.absent->ranks;
    who = ranks.empty()       ? "all ranks came, but their values took too long"
          : ranks.size() == 1 ? rank_on_host(ranks[0], hosts[static_cast<std::size_t>(ranks[0])]) + " has not come"
                              : ranks_text(ranks) + " have not come";
  }
  throw Error(ExitCode::distributed,
              "rank " + std::to_string(setup.rank) + " waited " + duration_text(timeout) + " for " + what + ": " + who);
}

Peers::Peers(const Launch& launch, const std::string& key, const PeerSettings& settings) : Peers(launch, nullptr, key, settings) {}

Peers::Peers(const Launch& launch, std::shared_ptr<Listener> listener, const std::string& key, const PeerSettings& settings)
    : state_(std::make_unique<State>(launch, std::move(listener), key, settings)) {
  PeerBoard& board = state_->board;
  std::unique_lock lock(board.mutex);
  board.changed.wait(lock, [&] { return board.met || board.failure || board.lost; });
  if (board.met) return;
  const std::string why = board.failure ? *board.failure : board.lost->reason;
  lock.unlock();
  state_->settle();  // those who came are told why it ends
  throw Error(ExitCode::distributed, why);
}

Peers::~Peers() {
  if (!state_->network) return;
  asio::post(state_->io, [state = state_.get()] { state->network->farewell(); });
  state_->settle();
}

std::vector<std::string> Peers::exchange(const std::string& mine, const std::string& what, milliseconds timeout) {
  require(mine.size() <= max_value, "a value to exchange has 1 MiB at most");
  if (!state_->network) return {mine};
  PeerBoard& board = state_->board;
  check(what);
  require(!state_->late, "no exchange follows one that ran out of time");
  const std::uint64_t number = ++state_->exchanges;
  asio::post(state_->io,
             [state = state_.get(), number, what = readable(what, max_what), mine] { state->network->offer(number, what, mine); });
  std::unique_lock lock(board.mutex);
  const auto whole = [&] { return board.result && board.result->number == number; };
  const auto settled = [&] { return whole() || board.lost; };
  RunningTime time;
  // Counted in milliseconds, whose largest number the clock's own cannot hold.
  for (steady_clock::duration passed{0}; std::chrono::floor<milliseconds>(passed) < timeout && !settled(); passed += time.look())
    board.changed.wait_for(lock, std::min(timeout, milliseconds(250)), settled);
  if (whole()) return std::move(board.result->values);
  if (board.lost) state_->throw_lost(*board.lost, what);
  state_->throw_late(number, what, timeout, lock);
}

std::optional<LostPeer> Peers::lost() const {
  const std::lock_guard lock(state_->board.mutex);
  return state_->board.lost;
}

void Peers::check(const std::string& what) const {
  if (const std::optional<LostPeer> peer = lost()) state_->throw_lost(*peer, what);
}

void Peers::fail(const std::string& reason) {
  if (!state_->network) return;
  asio::post(state_->io, [state = state_.get(), reason] { state->network->fail(reason); });
  state_->settle();
}

std::string Peers::new_secret() {
  std::ostringstream text;
  for (const char byte : used_once()) text << std::hex << std::setw(2) << std::setfill('0') << (byte & 0xff);
  return text.str();
}

const std::vector<std::string>& Peers::hosts() const { return state_->board.met->hosts; }

}  // namespace temper
