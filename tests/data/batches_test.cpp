#include "data/batches.h"

#include <pthread.h>

#include <chrono>
#include <numeric>
#include <random>
#include <set>
#include <system_error>
#include <thread>

#include "data/shard_sidecar.h"
#include "shard_support.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

// Tokens that tell their place in the stream.
Tokens numbered(std::int64_t first, std::int64_t count) {
  Tokens tokens(static_cast<std::size_t>(count));
  std::iota(tokens.begin(), tokens.end(), static_cast<std::uint16_t>(first));
  return tokens;
}

class Batches : public testing::Test {
 protected:
  // Shards of these sizes, numbered on from one to the next.
  BatchSettings shards(const std::vector<std::int64_t>& sizes, std::int64_t n_ctx) {
    BatchSettings settings;
    std::int64_t first = 0;
    for (const std::int64_t size : sizes) {
      std::string name = "s";
      name += std::to_string(settings.files.size()) + ".bin";
      settings.files.push_back(put_shard(folder_ / name, numbered(first, size)));
      first += size;
    }
    settings.n_ctx = n_ctx;
    settings.vocab_size = 65536;
    return settings;
  }

  TemporaryFolder folder_;
};

void expect_sequential(const Batch& batch, std::int64_t start, std::int64_t count, std::int64_t windows, std::int64_t n_ctx) {
  ASSERT_EQ(batch.inputs.size(), static_cast<std::size_t>(count * n_ctx));
  ASSERT_EQ(batch.targets.size(), batch.inputs.size());
  for (std::int64_t row = 0; row < count; ++row) {
    for (std::int64_t t = 0; t < n_ctx; ++t) {
      const std::int64_t token = (start + row) % windows * n_ctx + t;
      ASSERT_EQ(batch.inputs[static_cast<std::size_t>(row * n_ctx + t)], token) << "window " << start + row;
      ASSERT_EQ(batch.targets[static_cast<std::size_t>(row * n_ctx + t)], token + 1) << "window " << start + row;
    }
  }
}

TEST_F(Batches, SequentialEqualsTheNaiveReading) {
  // Sizes 0, 1, T and T+1 among others, so that windows cross one, two and three borders.
  for (const std::int64_t n_ctx : {1, 2, 5, 8}) {
    const BatchSource source(shards({0, 1, n_ctx, 0, 0, n_ctx + 1, 1, 1, 1, 40, 0}, n_ctx));
    EXPECT_EQ(source.tokens(), 2 * n_ctx + 45);
    EXPECT_EQ(source.windows_per_epoch(), (source.tokens() - 1) / n_ctx);
    Batch batch;
    for (std::int64_t start = 0; start < 3 * source.windows_per_epoch(); ++start) {
      for (const std::int64_t count : {1, 3, 7}) {
        source.read(start, count, batch);
        expect_sequential(batch, start, count, source.windows_per_epoch(), n_ctx);
      }
    }
  }
}

TEST_F(Batches, BatchKStartsAtTokenKBT) {
  const BatchSource source(shards({100}, 4));
  Batch batch;
  for (std::int64_t k = 0; k < 8; ++k) {
    source.read(k * 3, 3, batch);
    EXPECT_EQ(batch.inputs.front(), k * 3 * 4);
  }
}

TEST_F(Batches, ShuffledEpochsHoldEveryWindowOnceEach) {
  BatchSettings settings = shards({50, 7, 44}, 4);
  settings.shuffle = true;
  settings.seed = 3;
  const BatchSource source(settings);
  const std::int64_t windows = source.windows_per_epoch();
  Batch all;
  source.read(0, 3 * windows, all);
  std::set<std::vector<std::int64_t>> orders;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::int64_t> order;
    std::set<std::int64_t> seen;
    for (std::int64_t row = epoch * windows; row < (epoch + 1) * windows; ++row) {
      const std::int64_t first = all.inputs[static_cast<std::size_t>(row * 4)];
      EXPECT_EQ(first % 4, 0);
      for (std::int64_t t = 0; t < 4; ++t) {
        EXPECT_EQ(all.inputs[static_cast<std::size_t>(row * 4 + t)], first + t);
        EXPECT_EQ(all.targets[static_cast<std::size_t>(row * 4 + t)], first + t + 1);
      }
      order.push_back(first);
      seen.insert(first);
    }
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(windows));
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 3u) << "each epoch has its own order";

  // Any position gives the same windows again, whatever the batch size: resuming needs the position only.
  const BatchSource again(settings);
  Batch part;
  for (std::int64_t start = 0; start + 5 <= 3 * windows; start += 3) {
    again.read(start, 5, part);
    EXPECT_TRUE(std::equal(part.inputs.begin(), part.inputs.end(), all.inputs.begin() + start * 4)) << start;
  }
  settings.seed = 4;
  BatchSource(settings).read(0, 3 * windows, part);
  EXPECT_NE(part.inputs, all.inputs);
}

