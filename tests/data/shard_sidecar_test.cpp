#include "data/shard_sidecar.h"

#include "shard_support.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

Sidecar example() {
  Sidecar sidecar;
  sidecar.tokenizer_hash = "0123456789abcdef0123456789abcdef";
  sidecar.vocab_size = 512;
  sidecar.end_of_text = 511;
  sidecar.sources = {{"a.txt", 100, "aa"}, {"b.txt", 44, "bb"}};
  sidecar.split(Split::train) = {30, 2, 120, {{"x_train_000000.bin", 20, "s0"}, {"x_train_000001.bin", 10, "s1"}}};
  sidecar.split(Split::validation) = {8, 1, 24, {{"x_val_000000.bin", 8, "s2"}}};
  return sidecar;
}

void put_all(const std::filesystem::path& folder, const Sidecar& sidecar) {
  for (const SplitRecord& split : sidecar.splits) {
    for (const ShardRecord& shard : split.shards) put_shard(folder / shard.file, Tokens(static_cast<std::size_t>(shard.tokens)));
  }
}

TEST(Sidecar, Names) {
  EXPECT_EQ(shard_path("d", "x", Split::train, 0), "d/x_train_000000.bin");
  EXPECT_EQ(shard_path("d", "x", Split::validation, 1234567), "d/x_val_1234567.bin");
  EXPECT_EQ(sidecar_path("d", "x"), "d/x.json");
}

TEST(Sidecar, SurvivesWritingAndReading) {
  const TemporaryFolder folder;
  write_sidecar(folder / "x.json", example());
  const Sidecar read = parse_sidecar(read_file(folder / "x.json"), "x.json");
  EXPECT_EQ(read.tokenizer_hash, example().tokenizer_hash);
  EXPECT_EQ(read.vocab_size, 512);
  EXPECT_EQ(read.end_of_text, 511);
  ASSERT_EQ(read.sources.size(), 2u);
  EXPECT_EQ(read.sources[1].file, "b.txt");
  EXPECT_EQ(read.sources[1].bytes, 44);
  EXPECT_EQ(read.sources[1].hash, "bb");
  EXPECT_EQ(read.split(Split::train).tokens, 30);
  EXPECT_EQ(read.split(Split::train).documents, 2);
  EXPECT_EQ(read.split(Split::validation).bytes, 24);
  ASSERT_EQ(read.split(Split::train).shards.size(), 2u);
  EXPECT_EQ(read.split(Split::train).shards[1].file, "x_train_000001.bin");
  EXPECT_EQ(read.split(Split::train).shards[1].tokens, 10);
  EXPECT_EQ(read.split(Split::train).shards[1].hash, "s1");
}

TEST(Sidecar, TellsATrainerTokenizerAndBytesPerToken) {
  const TemporaryFolder folder;
  put_all(folder.path(), example());
  EXPECT_FALSE(read_sidecar({folder / "x_val_000000.bin"})) << "there is none yet";
  write_sidecar(folder / "x.json", example());
  const auto validation = read_sidecar({folder / "x_val_000000.bin"});
  ASSERT_TRUE(validation);
  EXPECT_EQ(validation->tokenizer_hash, example().tokenizer_hash);
  EXPECT_EQ(validation->vocab_size, 512);
  EXPECT_DOUBLE_EQ(validation->bytes_per_token, 3.0);
  const auto train = read_sidecar({folder / "x_train_000000.bin", folder / "x_train_000001.bin"});
  ASSERT_TRUE(train);
  EXPECT_DOUBLE_EQ(train->bytes_per_token, 4.0);
  EXPECT_DOUBLE_EQ(read_sidecar({folder / "x_train_000000.bin", folder / "x_val_000000.bin"})->bytes_per_token, 144.0 / 38.0);
  put_shard(folder / "foreign.bin", {1, 2});
  put_shard(folder / "x_train_000002.bin", {1, 2});
  EXPECT_FALSE(read_sidecar({folder / "foreign.bin"}));
  EXPECT_FALSE(read_sidecar({folder / "x_train_000002.bin"})) << "not listed";
  EXPECT_FALSE(read_sidecar({folder / "x_val_000000.bin", folder / "foreign.bin"}));
  EXPECT_FALSE(read_sidecar({}));
}

TEST(Sidecar, FromAnotherRunIsRefused) {
  const TemporaryFolder folder;
  put_all(folder.path(), example());
  write_sidecar(folder / "x.json", example());
  put_shard(folder / "x_val_000000.bin", Tokens(9));
  expect_error(ExitCode::data, {"x_val_000000.bin", "1042 bytes", "8 tokens"},
               [&] { read_sidecar({folder / "x_val_000000.bin"}); });
}

TEST(Sidecar, TwoTokenizersAreRefused) {
  const TemporaryFolder folder;
  Sidecar other;
  other.tokenizer_hash = "ffff";
  other.split(Split::train) = {5, 1, 9, {{"y_train_000000.bin", 5, "s"}}};
  put_all(folder.path(), example());
  put_all(folder.path(), other);
  write_sidecar(folder / "x.json", example());
  write_sidecar(folder / "y.json", other);
  expect_error(ExitCode::data, {"different tokenizers", "ffff", "x.json", "y.json"}, [&] {
    read_sidecar({folder / "x_train_000000.bin", folder / "y_train_000000.bin"});
  });
}

TEST(Sidecar, DamageIsRefused) {
  const TemporaryFolder folder;
  write_sidecar(folder / "x.json", example());
  const std::string good = read_file(folder / "x.json");
  for (std::size_t length = 0; length + 2 < good.size(); length += 7) {
    expect_error(ExitCode::data, {"x.json", "sidecar"}, [&] { parse_sidecar(good.substr(0, length), "x.json"); });
  }
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t place = text.find(from);
    EXPECT_NE(place, std::string::npos) << from;
    return text.replace(place, from.size(), to);
  };
  for (const auto& [from, to] :
       std::vector<std::pair<std::string, std::string>>{{"\"tokens\": 30", "\"tokens\": -30"},
                                                        {"\"tokens\": 30", "\"tokens\": 30.5"},
                                                        {"\"tokens\": 30", "\"tokens\": 1e300"},
                                                        {"\"tokens\": 30", "\"tokens\": true"},
                                                        {"\"version\": 1", "\"version\": 2"},
                                                        {"\"hash\": \"0", "\"hush\": \"0"},
                                                        {"\"splits\": {", "\"splits\": [], \"other\": {"}}) {
    expect_error(ExitCode::data, {"x.json"}, [&] { parse_sidecar(replaced(from, to), "x.json"); });
  }
}

}  // namespace
}  // namespace temper
