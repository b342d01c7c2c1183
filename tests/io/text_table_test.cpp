#include "io/text_table.h"

#include <gtest/gtest.h>

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
  const TextRows rows = {{"a|b", "c"}, {"1, \"2\"", "line\nbreak"}};
  EXPECT_EQ(markdown_table({{"a|b", "c"}, {"1", "2"}}), "| a\\|b | c |\n| --- | --- |\n| 1 | 2 |\n");
  EXPECT_EQ(csv_table(rows), "a|b,c\n\"1, \"\"2\"\"\",\"line\nbreak\"\n");
}

TEST(TextTable, TextFromFilesCannotCommandATerminal) {
  EXPECT_EQ(terminal_text("a\033[31mb\x7f\n"), "a?[31mb??");
  const std::string longest = "a text of thirty-two characters.";
  EXPECT_EQ(terminal_text(longest), longest);
  EXPECT_EQ(terminal_text(longest + "."), "a text of thirty-two characters.…");
}

}  // namespace
}  // namespace temper
