// Linear layers of the CPU backend against double precision, on every instruction set, and the same bits for any thread count.
#include "kernels/cpu/linear.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/philox.h"

namespace temper::cpu {
namespace {

class Tensor {
 public:
  /// Uniform in [-1, 1), or NaN where `seed` is 0: what a kernel leaves unwritten shows.
  Tensor(DType dtype, Shape shape, std::uint64_t seed) : memory_(static_cast<std::size_t>(shape.numel()) * size_of(dtype)) {
    view_ = {memory_.data(), dtype, shape};
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      const std::uint32_t word = random_block(seed, RandomPurpose::benchmark, 0, static_cast<std::uint64_t>(i)).word[0];
      set(i, seed == 0 ? std::numeric_limits<float>::quiet_NaN() : 2 * uniform_open(word) - 1);
    }
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  TensorView view() const { return view_; }
  double at(std::int64_t i) const { return view_.dtype == DType::f32 ? view_.as<float>()[i] : to_float(view_.as<bfloat16>()[i]); }
  void set(std::int64_t i, float value) {
    if (view_.dtype == DType::f32) {
      view_.as<float>()[i] = value;
    } else {
      view_.as<bfloat16>()[i] = to_bfloat16(value);
    }
  }
  const std::vector<char>& bytes() const { return memory_; }

 private:
  std::vector<char> memory_;
  TensorView view_;
};

double gelu(double z) { return 0.5 * z * (1 + std::tanh(std::sqrt(2 / M_PI) * (z + 0.044715 * z * z * z))); }

double gelu_slope(double z) {
  const double u = std::sqrt(2 / M_PI) * (z + 0.044715 * z * z * z), t = std::tanh(u);
  return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * std::sqrt(2 / M_PI) * (1 + 3 * 0.044715 * z * z);
}

// norm(result - reference) / norm(reference); NaN anywhere gives NaN, which fails every comparison.
double distance(const Tensor& result, const std::vector<double>& reference) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double d = result.at(static_cast<std::int64_t>(i)) - reference[i];
    difference += d * d;
    size += reference[i] * reference[i];
  }
  return std::sqrt(difference / size);
}

// Sums of a few hundred products in f32; a bf16 result is rounded once, to 2^-9 at most.
double tolerance(DType result) { return result == DType::bf16 ? 3e-3 : 2e-6; }

struct Case {
  Isa isa;
  DType dtype;
  std::int64_t rows, inputs, outputs;
};

void PrintTo(const Case& c, std::ostream* os) {
  *os << name_of(c.isa) << ' ' << name_of(c.dtype) << ' ' << c.rows << 'x' << c.inputs << "->" << c.outputs;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512, Isa::amx}) {
    if (isa > best_isa()) continue;
    for (DType dtype : {DType::f32, DType::bf16}) {
      // One element; odd everything; several blocks; a depth of several passes in each of the three products.
      for (const auto& shape : {Shape{1, 1, 1}, Shape{3, 5, 7}, Shape{65, 33, 47}, Shape{13, 1100, 31}, Shape{300, 96, 401},
                                Shape{1031, 24, 36}, Shape{17, 40, 1090}})
        all.push_back({isa, dtype, shape[0], shape[1], shape[2]});
    }
  }
  return all;
}

class LinearTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { set_isa(GetParam().isa); }
  void TearDown() override {
    set_isa(best_isa());
    omp_set_num_threads(threads_);
  }
  int threads_ = omp_get_max_threads();
};

std::vector<double> reference_forward(const Tensor& x, const Tensor& w, const Tensor* bias, const Case& c) {
  std::vector<double> y;
  for (std::int64_t r = 0; r < c.rows; ++r) {
    for (std::int64_t n = 0; n < c.outputs; ++n) {
      double sum = bias == nullptr ? 0 : bias->at(n);
      for (std::int64_t k = 0; k < c.inputs; ++k) sum += x.at(r * c.inputs + k) * w.at(n * c.inputs + k);
      y.push_back(sum);
    }
  }
  return y;
}