TEST_F(Batches, PrefetchedEqualsRead) {
  BatchSettings settings = shards({500, 33}, 8);
  settings.shuffle = true;
  const BatchSource plain(settings);
  BatchSource source(settings);
  Batch expected;
  std::vector<Batch> got;
  std::mt19937 random(1);
  std::int64_t position = 0;
  for (int step = 0; step < 500; ++step) {
    if (random() % 10 == 0) position = random() % 1000;  // a jump, as on resuming
    const BatchPlan wanted = {position, random() % 20 == 0 ? 3 : 4, 8, static_cast<std::int64_t>(random() % 3)};
    position += 24;
    source.read_prefetched(wanted, {position, 4, 8, wanted.batches}, got);
    ASSERT_EQ(static_cast<std::int64_t>(got.size()), wanted.batches);
    for (std::int64_t number = 0; number < wanted.batches; ++number) {
      plain.read(wanted.first + 8 * number, wanted.count, expected);
      ASSERT_EQ(got[static_cast<std::size_t>(number)].inputs, expected.inputs) << position;
      ASSERT_EQ(got[static_cast<std::size_t>(number)].targets, expected.targets) << position;
    }
  }
}

TEST_F(Batches, WithoutAThreadNothingIsReadAhead) {
  pthread_attr_t before, large;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  pthread_attr_init(&large);
  pthread_attr_setstacksize(&large, std::size_t{1} << 47);  // all of the address space
  pthread_setattr_default_np(&large);
  EXPECT_THROW(std::thread([] {}).join(), std::system_error);
  BatchSource source(shards({500}, 8));
  std::vector<Batch> got;
  for (const std::int64_t window : {0, 2, 4}) {
    EXPECT_NO_THROW(source.read_prefetched({window, 2}, {window + 2, 2}, got));
    expect_sequential(got.at(0), window, 2, 62, 8);
  }
  pthread_setattr_default_np(&before);
}

TEST_F(Batches, PrefetcherEndsWhileFetching) {
  const BatchSettings settings = shards({60000}, 1000);
  for (int round = 0; round < 50; ++round) {
    BatchSource source(settings);
    std::vector<Batch> batches;
    source.read_prefetched({0, 500}, {500, 500}, batches);
  }
}

TEST_F(Batches, TokenOutsideTheVocabularyNamesShardPositionTokenAndVocabulary) {
  BatchSettings settings;
  settings.n_ctx = 4;
  settings.vocab_size = 1000;
  Tokens bad(40, 5);
  bad[30] = 1000;
  settings.files = {put_shard(folder_ / "a.bin", Tokens(21, 999)), put_shard(folder_ / "b.bin", bad)};
  expect_error(ExitCode::data, {"b.bin", "token 1000 ", "position 30 ", "vocabulary of 1000", "model.vocab_size"},
               [&] { BatchSource source(settings); });
}

// A large shard is only sampled at the start; what the samples miss must be met by read() and by the prefetching thread.
TEST_F(Batches, TokenThatSamplesMissIsFoundBeforeTheBatchIsSeen) {
  BatchSettings settings;
  settings.n_ctx = 1000;
  settings.vocab_size = 50257;
  Tokens tokens(3'000'000, 7);
  const std::int64_t place = 600'000;  // between the first MiB and the second sample
  tokens[static_cast<std::size_t>(place)] = 50257;
  settings.files = {put_shard(folder_ / "a.bin", tokens)};
  BatchSource source(settings);
  Batch batch;
  const std::vector<std::string> parts = {"a.bin", "token 50257 ", "position 600000 "};
  source.read(598, 1, batch);
  // As the last target of one window and the first input of the next.
  expect_error(ExitCode::data, parts, [&] { source.read(599, 1, batch); });
  expect_error(ExitCode::data, parts, [&] { source.read(600, 1, batch); });
  source.read(601, 1, batch);
  std::vector<Batch> batches;
  const auto prefetched = [&](std::int64_t window) { source.read_prefetched({window, 1}, {window + 1, 1}, batches); };
  prefetched(597);
  prefetched(598);  // 599 fails ahead, out of sight
  expect_error(ExitCode::data, parts, [&] { prefetched(599); });
  expect_error(ExitCode::data, parts, [&] { prefetched(599); });
  prefetched(601);  // other windows are served on
  EXPECT_EQ(batches.at(0).inputs, std::vector<std::int32_t>(1000, 7));
}

