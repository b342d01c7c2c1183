#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <stdexcept>

#include "io/error.h"
#include "safetensors_image.h"
#include "temporary_folder.h"

namespace temper {
namespace {

const std::map<std::string, std::string> pytorch = {{"format", "pt"}};

template <typename Element>
void write_values(SafetensorsWriter& writer, const std::vector<Element>& values) {
  writer.write(values.data(), values.size() * sizeof(Element));
}

TEST(Safetensors, RoundTrip) {
  const TemporaryFolder folder;
  const std::vector<float> weights = {1.0f, -2.5f, 3e-39f, 0.0f, std::numeric_limits<float>::infinity(), 7.0f};
  SafetensorsWriter writer(
      folder / "f", {{"z.weight", "F32", {2, 3}, 0, 0}, {"empty", "BF16", {0, 4}, 0, 0}, {"a \"quoted\" é", "I64", {}, 0, 0}},
      {{"format", "pt"}, {"note", "line\nbreak"}});
  writer.write(weights.data(), 8);  // in pieces
  writer.write(weights.data() + 2, 16);
  write_values<std::int64_t>(writer, {-9});
  const std::string hash = writer.close();
  EXPECT_EQ(hash, hash_file(folder / "f"));

  const SafetensorsFile file(folder / "f");
  ASSERT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].name, "z.weight");  // the order given, not the alphabet's
  EXPECT_EQ(file.metadata().at("note"), "line\nbreak");
  EXPECT_EQ(file.read_f32("z.weight"), weights);
  ASSERT_NE(file.find("empty"), nullptr);
  EXPECT_EQ(file.find("empty")->numel(), 0);
  EXPECT_TRUE(file.read_f32("empty").empty());
  const TensorEntry* const scalar = file.find("a \"quoted\" é");
  ASSERT_NE(scalar, nullptr);
  EXPECT_EQ(scalar->numel(), 1);
  EXPECT_EQ(file.bytes(*scalar).front(), std::byte{0xf7});
  EXPECT_EQ(file.find("missing"), nullptr);
  const std::string bytes = read_file(folder / "f");
  EXPECT_EQ(static_cast<unsigned char>(bytes[0]) % 8, 0) << "the data section must be aligned";
}

TEST(Safetensors, ReadsWhatTheReferenceImplementationWrote) {
  const SafetensorsFile file(TEMPER_SOURCE_DIR "/tests/golden/safetensors/reference.safetensors");
  EXPECT_EQ(file.tensors().size(), 9u);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  for (const char* name : {"f32", "f64", "f16", "bf16"}) {
    const std::vector<float> values = file.read_f32(name);
    ASSERT_EQ(values.size(), 12u) << name;
    for (int i = 0; i < 12; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], static_cast<float>(i) / 4 - 1) << name << " " << i;
  }
  EXPECT_EQ(file.find("f32")->shape, (std::vector<std::int64_t>{3, 4}));
  EXPECT_EQ(file.read_f32("scalar"), std::vector<float>{0.5f});
  EXPECT_TRUE(file.read_f32("empty").empty());
  EXPECT_EQ(file.bytes(*file.find("naïve.重み"))[0], std::byte{7});
}

TEST(Safetensors, ReadF32NamesWhatItCannotRead) {
  const SafetensorsFile file(TEMPER_SOURCE_DIR "/tests/golden/safetensors/reference.safetensors");
  for (const std::string name : {"counts", "absent"}) {
    try {
      file.read_f32(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::checkpoint);
      const std::string message = error.what();
      EXPECT_NE(message.find(name), std::string::npos) << message;
      EXPECT_NE(message.find("reference.safetensors"), std::string::npos) << message;
    }
  }
}

// Every half-precision number, against its definition (IEEE 754-2019, 3.4).
TEST(Safetensors, ConvertsEveryFloat16AndBfloat16) {
  const TemporaryFolder folder;
  std::vector<std::uint16_t> all(65536);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  SafetensorsWriter writer(folder / "f", {{"half", "F16", {65536}, 0, 0}, {"brain", "BF16", {65536}, 0, 0}}, pytorch);
  write_values(writer, all);
  write_values(writer, all);
  writer.close();
  const SafetensorsFile file(folder / "f");
  const auto expect_all = [&](const char* name, int exponent_bits, int fraction_bits) {
    const std::vector<float> values = file.read_f32(name);
    const int bias = (1 << (exponent_bits - 1)) - 1;
    for (int bits = 0; bits < 65536; ++bits) {
      const int exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1);
      const int fraction = bits & ((1 << fraction_bits) - 1);
      const float value = values[static_cast<std::size_t>(bits)];
      if (exponent == (1 << exponent_bits) - 1 && fraction != 0) {
        ASSERT_TRUE(std::isnan(value)) << name << " " << bits;
        continue;
      }
      double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias - fraction_bits)
                                       : std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
      if (exponent == (1 << exponent_bits) - 1) magnitude = std::numeric_limits<double>::infinity();
      ASSERT_EQ(value, (bits & 0x8000) != 0 ? -magnitude : magnitude) << name << " " << bits;
      ASSERT_EQ(std::signbit(value), (bits & 0x8000) != 0) << name << " " << bits;
    }
  };
  expect_all("half", 5, 10);
  expect_all("brain", 8, 7);
}

TEST(SafetensorsWriter, RefusesWrongUseAndLeavesNoFile) {
  const TemporaryFolder folder;
  const auto declare = [&](std::vector<TensorEntry> entries) {
    SafetensorsWriter(folder / "f", std::move(entries), pytorch).close();
  };
  EXPECT_THROW(declare({{"a", "F31", {1}, 0, 0}}), std::logic_error);
  EXPECT_THROW(declare({{"a", "F32", {-1}, 0, 0}}), std::logic_error);
  EXPECT_THROW(declare({{"a", "F32", {1LL << 40, 1LL << 40}, 0, 0}}), std::logic_error);
  EXPECT_THROW(declare({{"a", "F32", {0}, 0, 0}, {"a", "F32", {0}, 0, 0}}), std::logic_error);
  EXPECT_THROW(declare({{"__metadata__", "F32", {0}, 0, 0}}), std::logic_error);
  EXPECT_THROW(declare({{"", "F32", {0}, 0, 0}}), std::logic_error);
  EXPECT_THROW(declare({{"a", "F32", std::vector<std::int64_t>(9, 1), 0, 0}}), std::logic_error);
  EXPECT_THROW(declare({{"a", "F32", {1}, 0, 0}}), std::logic_error) << "no bytes came";
  SafetensorsWriter writer(folder / "g", {{"a", "U8", {3}, 0, 0}}, {});
  EXPECT_THROW(writer.write("four", 4), std::logic_error);
  EXPECT_FALSE(std::filesystem::exists(folder / "f"));
  EXPECT_NO_THROW(SafetensorsWriter(folder / "none", {}, {}).close());
  EXPECT_TRUE(SafetensorsFile(folder / "none").tensors().empty());
}

}  // namespace
}  // namespace temper
