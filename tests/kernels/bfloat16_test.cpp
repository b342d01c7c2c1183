#include "kernels/bfloat16.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "kernels/support/backends.h"
#include "kernels/support/on_device.h"

namespace temper {
namespace {

TEST(Bfloat16, EveryValueSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const bfloat16 value = {static_cast<std::uint16_t>(bits)};
    if (std::isnan(to_float(value)))
      EXPECT_TRUE(std::isnan(to_float(to_bfloat16(to_float(value)))));
    else
      EXPECT_EQ(to_bfloat16(to_float(value)).bits, bits);
  }
}

TEST(Bfloat16, RoundsToNearestEven) {
  auto rounded = [](std::uint32_t bits) { return to_bfloat16(std::bit_cast<float>(bits)).bits; };
  EXPECT_EQ(rounded(0x3f808000u), 0x3f80);  // half way between 0x3f80 and 0x3f81: the even one
  EXPECT_EQ(rounded(0x3f818000u), 0x3f82);
  EXPECT_EQ(rounded(0x3f808001u), 0x3f81);
  EXPECT_EQ(rounded(0x3f807fffu), 0x3f80);
  EXPECT_EQ(rounded(0x7f7fffffu), 0x7f80);  // the largest float becomes infinity
  EXPECT_EQ(rounded(0xff800000u), 0xff80);
  EXPECT_EQ(rounded(0x80000000u), 0x8000);
  EXPECT_EQ(rounded(0x00008001u), 0x0001);  // denormals are kept
}

TEST(Bfloat16, NanStaysNan) {
  for (const std::uint32_t bits : {0x7fc00000u, 0x7f800001u, 0xffffffffu, 0x7fffffffu, 0xff800001u})
    EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::bit_cast<float>(bits))))) << bits;
}

class Bfloat16OnBackend : public testing::TestWithParam<BackendChoice> {};

// The vector conversions of each backend, over bit patterns of every exponent and sign, whole and from an odd element on.
TEST_P(Bfloat16OnBackend, CastEqualsTheScalarConversion) {
  std::vector<float> from;
  for (std::uint64_t bits = 0; bits <= 0xffffffffu; bits += 4093 * 5)
    from.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  for (const std::uint32_t bits : {0x7f800000u, 0xff800000u, 0x7f800001u, 0xffffffffu, 0x3f808000u, 0x3f818000u, 0x7f7fffffu})
    from.push_back(std::bit_cast<float>(bits));
  Backend backend(GetParam());
  Ops& ops = backend.ops();
  OnDevice<float> source(ops, from);
  for (const std::size_t skipped : {0, 1}) {
    SCOPED_TRACE(skipped);
    const auto count = static_cast<std::int64_t>(from.size() - skipped);
    OnDevice<bfloat16> narrow(ops, std::vector<bfloat16>(from.size()));
    OnDevice<float> wide(ops, std::vector<float>(from.size()));
    ops.cast({.from = {source.data() + skipped, DType::f32, {count}}, .to = {narrow.data() + skipped, DType::bf16, {count}}});
    ops.cast({.from = {narrow.data() + skipped, DType::bf16, {count}}, .to = {wide.data() + skipped, DType::f32, {count}}});
    const std::vector<bfloat16> narrow_values = narrow.read();
    const std::vector<float> wide_values = wide.read();
    std::size_t different = 0;
    for (std::size_t i = skipped; i < from.size(); ++i) {
      // A NaN may become any NaN: processors differ in what they keep of it.
      if (std::isnan(from[i]) ? !std::isnan(to_float(narrow_values[i])) : narrow_values[i].bits != to_bfloat16(from[i]).bits)
        ++different;
      if (std::bit_cast<std::uint32_t>(wide_values[i]) != std::bit_cast<std::uint32_t>(to_float(narrow_values[i]))) ++different;
    }
    EXPECT_EQ(different, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Bfloat16OnBackend, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace temper
