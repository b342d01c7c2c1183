// What communicators share, the one of a run by itself, and NCCL with one rank. mpi_ranks.cpp has several ranks.
#include "distributed/communicator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <thread>

#include "distributed/rank_health.h"
#include "distributed/rank_order_sum.h"
#include "io/error.h"
#include "kernels/check.h"

namespace temper {
namespace {

TEST(EvenShards, CoverAllAndDifferByOneAtMost) {
  EXPECT_EQ(even_shards(10, 4), (Shards{0, 3, 6, 8, 10}));
  EXPECT_EQ(even_shards(2, 4), (Shards{0, 1, 2, 2, 2}));
  EXPECT_EQ(even_shards(0, 3), (Shards{0, 0, 0, 0}));
  EXPECT_EQ(even_shards(7, 1), (Shards{0, 7}));
  const std::int64_t many = std::int64_t{1} << 60;
  EXPECT_EQ(even_shards(many, 512).at(511), many / 512 * 511);
}

/// Numbers whose sum depends on the order of its terms.
std::vector<float> rough(std::size_t count, int seed) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] =
        std::ldexp(std::sin(static_cast<float>(i * 31 + static_cast<std::size_t>(seed) * 17)), static_cast<int>(i + seed * 7) % 24);
  return values;
}

TEST(RankOrderSum, AddsFromLeftToRight) {
  for (const std::size_t count : {0u, 1u, 1023u, 1024u, 1025u, 5000u}) {
    const std::vector<float> a = rough(count, 1), b = rough(count, 2), c = rough(count, 3);
    std::vector<float> expected(count), backwards(count), sum(count, -1);
    for (std::size_t i = 0; i < count; ++i) {
      expected[i] = (a[i] + b[i]) + c[i];
      backwards[i] = (c[i] + b[i]) + a[i];
    }
    sum_in_rank_order<float>({a.data(), b.data(), c.data()}, sum.data(), static_cast<std::int64_t>(count));
    EXPECT_EQ(std::memcmp(sum.data(), expected.data(), count * sizeof(float)), 0) << count;
    if (count > 1000) {
      EXPECT_NE(std::memcmp(backwards.data(), expected.data(), count * sizeof(float)), 0) << "these do not tell orders";
    }
  }
}

TEST(RankOrderSum, MayOverwriteAnyOfItsInputs) {
  const std::vector<float> a = rough(3000, 1), b = rough(3000, 2);
  std::vector<float> expected(3000);
  for (std::size_t i = 0; i < 3000; ++i) expected[i] = a[i] + b[i];
  std::vector<float> first = a, second = b;
  sum_in_rank_order<float>({first.data(), b.data()}, first.data(), 3000);
  sum_in_rank_order<float>({a.data(), second.data()}, second.data(), 3000);
  EXPECT_EQ(first, expected);
  EXPECT_EQ(second, expected);
}

TEST(RankOrderSum, KeepsTheSignOfZero) {
  const float zero = -0.0f;
  float sum = 1;
  sum_in_rank_order<float>({&zero, &zero}, &sum, 1);
  EXPECT_TRUE(std::signbit(sum));
}

TEST(SelfCommunicator, LeavesEverythingAsItIs) {
  const std::unique_ptr<Communicator> self = make_self_communicator();
  EXPECT_EQ(self->rank(), 0);
  EXPECT_EQ(self->size(), 1);
  EXPECT_EQ(self->description(), "one rank");
  std::vector<float> values = rough(100, 1);
  const std::vector<float> before = values;
  std::vector<double> statistics = {1.5, -2.5};
  const TensorView view{values.data(), DType::f32, {10, 10}};
  self->all_reduce(view, "a");
  self->all_reduce(statistics.data(), 2, "b");
  self->reduce_scatter(view, {0, 100}, "c");
  self->all_gather(view, {0, 100}, "d");
  self->wait();
  self->check();
  self->meet("f");
  self->fail("g");
  EXPECT_EQ(values, before);
  EXPECT_EQ(statistics, (std::vector<double>{1.5, -2.5}));
  EXPECT_EQ(self->exchange("mine", "h"), (std::vector<std::string>{"mine"}));
}

TEST(SelfCommunicator, Accumulates) {
  std::vector<float> sum = rough(3000, 1), more = rough(3000, 2), expected(3000);
  for (std::size_t i = 0; i < 3000; ++i) expected[i] = sum[i] + more[i];
  const TensorView values{more.data(), DType::f32, {3000}}, onto{sum.data(), DType::f32, {3000}};
  make_self_communicator()->accumulate(values, {0, 3000}, onto, "gradients");
  EXPECT_EQ(sum, expected);
  EXPECT_THROW(make_self_communicator()->accumulate(values, {0, 3000}, {sum.data(), DType::f32, {2999}}, "gradients"),
               ContractViolation);
}

TEST(SelfCommunicator, ChecksArgumentsAsForManyRanks) {
  const std::unique_ptr<Communicator> self = make_self_communicator();
  std::vector<float> values(100);
  const TensorView view{values.data(), DType::f32, {100}};
  EXPECT_THROW(self->reduce_scatter(view, {0, 99}, "a"), ContractViolation);
  EXPECT_THROW(self->reduce_scatter(view, {1, 100}, "a"), ContractViolation);
  EXPECT_THROW(self->reduce_scatter(view, {0, 50, 100}, "a"), ContractViolation);
  EXPECT_THROW(self->all_gather(view, {}, "a"), ContractViolation);
  const TensorView numbers{values.data(), DType::i32, {100}};
  EXPECT_THROW(self->all_reduce(numbers, "a"), ContractViolation);
  EXPECT_THROW(self->reduce_scatter(numbers, {0, 100}, "a"), ContractViolation);
  EXPECT_NO_THROW(self->all_gather(numbers, {0, 100}, "a"));
}

