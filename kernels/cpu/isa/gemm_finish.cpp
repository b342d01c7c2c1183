// What happens to a block of a product while it is still in cache: bias, GELU, GELU's slope, conversion, accumulation.
#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

constexpr float sqrt_2_over_pi = 0.797884560802865356f;
constexpr float cubic = 0.044715f;

inline Floats bounded_exp(Floats x) { return exp(x > 88.0f ? broadcast(88.0f) : x); }

// gelu(z) = 0.5 z (1 + tanh u) = z / (1 + e^{-2u}), u = sqrt(2/pi) (z + 0.044715 z^3) (Hendrycks and Gimpel, arXiv 1606.08415):
// this form keeps its relative accuracy where tanh nears -1.
inline Floats gelu(Floats z) {
  const Floats u = sqrt_2_over_pi * z * (1.0f + cubic * z * z);
  return z / (1.0f + bounded_exp(-2.0f * u));
}

// With s = 1 / (1 + e^{-2u}): gelu'(z) = s + z s (1 - s) 2 u'(z).
inline Floats gelu_slope(Floats z) {
  const Floats square = z * z;
  const Floats e = bounded_exp(-2.0f * sqrt_2_over_pi * z * (1.0f + cubic * square));
  const Floats s = 1.0f / (1.0f + e);
  return s + z * s * (e * s) * (2.0f * sqrt_2_over_pi) * (1.0f + 3.0f * cubic * square);
}

// One register: whole ones and the ends of rows go through the same arithmetic.
template <typename T, typename Lanes>
inline void finish_register(const Finish& finish, const float* c, std::int64_t offset, int column, Lanes there) {
  T* out = static_cast<T*>(finish.out) + offset;
  Floats v = load(c, AllLanes{});  // tiles are whole registers wide
  if (finish.bias != nullptr) v += load(static_cast<const T*>(finish.bias) + column, there);
  switch (finish.kind) {
    case Finish::Kind::store: break;
    case Finish::Kind::accumulate: v += load(out, there); break;
    case Finish::Kind::gelu:
      store(static_cast<T*>(finish.pre) + offset, v, there);
      v = gelu(v);
      break;
    case Finish::Kind::gelu_slope: v *= gelu_slope(load(static_cast<const T*>(finish.pre) + offset, there)); break;
  }
  store(out, v, there);
}

template <typename T>
void finish_block(const Finish& finish, const float* c, std::int64_t c_stride, int rows, int columns) {
  for (int i = 0; i < rows; ++i) {
    const float* from = c + i * c_stride;
    const std::int64_t offset = i * finish.stride;
    int j = 0;
    for (; j + lanes <= columns; j += lanes) finish_register<T>(finish, from + j, offset + j, j, AllLanes{});
    if (j < columns) finish_register<T>(finish, from + j, offset + j, j, FirstLanes{columns - j});
  }
}

void finish_any(const Finish& finish, const float* c, std::int64_t c_stride, int rows, int columns) {
  if (finish.dtype == DType::bf16) {
    finish_block<bfloat16>(finish, c, c_stride, rows, columns);
  } else {
    finish_block<float>(finish, c, c_stride, rows, columns);
  }
}

// Blocks of rows keep the error of a long sum down, and let a strip of vectors stay in registers.
template <typename T, typename Lanes>
void sum_strip(const T* x, std::int64_t stride, std::int64_t rows, Lanes there, float* sums, bool accumulate) {
  constexpr std::int64_t block = 64;
  Floats total{};
  for (std::int64_t first = 0; first < rows; first += block) {
    const std::int64_t end = first + block < rows ? first + block : rows;
    Floats partial{};
    for (std::int64_t row = first; row < end; ++row) partial += load(x + row * stride, there);
    total += partial;
  }
  if (accumulate) total += load(sums, there);
  store(sums, total, there);
}

template <typename T>
void sum_columns(const T* x, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* sums, bool accumulate) {
  std::int64_t j = 0;
  for (; j + lanes <= columns; j += lanes) sum_strip(x + j, stride, rows, AllLanes{}, sums + j, accumulate);
  if (j < columns) sum_strip(x + j, stride, rows, FirstLanes{static_cast<int>(columns - j)}, sums + j, accumulate);
}

void column_sums(const void* x, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* sums,
                 bool accumulate) {
  if (dtype == DType::bf16) {
    sum_columns(static_cast<const bfloat16*>(x), stride, rows, columns, sums, accumulate);
  } else {
    sum_columns(static_cast<const float*>(x), stride, rows, columns, sums, accumulate);
  }
}

}  // namespace

extern const FinishKernels finish_kernels = {finish_any, column_sums};

}  // namespace temper::cpu::TEMPER_ISA
