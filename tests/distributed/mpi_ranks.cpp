// mpi_ranks SCENE [SECONDS]: one rank of a scene that tests/integration/mpi_communicator.py plays under mpirun. SECONDS is the
// timeout of collectives. Exit 7 with the message on stderr where the communicator threw, as temper itself.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "distributed/communicator.h"
#include "io/error.h"

namespace temper {
namespace {

using Clock = std::chrono::steady_clock;
/// Longer than the test waits for any scene: what sleeps or waits so long is ended by something else.
constexpr auto for_ever = std::chrono::hours(10);

void expect(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error("not so: " + what);
}

/// Element i of what rank r has: of all magnitudes, so that sums in another order have other bits.
template <typename T>
T element(std::int64_t rank, std::int64_t i) {
  const std::uint64_t mixed =
      (static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15u) ^ (static_cast<std::uint64_t>(rank + 1) * 0xBF58476D1CE4E5B9u);
  const std::uint64_t bits = (mixed ^ (mixed >> 29)) * 0x94D049BB133111EBu;
  return std::ldexp(static_cast<T>(static_cast<std::int64_t>(bits) >> 11), static_cast<int>(bits % 24) - 52);
}

template <typename T>
std::vector<T> part_of(std::int64_t rank, std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = element<T>(rank, i);
  return values;
}

template <typename T>
std::vector<T> sum_of(std::int64_t size, std::int64_t count, bool backwards = false) {
  std::vector<T> sums = part_of<T>(backwards ? size - 1 : 0, count);
  for (std::int64_t r = 1; r < size; ++r) {
    const std::vector<T> part = part_of<T>(backwards ? size - 1 - r : r, count);
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += part[i];
  }
  return sums;
}

template <typename T>
TensorView view_of(std::vector<T>& values) {
  return {values.data(), dtype_of(T{}), {static_cast<std::int64_t>(values.size())}};
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b, std::int64_t begin, std::int64_t end) {
  return std::memcmp(a.data() + begin, b.data() + begin, static_cast<std::size_t>(end - begin) * sizeof(T)) == 0;
}

/// Uneven borders; with three ranks and more, one shard is empty.
Shards uneven(std::int64_t count, std::int64_t size) {
  Shards shards = even_shards(count, size);
  for (std::int64_t r = 1; r < size; ++r) shards[static_cast<std::size_t>(r)] /= 2;
  if (size > 2) shards[2] = shards[1];
  return shards;
}

/// Every collective, of sizes below, at and far above one message, several of them queued at once.
void collectives(Communicator& ranks) {
  const std::int64_t size = ranks.size(), rank = ranks.rank();
  for (const std::int64_t count : {0, 1, 3, 1000, 262144 * 2, 3000001}) {
    const std::vector<float> expected = sum_of<float>(size, count);
    if (size > 2 && count >= 1000)
      expect(!same_bits(expected, sum_of<float>(size, count, true), 0, count), "these sums tell the order of their terms");
    const Shards shards = uneven(count, size), even = even_shards(count, size);
    const std::int64_t begin = shards[static_cast<std::size_t>(rank)], end = shards[static_cast<std::size_t>(rank) + 1];

    std::vector<float> reduced = part_of<float>(rank, count), scattered = reduced, gathered(reduced.size(), NAN);
    std::vector<double> statistics = part_of<double>(rank, count);
    std::vector<std::int32_t> numbers(reduced.size(), -1);
    std::vector<bfloat16> halves(reduced.size(), bfloat16{});
    const std::vector<float> whole = part_of<float>(77, count);
    std::copy(whole.begin() + begin, whole.begin() + end, gathered.begin() + begin);
    std::fill(numbers.begin() + even[static_cast<std::size_t>(rank)], numbers.begin() + even[static_cast<std::size_t>(rank) + 1],
              static_cast<std::int32_t>(rank));
    std::fill(halves.begin() + begin, halves.begin() + end, to_bfloat16(static_cast<float>(rank + 1)));

    // Dealt out in turn: twice as many parts as ranks, of which the second round is the parts of ranks size, size + 1, ...
    std::vector<float> accumulated(static_cast<std::size_t>(end - begin), 0.0f), round = part_of<float>(rank, count),
                                                                                 second = part_of<float>(size + rank, count);
    ranks.accumulate(view_of(round), shards, view_of(accumulated), "the first round");
    ranks.accumulate(view_of(second), shards, view_of(accumulated), "the second round");

    ranks.all_reduce(view_of(reduced), "floats");
    ranks.all_reduce(statistics.data(), count, "doubles");
    ranks.reduce_scatter(view_of(scattered), shards, "floats");
    ranks.all_gather(view_of(gathered), shards, "floats");
    ranks.all_gather(view_of(numbers), even, "numbers");
    ranks.all_gather(view_of(halves), shards, "halves");
    ranks.wait();

    const std::string of = " of " + std::to_string(count);
    expect(same_bits(reduced, expected, 0, count), "all_reduce" + of);
    expect(same_bits(statistics, sum_of<double>(size, count), 0, count), "all_reduce of doubles" + of);
    expect(same_bits(scattered, expected, begin, end), "reduce_scatter" + of);
    expect(same_bits(gathered, whole, 0, count), "all_gather" + of);
    const std::vector<float> all = sum_of<float>(2 * size, count);
    expect(std::memcmp(accumulated.data(), all.data() + begin, accumulated.size() * sizeof(float)) == 0, "accumulation" + of);
    for (std::size_t r = 0; r < static_cast<std::size_t>(size); ++r) {
      expect(std::all_of(numbers.begin() + even[r], numbers.begin() + even[r + 1],
                         [&](std::int32_t n) { return n == static_cast<std::int32_t>(r); }),
             "all_gather of numbers" + of);
      expect(std::all_of(halves.begin() + shards[r], halves.begin() + shards[r + 1],
                         [&](bfloat16 half) { return to_float(half) == static_cast<float>(r + 1); }),
             "all_gather of halves" + of);
    }
  }
  const std::vector<std::string> told = ranks.exchange("rank " + std::to_string(rank), "names");
  for (std::size_t r = 0; r < told.size(); ++r) expect(told[r] == "rank " + std::to_string(r), "exchange");
}

/// all_reduce of 100 MB, the fastest of ten, beside a copy of as much.
void speed(Communicator& ranks) {
  std::vector<float> values(25'000'000, 1.0f), copy(values.size());
  double reduce = 1e9, memory = 1e9;
  const auto seconds_since = [](Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  for (int i = 0; i < 10; ++i) {
    ranks.meet("a round");
    auto begin = Clock::now();
    std::memcpy(copy.data(), values.data(), values.size() * sizeof(float));
    memory = std::min(memory, seconds_since(begin));
    ranks.meet("the next half");
    begin = Clock::now();
    ranks.all_reduce(view_of(values), "speed");
    ranks.wait();
    reduce = std::min(reduce, seconds_since(begin));
  }
  if (ranks.rank() == 0)
    std::printf("all_reduce of 100 MB: %.1f ms, %.2f GB/s; memcpy: %.1f ms, %.2f GB/s\n", reduce * 1e3, 0.1 / reduce, memory * 1e3,
                0.1 / memory);
}

/// Steps of a training, in the third of which something happens to rank 1.
template <typename Happens>
void steps(Communicator& ranks, Happens happens) {
  std::vector<float> gradients(1'000'000, 1.0f);
  for (int step = 0; step < 200; ++step) {
    if (step == 3) {
      if (ranks.rank() == 1) happens();
    }
    ranks.all_reduce(view_of(gradients), "gradients of step " + std::to_string(step));
    ranks.wait();
    std::fill(gradients.begin(), gradients.end(), 1.0f);
  }
}

int play(const std::string& scene, std::chrono::milliseconds timeout) {
  const Launch launch = read_launch();
  CommunicatorSettings settings;
  settings.timeout = timeout;
  settings.peers.meeting_timeout = for_ever;
  settings.peers.heartbeat_interval = std::chrono::milliseconds(200);
  // Only where heartbeats are what shall end the scene may they do so.
  settings.peers.heartbeat_timeout = scene == "stopped" ? std::chrono::seconds(3) : std::chrono::seconds(for_ever);
  const auto ranks = make_mpi_communicator(launch, scene == "strangers" ? "key " + std::to_string(launch.rank) : "key", settings);
  if (launch.rank == 0) std::printf("%s\n", ranks->description().c_str());
  if (scene == "collectives") collectives(*ranks);
  if (scene == "speed") speed(*ranks);
  if (scene == "killed") steps(*ranks, [] { ::raise(SIGKILL); });
  if (scene == "stopped") steps(*ranks, [] { ::raise(SIGSTOP); });
  if (scene == "hangs") steps(*ranks, [] { std::this_thread::sleep_for(for_ever); });
  if (scene == "fails")
    steps(*ranks, [&] {
      ranks->fail("loss is nan in step 3");
      throw Error(ExitCode::numeric, "loss is nan in step 3");
    });
  if (scene == "throws") steps(*ranks, [] { throw Error(ExitCode::data, "a token outside the vocabulary"); });
  // The others are computing, far from the next collective's wait, when the rank is lost.
  if (scene == "computing") {
    std::vector<float> gradients(1000, 1.0f);
    if (launch.rank == 1) ::raise(SIGKILL);
    ranks->all_reduce(view_of(gradients), "gradients");
    std::this_thread::sleep_for(for_ever);
  }
  // Rank 0 saves for longer than the timeout of collectives.
  if (scene == "meets") {
    if (launch.rank == 0) std::this_thread::sleep_for(timeout + std::chrono::seconds(1));
    ranks->meet("the end of saving");
    std::vector<float> gradients(1000, 1.0f);
    ranks->all_reduce(view_of(gradients), "gradients");
    ranks->wait();
  }
  if (scene == "killed_meeting") {
    if (launch.rank == 1) ::raise(SIGKILL);
    ranks->meet("the end of saving");
  }
  return 0;
}

int run(int argc, char** argv) {
  try {
    return play(argc > 1 ? argv[1] : "", std::chrono::milliseconds(static_cast<int>(1000 * (argc > 2 ? std::atof(argv[2]) : 60))));
  } catch (const Error& error) {
    std::fprintf(stderr, "main: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "main: %s\n", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace temper

int main(int argc, char** argv) {
  // As in a training: SIGTERM asks. mpirun sends it to the others when a rank is gone, and one second later SIGKILL.
  std::signal(SIGTERM, [](int) {});
  const int code = temper::run(argc, argv);
  std::fflush(nullptr);
  ::_exit(code);
}
