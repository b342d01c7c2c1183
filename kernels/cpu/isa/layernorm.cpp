#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

constexpr float epsilon = 1e-5f;

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
void forward_rows(const op::LayernormForward& args, std::int64_t first, std::int64_t last) {
  const std::int64_t columns = args.x.shape.back();
  const T* const gamma = args.gamma.as<T>();
  const T* const beta = args.beta.as<T>();
  float* const mean = args.mean.as<float>();
  float* const rstd = args.rstd.as<float>();
  for (std::int64_t row = first; row < last; ++row) {
    const std::int64_t offset = row * columns;
    forward_row(args.x.as<T>() + offset, gamma, beta, args.out.as<T>() + offset, mean + row, rstd + row, columns);
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
void backward_rows(const op::LayernormBackward& args, std::int64_t first, std::int64_t last, float* dgamma, float* dbeta) {
  const std::int64_t columns = args.x.shape.back();
  const T* const gamma = args.gamma.as<T>();
  const auto* const mean = args.mean.as<float>();
  const auto* const rstd = args.rstd.as<float>();
  for (std::int64_t i = 0; i < columns; ++i) dgamma[i] = dbeta[i] = 0.0f;
  for (std::int64_t row = first; row < last; ++row) {
    const std::int64_t offset = row * columns;
    const T* dresidual = args.dresidual.present() ? args.dresidual.as<T>() + offset : nullptr;
    backward_row(args.dout.as<T>() + offset, args.x.as<T>() + offset, gamma, mean[row], rstd[row], dresidual,
                 args.dx.as<T>() + offset, dgamma, dbeta, columns);
  }
}

void forward(const op::LayernormForward& args, std::int64_t first, std::int64_t last) {
  with_type(args.x.dtype, [&]<typename T>(T) { forward_rows<T>(args, first, last); });
}

void backward(const op::LayernormBackward& args, std::int64_t first, std::int64_t last, float* dgamma, float* dbeta) {
  with_type(args.x.dtype, [&]<typename T>(T) { backward_rows<T>(args, first, last, dgamma, dbeta); });
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