// Cut after the windows that are read, so that only the length tells.
TEST_F(Batches, AShardThatIsCutShortIsMetAheadAndTold) {
  BatchSource source(shards({100}, 4));
  std::vector<Batch> batches;
  source.read_prefetched({0, 2}, {2, 2}, batches);
  std::filesystem::resize_file(folder_ / "s0.bin", 1024 + 2 * 99);
  expect_error(ExitCode::data, {"s0.bin", "1224 to 1222 bytes"}, [&] {
    source.read_prefetched({2, 2}, {4, 2}, batches);  // which may have been read before
    source.read_prefetched({4, 2}, {6, 2}, batches);
  });
}

TEST_F(Batches, AShardThatIsNotTheOneOfItsSidecarIsRefused) {
  const BatchSettings settings = shards({}, 4);
  Sidecar sidecar;
  const std::filesystem::path path = folder_ / "x_train_000000.bin";
  put_shard(path, numbered(0, 100));
  sidecar.split(Split::train) = {100, 1, 100, {describe_shard(path)}};
  write_sidecar(folder_ / "x.json", sidecar);
  BatchSettings one = settings;
  one.files = {path.string()};
  EXPECT_EQ(BatchSource(one).tokens(), 100);
  put_shard(path, numbered(1, 100));
  expect_error(ExitCode::data, {"x_train_000000.bin", "other tokens than when it was made", "x.json"},
               [&] { BatchSource source(one); });
}

TEST_F(Batches, VocabularyBorders) {
  const auto accepts = [&](std::uint16_t largest, std::int64_t vocab_size) {
    BatchSettings settings;
    settings.n_ctx = 2;
    settings.vocab_size = vocab_size;
    settings.files = {put_shard(folder_ / "a.bin", {0, largest, 0, largest, 0})};
    try {
      Batch batch;
      BatchSource(settings).read(0, 2, batch);
      return batch.inputs[1] == largest;
    } catch (const Error&) {
      return false;
    }
  };
  EXPECT_TRUE(accepts(65535, 65536));
  EXPECT_TRUE(accepts(65535, 65537));
  EXPECT_FALSE(accepts(65535, 65535));
  EXPECT_TRUE(accepts(65534, 65535));
  EXPECT_TRUE(accepts(0, 1));
  EXPECT_FALSE(accepts(1, 1));
}

TEST_F(Batches, ShardsOfAnySizeThatMakeOneWindow) {
  EXPECT_EQ(BatchSource(shards({9}, 8)).windows_per_epoch(), 1);
  EXPECT_EQ(BatchSource(shards({0, 8, 0, 1}, 8)).windows_per_epoch(), 1);
  EXPECT_EQ(BatchSource(shards(std::vector<std::int64_t>(9, 1), 8)).windows_per_epoch(), 1);
  for (const auto& sizes : std::vector<std::vector<std::int64_t>>{{0}, {1}, {8}, {0, 0}, {4, 4}}) {
    expect_error(ExitCode::data, {"n_ctx = 8", "takes 8 + 1", "s0.bin"}, [&] { BatchSource source(shards(sizes, 8)); });
  }
}

TEST_F(Batches, RawShards) {
  BatchSettings settings;
  settings.n_ctx = 3;
  settings.vocab_size = 100;
  settings.format = ShardFormat::raw_u16;
  settings.files = {put_file(folder_ / "train.bin", raw_image(numbered(0, 20)))};
  const BatchSource source(settings);
  Batch batch;
  source.read(0, source.windows_per_epoch(), batch);
  expect_sequential(batch, 0, 6, 6, 3);
  settings.format = ShardFormat::automatic;
  expect_error(ExitCode::data, {"raw_u16"}, [&] { BatchSource other(settings); });
  // A shard of each format in one list is refused, whichever is asked for.
  settings.files.push_back(put_shard(folder_ / "b.bin", numbered(0, 20)));
  settings.format = ShardFormat::raw_u16;
  expect_error(ExitCode::data, {"b.bin", "auto"}, [&] { BatchSource other(settings); });
}

