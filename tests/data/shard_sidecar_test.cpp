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
  sidecar.sources = {{"a.txt", 100, "aa", "text", {}}, {"b.txt", 44, "bb", "JSON lines in gzip", {5, 3, 2, "line 7: bad", 1}}};
  sidecar.split(Split::train) = {30, 2, 120, {{"x_train_000000.bin", 20, "s0", "p0"}, {"x_train_000001.bin", 10, "s1", "p1"}}};
  sidecar.split(Split::validation) = {8, 1, 24, {{"x_val_000000.bin", 8, "s2", "p2"}}};
  return sidecar;
}

// Makes the shards, and returns the sidecar with their samples.
Sidecar put_all(const std::filesystem::path& folder, Sidecar sidecar) {
  for (SplitRecord& split : sidecar.splits) {
    for (ShardRecord& shard : split.shards)
      shard = describe_shard(put_shard(folder / shard.file, Tokens(static_cast<std::size_t>(shard.tokens))));
  }
  return sidecar;
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
  EXPECT_EQ(read.sources[1].kind, "JSON lines in gzip");
  EXPECT_EQ(read.sources[1].found.documents, 5);
  EXPECT_EQ(read.sources[1].found.invalid_bytes, 3);
  EXPECT_EQ(read.sources[1].found.skipped, 2);
  EXPECT_EQ(read.sources[1].found.first_bad, "line 7: bad");
  EXPECT_EQ(read.sources[1].found.marks, 1);
  EXPECT_EQ(read.split(Split::train).tokens, 30);
  EXPECT_EQ(read.split(Split::train).documents, 2);
  EXPECT_EQ(read.split(Split::validation).bytes, 24);
  ASSERT_EQ(read.split(Split::train).shards.size(), 2u);
  EXPECT_EQ(read.split(Split::train).shards[1].file, "x_train_000001.bin");
  EXPECT_EQ(read.split(Split::train).shards[1].tokens, 10);
  EXPECT_EQ(read.split(Split::train).shards[1].hash, "s1");
  EXPECT_EQ(read.split(Split::train).shards[1].sampled, "p1");
}

ShardOrigins origins_of(const std::filesystem::path& folder, const std::vector<std::string>& names) {
  ShardOrigins origins;
  for (const std::string& name : names) origins.add(Shard(folder / name, ShardFormat::automatic));
  return origins;
}

TEST(Sidecar, TellsOriginsAndBytesPerToken) {
  const TemporaryFolder folder;
  const Sidecar made = put_all(folder.path(), example());
  const auto origins = [&](const std::vector<std::string>& names) { return origins_of(folder.path(), names); };
  EXPECT_EQ(origins({"x_val_000000.bin"}).unrecorded().size(), 1u) << "there is none yet";
  write_sidecar(folder / "x.json", made);
  const ShardOrigins validation = origins({"x_val_000000.bin"});
  ASSERT_EQ(validation.sidecars().size(), 1u);
  EXPECT_EQ(validation.sidecars().begin()->second.tokenizer_hash, made.tokenizer_hash);
  EXPECT_TRUE(validation.absent().empty());
  EXPECT_DOUBLE_EQ(validation.bytes_per_token().value(), 3.0);
  EXPECT_DOUBLE_EQ(origins({"x_train_000000.bin", "x_train_000001.bin"}).bytes_per_token().value(), 4.0);
  EXPECT_DOUBLE_EQ(origins({"x_train_000000.bin", "x_val_000000.bin"}).bytes_per_token().value(), 144.0 / 38.0);
  put_shard(folder / "foreign.bin", {1, 2});
  const ShardOrigins mixed = origins({"x_val_000000.bin", "foreign.bin"});
  EXPECT_EQ(mixed.unrecorded(), std::vector<std::filesystem::path>({folder / "foreign.bin"}));
  EXPECT_EQ(mixed.shards(), 2u);
  EXPECT_FALSE(mixed.bytes_per_token());
  EXPECT_FALSE(origins({}).bytes_per_token());
  std::filesystem::remove(folder / "x_train_000001.bin");
  EXPECT_EQ(origins({"x_train_000000.bin"}).absent(), std::vector<std::filesystem::path>({folder / "x_train_000001.bin"}));
  EXPECT_TRUE(origins({"x_val_000000.bin"}).absent().empty()) << "of the other split";
}

TEST(Sidecar, ShardsOfAnotherRunAreRefused) {
  const TemporaryFolder folder;
  write_sidecar(folder / "x.json", put_all(folder.path(), example()));
  const auto refused = [&](const std::string& shard, const Tokens& tokens, const std::vector<std::string>& parts) {
    put_shard(folder / shard, tokens);
    std::vector<std::string> all = parts;
    all.insert(all.end(), {shard, "x.json"});
    expect_error(ExitCode::data, all, [&] { origins_of(folder.path(), {shard}); });
  };
  refused("x_val_000000.bin", Tokens(9), {"9 tokens", "lists it with 8"});
  refused("x_val_000000.bin", Tokens(8, 1), {"other tokens than when it was made"});
  refused("x_train_000002.bin", {1, 2}, {"does not list it"});
}

TEST(TokenizerIdentity, ComparesAllThatIsKnown) {
  const TemporaryFolder folder;
  Sidecar other;
  other.tokenizer_hash = "ffff";
  other.split(Split::train) = {5, 1, 9, {{"y_train_000000.bin", 5, "s", ""}}};
  write_sidecar(folder / "x.json", put_all(folder.path(), example()));
  write_sidecar(folder / "y.json", put_all(folder.path(), other));
  put_shard(folder / "foreign.bin", {1, 2});
  const auto origins = [&](const std::vector<std::string>& names) { return origins_of(folder.path(), names); };
  const std::string known = example().tokenizer_hash;

  TokenizerIdentity identity;
  identity.add("a model", "");
  identity.add_shards("data.val", origins({"foreign.bin"}));
  EXPECT_EQ(identity.hash(), "");
  EXPECT_TRUE(identity.notes().empty()) << "nothing to compare with";
  identity.add_shards("data.train", origins({"x_train_000000.bin", "foreign.bin"}));
  EXPECT_EQ(identity.hash(), known);
  ASSERT_EQ(identity.notes().size(), 2u);
  EXPECT_NE(identity.notes()[1].find("data.train: 1 of 2 shards have no record of their tokenizer"), std::string::npos);
  identity.add("the same", known);

  const std::vector<std::string> both = {known, "ffff", "x.json", "y.json"};
  expect_error(ExitCode::data, both, [&] {
    TokenizerIdentity().add_shards("data.train", origins({"x_train_000000.bin", "y_train_000000.bin"}));
  });
  expect_error(ExitCode::data, both, [&] { identity.add_shards("data.val", origins({"foreign.bin", "y_train_000000.bin"})); });
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
                                                        {"\"version\": 2", "\"version\": 3"},
                                                        {"\"hash\": \"0", "\"hush\": \"0"},
                                                        {"\"splits\": {", "\"splits\": [], \"other\": {"}}) {
    expect_error(ExitCode::data, {"x.json"}, [&] { parse_sidecar(replaced(from, to), "x.json"); });
  }
}

}  // namespace
}  // namespace temper
