#include "io/json.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <limits>

#include "temporary_folder.h"

namespace temper {
namespace {

std::string json_refusal(const std::string& text) {
  try {
    parse_json(text, "file.json", ExitCode::data);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::data);
    return error.what();
  }
  return "accepted";
}

TEST(JsonReader, NamesThePlaceOfWhatIsWrong) {
  EXPECT_EQ(json_refusal("{\"a\": 1,\n  \"b\" 2}").substr(0, 15), "file.json:2:7: ");
  EXPECT_EQ(json_refusal("").substr(0, 15), "file.json:1:1: ");
  EXPECT_NE(json_refusal("{\"a\": NaN}").find("file.json:1:"), std::string::npos);
  EXPECT_NE(json_refusal("{\"a\": Infinity}").find("file.json:1:"), std::string::npos);
}

TEST(JsonReader, RefusesWhatWouldBreakItsReaders) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(json_refusal(nested(most_json_depth)), "accepted");
  for (const int depth : {most_json_depth + 1, 1000, 1'000'000})
    EXPECT_EQ(json_refusal(nested(depth)), "file.json: not valid JSON: its values lie more than 100 levels deep") << depth;
  EXPECT_NE(json_refusal("{\"a\": 1e999}").find("1e999"), std::string::npos);
  EXPECT_EQ(json_refusal("{\"a\": {\"b\": 1, \"b\": 2}}"), "file.json: not valid JSON: the key \"b\" stands twice in one object");
  EXPECT_EQ(json_refusal("{\"a\": {\"b\": 1}, \"b\": 2}"), "accepted");
  EXPECT_NE(json_refusal("{\"a\": \"\xff\"}"), "accepted");
  const auto object_of = [](std::size_t keys) {
    std::string text = "{";
    for (std::size_t i = 0; i < keys; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
    return text + "}";
  };
  EXPECT_EQ(json_refusal(object_of(most_json_keys)), "accepted");
  EXPECT_EQ(json_refusal(object_of(most_json_keys + 1)), "file.json: not valid JSON: an object of it has more than 10000 keys");
  EXPECT_EQ(parse_json<nlohmann::json>(object_of(200'000), "file.json", ExitCode::data).size(), 200'000u);
  EXPECT_EQ(json_refusal(std::string("{}\0junk", 7)), "file.json:1:3: not valid JSON: it holds a NUL byte");
}

TEST(JsonReader, NoTextDecidesHowLongAMessageIsOrWhatItDoes) {
  for (const std::string& text :
       {"{\"a\": \"" + std::string(100'000, 'b'), "{\"a\": \"" + std::string(100'000, 'b') + "\xff",
        "{\"\xc2\x9b" + std::string(100'000, 'b') + "\": 1, \"\xc2\x9b" + std::string(100'000, 'b') + "\": 1}"}) {
    const std::string message = json_refusal(text);
    EXPECT_LT(message.size(), 300u);
    for (const char character : message) EXPECT_TRUE(character >= ' ' && character <= '~') << message;
  }
}

TEST(JsonReader, TakesWholeLinesOnly) {
  EXPECT_EQ(parse_json_if_whole("{\"a\": 1}")->at("a"), 1);
  for (const std::string text : {"", "{\"a\": 1", "{\"a\": 1} x", "{\"a\": 1e999}"})
    EXPECT_FALSE(parse_json_if_whole(text)) << text;
  EXPECT_FALSE(parse_json_if_whole(std::string(100'000, '[')));
}

TEST(JsonReader, ReadsRegularFilesOfABoundedSize) {
  const TemporaryFolder folder;
  const auto code_of = [&](const std::string& name) {
    try {
      read_json(folder / name, ExitCode::checkpoint);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
      return error.code();
    }
    return ExitCode::ok;
  };
  std::ofstream(folder / "good.json") << "{}";
  EXPECT_EQ(code_of("good.json"), ExitCode::ok);
  std::ofstream(folder / "bad.json") << "{";
  EXPECT_EQ(code_of("bad.json"), ExitCode::checkpoint);
  ASSERT_EQ(::mkfifo((folder / "pipe.json").c_str(), 0600), 0);
  EXPECT_EQ(code_of("pipe.json"), ExitCode::io);  // at once: nobody writes to it
  std::ofstream(folder / "sparse.json") << "{}";
  ASSERT_EQ(::truncate((folder / "sparse.json").c_str(), off_t{1} << 40), 0);
  EXPECT_EQ(code_of("sparse.json"), ExitCode::io);  // at once: a terabyte of zeros is not read
}

TEST(JsonWriter, NumbersOfAFewDigits) {
  EXPECT_EQ(json_number(0.12345678949).dump(), "0.123456789");
  EXPECT_EQ(json_number(-1234567.0, 6).dump(), "-1234570.0");
  EXPECT_EQ(json_number(4.94e-324), 4.94e-324);  // a p-value can be that small
  EXPECT_TRUE(json_number(std::numeric_limits<double>::infinity()).is_null());
}

TEST(JsonWriter, WritesTextThatIsNotUtf8) {
  EXPECT_EQ(json_text({{"path", "caf\xe9"}}), "{\"path\":\"caf\xef\xbf\xbd\"}");
  EXPECT_EQ(json_text({{"a", 1}}, 2), "{\n  \"a\": 1\n}");
}

}  // namespace
}  // namespace temper
