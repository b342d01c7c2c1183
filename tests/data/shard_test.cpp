#include "data/shard.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "shard_support.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

Tokens parse(const std::string& image, ShardFormat format = ShardFormat::automatic) {
  const auto start = std::as_bytes(std::span(image)).first(std::min<std::size_t>(image.size(), 1024));
  const ShardLayout layout = check_shard(start, static_cast<std::int64_t>(image.size()), format, "a.bin");
  Tokens tokens(static_cast<std::size_t>(layout.tokens));
  EXPECT_EQ(static_cast<std::size_t>(layout.first_byte) + 2 * tokens.size(), image.size());
  if (!tokens.empty()) std::memcpy(tokens.data(), image.data() + layout.first_byte, 2 * tokens.size());
  return tokens;
}

void expect_shard_refused(const std::string& image, const std::vector<std::string>& parts,
                          ShardFormat format = ShardFormat::automatic) {
  std::vector<std::string> all = parts;
  all.push_back("a.bin: ");
  expect_error(ExitCode::data, all, [&] { parse(image, format); });
}

TEST(Shard, ReadsLlmcLayout) {
  const Tokens tokens = {50256, 0, 65535, 17, 1};
  EXPECT_EQ(parse(shard_image(tokens)), tokens);
  EXPECT_EQ(parse(shard_image({})), Tokens{});
}

TEST(Shard, ReadsRawTokens) {
  const Tokens tokens = {50256, 0, 65535, 17, 1};
  EXPECT_EQ(parse(raw_image(tokens), ShardFormat::raw_u16), tokens);
  EXPECT_EQ(parse("", ShardFormat::raw_u16), Tokens{});
}

TEST(Shard, EveryDamagedBitOfTheHeaderIsRefused) {
  const std::string good = shard_image({1, 2, 3, 4, 5});
  for (std::size_t bit = 0; bit < 8 * 1024; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    EXPECT_THROW(parse(bad), Error) << "bit " << bit;
  }
}

TEST(Shard, EveryTruncationIsRefused) {
  const std::string good = shard_image({1, 2, 3, 4, 5});
  for (std::size_t length = 0; length < good.size(); ++length) EXPECT_THROW(parse(good.substr(0, length)), Error) << length;
  EXPECT_THROW(parse(good + "x"), Error);
  expect_shard_refused(good.substr(0, 1030), {"cut short", "5 tokens", "1034 bytes", "1030"});
  expect_shard_refused(good.substr(0, 100), {"cut short", "100 bytes", "1024"});
}

TEST(Shard, HeaderErrorsNameOffsetAndValue) {
  std::string image = shard_image({1});
  image[4] = 7;
  expect_shard_refused(image, {"version 7", "offset 4"});
  image = shard_image({1});
  image[11] = '\x80';
  expect_shard_refused(image, {"token count of -2147483647", "offset 8"});
  image = shard_image({1});
  image[11] = '\x7f';  // 2 * count + 1024 is beyond 32 bits
  expect_shard_refused(image, {"2130706433 tokens", "4261413890 bytes", "1026"});
  image = shard_image({1});
  image[500] = 1;
  expect_shard_refused(image, {"offset 500"});
}

TEST(Shard, ForeignFilesAreNamed) {
  const auto with_magic = [](std::int32_t magic) {
    std::string image = shard_image({1, 2});
    std::memcpy(image.data(), &magic, 4);
    return image;
  };
  expect_shard_refused(with_magic(20240801), {"Llama-3"});
  expect_shard_refused(with_magic(20240522), {"multiple-choice"});
  expect_shard_refused(with_magic(20240326), {"model of llm.c", "temper import"});
  expect_shard_refused(with_magic(20240328), {"tokenizer"});
  expect_shard_refused(with_magic(__builtin_bswap32(20240520)), {"big-endian"});
  expect_shard_refused(raw_image({318, 257, 1332, 0}), {"data.format to raw_u16", "20240520"});
  expect_shard_refused("To be, or not to be", {"text", "temper data tokenize"});
  expect_shard_refused("\x1f\x8b\x08 and so on", {"gunzip"});
  expect_shard_refused("BZh91AY&SY", {"bunzip2"});
  expect_shard_refused(std::string("\xfd"
                                   "7zXZ\0",
                                   6),
                       {"unxz"});
  expect_shard_refused("\x28\xb5\x2f\xfd", {"unzstd"});
  expect_shard_refused("BIN.TOK\n and so on", {"llmq"});
  expect_shard_refused("\x93NUMPY\x01", {"NumPy"});
  expect_shard_refused("version https://git-lfs.github.com/spec/v1\n", {"git lfs pull"});
  expect_shard_refused("", {"empty"});
  expect_shard_refused(std::string("\x01"), {"not an llm.c shard"});
}

