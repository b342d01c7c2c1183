#include "data/inspect.h"

#include "data/tokenize.h"
#include "shard_support.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

std::uint16_t byte_token(const Tokenizer& tokenizer, char byte) {
  return static_cast<std::uint16_t>(tokenizer.encode(std::string_view(&byte, 1)).at(0));
}

TEST(Inspect, CountsWhatAShardHolds) {
  const TemporaryFolder folder;
  InspectSettings settings;
  settings.files = {put_shard(folder / "a.bin", {50256, 7, 9, 9, 50256, 9}), put_shard(folder / "b.bin", {7, 65535, 7}),
                    put_shard(folder / "c.bin", {})};
  settings.top = 3;
  settings.first = 2;
  const InspectReport report = inspect_shards(settings);
  ASSERT_EQ(report.shards.size(), 3u);
  EXPECT_EQ(report.shards[0].file_bytes, 1036);
  EXPECT_EQ(report.shards[0].tokens, 6);
  EXPECT_EQ(report.shards[0].documents, 2);
  EXPECT_EQ(report.shards[0].smallest, 7);
  EXPECT_EQ(report.shards[0].largest, 50256);
  EXPECT_EQ(report.shards[0].first, (std::vector<std::uint32_t>{50256, 7}));
  EXPECT_FALSE(report.shards[0].sidecar);
  EXPECT_EQ(report.shards[1].largest, 65535);
  EXPECT_FALSE(report.shards[2].smallest);
  EXPECT_EQ(report.tokens, 9);
  EXPECT_EQ(report.documents, 2);
  EXPECT_EQ(report.distinct, 4);
  ASSERT_EQ(report.top.size(), 3u);
  EXPECT_EQ(report.top[0].token, 7);
  EXPECT_EQ(report.top[0].count, 3);
  EXPECT_EQ(report.top[1].token, 9) << "ties go by id";
  EXPECT_EQ(report.top[2].token, 50256);
  const std::string text = to_text(report, nullptr);
  for (const char* part :
       {"a.bin", "llm.c, version 1, 1036 bytes", "6, ids 7 to 50256", "50256 7", "all 3 shards", "distinct tokens: 4", "33.33 %"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in:\n" << text;
  }
}

TEST(Inspect, RawShards) {
  const TemporaryFolder folder;
  InspectSettings settings;
  settings.files = {put_file(folder / "train.bin", raw_image({5, 6, 7}))};
  expect_error(ExitCode::data, {"raw_u16"}, [&] { inspect_shards(settings); });
  settings.format = ShardFormat::raw_u16;
  const InspectReport report = inspect_shards(settings);
  EXPECT_EQ(report.tokens, 3);
  EXPECT_NE(to_text(report, nullptr).find("raw_u16, 6 bytes"), std::string::npos);
}

TEST(Inspect, ShowsTextAndChecksTokenizerSidecarAndHash) {
  const TemporaryFolder folder;
  const Tokenizer tokenizer = Tokenizer::train("some text to learn from, some more text", 270, {});
  TokenizeSettings making;
  making.inputs = {put_file(folder / "a.txt", "some text\x1b[2J\n")};
  making.output = folder / "out";
  making.name = "x";
  tokenize_files(making, tokenizer, {});
  const auto shard = folder / "out/x_train_000000.bin";

  InspectSettings settings;
  settings.files = {shard.string()};
  settings.tokenizer = &tokenizer;
  const InspectReport report = inspect_shards(settings);
  EXPECT_EQ(report.end_of_text, tokenizer.end_of_text());
  EXPECT_EQ(report.documents, 1);
  ASSERT_TRUE(report.shards[0].sidecar);
  const std::string text = to_text(report, &tokenizer);
  EXPECT_NE(text.find("<|endoftext|>some text\\x1b[2J\\n\""), std::string::npos) << text;
  EXPECT_NE(text.find("x.json, hash agrees"), std::string::npos) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  settings.tokenizer = nullptr;
  EXPECT_EQ(inspect_shards(settings).documents, 1) << "the sidecar knows <|endoftext|>";

  const Tokenizer other = Tokenizer::train("other words, other words", 265, {});
  settings.tokenizer = &other;
  expect_error(ExitCode::data, {"two tokenizers", "x.json", other.hash(), tokenizer.hash()}, [&] { inspect_shards(settings); });

  std::string image = read_file(shard);
  image[1030] = static_cast<char>(image[1030] ^ 1);
  put_file(shard, image);
  settings.tokenizer = &tokenizer;
  expect_error(ExitCode::data, {"x_train_000000.bin", "other tokens than when it was made"}, [&] { inspect_shards(settings); });
}

// Two sets of two tokenizers, one of several shards that are large enough for samples to miss a byte.
TEST(Verify, FindsEveryByteAndEveryShard) {
  const TemporaryFolder folder;
  const Tokenizer tokenizer = Tokenizer::train("some text to learn from, some more text", 270, {});
  const Tokenizer other = Tokenizer::train("other words, other words", 265, {});
  std::string text;
  while (text.size() < 5'000'000) text += "xyz ";
  TokenizeSettings making;
  making.inputs = {put_file(folder / "a.txt", text)};
  making.output = folder.path();
  making.name = "x";
  making.shard_tokens = 3'000'000;
  tokenize_files(making, tokenizer, {});
  making.inputs = {put_file(folder / "b.txt", "short")};
  making.name = "y";
  tokenize_files(making, other, {});
  const std::vector<std::string> all = {(folder / "*.bin").string()};
  std::string said;
  const auto verify = [&] {
    said.clear();
    verify_shards(all, [&](const std::string& line) { said += line + "\n"; });
  };
  const auto expect_bad = [&](const std::string& count, const std::string& line) {
    expect_error(ExitCode::data, {count + " of these shards"}, verify);
    EXPECT_NE(said.find(line), std::string::npos) << said;
    EXPECT_NE(said.find("y_train_000000.bin: ok"), std::string::npos) << said;
  };

  verify();
  EXPECT_NE(said.find("x_train_000001.bin: ok"), std::string::npos) << said;
  InspectSettings settings;
  settings.files = all;
  const std::string report = to_text(inspect_shards(settings), nullptr);
  for (const std::string& part : {tokenizer.hash(), other.hash(), std::string("these shards are of 2 tokenizers")})
    EXPECT_NE(report.find(part), std::string::npos) << report;

  const auto shard = folder / "x_train_000000.bin";
  const std::string good = read_file(shard);
  std::string bad = good;
  const std::size_t place = 1024 + 1'200'001;  // between the first MiB and the second sample
  bad[place] = static_cast<char>(bad[place] ^ 4);
  put_file(shard, bad);
  expect_bad("1", "x_train_000000.bin: its contents changed");
  put_file(shard, good);
  verify();
  put_shard(folder / "foreign.bin", {1});
  std::filesystem::remove(folder / "x_train_000001.bin");
  expect_bad("2", "x_train_000001.bin: is not there");
  EXPECT_NE(said.find("foreign.bin: no sidecar has a record of it"), std::string::npos) << said;
}

TEST(Inspect, TokensOutsideTheVocabulary) {
  const TemporaryFolder folder;
  const Tokenizer tokenizer = Tokenizer::train("aaaa bbbb", 258, {});
  const auto a = byte_token(tokenizer, 'a');
  InspectSettings settings;
  settings.tokenizer = &tokenizer;
  settings.files = {put_shard(folder / "a.bin", {a, a, 257})};
  EXPECT_EQ(inspect_shards(settings).tokens, 3);
  settings.files = {put_shard(folder / "b.bin", {a, a, 300, 258})};
  expect_error(ExitCode::data, {"b.bin", "2 tokens", "vocabulary of 258", "300", "position 2"}, [&] { inspect_shards(settings); });
}

TEST(EscapeForTerminal, LeavesTextAndDisarmsControls) {
  EXPECT_EQ(escape_for_terminal("caf\xc3\xa9 \xf0\x9f\x94\xa5 \xe4\xbd\xa0"), "caf\xc3\xa9 \xf0\x9f\x94\xa5 \xe4\xbd\xa0");
  EXPECT_EQ(escape_for_terminal("a\nb\tc\rd\\e"), "a\\nb\\tc\\rd\\\\e");
  EXPECT_EQ(escape_for_terminal(std::string_view("\x1b[31m\0\x7f", 7)), "\\x1b[31m\\x00\\x7f");
  EXPECT_EQ(escape_for_terminal("\xc2\x9b"
                                "31m"),
            "\\xc2\\x9b"
            "31m");
  EXPECT_EQ(escape_for_terminal("\xe2\x80\xae"), "\\xe2\\x80\\xae");
  EXPECT_EQ(escape_for_terminal("a\u200bb\u00ad"), "a\\xe2\\x80\\x8bb\\xc2\\xad");  // what is not seen
  EXPECT_EQ(escape_for_terminal("a\xff"), "a\xef\xbf\xbd");
}

}  // namespace
}  // namespace temper
