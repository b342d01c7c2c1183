// The communicator over NCCL, its ranks threads with an emulated GPU each.
#include "emulated_nccl.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <thread>

#include "kernels/emulated/emulated_ops.h"
#include "peers_support.h"

namespace temper {
namespace {

/// One rank on a GPU of its own, with `count` floats there.
struct EmulatedRank {
  EmulatedRank(std::int64_t number, std::int64_t size, int port, std::int64_t count)
      : ops(make_emulated_ops({static_cast<std::uint64_t>(number), true, 1})),
        view{ops->allocate(static_cast<std::size_t>(count) * sizeof(float)), DType::f32, {count}},
        communicator(make_emulated_communicator(launch_of(number, size, port), "key", {patience, patient_settings()}, *ops)) {}
  ~EmulatedRank() {
    communicator.reset();
    ops->release(view.data);
  }
  EmulatedRank(const EmulatedRank&) = delete;
  EmulatedRank& operator=(const EmulatedRank&) = delete;

  void upload(const std::vector<float>& values) const { ops->copy_to_device(view.data, values.data(), view.bytes()); }
  std::vector<float> download() const {
    std::vector<float> values(static_cast<std::size_t>(view.numel()));
    ops->copy_to_host(values.data(), view.data, view.bytes());
    return values;
  }

  std::unique_ptr<Ops> ops;
  TensorView view;
  std::unique_ptr<Communicator> communicator;
};

/// What `work` returns on each of `size` ranks.
std::vector<std::vector<float>> on_ranks(std::int64_t size, std::int64_t count,
                                         const std::function<std::vector<float>(EmulatedRank&, std::int64_t)>& work) {
  const int port = free_port();
  std::vector<std::vector<float>> results(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (std::int64_t number = 0; number < size; ++number)
    threads.emplace_back([&, number] {
      EmulatedRank rank(number, size, port, count);
      results[static_cast<std::size_t>(number)] = work(rank, number);
    });
  for (std::thread& thread : threads) thread.join();
  return results;
}

std::vector<float> made_by(std::int64_t rank, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i) + 100.0f * static_cast<float>(rank));
  return values;
}

TEST(EmulatedNccl, OneRankChangesNothing) {
  const std::vector<float> before = made_by(0, 5001);
  EmulatedRank rank(0, 1, 0, 5001);
  rank.upload(before);
  for (int round = 0; round < 5; ++round) {
    rank.communicator->all_reduce(rank.view, "values");
    rank.communicator->all_reduce(rank.view.as<double>(), 2500, "statistics");
    rank.communicator->reduce_scatter(rank.view, {0, 5001}, "values");
    rank.communicator->all_gather(rank.view, {0, 5001}, "values");
    rank.communicator->wait();
  }
  EXPECT_EQ(rank.download(), before);
  rank.communicator->check();
}

// The operands are on their way when a collective is asked for, and its result is read by what is queued behind wait().
TEST(EmulatedNccl, CollectivesFollowTheDevicesWorkAndPrecedeWhatComesBehind) {
  constexpr std::int64_t count = 1000;
  std::vector<float> sum(count);
  for (std::int64_t rank = 0; rank < 3; ++rank) {
    const std::vector<float> values = made_by(rank, count);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += values[i];
  }
  const auto close = [](const std::vector<float>& values, const std::vector<float>& expected) {
    for (std::size_t i = 0; i < expected.size(); ++i)
      if (std::abs(values[i] - expected[i]) > 1e-5f) return false;
    return true;
  };
  const Shards shards = {0, 100, 100, count};
  const auto results = on_ranks(3, count, [&](EmulatedRank& rank, std::int64_t number) {
    for (int round = 0; round < 3; ++round) {
      rank.upload(made_by(number, count));
      rank.communicator->all_reduce(rank.view, "values");
      rank.communicator->wait();
      EXPECT_TRUE(close(rank.download(), sum)) << "all_reduce, rank " << number;

      rank.upload(made_by(number, count));
      rank.communicator->reduce_scatter(rank.view, shards, "values");
      rank.communicator->all_gather(rank.view, shards, "values");
      rank.communicator->wait();
      EXPECT_TRUE(close(rank.download(), sum)) << "reduce_scatter and all_gather, rank " << number;
    }
    rank.upload(made_by(number, count));
    rank.communicator->all_reduce(rank.view, "values");
    rank.communicator->wait();
    return rank.download();
  });
  EXPECT_EQ(results[1], results[0]);
  EXPECT_EQ(results[2], results[0]);
}

TEST(EmulatedNccl, RanksThatDisagreeAreToldSo) {
  const auto results = on_ranks(2, 100, [](EmulatedRank& rank, std::int64_t number) {
    const std::string error = error_of([&] {
      rank.ops->zero(rank.view.data, rank.view.bytes());
      rank.communicator->all_reduce({rank.view.data, DType::f32, {50 + number}}, "values");
      rank.communicator->wait();
      rank.download();
      for (;;) rank.communicator->check();
    });
    EXPECT_NE(error, "");
    return std::vector<float>();
  });
}

}  // namespace
}  // namespace temper