TEST_P(LinearTest, ForwardAgreesWithDoublePrecision) {
  const Case& c = GetParam();
  const Tensor x(c.dtype, {c.rows, c.inputs}, 1), w(c.dtype, {c.outputs, c.inputs}, 2), bias(c.dtype, {c.outputs}, 3);
  Tensor y(c.dtype, {c.rows, c.outputs}, 0), pre(c.dtype, {c.rows, c.outputs}, 0), activated(c.dtype, {c.rows, c.outputs}, 0);
  const auto linear = std::make_unique<Linear>();

  linear->run(op::LinearForward{.x = x.view(), .weight = w.view(), .y = y.view()});
  EXPECT_LT(distance(y, reference_forward(x, w, nullptr, c)), tolerance(c.dtype));
  const std::vector<double> reference = reference_forward(x, w, &bias, c);
  linear->register_weight(w.view());
  linear->run(op::LinearForward{.x = x.view(), .weight = w.view(), .bias = bias.view(), .epilogue = Epilogue::bias, .y = y.view()});
  EXPECT_LT(distance(y, reference), tolerance(c.dtype));
  // Added to the sum in f32, which is then rounded once.
  const Tensor residual(c.dtype, {c.rows, c.outputs}, 10);
  Tensor with_residual(c.dtype, {c.rows, c.outputs}, 0);
  linear->run(op::LinearForward{.x = x.view(),
                                .weight = w.view(),
                                .bias = bias.view(),
                                .residual = residual.view(),
                                .epilogue = Epilogue::bias,
                                .y = with_residual.view()});
  std::vector<double> sums = reference;
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += residual.at(static_cast<std::int64_t>(i));
  EXPECT_LT(distance(with_residual, sums), tolerance(c.dtype));
  for (std::int64_t i = 0; c.dtype == DType::f32 && i < y.view().numel(); ++i)
    ASSERT_EQ(with_residual.at(i), static_cast<float>(y.at(i)) + static_cast<float>(residual.at(i)));
  linear->run(op::LinearForward{.x = x.view(),
                                .weight = w.view(),
                                .bias = bias.view(),
                                .epilogue = Epilogue::bias_gelu,
                                .y = activated.view(),
                                .pre = pre.view()});
  EXPECT_LT(distance(pre, reference), tolerance(c.dtype));
  std::vector<double> gelus;
  for (double z : reference) gelus.push_back(gelu(z));
  EXPECT_LT(distance(activated, gelus), tolerance(c.dtype));
}

TEST_P(LinearTest, BackwardInputAgreesWithDoublePrecision) {
  const Case& c = GetParam();
  const Tensor dy(c.dtype, {c.rows, c.outputs}, 4), w(c.dtype, {c.outputs, c.inputs}, 5), pre(c.dtype, {c.rows, c.inputs}, 6);
  Tensor dx(c.dtype, {c.rows, c.inputs}, 0), sloped(c.dtype, {c.rows, c.inputs}, 0);
  const auto linear = std::make_unique<Linear>();
  linear->run(op::LinearBackwardInput{.dy = dy.view(), .weight = w.view(), .dx = dx.view()});
  linear->register_weight(w.view());
  linear->run(op::LinearBackwardInput{.dy = dy.view(), .weight = w.view(), .pre = pre.view(), .dx = sloped.view()});

  std::vector<double> reference, with_slope;
  for (std::int64_t r = 0; r < c.rows; ++r) {
    for (std::int64_t k = 0; k < c.inputs; ++k) {
      double sum = 0;
      for (std::int64_t n = 0; n < c.outputs; ++n) sum += dy.at(r * c.outputs + n) * w.at(n * c.inputs + k);
      reference.push_back(sum);
      with_slope.push_back(sum * gelu_slope(pre.at(r * c.inputs + k)));
    }
  }
  EXPECT_LT(distance(dx, reference), tolerance(c.dtype));
  EXPECT_LT(distance(sloped, with_slope), tolerance(c.dtype));
}