TEST_F(Batches, BadSettings) {
  BatchSettings settings = shards({20}, 4);
  settings.n_ctx = 0;
  expect_error(ExitCode::usage, {"n_ctx is 0"}, [&] { BatchSource source(settings); });
  settings = shards({20}, 4);
  settings.vocab_size = 0;
  expect_error(ExitCode::usage, {"vocab_size is 0"}, [&] { BatchSource source(settings); });
  settings.files.clear();
  settings.vocab_size = 1;
  expect_error(ExitCode::usage, {"data.train"}, [&] { BatchSource source(settings); });
}

TEST_F(Batches, PositionsFarOut) {
  BatchSettings settings = shards({20}, 4);
  const BatchSource source(settings);
  Batch batch;
  constexpr std::int64_t far = std::numeric_limits<std::int64_t>::max() - 10;
  source.read(far, 2, batch);
  expect_sequential(batch, far, 2, 4, 4);
  EXPECT_THROW(source.read(-1, 1, batch), std::invalid_argument);
  EXPECT_THROW(source.read(0, -1, batch), std::invalid_argument);
  EXPECT_THROW(source.read(far, 100, batch), std::invalid_argument);
  EXPECT_THROW(source.read(0, far, batch), std::invalid_argument);
  settings.shuffle = true;
  const BatchSource shuffled(settings);
  shuffled.read((std::int64_t{1} << 34) - 2, 2, batch);
  expect_error(ExitCode::data, {"epoch 4294967296"}, [&] { shuffled.read(std::int64_t{1} << 34, 1, batch); });
}

TEST_F(Batches, FingerprintFollowsContentAndOrderNotNames) {
  const auto fingerprint = [&](std::vector<std::string> files, ShardFormat format = ShardFormat::automatic) {
    BatchSettings settings;
    settings.files = std::move(files);
    settings.format = format;
    settings.n_ctx = 2;
    settings.vocab_size = 65536;
    return BatchSource(settings).fingerprint();
  };
  Tokens tokens = numbered(0, 30);
  const std::string a = put_shard(folder_ / "a.bin", tokens);
  const std::string same = put_shard(folder_ / "same.bin", tokens);
  const std::string raw = put_file(folder_ / "raw.bin", raw_image(tokens));
  const std::string b = put_shard(folder_ / "b.bin", numbered(30, 10));
  EXPECT_EQ(fingerprint({a}).size(), 32u);
  EXPECT_EQ(fingerprint({a}), fingerprint({same}));
  EXPECT_EQ(fingerprint({a}), fingerprint({raw}, ShardFormat::raw_u16));
  EXPECT_EQ(fingerprint({a, b}), fingerprint({same, b}));
  EXPECT_NE(fingerprint({a, b}), fingerprint({b, a}));
  EXPECT_NE(fingerprint({a}), fingerprint({a, b}));
  // The same stream cut elsewhere
  const std::string c = put_shard(folder_ / "c.bin", numbered(0, 29));
  const std::string d = put_shard(folder_ / "d.bin", numbered(29, 11));
  EXPECT_NE(fingerprint({a, b}), fingerprint({c, d}));
  tokens[17] ^= 1;
  const std::string e = put_shard(folder_ / "e.bin", tokens);
  EXPECT_NE(fingerprint({a}), fingerprint({e}));
}

TEST_F(Batches, FingerprintOfALargeShardCoversItsEndsAndSamples) {
  Tokens tokens(2'500'000, 7);
  const auto fingerprint = [&] {
    BatchSettings settings;
    settings.files = {put_shard(folder_ / "large.bin", tokens)};
    settings.n_ctx = 2;
    settings.vocab_size = 100;
    return BatchSource(settings).fingerprint();
  };
  std::set<std::string> seen = {fingerprint()};
  // First, last of the first MiB, first sample, first of the last MiB, last.
  const std::vector<std::size_t> places = {0, 524287, 524288, 2'500'000 - 524288, 2'499'999};
  for (const std::size_t place : places) {
    tokens[place] = 8;
    EXPECT_TRUE(seen.insert(fingerprint()).second) << place;
    tokens[place] = 7;
  }
}

}  // namespace
}  // namespace temper
