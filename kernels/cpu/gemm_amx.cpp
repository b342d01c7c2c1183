// Register-tile product on AMX bf16 tiles (Intel Architecture Instruction Set Extensions Programming Reference, "Intel AMX").
//
// A tile of A is 16 rows of 32 depth steps; a tile of B holds, in row p, the depth steps 2p and 2p + 1 of 16 columns side by
// side. A panel step is 32 depth steps: two tiles of A (32 rows) or two of B (32 columns), 1 KiB each.
#include "kernels/cpu/gemm_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

// Compiled for AMX whatever the rest of this folder is compiled for; runs only where amx_bf16_available().
// GCC 12 warns of its own headers (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512bf16,amx-tile,amx-bf16")

namespace temper::cpu {

namespace {

constexpr int tile = 16;        // rows of a tile, and columns of a tile of sums
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
    const __m512i low01 = _mm512_shuffle_i32x4(row[j], row[4 + j], 0x88);    // lanes 0, 2 of groups 0 and 1
    const __m512i high01 = _mm512_shuffle_i32x4(row[j], row[4 + j], 0xdd);   // lanes 1, 3
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

/// 16 elements, those from `count` on taken as 0.
inline __m256i load_half_row(const bfloat16* from, int count) {
  return _mm256_maskz_loadu_epi16(static_cast<__mmask16>(count >= 16 ? 0xffff : (1 << count) - 1), from);
}

inline __m256i load_half_row(const float* from, int count) {
  const __m512 v = _mm512_maskz_loadu_ps(static_cast<__mmask16>(count >= 16 ? 0xffff : (1 << count) - 1), from);
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
}

/// Vectors 16 * group ... of the strip, depth steps k ..., each vector's 32 steps in one row.
template <typename T>
inline void load_rows(const Strip& strip, int group, std::int64_t k, __m512i (&row)[16]) {
  const T* source = static_cast<const T*>(strip.data) + k;
  const int depth = static_cast<int>(strip.depth - k < step ? strip.depth - k : step);
  for (int i = 0; i < tile; ++i) {
    const int vector = group * tile + i;
    row[i] = vector < strip.count ? load_row(source + vector * strip.stride, depth) : _mm512_setzero_si512();
  }
}

/// The same from a matrix whose columns are the vectors; row p gets steps k + 2p and k + 2p + 1 of the 16 vectors in pairs.
template <typename T>
inline void load_pairs(const Strip& strip, int group, std::int64_t k, __m512i (&row)[16]) {
  const T* source = static_cast<const T*>(strip.data) + k * strip.stride + group * tile;
  const std::int64_t depth = strip.depth - k;
  const int count = strip.count - group * tile;
  for (int p = 0; p < tile; ++p) {
    const bool first = count > 0 && 2 * p < depth;
    const bool second = count > 0 && 2 * p + 1 < depth;
    const __m256i even = first ? load_half_row(source + 2 * p * strip.stride, count) : _mm256_setzero_si256();
    const __m256i odd = second ? load_half_row(source + (2 * p + 1) * strip.stride, count) : _mm256_setzero_si256();
    const __m512i low = _mm512_cvtepu16_epi32(even);
    const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16);
    row[p] = _mm512_or_si512(low, high);
  }
}

template <typename T>
inline void load(const Strip& strip, int group, std::int64_t k, __m512i (&row)[16]) {
  strip.depth_contiguous ? load_rows<T>(strip, group, k, row) : load_pairs<T>(strip, group, k, row);
}

template <typename T>
void pack_of(const Strip& strip, bool transposed, char* panel) {
  for (std::int64_t k = 0; k < strip.depth; k += step)
    for (int group = 0; group < 2; ++group, panel += tile_bytes) {
      __m512i row[16];
      load<T>(strip, group, k, row);
      if (transposed) transpose(row);
      for (int i = 0; i < tile; ++i) _mm512_store_si512(panel + 64 * i, row[i]);
    }
}

void pack(const Strip& strip, bool transposed, void* panel) {
  if (strip.dtype == DType::bf16) {
    pack_of<bfloat16>(strip, transposed, static_cast<char*>(panel));
  } else {
    pack_of<float>(strip, transposed, static_cast<char*>(panel));
  }
}

// A tile of B is the transpose, in 32-bit pairs, of a tile of A.
void pack_a(const Strip& strip, void* panel) { pack(strip, !strip.depth_contiguous, panel); }
void pack_b(const Strip& strip, void* panel) { pack(strip, strip.depth_contiguous, panel); }

void multiply(std::int64_t depth, const void* a_panel, const void* b_panel, float* c, std::int64_t c_stride, bool accumulate) {
  const char* a = static_cast<const char*>(a_panel);
  const char* b = static_cast<const char*>(b_panel);
  const std::int64_t row_bytes = c_stride * 4;
  float* lower = c + tile * c_stride;
  if (accumulate) {
    _tile_loadd(0, c, row_bytes);
    _tile_loadd(1, c + tile, row_bytes);
    _tile_loadd(2, lower, row_bytes);
    _tile_loadd(3, lower + tile, row_bytes);
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
  _tile_stored(1, c + tile, row_bytes);
  _tile_stored(2, lower, row_bytes);
  _tile_stored(3, lower + tile, row_bytes);
}

}  // namespace

const GemmKernels amx_gemm_kernels = {
    .name = "bf16 AMX tiles",
    .tile_rows = 2 * tile,
    .tile_columns = 2 * tile,
    .depth_unit = step,
    .depth_block = 1024,
    .packed_size = sizeof(bfloat16),
    .packs_bf16 = true,
    .enter = enter,
    .leave = leave,
    .pack_a = pack_a,
    .pack_b = pack_b,
    .multiply = multiply,
};

}  // namespace temper::cpu

#pragma GCC pop_options

#endif
