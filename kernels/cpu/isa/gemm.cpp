// f32 register-tile product and the packing of its panels. A panel holds, for each step of the depth, the elements of all its
// vectors side by side; bf16 operands become f32 while they are packed.
#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

// The accumulators fill the register file but for one row of B and one broadcast element of A.
#if defined(__AVX512F__)
constexpr int rows = 12;
constexpr int vectors = 2;
#elif defined(__AVX__)
constexpr int rows = 4;
constexpr int vectors = 3;
#else
constexpr int rows = 4;
constexpr int vectors = 2;
#endif
constexpr int columns = vectors * lanes;

typedef float Quad __attribute__((vector_size(16)));

inline Quad load_quad(const float* from) {
  Quad q;
  __builtin_memcpy(&q, from, sizeof(q));
  return q;
}

inline Quad load_quad(const bfloat16* from) {
  return Quad{to_float(from[0]), to_float(from[1]), to_float(from[2]), to_float(from[3])};
}

// Vector i of the strip is row i of the matrix: transposes squares of 4 x 4.
template <int width, typename T>
void pack_rows(const Strip& strip, float* panel) {
  const T* row[width];
  for (int i = 0; i < width; ++i) row[i] = static_cast<const T*>(strip.data) + strip.stride * i;
  std::int64_t k = 0;
  for (; strip.count == width && k + 4 <= strip.depth; k += 4) {
#pragma GCC unroll 8
    for (int i = 0; i < width; i += 4) {
      const Quad a = load_quad(row[i] + k), b = load_quad(row[i + 1] + k);
      const Quad c = load_quad(row[i + 2] + k), d = load_quad(row[i + 3] + k);
      const Quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      const Quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      const Quad column[4] = {
          __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5), __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
          __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5), __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
      for (int step = 0; step < 4; ++step) __builtin_memcpy(panel + (k + step) * width + i, &column[step], sizeof(Quad));
    }
  }
  for (; k < strip.depth; ++k)
    for (int i = 0; i < width; ++i) panel[k * width + i] = i < strip.count ? to_float(row[i][k]) : 0.0f;
}

constexpr std::int64_t rows_ahead = 24;  // rows lie in different pages, where the processor does not prefetch by itself

// Vector i of the strip is column i of the matrix: copies pieces of rows.
template <int width, typename T>
void pack_columns(const Strip& strip, float* panel) {
  const T* source = static_cast<const T*>(strip.data);
  for (std::int64_t k = 0; k < strip.depth; ++k, source += strip.stride, panel += width) {
    __builtin_prefetch(source + rows_ahead * strip.stride);
    __builtin_prefetch(source + rows_ahead * strip.stride + width - 1);
    if (strip.count == width) {
#pragma GCC unroll 8
      for (int i = 0; i < width; i += 4) {
        const Quad quad = load_quad(source + i);
        __builtin_memcpy(panel + i, &quad, sizeof(quad));
      }
    } else {
      for (int i = 0; i < width; ++i) panel[i] = i < strip.count ? to_float(source[i]) : 0.0f;
    }
  }
}

template <int width>
void pack(const Strip& strip, void* to) {
  float* panel = static_cast<float*>(to);
  with_type(strip.dtype, [&]<typename T>(T) {
    strip.depth_contiguous ? pack_rows<width, T>(strip, panel) : pack_columns<width, T>(strip, panel);
  });
}

// (sums + bias) + what is added; everything is read before anything is written, see gemm_finish.cpp.
template <typename T, int height>
TEMPER_INLINE void finish_sums(const Finish& finish, Floats (&sum)[height][vectors]) {
  const T* const bias = static_cast<const T*>(finish.bias);
  const T* const added = static_cast<const T*>(finish.added);
  T* const out = static_cast<T*>(finish.out);
  for (int j = 0; bias != nullptr && j < vectors; ++j) {
    const Floats b = load(bias + j * lanes, AllLanes{});
#pragma GCC unroll 16
    for (int i = 0; i < height; ++i) sum[i][j] += b;
  }
  if (added != nullptr) {
#pragma GCC unroll 16
    for (int i = 0; i < height; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sum[i][j] += load(added + i * finish.stride + j * lanes, AllLanes{});
  }
#pragma GCC unroll 16
  for (int i = 0; i < height; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) store(out + i * finish.stride + j * lanes, sum[i][j], AllLanes{});
}

// Elements of a step of A are side by side, or each in a row of its own.
template <int height, bool a_in_rows>
void tile_of(std::int64_t depth, const Panel& a_panel, const Panel& b_panel, float* c, std::int64_t c_stride, bool accumulate,
             const Finish* finish) {
  const float* a = reinterpret_cast<const float*>(a_panel.data);
  const float* b = reinterpret_cast<const float*>(b_panel.data);
  const std::int64_t a_vector = a_in_rows ? a_panel.vector_bytes / 4 : 1, a_step = a_in_rows ? 1 : a_panel.unit_bytes / 4;
  const std::int64_t b_step = b_panel.unit_bytes / 4;
  Floats sum[height][vectors];
#pragma GCC unroll 16
  for (int i = 0; i < height; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) sum[i][j] = Floats{};
  for (std::int64_t k = 0; k < depth; ++k) {
    Floats right[vectors];
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) right[j] = load(b + j * lanes, AllLanes{});
#pragma GCC unroll 16
    for (int i = 0; i < height; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sum[i][j] += a[i * a_vector] * right[j];
    }
    a += a_step;
    b += b_step;
  }
  if (accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < height; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < vectors; ++j) sum[i][j] += load(c + i * c_stride + j * lanes, AllLanes{});
  }
  if (finish != nullptr) {
    finish->dtype == DType::bf16 ? finish_sums<bfloat16>(*finish, sum) : finish_sums<float>(*finish, sum);
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < height; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < vectors; ++j) store(c + i * c_stride + j * lanes, sum[i][j], AllLanes{});
}

template <int height>
void tile_high(std::int64_t depth, const Panel& a, const Panel& b, float* c, std::int64_t c_stride, bool accumulate,
               const Finish* finish) {
  (a.vector_bytes == sizeof(float) ? tile_of<height, false> : tile_of<height, true>)(depth, a, b, c, c_stride, accumulate, finish);
}

void tile(std::int64_t depth, const Panel& a, const Panel& b, int height, float* c, std::int64_t c_stride, bool accumulate,
          const Finish* finish) {
  if constexpr (rows == 12) {
    if (height == 12) return tile_high<12>(depth, a, b, c, c_stride, accumulate, finish);
    if (height == 8) return tile_high<8>(depth, a, b, c, c_stride, accumulate, finish);
  }
  (height == 1 ? tile_high<1> : tile_high<4>)(depth, a, b, c, c_stride, accumulate, finish);
}

void nothing() {}

}  // namespace

extern const GemmKernels vector_gemm_kernels = {
    .name = "vectors",
    .tile_rows = rows,
    .tile_columns = columns,
    .depth_unit = 1,
    .depth_block = 256,
    .packed_size = sizeof(float),
    .packs_bf16 = false,
    .enter = nothing,
    .leave = nothing,
    .pack_a = pack<rows>,
    .pack_b = pack<columns>,
    .rows_in_place = true,
    .columns_in_place = true,
    .row_unit = 4,
    .single_row = true,
    .tile = tile,
};

}  // namespace temper::cpu::TEMPER_ISA
