// Collectives over MPI: queued by the main thread, done by the one thread that calls MPI.
#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <sstream>
#include <utility>

#include "distributed/collective_arguments.h"
#include "distributed/communicator.h"
#include "distributed/mpi/mpi_transfers.h"
#include "distributed/mpi/work_queue.h"
#include "distributed/rank_health.h"
#include "io/error.h"
#include "kernels/check.h"

namespace temper {
namespace {

class MpiCommunicator final : public PeerCommunicator {
 public:
  MpiCommunicator(std::shared_ptr<RankHealth> health, std::unique_ptr<WorkQueue> queue, const std::string& library)
      : PeerCommunicator(std::move(health)),
        description_(library + ", " + health_->ranks_on_hosts()),
        transfers_(std::make_shared<MpiTransfers>(health_)),
        queue_(std::move(queue)) {}

  ~MpiCommunicator() override {
    try {
      if (std::uncaught_exceptions() == 0 && !health_->failed()) queue_->wait();
    } catch (const std::exception&) {  // the queue's thread has said it
    }
    // MPI_Finalize waits for all ranks, so it is called only when all are about to, and nobody waits for it for ever.
    if (part()) {
      queue_->push([] { MPI_Finalize(); });
      queue_->wait_for(health_->settings().timeout);
    }
    queue_.reset();
    health_->release();
  }

  std::string description() const override { return description_; }

  void all_reduce(TensorView values, const std::string& what) override {
    check_sum(values);
    queue_sum(values.as<float>(), values.numel(), what);
  }
  void all_reduce(double* values, std::int64_t count, const std::string& what) override { queue_sum(values, count, what); }

  void reduce_scatter(TensorView values, const Shards& shards, const std::string& what) override {
    check_sum(values);
    check_shards(shards, size(), values.numel());
    queue("reduce_scatter of " + what, [values, shards](MpiTransfers& transfers, const std::string& named) {
      transfers.reduce_scatter(values.as<float>(), shards, named);
    });
  }

  void accumulate(TensorView values, const Shards& shards, TensorView sum, const std::string& what) override {
    check_shards(shards, size(), values.numel());
    check_accumulation(values, shards, sum, rank());
    queue("accumulation of " + what, [values, shards, sum](MpiTransfers& transfers, const std::string& named) {
      transfers.accumulate(values.as<float>(), shards, sum.as<float>(), named);
    });
  }

  void all_gather(TensorView values, const Shards& shards, const std::string& what) override {
    check_shards(shards, size(), values.numel());
    queue("all_gather of " + what,
          [values, bytes = in_bytes(shards, size_of(values.dtype))](MpiTransfers& transfers, const std::string& named) {
            transfers.all_gather(values.as<char>(), bytes, named);
          });
  }

  void wait() override {
    queue_->wait();
    health_->check();
  }

 private:
  static Shards in_bytes(Shards shards, std::size_t width) {
    for (std::int64_t& begin : shards) begin *= static_cast<std::int64_t>(width);
    return shards;
  }

  template <typename T>
  void queue_sum(T* values, std::int64_t count, const std::string& what) {
    queue("all_reduce of " + what,
          [values, shards = even_shards(count, size())](MpiTransfers& transfers, const std::string& named) {
            transfers.reduce_scatter(values, shards, named);
            transfers.all_gather(reinterpret_cast<char*>(values), in_bytes(shards, sizeof(T)), named);
          });
  }

  template <typename Work>
  void queue(std::string what, Work work) {
    health_->check();
    queue_->push([transfers = transfers_, health = health_, what = std::move(what), work = std::move(work)] {
      try {
        work(*transfers, what);
      } catch (const std::exception&) {
        health->report(std::current_exception());
        throw;
      }
    });
  }

