// mma.m16n8k16 and ldmatrix against their definitions in the PTX ISA.
#include <gtest/gtest.h>
#include <device/tensor_core.cuh>

#include <random>
#include <vector>

#include "launching.h"

namespace temper::emulated {
namespace {

std::uint32_t pair_of(bfloat16 low, bfloat16 high) {
  return static_cast<std::uint32_t>(low.bits) | static_cast<std::uint32_t>(high.bits) << 16;
}

// "Matrix Fragments for mma.m16n8k16 with floating point type", in the PTX ISA's words: which element of the matrix is a lane's
// i-th, two in a register of a and b, low half first.
struct Place {
  int row, column;
};
Place place_in_a(int lane, int i) {
  const int group = lane >> 2, thread_in_group = lane % 4;
  const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
  return {upper ? group : group + 8, i < 4 ? thread_in_group * 2 + (i & 1) : thread_in_group * 2 + (i & 1) + 8};
}
Place place_in_b(int lane, int i) {
  const int group = lane >> 2, thread_in_group = lane % 4;
  return {i < 2 ? thread_in_group * 2 + (i & 1) : thread_in_group * 2 + (i & 1) + 8, group};
}
Place place_in_c(int lane, int i) {
  const int group = lane >> 2, thread_in_group = lane % 4;
  return {i < 2 ? group : group + 8, thread_in_group * 2 + (i & 1)};
}

// a [16][16], b [16][8] row-major; d [16][8] is read and written.
__global__ void one_product(const bfloat16* a, const bfloat16* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x);
  const auto of_a = [&](int i) { return a[16 * place_in_a(lane, i).row + place_in_a(lane, i).column]; };
  const auto of_b = [&](int i) { return b[8 * place_in_b(lane, i).row + place_in_b(lane, i).column]; };
  const auto of_d = [&](int i) -> float& { return d[8 * place_in_c(lane, i).row + place_in_c(lane, i).column]; };
  std::uint32_t left[4], right[2];
  float sums[4];
  for (int i = 0; i < 4; ++i) left[i] = pair_of(of_a(2 * i), of_a(2 * i + 1));
  for (int i = 0; i < 2; ++i) right[i] = pair_of(of_b(2 * i), of_b(2 * i + 1));
  for (int i = 0; i < 4; ++i) sums[i] = of_d(i);
  mma_16x8x16(sums, left, right);
  for (int i = 0; i < 4; ++i) of_d(i) = sums[i];
}

TEST(TensorCore, MmaIsTheProductPlusWhatWasThere) {
  std::mt19937 generator(5);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 10; ++round) {
    std::vector<bfloat16> a(16 * 16), b(16 * 8);
    std::vector<float> d(16 * 8);
    for (bfloat16& one : a) one = to_bfloat16(normal(generator));
    for (bfloat16& one : b) one = to_bfloat16(normal(generator));
    for (float& one : d) one = normal(generator);
    std::vector<double> expected(d.begin(), d.end());
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 8; ++n)
        for (int k = 0; k < 16; ++k) expected[8 * m + n] += static_cast<double>(to_float(a[16 * m + k])) * to_float(b[8 * k + n]);
    run({.seed = static_cast<std::uint64_t>(round)}, {dim3(1), dim3(32)}, one_product, a.data(), b.data(), d.data());
    // 17 additions in f32 of values below 64.
    for (std::size_t i = 0; i < d.size(); ++i) EXPECT_NEAR(d[i], expected[i], 17 * 64 * 0x1p-24) << i;
  }
}

// Four 8x8 matrices whose elements say where they stand: 1000 matrix + 10 row + column.
template <bool transposed>
__global__ void load_four(std::uint32_t* out, int stride) {
  auto* elements = dynamic_shared<std::uint16_t>();
  for (int i = static_cast<int>(threadIdx.x); i < 32 * 8; i += 32)
    elements[i / 8 * stride + i % 8] = static_cast<std::uint16_t>(1000 * (i / 64) + 10 * (i / 8 % 8) + i % 8);
  __syncwarp();
  std::uint32_t parts[4];
  const void* row = elements + static_cast<int>(threadIdx.x) * stride;
  if (transposed)
    load_matrix_x4_transposed(parts, row);
  else
    load_matrix_x4(parts, row);
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = parts[i];
}

TEST(TensorCore, LoadMatrixGivesEachLaneItsPairs) {
  for (const int stride : {8, 24}) {
    const LaunchShape shape{dim3(1), dim3(32), static_cast<std::size_t>(32 * stride) * 2};
    std::vector<std::uint32_t> plain(128), transposed(128);
    run({}, shape, load_four<false>, plain.data(), stride);
    run({}, shape, load_four<true>, transposed.data(), stride);
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (unsigned i = 0; i < 4; ++i) {
        const unsigned at = 1000 * i + 10 * (lane / 4) + 2 * (lane % 4);
        EXPECT_EQ(plain[4 * lane + i], at | (at + 1) << 16);
        const unsigned across = 1000 * i + 10 * (2 * (lane % 4)) + lane / 4;
        EXPECT_EQ(transposed[4 * lane + i], across | (across + 10) << 16);
      }
    }
  }
}

__global__ void load_from(const void* row) {
  std::uint32_t parts[4];
  load_matrix_x4(parts, row == nullptr ? dynamic_shared<char>() + 8 : row);
}

TEST(TensorCore, RowsMustBeAlignedAndInSharedMemory) {
  alignas(16) const char row[16] = {};
  EXPECT_TRUE(contains(fault_of({}, {dim3(1), dim3(32), 1024}, load_from, nullptr), "a row is not on a 16-byte boundary"));
  EXPECT_TRUE(contains(fault_of({}, {dim3(1), dim3(32), 1024}, load_from, row), "a row is not in shared memory"));
}

__global__ void product_of_half_a_warp() {
  float sums[4] = {};
  const std::uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x < 16) mma_16x8x16(sums, a, b);
}

TEST(TensorCore, TheWholeWarpMustCome) {
  EXPECT_TRUE(contains(fault_of({}, {dim3(1), dim3(32)}, product_of_half_a_warp), "16 threads wait in mma_16x8x16"));
}

}  // namespace
}  // namespace temper::emulated
