#include "io/text_table.h"

#include <gtest/gtest.h>

#include "io/text.h"

namespace temper {
namespace {

TEST(TextTable, AlignsColumnsAndUnderlinesTheHeader) {
  const TextRows rows = {{"op", "time", "note"}, {"layernorm", "1 us", ""}, {"sum", "12 us", "w"}};
  EXPECT_EQ(aligned_table(rows, "lr", true),
            "op          time  note\n"
            "---------  -----  ----\n"
            "layernorm   1 us\n"
            "sum        12 us     w\n");
  EXPECT_EQ(aligned_table(rows, "rrl"),
            "       op   time  note\n"
            "layernorm   1 us\n"
            "      sum  12 us  w\n");
}

TEST(TextTable, CharactersAreCountedAndNotBytes) {
  EXPECT_EQ(aligned_table({{"ü", "x"}, {"ab", "± 1"}}, "r"), " ü    x\nab  ± 1\n");
  EXPECT_EQ(text_width("ü± 1"), 4u);
  EXPECT_EQ(pad_left("ü", 3), "  ü");
  EXPECT_EQ(pad_left("long", 3), "long");
}

TEST(TextTable, MarkdownAndCsvEscapeWhatTheirFormsUse) {
  const TextRows rows = {{"a|b", "c"}, {"1, \"2\"", "line\nbreak"}, {"=HYPERLINK(\"x\")", "@a"}, {"-1.5e-3", "+ 2"}};
  EXPECT_EQ(markdown_table({{"a|b", "c"}, {"1", "2"}}), "| a\\|b | c |\n| --- | --- |\n| 1 | 2 |\n");
  EXPECT_EQ(markdown_table({{"`<b>\n![x]", "*"}}), "| \\`\\<b>\\\\x0a!\\[x] | \\* |\n| --- | --- |\n");
  EXPECT_EQ(csv_table(rows), "a|b,c\n\"1, \"\"2\"\"\",line\\x0abreak\n\"'=HYPERLINK(\"\"x\"\")\",'@a\n-1.5e-3,'+ 2\n");
}

TEST(TextTable, TextFromFilesCannotCommandATerminal) {
  EXPECT_EQ(aligned_table({{"a\033[31mb\x7f\n", "c"}}, "l"), "a\\x1b[31mb\\x7f\\x0a  c\n");
  const std::string longest = "a text that has just forty characters ...";
  EXPECT_EQ(terminal_text(longest.substr(1)), longest.substr(1));
  EXPECT_EQ(terminal_text(longest), "a text that has just fort...aracters ...");
}

}  // namespace
}  // namespace temper