// ---- RankHealth ------------------------------------------------------------------------------------------------------

class RankHealthTest : public testing::Test {
 protected:
  static std::string message_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::distributed);
      return error.what();
    }
    return "nothing was thrown";
  }

  RankHealth health{0, 1, std::make_unique<Peers>(Launch{}, "key"), CommunicatorSettings{}};
};

TEST_F(RankHealthTest, AWaitEndsAtItsTimeoutAndNamesWhoIsMissing) {
  Wait wait(health, "all_reduce of gradients", std::chrono::milliseconds(20));
  const auto nobody = [] { return std::vector<std::int64_t>(); };
  // The time begins again when something came. On a busy machine it may be over before look() is, but not always.
  const auto goes_on = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    wait.came();
    return message_of([&] { wait.look(nobody); }) == "nothing was thrown";
  };
  bool went_on = false;
  for (int attempt = 0; attempt < 1000 && !went_on; ++attempt) went_on = goes_on();
  EXPECT_TRUE(went_on);
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  const std::string message = message_of([&] { wait.look([] { return std::vector<std::int64_t>{0}; }); });
  EXPECT_NE(message.find("rank 0 waited 0.02 s in all_reduce of gradients and nothing came from rank 0 ("), std::string::npos)
      << message;
}

TEST_F(RankHealthTest, ANapOfThisProcessIsNoSilenceOfOthers) {
  // Of a gap of any length half a second counts, so this waits a second and a half, and sees a second.
  Wait wait(health, "it", std::chrono::milliseconds(1200));
  const auto nobody = [] { return std::vector<std::int64_t>(); };
  for (int nap = 0; nap < 2; ++nap) {
    std::this_thread::sleep_for(std::chrono::milliseconds(750));
    EXPECT_EQ(message_of([&] { wait.look(nobody); }), "nothing was thrown");
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(750));
  EXPECT_NE(message_of([&] { wait.look(nobody); }).find("waited 1.2 s in it"), std::string::npos);
}

TEST_F(RankHealthTest, TheFirstErrorIsThrownFromThenOn) {
  EXPECT_NO_THROW(health.check());
  health.raise(std::make_exception_ptr(Error(ExitCode::distributed, "first")));
  health.raise(std::make_exception_ptr(Error(ExitCode::distributed, "second")));
  EXPECT_EQ(message_of([&] { health.check(); }), "first");
  Wait wait(health, "it", std::chrono::hours(1));
  EXPECT_EQ(message_of([&] { wait.look([] { return std::vector<std::int64_t>(); }); }), "first");
  EXPECT_TRUE(health.failed());
  health.release();
}

void fail_and_stay() {
  RankHealth health{0, 1, std::make_unique<Peers>(Launch{}, "key"), CommunicatorSettings{}};
  health.report(std::make_exception_ptr(Error(ExitCode::distributed, "rank 3 is gone")));
  std::this_thread::sleep_for(std::chrono::hours(10));
}

TEST(RankHealthDeathTest, WhoDoesNotLetGoAfterAFailureIsEnded) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(fail_and_stay(), testing::ExitedWithCode(7), "temper: rank 3 is gone");
}

// ---- NCCL: linked here where the build has it, run where there is a GPU ------------------------------------------------

constexpr const char* no_nccl = "this build of temper has no NCCL";

TEST(NcclCommunicator, RefusesTheMemoryOfACpu) {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  EXPECT_EQ(cuda_stream(*ops), nullptr);
  try {
    make_nccl_communicator(Launch{}, "key", CommunicatorSettings{}, *ops);
    FAIL() << "NCCL on the memory of a CPU";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    const std::string message = error.what();
    if (message.find(no_nccl) != std::string::npos) GTEST_SKIP() << message;
    EXPECT_NE(message.find("NCCL moves the memory of GPUs, and this run is on device cpu ("), std::string::npos) << message;
    std::string reason;
    if (!cuda_available(&reason)) {
      EXPECT_NE(message.find(reason), std::string::npos) << message;
    }
  }
}

TEST(NcclCommunicator, OneRankChangesNothing) {
  std::string reason;
  if (!cuda_available(&reason)) GTEST_SKIP() << reason;
  const std::unique_ptr<Ops> ops = make_cuda_ops();
  std::unique_ptr<Communicator> nccl;
  try {
    nccl = make_nccl_communicator(Launch{}, "key", CommunicatorSettings{}, *ops);
  } catch (const Error& error) {
    if (std::string(error.what()).find(no_nccl) != std::string::npos) GTEST_SKIP() << error.what();
    throw;
  }
  const std::int64_t count = 3000001;
  const std::vector<float> before = rough(count, 1);
  std::vector<float> after(count);
  const TensorView view{ops->allocate(count * sizeof(float)), DType::f32, {count}};
  ops->copy_to_device(view.data, before.data(), view.bytes());
  for (int round = 0; round < 20; ++round) {  // more than the collectives that are under way at once
    nccl->all_reduce(view, "values");
    nccl->all_reduce(view.as<double>(), count / 2, "statistics");
    nccl->reduce_scatter(view, {0, count}, "values");
    nccl->all_gather(view, {0, count}, "values");
    nccl->wait();
  }
  ops->copy_to_host(after.data(), view.data, view.bytes());
  nccl->check();
  EXPECT_EQ(std::memcmp(after.data(), before.data(), view.bytes()), 0);
  nccl.reset();
  ops->release(view.data);
}

}  // namespace
}  // namespace temper
