#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

constexpr float epsilon = 1e-5f;

template <typename T>
const T* row_of(const void* tensor, std::int64_t row, std::int64_t columns) {
  return tensor == nullptr ? nullptr : static_cast<const T*>(tensor) + row * columns;
}

template <typename T>
T* row_of(void* tensor, std::int64_t row, std::int64_t columns) {
  return tensor == nullptr ? nullptr : static_cast<T*>(tensor) + row * columns;
}

// The row is read three times, the second and third time from the first-level cache: the variance is then taken about the
// mean itself, which loses no digits when the mean is large.
template <typename T>
void forward_row(const T* x, const T* gamma, const T* beta, T* out, float* mean, float* rstd, std::int64_t columns) {
  Accumulator total{};
  for_registers(columns, [&](std::int64_t i, auto part, int turn) { total.part[turn] += load(x + i, part); });
  const float row_mean = total.sum() / static_cast<float>(columns);

  Accumulator squares{};
  for_registers(columns, [&](std::int64_t i, auto part, int turn) {
    const Floats centred = keep(load(x + i, part) - row_mean, part);
    squares.part[turn] += centred * centred;
  });
  const float row_rstd = 1.0f / __builtin_sqrtf(squares.sum() / static_cast<float>(columns) + epsilon);

  for_registers(columns, [&](std::int64_t i, auto part, int) {
    Floats value = (load(x + i, part) - row_mean) * row_rstd * load(gamma + i, part);
    if (beta != nullptr) value += load(beta + i, part);
    store(out + i, value, part);
  });
  *mean = row_mean;
  *rstd = row_rstd;
}

template <typename T>
void forward_rows(const LayernormRows& a, std::int64_t first, std::int64_t last) {
  for (std::int64_t row = first; row < last; ++row) {
    forward_row(row_of<T>(a.x, row, a.columns), static_cast<const T*>(a.gamma), static_cast<const T*>(a.beta),
                row_of<T>(a.out, row, a.columns), a.mean + row, a.rstd + row, a.columns);
  }
}

// With n = (x - mean) rstd and g = dout gamma: dx = rstd (g - mean(g) - n mean(g n)).
template <typename T>
void backward_row(const T* dout, const T* x, const T* gamma, float mean, float rstd, const T* dresidual, T* dx, float* dgamma,
                  float* dbeta, std::int64_t columns) {
  Accumulator sum_g{};
  Accumulator sum_gn{};
  for_registers(columns, [&](std::int64_t i, auto part, int turn) {
    const Floats gradient = load(dout + i, part);
    const Floats n = (load(x + i, part) - mean) * rstd;
    const Floats g = gradient * load(gamma + i, part);
    sum_g.part[turn] += g;
    sum_gn.part[turn] += g * n;
    store(dgamma + i, load(dgamma + i, part) + gradient * n, part);
    store(dbeta + i, load(dbeta + i, part) + gradient, part);
  });
  const float mean_g = sum_g.sum() / static_cast<float>(columns);
  const float mean_gn = sum_gn.sum() / static_cast<float>(columns);

  for_registers(columns, [&](std::int64_t i, auto part, int) {
    const Floats n = (load(x + i, part) - mean) * rstd;
    const Floats g = load(dout + i, part) * load(gamma + i, part);
    Floats value = (g - mean_g - n * mean_gn) * rstd;
    if (dresidual != nullptr) value += load(dresidual + i, part);
    store(dx + i, value, part);
  });
}

template <typename T>
void backward_rows(const LayernormGradientRows& a, std::int64_t first, std::int64_t last, float* dgamma, float* dbeta) {
  for (std::int64_t i = 0; i < a.columns; ++i) dgamma[i] = dbeta[i] = 0.0f;
  for (std::int64_t row = first; row < last; ++row) {
    backward_row(row_of<T>(a.dout, row, a.columns), row_of<T>(a.x, row, a.columns), static_cast<const T*>(a.gamma), a.mean[row],
                 a.rstd[row], row_of<T>(a.dresidual, row, a.columns), row_of<T>(a.dx, row, a.columns), dgamma, dbeta, a.columns);
  }
}

void forward(const LayernormRows& arguments, std::int64_t first, std::int64_t last) {
  if (arguments.type == DType::bf16)
    forward_rows<bfloat16>(arguments, first, last);
  else
    forward_rows<float>(arguments, first, last);
}

void backward(const LayernormGradientRows& arguments, std::int64_t first, std::int64_t last, float* dgamma, float* dbeta) {
  if (arguments.type == DType::bf16)
    backward_rows<bfloat16>(arguments, first, last, dgamma, dbeta);
  else
    backward_rows<float>(arguments, first, last, dgamma, dbeta);
}

void add_parts(const float* parts, std::int64_t part_count, std::int64_t stride, bool accumulate, float* to, std::int64_t count) {
  for_registers(count, [&](std::int64_t i, auto lanes_there, int) {
    Floats total = accumulate ? load(to + i, lanes_there) : Floats{};
    for (std::int64_t p = 0; p < part_count; ++p) total += load(parts + p * stride + i, lanes_there);
    store(to + i, total, lanes_there);
  });
}

}  // namespace

const LayernormKernels layernorm_kernels = {forward, backward, add_parts};

}  // namespace temper::cpu::TEMPER_ISA
