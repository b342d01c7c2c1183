// The collectives as messages of MPI: nonblocking sends and receives of bounded size, polled, so that a rank that is gone is
// noticed. All calls come from the thread that initialized MPI.
//
// A sum is made by the owner of each shard: every rank sends it its part, and it adds the parts in rank order. That moves the bytes
// that a ring moves, (size - 1) / size of the buffer out of each rank and into it, without a ring's order of sums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "distributed/communicator.h"
#include "distributed/rank_health.h"

namespace temper {

class MpiTransfers {
 public:
  explicit MpiTransfers(std::shared_ptr<RankHealth> health);
  ~MpiTransfers();
  MpiTransfers(const MpiTransfers&) = delete;
  MpiTransfers& operator=(const MpiTransfers&) = delete;

  /// values (float or double): this rank's shard = sum over ranks, in rank order.
  template <typename T>
  void reduce_scatter(T* values, const Shards& shards, const std::string& what);
  /// sum[i] = ((sum[i] + r0) + r1) + ..., i counting this rank's shard of the values.
  void accumulate(const float* values, const Shards& shards, float* sum, const std::string& what);
  /// bytes: each shard as its rank has it, on all ranks. Shards in bytes.
  void all_gather(char* bytes, const Shards& shards, const std::string& what);

  /// What parts of other ranks wait in until they are added: so many bytes at most, for any number of ranks.
  static constexpr std::int64_t staging_bytes = 32 << 20;
  /// So many messages from and to each other rank are under way at once.
  static constexpr std::int64_t steps_under_way = 4;

 private:
  struct Requests;
  template <typename T>
  void sum_shards(const T* values, const Shards& shards, T* out, bool onto, const std::string& what);
  template <typename Post, typename Finish>
  void in_steps(std::int64_t steps, const std::string& what, Post post, Finish finish);
  void wait(Requests& requests, Wait& patience) const;
  std::vector<std::int64_t> missing(const Requests& requests) const;
  void send(const void* data, std::int64_t bytes, std::int64_t to, Requests& requests) const;
  void receive(void* data, std::int64_t bytes, std::int64_t from, Requests& requests) const;
  void check(int status, const char* call) const;

  const std::shared_ptr<RankHealth> health_;
  const std::int64_t rank_, size_;
  const std::int64_t message_bytes_;  // of one message at most
  std::vector<std::byte> staging_;    // steps_under_way messages from each other rank; made by the first sum
  int tag_ = 0;                       // of the collective: messages of two never meet
};

}  // namespace temper