TEST(Shard, RawFilesAreCheckedToo) {
  expect_shard_refused("abc", {"3 bytes", "two bytes"}, ShardFormat::raw_u16);
  expect_shard_refused(shard_image({1, 2}), {"data.format to auto"}, ShardFormat::raw_u16);
  expect_shard_refused(std::string(600, 'a'), {"text"}, ShardFormat::raw_u16);
}

TEST(Shard, MutatedImagesNeverCrash) {
  std::mt19937 random(1);
  const std::string good = shard_image({1, 2, 3, 4, 5, 6, 7, 8});
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string image = good;
    for (std::uint32_t change = random() % 4; change-- > 0;) image[random() % 16] = static_cast<char>(random());
    if (random() % 4 == 0) image.resize(random() % image.size());
    for (const ShardFormat format : {ShardFormat::automatic, ShardFormat::raw_u16}) {
      try {
        parse(image, format);
        ++accepted;
      } catch (const Error&) {
      }
    }
  }
  EXPECT_GT(accepted, 0);
}

class ShardInUse : public testing::Test {
 protected:
  // Reads a shard of 2,000,000 tokens, of which samples see a part, after something happened to its file.
  std::string read_after(const std::function<void(const std::filesystem::path&)>& happens) {
    const TemporaryFolder folder;
    const Shard shard(put_shard(folder / "a.bin", Tokens(2'000'000, 7)), ShardFormat::automatic);
    happens(folder / "a.bin");
    Tokens tokens(10);
    try {
      shard.read(500, tokens);
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(ExitCode::data));
      return error.what();
    }
    EXPECT_EQ(tokens, Tokens(10, 7));
    return "read";
  }
};

void expect_part(const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), std::string::npos) << text; }

TEST_F(ShardInUse, LossIsAnErrorThatNamesIt) {
  const auto cut = [](std::uintmax_t bytes) {
    return [bytes](const std::filesystem::path& path) { std::filesystem::resize_file(path, bytes); };
  };
  expect_part(read_after(cut(1024)), "a.bin: was cut short");
  expect_part(read_after(cut(3'000'000)), "a.bin: went from 4001024 to 3000000 bytes");
  expect_part(read_after(cut(5'000'000)), "a.bin: went from 4001024 to 5000000 bytes");
  // Written into: the time of the file is set, since two writes may fall within one tick of a file system's clock.
  const auto later = [](const std::filesystem::path& path) {
    std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
  };
  expect_part(read_after([&](const std::filesystem::path& path) {
                put_shard(path, Tokens(2'000'000, 8));
                later(path);
              }),
              "a.bin: was overwritten");
  EXPECT_EQ(read_after(later), "read") << "touched alone";
  EXPECT_EQ(read_after([](const std::filesystem::path& path) { std::filesystem::remove(path); }), "read");
  EXPECT_EQ(read_after([](const std::filesystem::path& path) {
              put_shard(path.string() + "2", {1, 2});
              std::filesystem::rename(path.string() + "2", path);
            }),
            "read")
      << "what was opened is still there";
}

TEST(ShardWriter, WritesLlmcLayout) {
  const TemporaryFolder folder;
  const auto path = folder / "a.bin";
  ShardWriter writer(path);
  writer.append(Tokens{1, 2});
  writer.append(Tokens{});
  writer.append(Tokens{65535});
  EXPECT_EQ(writer.token_count(), 3);
  EXPECT_FALSE(std::filesystem::exists(path));
  writer.close();
  EXPECT_EQ(read_file(path), shard_image({1, 2, 65535}));
  EXPECT_FALSE(std::filesystem::exists(folder / "a.bin.tmp"));
  const Shard shard(path, ShardFormat::automatic);
  EXPECT_EQ(shard.tokens(), 3);
  EXPECT_EQ(shard.file_bytes(), 1030);
}

TEST(ShardWriter, LeavesNothingWhenAbandoned) {
  const TemporaryFolder folder;
  {
    ShardWriter writer(folder / "a.bin");
    writer.append(Tokens{1, 2});
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ShardWriter, LeavesNothingWhenItCannotTakeItsName) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "a.bin");
  ShardWriter writer(folder / "a.bin");
  writer.append(Tokens{1, 2});
  expect_error(ExitCode::io, {"a.bin"}, [&] { writer.close(); });
  EXPECT_FALSE(std::filesystem::exists(folder / "a.bin.tmp"));
}

TEST(ShardWriter, UnfinishedFileIsNoShard) {
  const TemporaryFolder folder;
  ShardWriter writer(folder / "a.bin");
  writer.append(Tokens{1, 2});
  EXPECT_THROW(Shard(folder / "a.bin.tmp", ShardFormat::automatic), Error);
}

