#include "distributed/mpi/mpi_transfers.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>

#include "distributed/rank_order_sum.h"
#include "io/error.h"
#include "kernels/host_device.h"

namespace temper {

using Clock = std::chrono::steady_clock;

/// Messages under way, and the rank at the other end of each.
struct MpiTransfers::Requests {
  struct End {
    std::int64_t rank;
    bool receives;
  };
  std::vector<MPI_Request> handles;
  std::vector<End> ends;
};

namespace {

struct Cut {
  std::int64_t begin, length;
};

/// Message `step` of a shard: none behind its end.
Cut cut(const Shards& shards, std::int64_t rank, std::int64_t step, std::int64_t message) {
  const std::int64_t begin = shards[static_cast<std::size_t>(rank)], end = shards[static_cast<std::size_t>(rank) + 1];
  const std::int64_t from = std::min(begin + step * message, end);
  return {from, std::min(message, end - from)};
}

std::int64_t messages_of_longest(const Shards& shards, std::int64_t message) {
  std::int64_t longest = 0;
  for (std::size_t r = 0; r + 1 < shards.size(); ++r) longest = std::max(longest, shards[r + 1] - shards[r]);
  return ceil_div(longest, message);
}

}  // namespace

MpiTransfers::MpiTransfers(std::shared_ptr<RankHealth> health)
    : health_(std::move(health)),
      rank_(health_->rank()),
      size_(health_->size()),
      // Parts are still in cache when they are added: 128 KiB was faster by a third than 256 KiB to 4 MiB, with two ranks on one
      // machine.
      message_bytes_(std::clamp<std::int64_t>(
          staging_bytes / (steps_under_way * std::max<std::int64_t>(size_ - 1, 1)) / 4096 * 4096, 4096, 128 << 10)) {}

MpiTransfers::~MpiTransfers() {
  // After a failure MPI may still have this memory as the place of a message to come.
  if (health_->failed()) static_cast<void>(new (std::nothrow) std::vector<std::byte>(std::move(staging_)));
}

void MpiTransfers::check(int status, const char* call) const {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw Error(ExitCode::distributed, "rank " + std::to_string(rank_) + ": " + call + " failed: " + text);
}

void MpiTransfers::send(const void* data, std::int64_t bytes, std::int64_t to, Requests& requests) const {
  if (bytes == 0) return;
  requests.ends.push_back({to, false});
  check(MPI_Isend(data, static_cast<int>(bytes), MPI_BYTE, static_cast<int>(to), tag_, MPI_COMM_WORLD,
                  &requests.handles.emplace_back(MPI_REQUEST_NULL)),
        "MPI_Isend");
}

void MpiTransfers::receive(void* data, std::int64_t bytes, std::int64_t from, Requests& requests) const {
  if (bytes == 0) return;
  requests.ends.push_back({from, true});
  check(MPI_Irecv(data, static_cast<int>(bytes), MPI_BYTE, static_cast<int>(from), tag_, MPI_COMM_WORLD,
                  &requests.handles.emplace_back(MPI_REQUEST_NULL)),
        "MPI_Irecv");
}

std::vector<std::int64_t> MpiTransfers::missing(const Requests& requests) const {
  // Who has not sent has not come; where all have sent, who has not received.
  std::vector<std::int64_t> ranks;
  for (const bool receives : {true, false}) {
    for (std::size_t i = 0; i < requests.handles.size(); ++i) {
      int done = 0;
      check(MPI_Request_get_status(requests.handles[i], &done, MPI_STATUS_IGNORE), "MPI_Request_get_status");
      if (done == 0 && requests.ends[i].receives == receives) ranks.push_back(requests.ends[i].rank);
    }
    if (!ranks.empty()) break;
  }
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

void MpiTransfers::wait(Requests& requests, Wait& patience) const {
  // A loop while the other side is likely to be at it; then naps, since the processors are wanted by the computation beside it.
  // Every nap costs a message up to that much time, so they grow only where nothing has come for long.
  const Clock::time_point begin = Clock::now();
  for (;;) {
    int done = 0;
    check(MPI_Testall(static_cast<int>(requests.handles.size()), requests.handles.data(), &done, MPI_STATUSES_IGNORE),
          "MPI_Testall");
    if (done != 0) break;
    patience.look([&] { return missing(requests); });
    const Clock::duration waited = Clock::now() - begin;
    if (waited > std::chrono::milliseconds(100))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    else if (waited > std::chrono::microseconds(100))
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    else
      std::this_thread::yield();
  }
  patience.came();
  requests.handles.clear();
  requests.ends.clear();
}

/// post(step, requests) starts the messages of a step, finish(step) follows when they are done, with those of the next steps under
/// way meanwhile.
template <typename Post, typename Finish>
void MpiTransfers::in_steps(std::int64_t steps, const std::string& what, Post post, Finish finish) {
  tag_ = (tag_ + 1) % 32768;  // what every MPI can count to
  Wait patience(*health_, what, health_->settings().timeout);
  Requests open[steps_under_way];
  for (std::int64_t step = 0; step < std::min(steps, steps_under_way); ++step) post(step, open[step]);
  for (std::int64_t step = 0; step < steps; ++step) {
    Requests& requests = open[step % steps_under_way];
    wait(requests, patience);
    finish(step);
    if (step + steps_under_way < steps) post(step + steps_under_way, requests);
  }
}

/// out = the sum over ranks of this rank's shard, or with `onto` that sum added to it.
template <typename T>
void MpiTransfers::sum_shards(const T* values, const Shards& shards, T* out, bool onto, const std::string& what) {
  constexpr std::int64_t width = sizeof(T);
  const std::int64_t message = message_bytes_ / width;
  if (staging_.empty()) staging_.resize(static_cast<std::size_t>(steps_under_way * (size_ - 1) * message_bytes_));
  const auto staged = [&](std::int64_t step, std::int64_t from) {
    const std::int64_t slot = step % steps_under_way * (size_ - 1) + (from < rank_ ? from : from - 1);
    return reinterpret_cast<T*>(staging_.data() + slot * message_bytes_);
  };
  in_steps(
      messages_of_longest(shards, message), what,
      [&](std::int64_t step, Requests& requests) {
        const Cut own = cut(shards, rank_, step, message);
        for (std::int64_t i = 1; i < size_; ++i) {  // each rank begins with its neighbour, so that they do not all send to one
          const std::int64_t from = (rank_ + size_ - i) % size_, to = (rank_ + i) % size_;
          const Cut theirs = cut(shards, to, step, message);
          receive(staged(step, from), own.length * width, from, requests);
          send(values + theirs.begin, theirs.length * width, to, requests);
        }
      },
      [&](std::int64_t step) {
        const Cut own = cut(shards, rank_, step, message);
        T* const sums = out + (own.begin - shards[static_cast<std::size_t>(rank_)]);
        std::vector<const T*> parts;
        if (onto) parts.push_back(sums);
        for (std::int64_t r = 0; r < size_; ++r) parts.push_back(r == rank_ ? values + own.begin : staged(step, r));
        sum_in_rank_order(parts, sums, own.length);
      });
}

template <typename T>
void MpiTransfers::reduce_scatter(T* values, const Shards& shards, const std::string& what) {
  sum_shards<T>(values, shards, values + shards[static_cast<std::size_t>(rank_)], false, what);
}

void MpiTransfers::accumulate(const float* values, const Shards& shards, float* sum, const std::string& what) {
  sum_shards(values, shards, sum, true, what);
}

template void MpiTransfers::reduce_scatter<float>(float*, const Shards&, const std::string&);
template void MpiTransfers::reduce_scatter<double>(double*, const Shards&, const std::string&);

void MpiTransfers::all_gather(char* bytes, const Shards& shards, const std::string& what) {
  in_steps(
      messages_of_longest(shards, message_bytes_), what,
      [&](std::int64_t step, Requests& requests) {
        const Cut own = cut(shards, rank_, step, message_bytes_);
        for (std::int64_t i = 1; i < size_; ++i) {
          const std::int64_t from = (rank_ + size_ - i) % size_, to = (rank_ + i) % size_;
          const Cut theirs = cut(shards, from, step, message_bytes_);
          receive(bytes + theirs.begin, theirs.length, from, requests);
          send(bytes + own.begin, own.length, to, requests);
        }
      },
      [](std::int64_t) {});
}

}  // namespace temper
