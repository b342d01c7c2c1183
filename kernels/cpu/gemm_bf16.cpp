// Register-tile products of bf16 operands: on AMX tiles, and with the dot products of AVX512-BF16 (Intel Architecture Instruction Set
// Extensions Programming Reference). Both multiply pairs, depth steps 2p and 2p + 1 of a vector.
//
// AMX: a tile of A is 16 rows of 32 depth steps; a tile of B holds, in row p, pair p of 16 columns side by side. A panel step is 32
// depth steps: two tiles of A (32 rows) or two of B (32 columns), 1 KiB each.
//
// AVX512-BF16: a panel holds, for each pair of depth steps, that of all its vectors side by side. An element of a pass is
// (sum + x[2p+1] y[2p+1]) + x[2p] y[2p], p = 0, 1, ..., rounded after each; numbers below 1.2e-38 count as 0, operands and sums. The
// passes' sums are added.
#include "kernels/cpu/gemm_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

// Compiled for these whatever the rest of this folder is compiled for; see dispatch_gemm.cpp for where they run.
// GCC 12 warns of its own headers (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16,amx-tile,amx-bf16")

namespace temper::cpu {

namespace {

constexpr int tile_width = 16;  // rows of a tile, and columns of a tile of sums
constexpr int step = 32;        // depth of one tile product
constexpr int tile_bytes = 1024;

struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

void enter() {
  const TileConfig config;
  // GCC 12 declares too small an operand for the instruction and would delete the stores that fill `config`.
  asm volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
}

void leave() { _tile_release(); }

// 16 x 16 transpose of 32-bit elements: within 128-bit lanes first, then the lanes themselves.
inline void transpose(__m512i (&row)[16]) {
  __m512i pair[16];
  for (int i = 0; i < 16; i += 2) {
    pair[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    pair[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    row[i] = _mm512_unpacklo_epi64(pair[i], pair[i + 2]);
    row[i + 1] = _mm512_unpackhi_epi64(pair[i], pair[i + 2]);
    row[i + 2] = _mm512_unpacklo_epi64(pair[i + 1], pair[i + 3]);
    row[i + 3] = _mm512_unpackhi_epi64(pair[i + 1], pair[i + 3]);
  }
  // row[4 g + j], lane q: column 4 q + j of rows 4 g .. 4 g + 3.
  for (int j = 0; j < 4; ++j) {
    const __m512i low01 = _mm512_shuffle_i32x4(row[j], row[4 + j], 0x88);   // lanes 0, 2 of groups 0 and 1
    const __m512i high01 = _mm512_shuffle_i32x4(row[j], row[4 + j], 0xdd);  // lanes 1, 3
    const __m512i low23 = _mm512_shuffle_i32x4(row[8 + j], row[12 + j], 0x88);
    const __m512i high23 = _mm512_shuffle_i32x4(row[8 + j], row[12 + j], 0xdd);
    pair[j] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    pair[8 + j] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
    pair[4 + j] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    pair[12 + j] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
  }
  for (int i = 0; i < 16; ++i) row[i] = pair[i];
}

/// 32 elements from `from`, those from `count` on taken as 0.
inline __m512i load_row(const bfloat16* from, int count) {
  if (count >= step) return _mm512_loadu_si512(from);
  return _mm512_maskz_loadu_epi16(count <= 0 ? 0u : (1u << count) - 1u, from);
}

inline __m512i load_row(const float* from, int count) {
  const auto mask = [count](int first) {
    const int left = count - first;
    return static_cast<__mmask16>(left >= 16 ? 0xffff : left <= 0 ? 0 : (1 << left) - 1);
  };
  const __m512 low = _mm512_maskz_loadu_ps(mask(0), from);
  const __m512 high = _mm512_maskz_loadu_ps(mask(16), from + 16);
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

using Tile = __m512i[16];

/// Depth steps k .. k + 31 of the strip's first 16 x groups vectors, each vector's steps in one row.
template <int groups, typename T>
inline void load_rows(const Strip& strip, std::int64_t k, Tile (&group)[groups]) {
  const T* source = static_cast<const T*>(strip.data) + k;
  const int depth = static_cast<int>(strip.depth - k < step ? strip.depth - k : step);
  for (int i = 0; i < groups * tile_width; ++i)
    group[i / tile_width][i % tile_width] = i < strip.count ? load_row(source + i * strip.stride, depth) : _mm512_setzero_si512();
}

/// The same from a matrix whose columns are the vectors; row p gets steps k + 2p and k + 2p + 1 of 16 vectors in pairs.
template <int groups, typename T>
inline void load_pairs(const Strip& strip, std::int64_t k, Tile (&group)[groups]) {
  const T* source = static_cast<const T*>(strip.data) + k * strip.stride;
  const std::int64_t depth = strip.depth - k;
  const __m512i first_half = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
  const __m512i second_half = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  for (int p = 0; p < tile_width; ++p) {
    const T* row = source + 2 * p * strip.stride;
    const __m512i even = 2 * p < depth ? load_row(row, strip.count) : _mm512_setzero_si512();
    const __m512i odd = 2 * p + 1 < depth ? load_row(row + strip.stride, strip.count) : _mm512_setzero_si512();
    // Interleaving works within groups of 8: put 0-3, 4-7, 8-11, 12-15 and 16-19, ... in order again.
    const __m512i low = _mm512_unpacklo_epi16(even, odd);
    const __m512i high = _mm512_unpackhi_epi16(even, odd);
    group[0][p] = _mm512_permutex2var_epi64(low, first_half, high);
    if constexpr (groups > 1) group[1][p] = _mm512_permutex2var_epi64(low, second_half, high);
  }
}

/// Calls store(k, g, rows) for steps k .. k + 31 of the strip's vectors 16 g .. 16 g + 15: a vector's steps in each row or, where
/// `pairs` asks for it, a pair of all vectors.
template <int groups, typename T, typename Store>
void pack_of(const Strip& strip, bool pairs, const Store& store) {
  for (std::int64_t k = 0; k < strip.depth; k += step) {
    Tile group[groups];
    strip.depth_contiguous ? load_rows<groups, T>(strip, k, group) : load_pairs<groups, T>(strip, k, group);
    for (int g = 0; g < groups; ++g) {
      if (strip.depth_contiguous == pairs) transpose(group[g]);
      store(k, g, group[g]);
    }
  }
}
template <int groups, typename Store>
void pack(const Strip& strip, bool pairs, const Store& store) {
  if (strip.dtype == DType::bf16)
    pack_of<groups, bfloat16>(strip, pairs, store);
  else
    pack_of<groups, float>(strip, pairs, store);
}

// ---- AMX ----------------------------------------------------------------------------------------------------------------

void pack_tiles(const Strip& strip, bool pairs, void* panel) {
  char* to = static_cast<char*>(panel);
  pack<2>(strip, pairs, [&](std::int64_t, int, const Tile& rows) {
    for (int i = 0; i < tile_width; ++i, to += 64) _mm512_store_si512(to, rows[i]);
  });
}
void pack_tiles_a(const Strip& strip, void* panel) { pack_tiles(strip, false, panel); }
void pack_tiles_b(const Strip& strip, void* panel) { pack_tiles(strip, true, panel); }

void multiply_tiles(std::int64_t depth, const Panel& a_panel, const Panel& b_panel, int, float* c, std::int64_t c_stride,
                    bool accumulate, const Finish* finish) {
  const char* a = a_panel.data;
  const char* b = b_panel.data;
  const std::int64_t row_bytes = c_stride * 4;
  float* lower = c + tile_width * c_stride;
  if (accumulate) {
    _tile_loadd(0, c, row_bytes);
    _tile_loadd(1, c + tile_width, row_bytes);
    _tile_loadd(2, lower, row_bytes);
    _tile_loadd(3, lower + tile_width, row_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (std::int64_t k = 0; k < depth; k += step) {
    _tile_loadd(6, b, 64);
    _tile_loadd(4, a, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + tile_bytes, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + tile_bytes, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    a += 2 * tile_bytes;
    b += 2 * tile_bytes;
  }
  _tile_stored(0, c, row_bytes);
  _tile_stored(1, c + tile_width, row_bytes);
  _tile_stored(2, lower, row_bytes);
  _tile_stored(3, lower + tile_width, row_bytes);
  if (finish != nullptr) finish_kernels().finish(*finish, c, c_stride, 2 * tile_width, 2 * tile_width);
}

// ---- AVX512-BF16 --------------------------------------------------------------------------------------------------------

// As many sums as the register file takes, but for a row of B and a pair of A.
constexpr int dot_rows = 12, dot_vectors = 2, dot_columns = dot_vectors * 16;

/// The first `count` of 16 numbers, as the lower halves of words.
inline __m512i load_words(const bfloat16* from, int count) {
  const auto there = static_cast<__mmask16>(count >= 16 ? 0xffff : (1 << (count < 0 ? 0 : count)) - 1);
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, from));
}

/// Vectors that are columns of a bf16 matrix: a pair lies in two rows.
template <int width>
void pack_dot_columns(const Strip& strip, void* panel) {
  const bfloat16* row = static_cast<const bfloat16*>(strip.data);
  std::int32_t* to = static_cast<std::int32_t*>(panel);
  for (std::int64_t k = 0; k < strip.depth; k += 2, row += 2 * strip.stride, to += width) {
    for (int first = 0; first < width; first += 16) {
      const int count = strip.count - first;
      const __m512i even = load_words(row + first, count);
      const __m512i odd = k + 1 < strip.depth ? load_words(row + strip.stride + first, count) : _mm512_setzero_si512();
      const auto vectors = static_cast<__mmask16>(width - first < 16 ? (1 << (width - first)) - 1 : 0xffff);
      _mm512_mask_storeu_epi32(to + first, vectors, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
    }
  }
}

template <int width>
void pack_dots(const Strip& strip, void* panel) {
  if (strip.dtype == DType::bf16 && !strip.depth_contiguous) return pack_dot_columns<width>(strip, panel);
  pack<(width + 15) / 16>(strip, true, [&](std::int64_t k, int g, const Tile& pairs) {
    const int vectors = width - g * 16 < 16 ? width - g * 16 : 16;
    const auto there = static_cast<__mmask16>((1u << vectors) - 1u);
    std::int32_t* to = static_cast<std::int32_t*>(panel) + k / 2 * width + g * 16;
    for (std::int64_t p = 0; p < tile_width && k + 2 * p < strip.depth; ++p, to += width)
      _mm512_mask_storeu_epi32(to, there, pairs[p]);
  });
}

inline __m512 load_floats(const float* from) { return _mm512_loadu_ps(from); }
inline __m512 load_floats(const bfloat16* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline void store_floats(float* to, __m512 value) { _mm512_storeu_ps(to, value); }
inline void store_floats(bfloat16* to, __m512 value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(value)));
}

// (sums + bias) + what is added; everything is read before anything is written, see isa/gemm_finish.cpp.
template <typename T, int height>
inline __attribute__((always_inline)) void finish_dots(const Finish& finish, __m512 (&sum)[height][dot_vectors]) {
  const T* const bias = static_cast<const T*>(finish.bias);
  const T* const added = static_cast<const T*>(finish.added);
  T* const out = static_cast<T*>(finish.out);
  for (int j = 0; bias != nullptr && j < dot_vectors; ++j) {
    const __m512 b = load_floats(bias + j * 16);
#pragma GCC unroll 16
    for (int i = 0; i < height; ++i) sum[i][j] += b;
  }
  if (added != nullptr) {
#pragma GCC unroll 16
    for (int i = 0; i < height; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < dot_vectors; ++j) sum[i][j] += load_floats(added + i * finish.stride + j * 16);
  }
#pragma GCC unroll 16
  for (int i = 0; i < height; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < dot_vectors; ++j) store_floats(out + i * finish.stride + j * 16, sum[i][j]);
}

inline std::int32_t pair_at(const char* from) {
  std::int32_t bits;
  std::memcpy(&bits, from, sizeof(bits));
  return bits;
}

// Pairs of a step of A are side by side, or each in a row of its own.
template <int height, bool a_in_rows>
void multiply_dots_of(std::int64_t depth, const Panel& a_panel, const Panel& b_panel, float* c, std::int64_t c_stride,
                      bool accumulate, const Finish* finish) {
  const char* a = a_panel.data;
  const char* b = b_panel.data;
  const std::int64_t a_vector = a_in_rows ? a_panel.vector_bytes : 4, a_step = a_in_rows ? 4 : a_panel.unit_bytes;
  __m512 sum[height][dot_vectors];
#pragma GCC unroll 16
  for (int i = 0; i < height; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < dot_vectors; ++j) sum[i][j] = _mm512_setzero_ps();
  for (std::int64_t k = 0; k < depth; k += 2) {
    __m512bh right[dot_vectors];
#pragma GCC unroll 4
    for (int j = 0; j < dot_vectors; ++j) right[j] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + j * 64));
#pragma GCC unroll 16
    for (int i = 0; i < height; ++i) {
      const auto left = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair_at(a + i * a_vector)));
#pragma GCC unroll 4
      for (int j = 0; j < dot_vectors; ++j) sum[i][j] = _mm512_dpbf16_ps(sum[i][j], left, right[j]);
    }
    a += a_step;
    b += b_panel.unit_bytes;
  }
  if (accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < height; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < dot_vectors; ++j) sum[i][j] += _mm512_loadu_ps(c + i * c_stride + j * 16);
  }
  if (finish != nullptr) {
    finish->dtype == DType::bf16 ? finish_dots<bfloat16>(*finish, sum) : finish_dots<float>(*finish, sum);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < height; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < dot_vectors; ++j) _mm512_storeu_ps(c + i * c_stride + j * 16, sum[i][j]);
}

template <int height>
void multiply_dots_high(std::int64_t depth, const Panel& a, const Panel& b, float* c, std::int64_t c_stride, bool accumulate,
                        const Finish* finish) {
  const auto multiply = a.vector_bytes == 4 ? multiply_dots_of<height, false> : multiply_dots_of<height, true>;
  multiply(depth, a, b, c, c_stride, accumulate, finish);
}

void multiply_dots(std::int64_t depth, const Panel& a, const Panel& b, int height, float* c, std::int64_t c_stride, bool accumulate,
                   const Finish* finish) {
  const auto multiply = height == 12  ? multiply_dots_high<12>
                        : height == 8 ? multiply_dots_high<8>
                        : height == 4 ? multiply_dots_high<4>
                                      : multiply_dots_high<1>;
  multiply(depth, a, b, c, c_stride, accumulate, finish);
}

void nothing() {}

}  // namespace