TEST_P(LinearTest, BackwardWeightAgreesWithDoublePrecisionAndAccumulates) {
  const Case& c = GetParam();
  const Tensor dy(c.dtype, {c.rows, c.outputs}, 7), x(c.dtype, {c.rows, c.inputs}, 8);
  Tensor dw(DType::f32, {c.outputs, c.inputs}, 0), dbias(DType::f32, {c.outputs}, 0), without(DType::f32, {c.outputs, c.inputs}, 0);
  std::vector<double> weights, biases;
  for (std::int64_t n = 0; n < c.outputs; ++n) {
    biases.push_back(0);
    for (std::int64_t r = 0; r < c.rows; ++r) biases.back() += dy.at(r * c.outputs + n);
    for (std::int64_t k = 0; k < c.inputs; ++k) {
      double sum = 0;
      for (std::int64_t r = 0; r < c.rows; ++r) sum += dy.at(r * c.outputs + n) * x.at(r * c.inputs + k);
      weights.push_back(sum);
    }
  }
  const auto linear = std::make_unique<Linear>();
  linear->run(
      op::LinearBackwardWeight{.dy = dy.view(), .x = x.view(), .dw = dw.view(), .dbias = dbias.view(), .write = Write::overwrite});
  EXPECT_LT(distance(dw, weights), tolerance(DType::f32));
  EXPECT_LT(distance(dbias, biases), tolerance(DType::f32));
  linear->run(op::LinearBackwardWeight{.dy = dy.view(), .x = x.view(), .dw = without.view(), .write = Write::overwrite});
  EXPECT_EQ(without.bytes(), dw.bytes());

  linear->run(
      op::LinearBackwardWeight{.dy = dy.view(), .x = x.view(), .dw = dw.view(), .dbias = dbias.view(), .write = Write::accumulate});
  for (double& value : weights) value *= 2;
  for (double& value : biases) value *= 2;
  EXPECT_LT(distance(dw, weights), tolerance(DType::f32));
  EXPECT_LT(distance(dbias, biases), tolerance(DType::f32));
}

TEST_P(LinearTest, SameBitsForAnyNumberOfThreads) {
  const Case& c = GetParam();
  const Tensor x(c.dtype, {c.rows, c.inputs}, 1), w(c.dtype, {c.outputs, c.inputs}, 2), bias(c.dtype, {c.outputs}, 3);
  const Tensor dy(c.dtype, {c.rows, c.outputs}, 4);
  std::vector<std::vector<char>> first;
  for (int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    const auto linear = std::make_unique<Linear>();
    linear->register_weight(w.view());
    Tensor y(c.dtype, {c.rows, c.outputs}, 0), pre(c.dtype, {c.rows, c.outputs}, 0), dx(c.dtype, {c.rows, c.inputs}, 0);
    Tensor dw(DType::f32, {c.outputs, c.inputs}, 0), dbias(DType::f32, {c.outputs}, 0), sum(c.dtype, {c.rows, c.outputs}, 0);
    linear->run(op::LinearForward{
        .x = x.view(), .weight = w.view(), .bias = bias.view(), .epilogue = Epilogue::bias_gelu, .y = y.view(), .pre = pre.view()});
    linear->run(op::LinearForward{.x = x.view(), .weight = w.view(), .residual = pre.view(), .y = sum.view()});
    linear->run(op::LinearBackwardInput{.dy = dy.view(), .weight = w.view(), .pre = x.view(), .dx = dx.view()});
    linear->run(op::LinearBackwardWeight{
        .dy = dy.view(), .x = x.view(), .dw = dw.view(), .dbias = dbias.view(), .write = Write::overwrite});
    const std::vector<std::vector<char>> bytes = {y.bytes(), pre.bytes(), sum.bytes(), dx.bytes(), dw.bytes(), dbias.bytes()};
    if (threads == 1) first = bytes;
    EXPECT_EQ(bytes, first) << threads << " threads";
  }
}

