#include "data/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <gtest/gtest.h>
#include <pcre2.h>

#include <memory>
#include <string>
#include <vector>

#include "tokenizer_golden.h"

namespace temper {
namespace {

std::vector<std::string> pieces_of(std::string_view text) {
  std::vector<std::string> pieces;
  Pretokenizer pretokenizer(text);
  for (std::string_view piece; pretokenizer.next(piece);) pieces.emplace_back(piece);
  return pieces;
}

class Regex {
 public:
  explicit Regex(const char* pattern) : code_(nullptr, pcre2_code_free), match_(nullptr, pcre2_match_data_free) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &offset,
                              nullptr));
    match_.reset(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  }
  std::vector<std::string> all(const std::string& text) const {
    std::vector<std::string> found;
    PCRE2_SIZE from = 0;
    while (pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, 0, match_.get(), nullptr) > 0) {
      const PCRE2_SIZE* span = pcre2_get_ovector_pointer(match_.get());
      found.push_back(text.substr(span[0], span[1] - span[0]));
      from = span[1];
    }
    return found;
  }

 private:
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code_;
  std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> match_;
};

// PCRE2's \s has U+180E in it, which Unicode's White_Space has not; see CharClasses.
constexpr const char* kPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+)";

TEST(Pretokenizer, CutsAsTheRegularExpressionOnRandomText) {
  const Regex pattern(kPattern);
  const Regex unassigned("\\p{Cn}");  // letters newer than PCRE2 are tested below
  std::mt19937 random(1);
  int compared = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::string text = random_text(random, 1 + static_cast<int>(random() % 12));
    if (!unassigned.all(text).empty()) continue;
    ++compared;
    ASSERT_EQ(pieces_of(text), pattern.all(text)) << "round " << round << ": " << testing::PrintToString(text);
  }
  EXPECT_GT(compared, 5000);
}

TEST(Pretokenizer, ClassesEveryCodePointAsPcre2OrNewer) {
  const Regex letter("\\p{L}"), number("\\p{N}"), space("\\p{White_Space}"), unassigned("\\p{Cn}");
  const CharClasses& classes = CharClasses::get();
  int newer = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    if (c >= 0x40000 && c < 0x10FFFE && c % 16 != 0 && (c >> 16) != 0xE) continue;  // planes with nothing in them: a sample
    std::string text;
    append_utf8(c, text);
    const CharClass expected = !letter.all(text).empty()   ? CharClass::letter
                               : !number.all(text).empty() ? CharClass::number
                               : !space.all(text).empty()  ? CharClass::space
                                                           : CharClass::other;
    if (classes.of(c) == expected) continue;
    ++newer;
    ASSERT_TRUE(!unassigned.all(text).empty() && classes.of(c) != CharClass::space) << "code point " << static_cast<unsigned>(c);
  }
  // Unicode 16 has 141,028 letters and 1,911 numbers; 14, Debian bookworm's, 131,756 and 1,791.
  EXPECT_TRUE(newer == 0 || newer == 141028 + 1911 - 131756 - 1791) << newer;
}

TEST(Pretokenizer, CutsAsTiktokenOnTheGoldenTexts) {
  const std::vector<GoldenCase> cases = golden_cases();
  EXPECT_GT(cases.size(), 100u);
  for (const GoldenCase& golden : cases) {
    const std::string text = replace_invalid_utf8(golden.text);
    std::vector<std::size_t> lengths;
    for (const std::string& piece : pieces_of(text)) lengths.push_back(piece.size());
    EXPECT_EQ(lengths, golden.pieces) << golden.name;
  }
}

TEST(Pretokenizer, KnowsLettersAndNumbersNewerThanUnicode14) {
  const CharClasses& classes = CharClasses::get();
  EXPECT_EQ(classes.of(0x1E030), CharClass::letter);  // Unicode 15, Cyrillic
  EXPECT_EQ(classes.of(0x2EBF0), CharClass::letter);  // 15.1, ideograph
  EXPECT_EQ(classes.of(0x105C0), CharClass::letter);  // 16, Todhri
  EXPECT_EQ(classes.of(0x1CCF0), CharClass::number);  // 16, outlined digit
  EXPECT_EQ(classes.of(0x180E), CharClass::other);
  EXPECT_EQ(classes.of(0x85), CharClass::space);
}

TEST(Pretokenizer, PlacesToCutLeaveThePiecesAsTheyAre) {
  std::mt19937 random(2);
  for (int round = 0; round < 5000; ++round) {
    const std::string text = random_text(random, 40);
    const std::size_t cut = next_cut(text, random() % (text.size() + 1));
    ASSERT_LE(cut, text.size());
    std::vector<std::string> parts = pieces_of(std::string_view(text).substr(0, cut));
    for (std::string& piece : pieces_of(std::string_view(text).substr(cut))) parts.push_back(std::move(piece));
    ASSERT_EQ(parts, pieces_of(text)) << testing::PrintToString(text) << " cut at " << cut;
  }
  EXPECT_EQ(next_cut("one two three", 4), 7u);
  EXPECT_EQ(next_cut("one two three", 8), 13u);
  EXPECT_EQ(next_cut("", 0), 0u);
}

}  // namespace
}  // namespace temper
