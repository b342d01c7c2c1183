// What a damaged or hostile safetensors file can say, class by class; the reader's rules are those of the format's README and
// of Hugging Face's reference reader, and limits of our own.
#include <gtest/gtest.h>

#include <random>

#include "safetensors_image.h"

namespace temper {
namespace {

struct Malformed {
  const char* name;
  std::string image;
  const char* message;  // a part of it
};

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return '"' + name + R"(":{"dtype":")" + dtype + R"(","shape":[)" + shape + R"(],"data_offsets":[)" + offsets + "]}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return '{' + tensor("a", dtype, shape, offsets) + '}';
}

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string image = image_of("", rest);
  std::memcpy(image.data(), &length, sizeof(length));
  return image;
}

std::string many_tensors(int count) {
  std::string header = "{";
  for (int i = 0; i < count; ++i) {
    if (i > 0) header += ',';
    header += tensor(std::to_string(i), "U8", "0", "0,0");
  }
  return header + '}';
}

const std::string four(4, 'x');

std::vector<Malformed> malformed_images() {
  const std::string a = tensor("a", "U8", "2", "0,2");
  const std::string deep = std::string(50'000, '[') + std::string(50'000, ']');
  return {
      {"empty_file", "", "fewer than the 8"},
      {"seven_bytes", std::string(7, '\0'), "fewer than the 8"},
      {"no_header", image_of("", ""), "not a JSON object"},
      {"header_longer_than_file", with_length(100, "{}"), "only 2 follow"},
      {"header_length_over_limit", with_length(16'777'217, "{}"), "at most 16777216"},
      {"header_length_wraps", with_length(~std::uint64_t{0}, "{}"), "at most 16777216"},
      {"header_length_wraps_with_its_eight", with_length(~std::uint64_t{0} - 7, "{}"), "at most 16777216"},
      {"array", image_of("[]", ""), "not a JSON object"},
      {"byte_order_mark", image_of("\xef\xbb\xbf{}", ""), "not a JSON object"},
      {"not_json", image_of("{nonsense}", ""), "not valid JSON"},
      {"comment", image_of("{/**/}", ""), "not valid JSON"},
      {"junk_after_object", image_of("{}{}", ""), "not valid JSON"},
      {"nul_then_junk", image_of(std::string("{}\0junk", 7), ""), "NUL byte"},
      {"name_not_utf8", image_of('{' + tensor("\xff\xfe", "U8", "0", "0,0") + '}', ""), "not valid JSON"},
      {"name_overlong_utf8", image_of('{' + tensor("\xc0\xaf", "U8", "0", "0,0") + '}', ""), "not valid JSON"},
      {"name_lone_surrogate", image_of('{' + tensor("\\ud800", "U8", "0", "0,0") + '}', ""), "not valid JSON"},
      {"name_with_escape_character", image_of('{' + tensor("\\u001b[2J", "U8", "0", "0,0") + '}', ""), "control character"},
      {"name_with_nul", image_of('{' + tensor("a\\u0000", "U8", "0", "0,0") + '}', ""), "control character"},
      {"name_with_c1_control", image_of('{' + tensor("\\u009b2J", "U8", "0", "0,0") + '}', ""), "control character"},
      {"name_empty", image_of('{' + tensor("", "U8", "0", "0,0") + '}', ""), "is empty"},
      {"name_too_long", image_of('{' + tensor(std::string(513, 'n'), "U8", "0", "0,0") + '}', ""), "longer than 512"},
      {"name_twice", image_of('{' + tensor("a", "U8", "0", "0,0") + ',' + tensor("a", "U8", "0", "0,0") + '}', ""),
       "the key \"a\" stands twice"},
      {"name_twice_by_escape", image_of('{' + tensor("a", "U8", "0", "0,0") + ',' + tensor("\\u0061", "U8", "0", "0,0") + '}', ""),
       "the key \"a\" stands twice"},
      {"deep_array", image_of("{\"a\":" + deep + '}', ""), "levels deep"},
      {"deep_shape", image_of(one("U8", "[[1]]", "0,1"), "x"), "has the shape \"[[[1]]]\", expected at most 8 whole numbers"},
      {"deep_object", image_of(R"({"a":{"dtype":{},"shape":[0],"data_offsets":[0,0]}})", ""), "unknown dtype \"{}\""},
      {"tensor_is_null", image_of(R"({"a":null})", ""), "is no object"},
      {"tensor_is_string", image_of(R"({"a":"b"})", ""), "is no object"},
      {"unknown_dtype", image_of(one("F31", "1", "0,4"), four), "unknown dtype \"F31\""},
      {"dtype_is_number", image_of(R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", four), "unknown dtype \"4\""},
      {"dtype_twice", image_of(R"({"a":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}})", four),
       "the key \"dtype\" stands twice"},
      {"unknown_key", image_of(R"({"a":{"dtype":"U8","shape":[4],"strides":[1],"data_offsets":[0,4]}})", four),
       "unknown key \"strides\""},
      {"no_dtype", image_of(R"({"a":{"shape":[4],"data_offsets":[0,4]}})", four), "lacks dtype"},
      {"no_shape", image_of(R"({"a":{"dtype":"U8","data_offsets":[0,4]}})", four), "lacks dtype, shape"},
      {"no_offsets", image_of(R"({"a":{"dtype":"U8","shape":[4]}})", four), "data_offsets"},
      {"empty_tensor_object", image_of(R"({"a":{}})", ""), "lacks dtype"},
      {"one_offset", image_of(one("U8", "4", "0"), four), "has 1 data_offsets, expected two"},
      {"three_offsets", image_of(one("U8", "4", "0,4,4"), four), "has 3 data_offsets, expected two"},
      {"negative_dimension", image_of(one("U8", "-4", "0,4"), four), "has the shape \"[-4]\""},
      {"fractional_dimension", image_of(one("U8", "4.0", "0,4"), four), "has the shape \"[4.0]\""},
      {"huge_dimension", image_of(one("U8", "18446744073709551616", "0,4"), four), "expected at most 8 whole numbers"},
      {"dimension_over_int64", image_of(one("U8", "9223372036854775808", "0,4"), four), "has the shape \"[9223372036854775808]\""},
      {"rank_nine", image_of(one("U8", "1,1,1,1,1,1,1,1,4", "0,4"), four), "expected at most 8 whole numbers"},
      {"product_overflows_to_small", image_of(one("U8", "4294967296,4294967296,4", "0,0"), ""), "overflows"},
      {"product_times_size_overflows", image_of(one("F32", "4611686018427387905", "0,4"), four), "overflows"},
      {"product_exceeds_int64", image_of(one("U8", "9223372036854775807,2", "0,4"), four), "overflows"},
      {"begin_after_end", image_of(one("U8", "4", "4,0"), four), "ends before it begins"},
      {"size_smaller_than_shape", image_of(one("F32", "2", "0,4"), four), "needs 8 bytes"},
      {"size_larger_than_shape", image_of(one("F32", "1", "0,8"), four + four), "needs 4 bytes"},
      {"hole_at_start", image_of(one("U8", "2", "2,4"), four), "overlap or leave a hole"},
      {"hole", image_of('{' + a + ',' + tensor("b", "U8", "1", "3,4") + '}', four), "overlap or leave a hole"},
      {"overlap", image_of('{' + a + ',' + tensor("b", "U8", "3", "1,4") + '}', four), "overlap or leave a hole"},
      {"same_bytes_twice", image_of('{' + a + ',' + tensor("b", "U8", "2", "0,2") + '}', "xx"), "overlap or leave a hole"},
      {"offsets_beyond_file", image_of(one("U8", "8", "0,8"), four), "4 bytes follow the header"},
      {"offsets_far_beyond_file", image_of(one("U8", "9223372036854775807", "0,9223372036854775807"), four), "4 bytes follow"},
      {"trailing_bytes", image_of(one("U8", "4", "0,4"), four + "x"), "5 bytes follow the header"},
      {"trailing_bytes_without_tensors", image_of("{}", "x"), "1 bytes follow the header"},
      {"metadata_number", image_of(R"({"__metadata__":{"a":1}})", ""), "\"a\", which is no text"},
      {"metadata_nested", image_of(R"({"__metadata__":{"a":{}}})", ""), "\"a\", which is no text"},
      {"metadata_list", image_of(R"({"__metadata__":[]})", ""), "__metadata__ is no object"},
      {"metadata_key_twice", image_of(R"({"__metadata__":{"a":"","a":""}})", ""), "twice"},
      {"metadata_twice", image_of(R"({"__metadata__":{},"__metadata__":{}})", ""), "the key \"__metadata__\" stands twice"},
      {"metadata_key_too_long", image_of(R"({"__metadata__":{")" + std::string(513, 'k') + R"(":""}})", ""), "longer than 512"},
  };
}

class MalformedSafetensors : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedSafetensors, IsRefusedByName) {
  const std::string message = refusal(GetParam().image);
  EXPECT_NE(message.find(GetParam().message), std::string::npos) << "message: " << message;
  EXPECT_NE(message.find("test.safetensors"), std::string::npos) << message;
  EXPECT_LT(message.size(), 500u) << "a hostile file decides how long the message is";
  for (const char character : message) EXPECT_TRUE(character >= ' ' && character <= '~') << message;
}

INSTANTIATE_TEST_SUITE_P(EachClass, MalformedSafetensors, testing::ValuesIn(malformed_images()),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

const std::string& valid_image() {
  static const std::string image = image_of(R"({"__metadata__":{"format":"pt"},)" + tensor("w", "F32", "2,2", "0,16") + ',' +
                                                tensor("s", "BF16", "", "16,18") + ',' + tensor("e", "U8", "0,3", "16,16") + "}  ",
                                            std::string(18, 'd'));
  return image;
}

TEST(MalformedSafetensors, TheLimitsThemselvesAreAllowed) {
  EXPECT_EQ(refusal(valid_image()), "");
  EXPECT_EQ(refusal(image_of("{}", "")), "");
  EXPECT_EQ(refusal(image_of(" \n{}", "")), "");
  EXPECT_EQ(refusal(image_of('{' + tensor(std::string(512, 'n'), "U8", "1,1,1,1,1,1,1,4", "0,4") + '}', four)), "");
  EXPECT_EQ(refusal(image_of(many_tensors(100'000), "")), "");
}

TEST(MalformedSafetensors, EveryTruncationIsRefused) {
  const std::string& image = valid_image();
  for (std::size_t length = 0; length < image.size(); ++length) {
    EXPECT_NE(refusal(image.substr(0, length)), "") << "cut to " << length << " bytes";
  }
}

// Whatever a parse accepts must tile the data section; whatever else it does must be a refusal.
TEST(MalformedSafetensors, MutatedHeadersAreRefusedOrConsistent) {
  constexpr unsigned seed = 20240520;
  std::mt19937 generator(seed);
  const std::vector<std::string> tokens = {"\"",     "{",    "}",          "[",       "]",
                                           ",",      ":",    "0",          "-1",      "18446744073709551615",
                                           "1e9",    "{}",   "null",       "\\u0000", "9223372036854775807",
                                           "\"w\":", "\xff", "\"dtype\":", "\"U8\"",  "\"__metadata__\":"};
  const auto below = [&](std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(generator); };
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string image = valid_image();
    for (std::size_t change = 1 + below(4); change > 0; --change) {
      const std::size_t place = below(image.size());
      switch (below(4)) {
        case 0:
          image[place] = static_cast<char>(below(256));
          break;
        case 1:
          image.erase(place, 1 + below(8));
          break;
        case 2:
          image.insert(place, tokens[below(tokens.size())]);
          break;
        default:
          image.insert(place, image.substr(below(image.size()), 1 + below(40)));
      }
      if (image.size() < 9) image = valid_image();
    }
    // Half of the rounds keep the length of the header true, so that the mutation reaches the JSON.
    const std::uint64_t true_length = image.size() - 8 - 18;
    if (below(2) == 0 && image.size() > 26) std::memcpy(image.data(), &true_length, sizeof(true_length));
    try {
      std::uint64_t position = 0;
      for (const TensorEntry& entry : parse_image(image)) {
        ASSERT_EQ(entry.begin, position);
        ASSERT_EQ(entry.end - entry.begin, static_cast<std::uint64_t>(entry.numel() * safetensors_dtype_size(entry.dtype)));
        position = entry.end;
      }
      std::uint64_t header_bytes = 0;
      std::memcpy(&header_bytes, image.data(), sizeof(header_bytes));
      ASSERT_EQ(sizeof(header_bytes) + header_bytes + position, image.size());
      ++accepted;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ExitCode::checkpoint);
    }
  }
  // Both outcomes must occur, or the mutations test nothing (changed data bytes are legal, most changes are not).
  EXPECT_GT(accepted, 200);
  EXPECT_LT(accepted, 10'000);
}

}  // namespace
}  // namespace temper
