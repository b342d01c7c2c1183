#include "io/text.h"

#include <gtest/gtest.h>

namespace temper {
namespace {

TEST(Shown, PrintableTextStaysAsItIs) {
  for (const char* text : {"", "runs/a b.json", "\u00fc\u00b1\u2026 \u4e2d\u6587 \U0001F600", "it's \"quoted\" \\ |"})
    EXPECT_EQ(shown(text), text);
}

TEST(Shown, WhatCommandsATerminalOrTurnsTextIsEscaped) {
  EXPECT_EQ(shown("\033]0;x\a\r\n\t\x7f"), "\\x1b]0;x\\x07\\x0d\\x0a\\x09\\x7f");
  EXPECT_EQ(shown("\u009b31m"), "\\u{9b}31m");
  for (const char* text : {"\u200b", "\u200f", "\u202e", "\u2066", "\u2069", "\u2028", "\ufeff", "\u061c", "\U000E0041"})
    EXPECT_TRUE(shown(text).starts_with("\\u{")) << text;
}

TEST(Shown, BytesThatAreNoUtf8StandAlone) {
  EXPECT_EQ(shown("a\x9b"
                  "b\xc3"),
            "a\\x9b"
            "b\\xc3");
  EXPECT_EQ(shown("\xc0\xaf\xed\xa0\x80\xf5\x80"), "\\xc0\\xaf\\xed\\xa0\\x80\\xf5\\x80");  // overlong, a surrogate, beyond Unicode
  EXPECT_EQ(shown("\xe2\x80\u00fc"), "\\xe2\\x80\u00fc");
}

TEST(Shown, TheMiddleOfLongTextIsLeftOut) {
  const std::string many(50'000'000, 'a');
  EXPECT_EQ(shown("begin" + many + "end").size(), 200u);
  EXPECT_TRUE(shown("begin" + many + "end").starts_with("begina"));
  EXPECT_TRUE(shown("begin" + many + "end").ends_with("aend"));
  EXPECT_EQ(shown("\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc", 7), "\u00fc\u00fc\u00fc...\u00fc");
  EXPECT_EQ(shown("\u00fc\u00fc\u00fc\u00fc", 4), "\u00fc\u00fc\u00fc\u00fc");
}

TEST(Shown, AMessageKeepsItsListAndNoOtherLineEnd) {
  EXPECT_EQ(shown_message("2 problems:\n  one\n  two\ntemper: three\033"), "2 problems:\n  one\n  two\\x0atemper: three\\x1b");
  std::string long_list = "problems:";
  for (int i = 0; i < 1'000'000; ++i) long_list += "\n  problem";
  EXPECT_LT(shown_message(long_list).size(), 1000u);
  EXPECT_TRUE(shown_message(long_list).ends_with("problem\n  ..."));
}

}  // namespace
}  // namespace temper
