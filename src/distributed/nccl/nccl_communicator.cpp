// Collectives over NCCL, on a stream of their own beside the device's. Events order the two; the host waits for neither.
//
// Shards may differ in length, so reduce_scatter is one reduction to each owner and all_gather one broadcast from each, in a group
// that NCCL runs as one: the bytes of the collectives of that name, no memory beside the buffer, and one way for all shards.
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "distributed/collective_arguments.h"
#include "distributed/communicator.h"
#include "distributed/nccl/nccl_communicator.h"
#include "distributed/rank_health.h"
#include "io/error.h"
#include "kernels/check.h"

namespace temper::TEMPER_BACKEND {
namespace {

void check_cuda(cudaError_t status, const char* call) {
  if (status != cudaSuccess) throw DeviceError(std::string(call) + ": " + cudaGetErrorString(status));
}

class Event {
 public:
  Event() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record(cudaStream_t stream) { check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  /// Work queued on `stream` from now on starts behind what was recorded.
  void hold(cudaStream_t stream) const { check_cuda(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent"); }
  bool reached() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) return false;
    check_cuda(status, "cudaEventQuery");
    return true;
  }

 private:
  cudaEvent_t event_ = nullptr;
};

std::vector<std::int64_t> nobody_known() { return {}; }  // NCCL does not tell whom it waits for

class NcclCommunicator final : public PeerCommunicator {
 public:
  NcclCommunicator(std::shared_ptr<RankHealth> health, cudaStream_t device_stream)
      : PeerCommunicator(std::move(health)), device_stream_(device_stream) {
    int version = 0;
    check_nccl(ncclGetVersion(&version), "ncclGetVersion");
    description_ = "NCCL " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
                   std::to_string(version % 100) + ", " + health_->ranks_on_hosts();
    check_cuda(cudaGetDevice(&device_), "cudaGetDevice");
    int least = 0, greatest = 0;  // the first to get multiprocessors: what waits for other ranks should begin early
    check_cuda(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    check_cuda(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, greatest), "cudaStreamCreate");
    try {
      connect();
      watcher_ = std::thread([this] { watch(); });
    } catch (const std::exception& error) {
      health_->fail(error.what());
      close(false);
      throw;
    }
  }

  ~NcclCommunicator() override {
    {
      std::unique_lock lock(mutex_);
      if (std::uncaught_exceptions() == 0) changed_.wait(lock, [&] { return unfinished_.empty() || health_->failed(); });
    }
    const bool whole = part();
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    watcher_.join();
    close(whole);
    health_->release();
  }

  std::string description() const override { return description_; }

  void all_reduce(TensorView values, const std::string& what) override {
    check_sum(values);
    submit("all_reduce of " + what, [&] {
      check_nccl(
          ncclAllReduce(values.data, values.data, static_cast<std::size_t>(values.numel()), ncclFloat, ncclSum, nccl_, stream_),
          "ncclAllReduce");
    });
  }

  void all_reduce(double* values, std::int64_t count, const std::string& what) override {
    submit("all_reduce of " + what, [&] {
      check_nccl(ncclAllReduce(values, values, static_cast<std::size_t>(count), ncclDouble, ncclSum, nccl_, stream_),
                 "ncclAllReduce");
    });
  }

  void reduce_scatter(TensorView values, const Shards& shards, const std::string& what) override {
    check_sum(values);
    check_shards(shards, size(), values.numel());
    submit("reduce_scatter of " + what, [&] {
      for (int owner = 0; owner < size(); ++owner) {
        float* shard = values.as<float>() + shards[owner];
        if (const std::size_t count = shards[owner + 1] - shards[owner]; count > 0)
          check_nccl(ncclReduce(shard, shard, count, ncclFloat, ncclSum, owner, nccl_, stream_), "ncclReduce");
      }
    });
  }

  void accumulate(TensorView /*values*/, const Shards& /*shards*/, TensorView /*sum*/, const std::string& what) override {
    throw Error(ExitCode::usage,
                "accumulation of " + what + ": NCCL adds in an order of its own; parallel.deterministic needs device=cpu");
  }

  void all_gather(TensorView values, const Shards& shards, const std::string& what) override {
    check_shards(shards, size(), values.numel());
    const std::size_t width = size_of(values.dtype);
    submit("all_gather of " + what, [&] {
      for (int owner = 0; owner < size(); ++owner) {
        char* shard = values.as<char>() + shards[owner] * width;
        if (const std::size_t bytes = (shards[owner + 1] - shards[owner]) * width; bytes > 0)
          check_nccl(ncclBroadcast(shard, shard, bytes, ncclChar, owner, nccl_, stream_), "ncclBroadcast");
      }
    });
  }

  void wait() override {
    health_->check();
    results_.record(stream_);
    results_.hold(device_stream_);
  }

 private:
  struct Collective {
    std::string what;
    Event ready;  // its operands are
    Event done;
  };

  /// Calls of a nonblocking communicator may be in progress when they return.
  void check_nccl(ncclResult_t status, const char* call) const {
    if (status == ncclSuccess || status == ncclInProgress) return;
    throw Error(ExitCode::distributed, "rank " + std::to_string(rank()) + ": " + call + " failed: " + ncclGetErrorString(status) +
                                           " (" + ncclGetLastError(nccl_) + "); NCCL_DEBUG=WARN makes NCCL say more");
  }

  /// Whether what was called last is no longer in progress.
  bool settled(const std::string& what) {
    const std::lock_guard lock(nccl_mutex_);
    health_->check();  // a failed communicator is no more
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(nccl_, &state), "ncclCommGetAsyncError");
    check_nccl(state, what.c_str());
    return state != ncclInProgress;
  }

