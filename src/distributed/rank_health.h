// What a communicator knows of its run's health: the peers, the first thing that went wrong, and how to wait for other ranks
// without ever waiting for ever. Used by the main thread and by a communicator's own.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "distributed/communicator.h"
#include "distributed/peers.h"

namespace temper {

/// As good as for ever, and far from what a clock can hold.
constexpr std::chrono::milliseconds very_long = std::chrono::hours(24 * 365);

class RankHealth {
 public:
  RankHealth(std::int64_t rank, std::int64_t size, std::unique_ptr<Peers> peers, const CommunicatorSettings& settings);
  ~RankHealth();
  RankHealth(const RankHealth&) = delete;
  RankHealth& operator=(const RankHealth&) = delete;

  std::int64_t rank() const { return rank_; }
  std::int64_t size() const { return size_; }
  Peers& peers() const { return *peers_; }
  const CommunicatorSettings& settings() const { return settings_; }
  std::string ranks_on_hosts() const;  ///< "4 ranks on 2 hosts"

  /// Something went wrong. The first error is kept, and the others are told. Where the communicator is not released within `grace`
  /// the process ends with exit code 7, whatever its main thread is in.
  void raise(const std::exception_ptr& error);
  /// For threads beside the main one: raise(), and the message on stderr at once.
  void report(const std::exception_ptr& error);
  /// This rank ends for a reason of its own, in its own time.
  void fail(const std::string& reason) noexcept;
  bool failed() const;
  /// Throws the first error, if any.
  void check() const;
  /// The communicator is gone; the process may take its time.
  void release();

  static constexpr std::chrono::seconds grace{5};

 private:
  struct State;
  bool keep(const std::exception_ptr& error);
  void watch();

  const std::int64_t rank_, size_;
  const std::unique_ptr<Peers> peers_;
  const CommunicatorSettings settings_;
  const std::shared_ptr<State> state_;  // shared with the thread that keeps the time of `grace`
  std::thread watcher_;
};

/// One wait for other ranks, polled by who waits.
class Wait {
 public:
  Wait(const RankHealth& health, std::string what, std::chrono::milliseconds timeout);
  /// Throws Error(ExitCode::distributed) where the run has failed, a rank is lost, or nothing came for the timeout; `missing` tells
  /// the ranks whose turn it was (none: not known). To be called several times a second: see RunningTime.
  void look(const std::function<std::vector<std::int64_t>()>& missing);
  /// Something came: the timeout begins again.
  void came() {
    time_.look();
    waited_ = {};
  }

 private:
  const RankHealth& health_;
  const std::string what_;
  const std::chrono::milliseconds timeout_;
  RunningTime time_;
  std::chrono::steady_clock::duration waited_{0};
};

/// The part of a communicator that needs no collectives: MPI's and NCCL's are made on it.
class PeerCommunicator : public Communicator {
 public:
  explicit PeerCommunicator(std::shared_ptr<RankHealth> health) : health_(std::move(health)) {}
  std::int64_t rank() const override { return health_->rank(); }
  std::int64_t size() const override { return health_->size(); }
  void check() override { health_->check(); }
  std::vector<std::string> exchange(const std::string& mine, const std::string& what) override;
  void meet(const std::string& what) override;
  void fail(const std::string& reason) noexcept override { health_->fail(reason); }

 protected:
  /// For destructors: the last meeting, behind which no rank needs another. False where something failed, which stderr was told.
  bool part() noexcept;

  const std::shared_ptr<RankHealth> health_;
};

}  // namespace temper