  const std::string description_;
  const std::shared_ptr<MpiTransfers> transfers_;
  std::unique_ptr<WorkQueue> queue_;
};

/// What MPI says of itself and of this process.
struct World {
  int rank = 0, size = 0;
  std::string library;
};

void initialize(World& world) {
  int initialized = 0;
  MPI_Initialized(&initialized);
  require(initialized == 0, "a second MPI communicator in one process; MPI begins and ends once");
  int level = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);  // ends the process where it fails
  if (level < MPI_THREAD_FUNNELED)
    throw Error(ExitCode::usage, "this MPI library cannot be used in a program with threads: MPI_Init_thread gives level " +
                                     std::to_string(level) + ", and MPI_THREAD_FUNNELED is needed; use another build of it");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &world.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &world.size);
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(text, &length);
  world.library = std::string(text, text + std::strcspn(text, ",\n"));  // "Open MPI v4.1.4, package: ..."
  std::replace(world.library.begin(), world.library.end(), '\t', ' ');
}

/// Does `work` on the queue's thread, which may be stuck in MPI when the time is over.
void run(WorkQueue& queue, const Launch& launch, const char* what, std::chrono::milliseconds limit, std::function<void()> work) {
  queue.push(std::move(work));
  if (!queue.wait_for(limit))
    throw Error(ExitCode::distributed,
                "rank " + std::to_string(launch.rank) + ": " + what + " did not come back within " +
                    std::to_string(limit.count() / 1000) +
                    " s; a process of this run did not start, or its host is not reached: look at the launcher");
}

const std::string own_secret = "-";  // the one that the launcher told

/// Rank 0 tells over MPI what the launcher told nobody: its place, and a secret.
std::unique_ptr<Peers> meet_by_mpi(WorkQueue& queue, const Launch& launch, const std::string& key, const PeerSettings& settings) {
  Launch found = launch;
  std::shared_ptr<Peers::Listener> listener;
  const auto told = std::make_shared<std::array<char, 4096>>();  // "PORT SECRET ADDRESS,ADDRESS", and zeros
  if (launch.rank == 0) {
    if (launch.secret.empty()) found.secret = Peers::new_secret();
    if (launch.address.empty()) {
      listener = Peers::listen(0, launch.local_size == launch.size ? "127.0.0.1" : "");
      const auto [addresses, port] = Peers::place(*listener);
      found.port = port;
      for (const std::string& address : addresses) found.address += (found.address.empty() ? "" : ",") + address;
    }
    const std::string text =
        std::to_string(found.port) + " " + (launch.secret.empty() ? found.secret : own_secret) + " " + found.address;
    require(text.size() < told->size(), "this host has more addresses than any host");
    std::copy(text.begin(), text.end(), told->begin());
  }
  run(queue, launch, "MPI_Bcast", settings.meeting_timeout,
      [told] { MPI_Bcast(told->data(), static_cast<int>(told->size()), MPI_CHAR, 0, MPI_COMM_WORLD); });
  if (launch.rank == 0) return std::make_unique<Peers>(found, listener, key, settings);
  told->back() = '\0';
  int port = 0;
  std::string secret, address;
  std::istringstream(told->data()) >> port >> secret >> address;
  if (secret != own_secret) found.secret = secret;
  if (launch.address.empty()) {
    found.port = port;
    found.address = address;
  }
  return std::make_unique<Peers>(found, key, settings);
}

}  // namespace

bool mpi_is_built() { return true; }

std::unique_ptr<Communicator> make_mpi_communicator(const Launch& launch, const std::string& key,
                                                    const CommunicatorSettings& settings) {
  auto queue = std::make_unique<WorkQueue>();
  const auto world = std::make_shared<World>();
  run(*queue, launch, "MPI_Init", settings.peers.meeting_timeout, [world] { initialize(*world); });
  if (world->size != launch.size || world->rank != launch.rank)
    throw Error(ExitCode::usage,
                "the environment says rank " + std::to_string(launch.rank) + " of " + std::to_string(launch.size) + " (" +
                    launch.launcher + "), and " + world->library + " says rank " + std::to_string(world->rank) + " of " +
                    std::to_string(world->size) +
                    ": start the processes with mpirun, or with srun --mpi=pmix, and no variables of another launcher");
  auto peers =
      launch.size > 1 ? meet_by_mpi(*queue, launch, key, settings.peers) : std::make_unique<Peers>(launch, key, settings.peers);
  auto health = std::make_shared<RankHealth>(launch.rank, launch.size, std::move(peers), settings);
  return std::make_unique<MpiCommunicator>(std::move(health), std::move(queue), world->library);
}

}  // namespace temper