  void settle(const std::string& what, std::chrono::milliseconds timeout) {
    Wait patience(*health_, what, timeout);
    while (!settled(what)) {
      patience.look(nobody_known);
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }

  void connect() {
    ncclUniqueId id{};
    if (rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    const std::string mine = rank() == 0 ? std::string(id.internal, sizeof id.internal) : std::string();
    const std::string told = health_->peers().exchange(mine, "NCCL's meeting", health_->settings().peers.meeting_timeout).at(0);
    if (told.size() != sizeof id.internal)
      throw Error(ExitCode::distributed, "rank 0 told a meeting place of NCCL of " + std::to_string(told.size()) +
                                             " bytes; one has " + std::to_string(sizeof id.internal) +
                                             ": is its NCCL another version?");
    std::memcpy(id.internal, told.data(), sizeof id.internal);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    check_nccl(ncclCommInitRankConfig(&nccl_, static_cast<int>(size()), id, static_cast<int>(rank()), &config),
               "ncclCommInitRankConfig");
    settle("NCCL's meeting", health_->settings().peers.meeting_timeout);
  }

  /// Queues what `calls` call, behind the device's work so far.
  template <typename Calls>
  void submit(std::string what, Calls calls) {
    health_->check();
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    check_cuda(cudaStreamIsCapturing(device_stream_, &capture), "cudaStreamIsCapturing");
    require(capture == cudaStreamCaptureStatusNone, "a collective inside Ops::replay");
    auto collective = take();
    collective->what = std::move(what);
    collective->ready.record(device_stream_);
    collective->ready.hold(stream_);
    try {
      {
        const std::lock_guard lock(nccl_mutex_);
        health_->check();
        check_nccl(ncclGroupStart(), "ncclGroupStart");
        calls();
        check_nccl(ncclGroupEnd(), "ncclGroupEnd");
      }
      // Until then its work is not on the stream. The first collectives also make connections here.
      settle(collective->what, health_->settings().timeout);
    } catch (const Error&) {
      health_->raise(std::current_exception());
      throw;
    }
    collective->done.record(stream_);
    const std::lock_guard lock(mutex_);
    unfinished_.push_back(std::move(collective));
    changed_.notify_all();
  }

  std::unique_ptr<Collective> take() {
    const std::lock_guard lock(mutex_);
    if (spare_.empty()) return std::make_unique<Collective>();
    auto collective = std::move(spare_.back());
    spare_.pop_back();
    return collective;
  }

  // ---- The watcher: a thread that follows each collective to its end and breaks off all of them where one fails ------

  void watch() {
    try {
      check_cuda(cudaSetDevice(device_), "cudaSetDevice");
      for (;;) {
        const Collective* oldest = nullptr;
        {
          std::unique_lock lock(mutex_);
          changed_.wait(lock, [&] { return stopping_ || !unfinished_.empty(); });
          if (stopping_) return;
          oldest = unfinished_.front().get();
        }
        follow(oldest->ready, oldest->what, very_long);  // the device's own work takes the time it takes
        follow(oldest->done, oldest->what, health_->settings().timeout);
        const std::lock_guard lock(mutex_);
        spare_.push_back(std::move(unfinished_.front()));
        unfinished_.pop_front();
        changed_.notify_all();
      }
    } catch (const std::exception&) {
      health_->report(std::current_exception());
    }
    // Without this the device would wait for the lost rank, and the main thread for the device.
    {
      const std::lock_guard lock(nccl_mutex_);
      ncclCommAbort(std::exchange(nccl_, nullptr));
    }
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

  void follow(const Event& event, const std::string& what, std::chrono::milliseconds timeout) {
    Wait patience(*health_, what, timeout);
    while (!event.reached()) {
      settled(what);
      patience.look(nobody_known);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  void close(bool whole) noexcept {
    if (nccl_ != nullptr && whole) {
      try {
        check_nccl(ncclCommFinalize(nccl_), "ncclCommFinalize");
        settle("the end of NCCL", health_->settings().timeout);
        ncclCommDestroy(std::exchange(nccl_, nullptr));
      } catch (const std::exception&) {
        health_->report(std::current_exception());
      }
    }
    if (nccl_ != nullptr) ncclCommAbort(nccl_);
    cudaStreamDestroy(stream_);
  }

  std::string description_;
  const cudaStream_t device_stream_;
  int device_ = 0;
  cudaStream_t stream_ = nullptr;
  Event results_;
  std::mutex nccl_mutex_;  // around calls of NCCL; the watcher may take the communicator away
  ncclComm_t nccl_ = nullptr;
  std::mutex mutex_;  // around what follows
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Collective>> unfinished_;
  std::vector<std::unique_ptr<Collective>> spare_;
  bool stopping_ = false;
  std::thread watcher_;
};

}  // namespace

std::unique_ptr<Communicator> make_communicator(const Launch& launch, const std::string& key, const CommunicatorSettings& settings,
                                                void* stream) {
  if (launch.size > 1 && launch.address.empty())
    throw Error(ExitCode::usage, "NCCL needs to know where rank 0 is, and " + launch.launcher +
                                     " does not tell: set MASTER_ADDR to its host and MASTER_PORT to a free port there");
  auto peers = std::make_unique<Peers>(launch, key, settings.peers);
  return std::make_unique<NcclCommunicator>(std::make_shared<RankHealth>(launch.rank, launch.size, std::move(peers), settings),
                                            static_cast<cudaStream_t>(stream));
}

}  // namespace temper::TEMPER_BACKEND