TEST_P(LinearTest, PackedWeightsFollowWrites) {
  const Case& c = GetParam();
  const Tensor x(c.dtype, {c.rows, c.inputs}, 1), dy(c.dtype, {c.rows, c.outputs}, 2), other(c.dtype, {c.outputs, c.inputs}, 9);
  Tensor w(c.dtype, {c.outputs, c.inputs}, 3);
  Tensor y(c.dtype, {c.rows, c.outputs}, 0), dx(c.dtype, {c.rows, c.inputs}, 0);
  Tensor fresh_y(c.dtype, {c.rows, c.outputs}, 0), fresh_dx(c.dtype, {c.rows, c.inputs}, 0);
  const auto linear = std::make_unique<Linear>();
  EXPECT_GE(linear->register_weight(w.view()), w.view().bytes());
  linear->run(op::LinearForward{.x = x.view(), .weight = w.view(), .y = y.view()});
  linear->run(op::LinearBackwardInput{.dy = dy.view(), .weight = w.view(), .dx = dx.view()});

  std::memcpy(w.view().data, other.view().data, w.view().bytes());
  linear->written(static_cast<char*>(w.view().data) + w.view().bytes() - 1, 1);
  linear->run(op::LinearForward{.x = x.view(), .weight = w.view(), .y = y.view()});
  linear->run(op::LinearBackwardInput{.dy = dy.view(), .weight = w.view(), .dx = dx.view()});
  const auto fresh = std::make_unique<Linear>();
  fresh->run(op::LinearForward{.x = x.view(), .weight = w.view(), .y = fresh_y.view()});
  fresh->run(op::LinearBackwardInput{.dy = dy.view(), .weight = w.view(), .dx = fresh_dx.view()});
  EXPECT_EQ(y.bytes(), fresh_y.bytes());
  EXPECT_EQ(dx.bytes(), fresh_dx.bytes());
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearTest, testing::ValuesIn(cases()));

// GELU and its slope over their whole range: a product with the 1 x 1 identity passes z through.
TEST(LinearEpilogue, GeluKeepsItsRelativeAccuracy) {
  constexpr std::int64_t count = 4001;
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512, Isa::amx}) {
    if (isa > best_isa()) continue;
    set_isa(isa);
    Tensor z(DType::f32, {count, 1}, 1), one(DType::f32, {1, 1}, 1), y(DType::f32, {count, 1}, 0), pre(DType::f32, {count, 1}, 0);
    Tensor ones(DType::f32, {count, 1}, 1), slope(DType::f32, {count, 1}, 0);
    one.set(0, 1);
    for (std::int64_t i = 0; i < count; ++i) {
      z.set(i, static_cast<float>(i - count / 2) / 400);  // -5 .. 5
      ones.set(i, 1);
    }
    const auto linear = std::make_unique<Linear>();
    linear->run(
        op::LinearForward{.x = z.view(), .weight = one.view(), .epilogue = Epilogue::bias_gelu, .y = y.view(), .pre = pre.view()});
    linear->run(op::LinearBackwardInput{.dy = ones.view(), .weight = one.view(), .pre = z.view(), .dx = slope.view()});
    for (std::int64_t i = 0; i < count; ++i) {
      const double v = z.at(i);
      // e^{2u} magnifies the rounding of u, up to 15 here: a few units of 2^-24 each.
      ASSERT_NEAR(y.at(i), gelu(v), 3e-6 * std::abs(gelu(v))) << v;
      ASSERT_NEAR(slope.at(i), gelu_slope(v), 3e-6 * std::abs(gelu_slope(v)) + 2e-7) << v;
    }
  }
  set_isa(best_isa());
}

TEST(LinearEpilogue, NotANumberIsNotHidden) {
  Tensor x(DType::f32, {40, 8}, 1), w(DType::f32, {16, 8}, 2), y(DType::f32, {40, 16}, 3), pre(DType::f32, {40, 16}, 3);
  x.set(39 * 8, std::numeric_limits<float>::quiet_NaN());
  std::make_unique<Linear>()->run(
      op::LinearForward{.x = x.view(), .weight = w.view(), .epilogue = Epilogue::bias_gelu, .y = y.view(), .pre = pre.view()});
  for (std::int64_t n = 0; n < 16; ++n) EXPECT_TRUE(std::isnan(y.at(39 * 16 + n)));
  EXPECT_FALSE(std::isnan(y.at(0)));
}

}  // namespace
}  // namespace temper::cpu
