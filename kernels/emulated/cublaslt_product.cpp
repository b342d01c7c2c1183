#include "kernels/emulated/cublaslt_product.h"

#include <cmath>
#include <cstring>

#include "kernels/bfloat16.h"

namespace temper::emulated {

namespace {

float load(const void* values, cudaDataType type, std::int64_t index) {
  return type == CUDA_R_16BF ? to_float(static_cast<const bfloat16*>(values)[index]) : static_cast<const float*>(values)[index];
}
void store(void* values, cudaDataType type, std::int64_t index, float value) {
  if (type == CUDA_R_16BF)
    static_cast<bfloat16*>(values)[index] = to_bfloat16(value);
  else
    static_cast<float*>(values)[index] = value;
}

float to_tf32(float value) {  // 10 bits of mantissa, to nearest
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  bits = (bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFFu;
  std::memcpy(&value, &bits, sizeof(bits));
  return value;
}

// In double and from another form of the formula than kernels/cuda/elementwise.cu has: equal to the last bits at best, as the
// library's.
double gelu_weight(double z) { return 1.0 / (1.0 + std::exp(-2.0 * 0.7978845608028654 * (z + 0.044715 * z * z * z))); }
float gelu(float z) { return static_cast<float>(z * gelu_weight(z)); }
float gelu_slope(float z) {
  const double weight = gelu_weight(z);
  return static_cast<float>(weight + 2.0 * z * weight * (1.0 - weight) * 0.7978845608028654 * (1.0 + 3.0 * 0.044715 * z * z));
}

/// f32 in memory of the CPU backend.
class Floats {
 public:
  Floats(Ops& cpu, std::int64_t rows, std::int64_t columns)
      : cpu_(cpu), view_{cpu.allocate(static_cast<std::size_t>(rows * columns) * sizeof(float)), DType::f32, {rows, columns}} {}
  ~Floats() { cpu_.release(view_.data); }
  Floats(const Floats&) = delete;
  Floats& operator=(const Floats&) = delete;
  const TensorView& view() const { return view_; }
  float* data() const { return view_.as<float>(); }

 private:
  Ops& cpu_;
  TensorView view_;
};

struct Operand {
  const void* values;
  ProductLayout layout;
  bool sums_over_columns;  // the product does
};

/// Rows and columns swapped, so that it is row-major: the part of it in which the sum's index is in [begin, end).
void unpack(const Operand& from, bool tf32, std::int64_t begin, std::int64_t end, Floats& to) {
  const auto columns = static_cast<std::int64_t>(from.layout.columns), rows = static_cast<std::int64_t>(from.layout.rows);
  const std::int64_t first_column = from.sums_over_columns ? begin : 0, last_column = from.sums_over_columns ? end : columns;
  const std::int64_t first_row = from.sums_over_columns ? 0 : begin, last_row = from.sums_over_columns ? rows : end;
  float* out = to.data();
  for (std::int64_t column = first_column; column < last_column; ++column) {
    for (std::int64_t row = first_row; row < last_row; ++row) {
      const float value = load(from.values, from.layout.type, column * from.layout.ld + row);
      *out++ = tf32 ? to_tf32(value) : value;
    }
  }
}

}  // namespace

void PendingProduct::sum(std::int64_t begin, std::int64_t end, TensorView out) const {
  const bool ta = operation.transpose_a == CUBLAS_OP_T, tb = operation.transpose_b == CUBLAS_OP_T;
  const bool tf32 = operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  const std::int64_t m = shape().m(), n = shape().n(), k = end - begin;
  Floats left(*cpu, tb ? k : n, tb ? n : k), right(*cpu, ta ? m : k, ta ? k : m);
  unpack({b, b_layout, tb}, tf32, begin, end, left);
  unpack({a, a_layout, !ta}, tf32, begin, end, right);
  if (ta)
    cpu->linear_forward({.x = left.view(), .weight = right.view(), .y = out});
  else if (tb)
    cpu->linear_backward_weight({.dy = left.view(), .x = right.view(), .dw = out, .write = Write::overwrite});
  else
    cpu->linear_backward_input({.dy = left.view(), .weight = right.view(), .dx = out});
  cpu->synchronize();
}

void PendingProduct::run() const {
  const std::int64_t m = shape().m(), n = shape().n(), k = shape().k();
  Floats sums(*cpu, n, m);
  if (way == Algorithm::split) {
    Floats rest(*cpu, n, m);
    sum(0, k / 2, sums.view());
    sum(k / 2, k, rest.view());
    for (std::int64_t i = 0; i < n * m; ++i) sums.data()[i] += rest.data()[i];
  } else {
    sum(0, k, sums.view());
  }
  finish(sums.data());
}

void PendingProduct::finish(const float* sums) const {
  const std::int64_t m = shape().m(), n = shape().n(), k = shape().k();
  const bool biased = shape().has_bias() && operation.epilogue != CUBLASLT_EPILOGUE_BGRADB;
  for (std::int64_t column = 0; column < n; ++column) {
    for (std::int64_t row = 0; row < m; ++row) {
      float value = alpha * sums[column * m + row];
      if (beta != 0.0f) value += beta * load(c, c_layout.type, column * c_layout.ld + row);
      if (biased) value += load(operation.bias, operation.bias_type, row);
      const std::int64_t aux_index = column * operation.aux_ld + row;
      if (shape().makes_gelu()) {
        store(operation.aux, operation.aux_type, aux_index, value);
        value = gelu(value);
      } else if (operation.epilogue == CUBLASLT_EPILOGUE_DGELU) {
        value *= gelu_slope(load(operation.aux, operation.aux_type, aux_index));
      }
      store(d, d_layout.type, column * d_layout.ld + row, value);
    }
  }
  if (operation.epilogue != CUBLASLT_EPILOGUE_BGRADB) return;
  const bool tb = operation.transpose_b == CUBLAS_OP_T;
  for (std::int64_t column = 0; column < n; ++column) {
    float total = 0;
    for (std::int64_t i = 0; i < k; ++i) total += load(b, b_layout.type, tb ? i * b_layout.ld + column : column * b_layout.ld + i);
    store(operation.bias, operation.bias_type, column, total);
  }
}

}  // namespace temper::emulated
