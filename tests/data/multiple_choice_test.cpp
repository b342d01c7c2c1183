#include "data/multiple_choice.h"

#include <random>

#include "shard_support.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

const std::string two_items =
    "A man is on a roof. he\n3\nis wrapping.\nrips tiles.\nholds a cube.\npulls up roofing.\n"
    "A lady walks. the lady\n0\na\nb\nc\nd\n";

void expect_refused(const std::string& contents, const std::vector<std::string>& parts) {
  expect_error(ExitCode::data, parts, [&] { parse_multiple_choice(contents, "h.txt"); });
}

void expect_two_items(const std::vector<MultipleChoiceItem>& items) {
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].context, "A man is on a roof. he");
  EXPECT_EQ(items[0].label, 3);
  EXPECT_EQ(items[0].endings[0], "is wrapping.");
  EXPECT_EQ(items[0].endings[3], "pulls up roofing.");
  EXPECT_EQ(items[1].context, "A lady walks. the lady");
  EXPECT_EQ(items[1].label, 0);
  EXPECT_EQ(items[1].endings[3], "d");
}

TEST(MultipleChoice, SixLines) {
  expect_two_items(parse_multiple_choice(two_items, "h.txt"));
  std::string windows;
  for (const char character : two_items) windows += character == '\n' ? "\r\n" : std::string(1, character);
  expect_two_items(parse_multiple_choice(windows, "h.txt"));
  expect_two_items(parse_multiple_choice(two_items.substr(0, two_items.size() - 1), "h.txt"));
}

TEST(MultipleChoice, OriginalJsonLines) {
  const std::string lines =
      R"({"ind": 24, "activity_label": "Roof", "ctx_a": "A man", "ctx_b": "he", "ctx": "A man is on a roof. he", "split": "val",)"
      R"( "endings": ["is wrapping.", "rips tiles.", "holds a cube.", "pulls up roofing."], "label": 3})"
      "\n\n"
      R"({"ctx": "A lady walks. the lady", "endings": ["a", "b", "c", "d"], "label": "0"})";
  expect_two_items(parse_multiple_choice(lines, "h.jsonl"));
}

TEST(MultipleChoice, DamagedSixLines) {
  expect_refused(two_items + "more\n", {"h.txt", "13 lines", "six"});
  expect_refused("c\n4\na\nb\nc\nd\n", {"line 2", "\"4\"", "0, 1, 2 or 3"});
  expect_refused("c\n\na\nb\nc\nd\n", {"line 2", "empty"});
  expect_refused("c\n-1\na\nb\nc\nd\n", {"\"-1\""});
  expect_refused("c\n0\na\nb\n \nd\n", {"line 5", "empty"});
  expect_refused("", {"no item"});
  expect_refused("\n\n", {"no item"});
  expect_refused("BZh91AY&SY", {"bunzip2"});
}

TEST(MultipleChoice, DamagedJsonLines) {
  expect_refused("{\"ctx\": ", {"line 1", "not a JSON object"});
  expect_refused(R"({"endings": ["a","b","c","d"], "label": 1})", {"ctx"});
  expect_refused(R"({"ctx": "c", "label": 1})", {"endings"});
  expect_refused(R"({"ctx": "c", "endings": ["a","b","c"], "label": 1})", {"four strings"});
  expect_refused(R"({"ctx": "c", "endings": ["a","b","c",4], "label": 1})", {"endings[3] is not a string"});
  expect_refused(R"({"ctx": "c", "endings": ["a","b","","d"], "label": 1})", {"endings[2] is empty"});
  expect_refused(R"({"ctx": 7, "endings": ["a","b","c","d"], "label": 1})", {"ctx is not a string"});
  expect_refused(R"({"ctx": "c", "endings": ["a","b","c","d"]})", {"no label", "test set"});
  expect_refused(R"({"ctx": "c", "endings": ["a","b","c","d"], "label": 4})", {"\"4\""});
  expect_refused(R"({"ctx": "c", "endings": ["a","b","c","d"], "label": 1.0})", {"\"1.0\""});
  expect_refused(R"({"ctx": "c", "endings": ["a","b","c","d"], "label": [1]})", {"[1]"});
  expect_refused("{\"ctx\": \"c\", \"endings\": [\"a\",\"b\",\"c\",\"d\"], \"label\": 1}\nnonsense", {"line 2"});
  expect_refused("{\"ctx\": \"\xff\", \"endings\": [\"a\",\"b\",\"c\",\"d\"], \"label\": 1}", {"line 1"});
}

TEST(MultipleChoice, MutatedFilesNeverCrash) {
  std::mt19937 random(2);
  const std::string json = R"({"ctx": "c", "endings": ["a","b","c","d"], "label": 1})";
  for (int round = 0; round < 20000; ++round) {
    std::string contents = round % 2 == 0 ? two_items : json + "\n" + json;
    for (int change = 0; change < 3; ++change) contents[random() % contents.size()] = static_cast<char>(random());
    try {
      for (const MultipleChoiceItem& item : parse_multiple_choice(contents, "h")) {
        ASSERT_TRUE(item.label >= 0 && item.label < 4);
        ASSERT_FALSE(item.context.empty());
      }
    } catch (const Error&) {
    }
  }
}

TEST(MultipleChoice, ReadsFiles) {
  const TemporaryFolder folder;
  expect_two_items(read_multiple_choice(put_file(folder / "h.txt", two_items)));
  expect_error(ExitCode::io, {"missing.txt"}, [&] { read_multiple_choice(folder / "missing.txt"); });
}

// 10,042 items are more than a source file should hold, and the room reads no bzip2, so the real file is unpacked by the system's
// tool.
TEST(MultipleChoice, HellaSwagValidation) {
  const std::string packed = TEMPER_SOURCE_DIR "/../shared/data/eval/hellaswag_val.txt.bz2";
  if (!std::filesystem::exists(packed)) GTEST_SKIP() << "eval/hellaswag_val.txt.bz2 is absent";
  expect_error(ExitCode::data, {"bunzip2"}, [&] { read_multiple_choice(packed); });
  const TemporaryFolder folder;
  const std::string plain = (folder / "hellaswag.txt").string();
  if (std::system(("bunzip2 -c '" + packed + "' > '" + plain + "'").c_str()) != 0) GTEST_SKIP() << "no bunzip2";
  const auto items = read_multiple_choice(plain);
  ASSERT_EQ(items.size(), 10042u);
  std::array<int, 4> labels = {};
  for (const auto& item : items) ++labels[static_cast<std::size_t>(item.label)];
  EXPECT_EQ(labels, (std::array<int, 4>{2515, 2485, 2584, 2458}));
}

}  // namespace
}  // namespace temper