extern const GemmKernels amx_gemm_kernels, dot_gemm_kernels;  // see dispatch_gemm.cpp
const GemmKernels dot_gemm_kernels = {
    .name = "AVX512-BF16 vectors",
    .tile_rows = dot_rows,
    .tile_columns = dot_columns,
    .depth_unit = 2,
    .depth_block = 512,
    .packed_size = sizeof(bfloat16),
    .packs_bf16 = true,
    .enter = nothing,
    .leave = nothing,
    .pack_a = pack_dots<dot_rows>,
    .pack_b = pack_dots<dot_columns>,
    .rows_in_place = true,
    .columns_in_place = false,
    .row_unit = 4,
    .single_row = true,
    .tile = multiply_dots,
};
const GemmKernels amx_gemm_kernels = {
    .name = "AMX tiles",
    .tile_rows = 2 * tile_width,
    .tile_columns = 2 * tile_width,
    .depth_unit = step,
    .depth_block = 1024,
    .packed_size = sizeof(bfloat16),
    .packs_bf16 = true,
    .enter = enter,
    .leave = leave,
    .pack_a = pack_tiles_a,
    .pack_b = pack_tiles_b,
    .rows_in_place = false,
    .columns_in_place = false,
    .row_unit = 2 * tile_width,
    .single_row = false,
    .tile = multiply_tiles,
};

}  // namespace temper::cpu

#pragma GCC pop_options

#endif
