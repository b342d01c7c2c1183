#include "data/tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "io/error.h"
#include "tokenizer_golden.h"

namespace temper {
namespace {

constexpr const char* kGpt2 = TEMPER_SOURCE_DIR "/../shared/data/gpt2";
constexpr const char* kTexts = TEMPER_SOURCE_DIR "/../shared/data/text";

// GPT-2's vocabulary, loaded once; null where the shared data are not there.
const Tokenizer* gpt2() {
  static const std::unique_ptr<const Tokenizer> tokenizer = std::filesystem::exists(std::string(kGpt2) + "/encoder.json")
                                                                ? std::make_unique<const Tokenizer>(Tokenizer::load(kGpt2))
                                                                : nullptr;
  return tokenizer.get();
}

Tokenizer small() {
  std::string text;
  for (int i = 0; i < 3; ++i)
    text +=
        "the cat and the dog, the hat's on the mat;\n\n    it isn't 1234 quick brown foxes jumping over lazy sleeping dogs "
        "\u4e16\u754c caf\u00e9 \U0001F600 that there then";
  return Tokenizer::train(text, 320, {});
}

void expect_round_trips(const Tokenizer& tokenizer) {
  std::mt19937 random(9);
  for (int round = 0; round < 2000; ++round) {
    const std::string text = random_text(random, static_cast<int>(random() % 80));
    const std::vector<std::uint32_t> tokens = tokenizer.encode(text);
    ASSERT_EQ(tokenizer.decode(tokens), text);
    for (const std::uint32_t token : tokens) ASSERT_NE(token, tokenizer.end_of_text());
    const std::string bytes = random_bytes(random, random() % 80);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(bytes)), replace_invalid_utf8(bytes));
  }
}

TEST(Tokenizer, DecodesWhatItEncoded) { expect_round_trips(small()); }

TEST(Tokenizer, EncodesThePiecesItLearned) {
  const Tokenizer tokenizer = small();
  const std::vector<std::uint32_t> tokens = tokenizer.encode(" the the");
  ASSERT_EQ(tokens.size(), 2u);
  EXPECT_EQ(tokenizer.token_bytes(tokens[0]), " the");
  EXPECT_EQ(tokens[0], tokens[1]);
}

TEST(Tokenizer, TakesSpecialTokensAsText) {
  const Tokenizer tokenizer = small();
  EXPECT_EQ(tokenizer.token_bytes(tokenizer.end_of_text()), "<|endoftext|>");
  const std::vector<std::uint32_t> tokens = tokenizer.encode("<|endoftext|>");
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), tokenizer.end_of_text()), 0);
  EXPECT_EQ(tokenizer.decode(tokens), "<|endoftext|>");
}

TEST(Tokenizer, AppendsToWhatIsThere) {
  const Tokenizer tokenizer = small();
  std::vector<std::uint32_t> tokens = {tokenizer.end_of_text()};
  tokenizer.encode("the cat", tokens);
  EXPECT_EQ(tokens.front(), tokenizer.end_of_text());
  EXPECT_EQ(tokenizer.decode(tokens), "<|endoftext|>the cat");
}

TEST(Tokenizer, RefusesTokensOutsideTheVocabulary) {
  const Tokenizer tokenizer = small();
  try {
    tokenizer.decode({0, 320});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::data);
    EXPECT_NE(std::string(error.what()).find("token 320: the vocabulary has 320 tokens"), std::string::npos) << error.what();
  }
}

TEST(Tokenizer, EncodesFromManyThreadsAtOnce) {
  const Tokenizer tokenizer = small();
  std::mt19937 random(10);
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i) texts.push_back(random_text(random, 60) + " the cat and the dog");
  std::vector<std::vector<std::uint32_t>> expected;
  for (const std::string& text : texts) expected.push_back(tokenizer.encode(text));
  std::vector<int> wrong(4);
  std::vector<std::jthread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (std::size_t i = 0; i < texts.size(); ++i) count += tokenizer.encode(texts[i]) != expected[i];
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(TokenizerGpt2, EncodesTheGoldenTextsAsTiktoken) {
  if (!gpt2()) GTEST_SKIP() << kGpt2 << " is not there";
  EXPECT_EQ(gpt2()->vocab_size(), 50257);
  EXPECT_EQ(gpt2()->end_of_text(), 50256u);
  const std::vector<GoldenCase> cases = golden_cases();
  EXPECT_GT(cases.size(), 100u);
  for (const GoldenCase& golden : cases) {
    EXPECT_EQ(gpt2()->encode(golden.text), golden.tokens) << golden.name;
    EXPECT_EQ(gpt2()->encode(golden.text), golden.tokens) << golden.name << ", from the cache";
    EXPECT_EQ(gpt2()->decode(golden.tokens), replace_invalid_utf8(golden.text)) << golden.name;
  }
}

TEST(TokenizerGpt2, EncodesWholeFilesAsTiktoken) {
  if (!gpt2() || !std::filesystem::exists(kTexts)) GTEST_SKIP() << kGpt2 << " or " << kTexts << " is not there";
  const nlohmann::json golden = golden_tokenizer();
  EXPECT_EQ(golden["files"].size(), 2u);
  for (const auto& file : golden["files"]) {
    const std::string name = file["file"];
    const std::vector<std::uint32_t> tokens = gpt2()->encode(read_file(std::string(kTexts) + "/" + name));
    EXPECT_EQ(tokens.size(), file["count"].get<std::size_t>()) << name;
    std::uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a over whole tokens, as tokenizer_golden.py
    for (const std::uint32_t token : tokens) hash = (hash ^ token) * 0x100000001B3u;
    EXPECT_EQ(hash, std::stoull(file["fnv1a"].get<std::string>(), nullptr, 16)) << name;
  }
}

TEST(TokenizerGpt2, DecodesWhatItEncoded) {
  if (!gpt2()) GTEST_SKIP() << kGpt2 << " is not there";
  expect_round_trips(*gpt2());
}

}  // namespace
}  // namespace temper