TEST(ShardWriter, RefusesMoreTokensThanTheHeaderCanCount) {
  const TemporaryFolder folder;
  ShardWriter writer(folder / "a.bin");
  const Tokens one = {1};
  writer.append(one);
  // The span's memory is never read: the count alone is refused.
  expect_error(ExitCode::data, {"2147483647", "shard size"},
               [&] { writer.append(std::span<const std::uint16_t>(one.data(), static_cast<std::size_t>(max_shard_tokens))); });
}

TEST(ExpandGlobs, SortsMatchesAndKeepsTheOrderOfPatterns) {
  const TemporaryFolder folder;
  for (const char* name : {"b_2.bin", "b_10.bin", "b_1.bin", "a.bin", "odd[1].bin"}) put_file(folder / name, "x");
  const auto at = [&](const char* name) { return (folder / name).string(); };
  const auto files = expand_globs({at("b_*.bin"), at("a.bin"), at("odd[1].bin")});
  const std::vector<std::filesystem::path> expected = {at("b_1.bin"), at("b_10.bin"), at("b_2.bin"), at("a.bin"), at("odd[1].bin")};
  EXPECT_EQ(files, expected);
}

TEST(ExpandGlobs, TwoStarsReachEveryDepthAndFollowNoLinks) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "a/b/c");
  std::filesystem::create_directories(folder / "a/.hidden");
  for (const char* name : {"a/1.bin", "a/b/2.bin", "a/b/c/3.bin", "a/b/c/3.txt", "a/.hidden/4.bin"}) put_file(folder / name, "x");
  std::filesystem::create_directory_symlink(folder / "a", folder / "a/b/circle");
  const auto at = [&](const char* name) { return (folder / name).string(); };
  using Paths = std::vector<std::filesystem::path>;
  EXPECT_EQ(expand_globs({at("a/**/*.bin")}), Paths({at("a/1.bin"), at("a/b/2.bin"), at("a/b/c/3.bin")}));
  EXPECT_EQ(expand_globs({at("**/b/**/*.bin")}), Paths({at("a/b/2.bin"), at("a/b/c/3.bin")}));
  EXPECT_EQ(expand_globs({at("a/**/c/*")}), Paths({at("a/b/c/3.bin"), at("a/b/c/3.txt")}));
  EXPECT_EQ(expand_globs({at("a/b/**")}), expand_globs({at("a/b/**/*")}));
  EXPECT_EQ(expand_globs({at("a/b/**/*")}), Paths({at("a/b/2.bin"), at("a/b/c/3.bin"), at("a/b/c/3.txt")})) << "no folders";
  expect_error(ExitCode::data, {"no file matches", "**/*.bin"}, [&] { expand_globs({at("c/**/*.bin")}); });
}

TEST(ExpandGlobs, NamesThatExistAreTakenAsTheyAre) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "run[1]");
  std::filesystem::create_directories(folder / "run1");
  for (const char* name : {"run[1]/a.bin", "run1/b.bin", "*.bin", "c.bin"}) put_file(folder / name, "x");
  const auto at = [&](const char* name) { return (folder / name).string(); };
  using Paths = std::vector<std::filesystem::path>;
  EXPECT_EQ(expand_globs({at("run[1]/*.bin")}), Paths({at("run[1]/a.bin")}));
  EXPECT_EQ(expand_globs({at("*.bin")}), Paths({at("*.bin")}));
  EXPECT_EQ(expand_globs({at("run?/*.bin")}), Paths({at("run1/b.bin")}));
}

TEST(Shard, APipeIsRefusedAtOnce) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "a.bin").c_str(), 0600), 0);
  expect_error(ExitCode::data, {"a.bin", "no regular file"}, [&] { const Shard shard(folder / "a.bin", ShardFormat::automatic); });
}

TEST(ExpandGlobs, RefusesNothingTwiceAndFolders) {
  const TemporaryFolder folder;
  put_file(folder / "a.bin", "x");
  std::filesystem::create_symlink(folder / "a.bin", folder / "z.bin");
  const auto at = [&](const char* name) { return (folder / name).string(); };
  expect_error(ExitCode::data, {"no file matches", "c*.bin"}, [&] { expand_globs({at("c*.bin")}); });
  expect_error(ExitCode::data, {"no file matches"}, [&] { expand_globs({""}); });
  expect_error(ExitCode::data, {"twice"}, [&] { expand_globs({at("a.bin"), at("a*")}); });
  expect_error(ExitCode::data, {"twice", "z.bin"}, [&] { expand_globs({at("*.bin")}); });
  expect_error(ExitCode::data, {"is a folder", "/*"}, [&] { expand_globs({folder.path().string()}); });
}

}  // namespace
}  // namespace temper
