// Every operation of the optimizer that writes weights is seen by linear layers that keep them packed.
#include <gtest/gtest.h>
#include <algorithm>

#include <functional>
#include <string>
#include <vector>

#include "kernels/support/backends.h"
#include "kernels/support/on_device.h"

namespace temper {
namespace {

constexpr std::int64_t size = 24;

std::vector<float> saw(float slope, int period) {
  std::vector<float> values(size * size);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = slope * static_cast<float>(static_cast<int>(i) % period - period / 2);
  return values;
}

class PackedWeightTest : public testing::TestWithParam<BackendChoice> {
 protected:
  TensorView view(OnDevice<float>& memory) { return {memory.data(), DType::f32, {size, size}}; }
  TensorView low_view(OnDevice<bfloat16>& memory) { return {memory.data(), DType::bf16, {size, size}}; }

  void update(NormControl control, bool low_precision) {
    const ParameterSegment segment = {0, size, size, 0, 1.0f, 1.0f, 0.1f, control, 1};
    OnDevice<ParameterSegment> segments(ops_, std::vector<ParameterSegment>{segment});
    StepScalars numbers{};
    numbers.learning_rate = numbers.decay = numbers.rotation = 0.5f;
    numbers.rotation_correction = numbers.clip_factor = 1.0f;
    numbers.finite = 1;
    OnDevice<StepScalars> scalars(ops_, std::vector<StepScalars>{numbers});
    OnDevice<float> norms(ops_, std::vector<float>(size)), mean_squares(ops_, std::vector<float>(size));
    OnDevice<RowWork> work(ops_, std::vector<RowWork>(size));
    UpdateBuffers buffers;
    buffers.master = weight_.data();
    buffers.gradient = gradient_.data();
    buffers.low_precision = low_precision ? low_weight_.data() : nullptr;
    buffers.row_norm = norms.data();
    buffers.row_mean_square = mean_squares.data();
    buffers.row_work = work.data();
    ops_.optimizer_update({.rule = PlainGradient{},
                           .settings = UpdateSettings{},
                           .buffers = buffers,
                           .segments = {segments.data(), 1},
                           .scalars = scalars.data()});
    ops_.synchronize();
  }

  // The product with the registered weight beside that with a copy of it that was never registered.
  template <typename T>
  void follows(OnDevice<T>& weight, const std::function<void()>& write) {
    const DType type = dtype_of(T{});
    const Shape shape = {size, size};
    const std::vector<T> zeros(size * size);
    OnDevice<T> x(ops_, zeros), y(ops_, zeros), copy(ops_, zeros), expected(ops_, zeros);
    ops_.cast({.from = view(gradient_), .to = {x.data(), type, shape}});
    ops_.register_weight({weight.data(), type, shape});
    const auto multiply = [&](OnDevice<T>& by, OnDevice<T>& to) {
      ops_.linear_forward({.x = {x.data(), type, shape},
                           .weight = {by.data(), type, shape},
                           .epilogue = Epilogue::none,
                           .y = {to.data(), type, shape}});
    };
    multiply(weight, y);
    const std::vector<T> before = y.read();
    write();
    multiply(weight, y);
    ops_.copy(copy.data(), weight.data(), zeros.size() * sizeof(T));
    multiply(copy, expected);
    const auto floats = [](const std::vector<T>& values) {
      std::vector<float> all;
      for (const T value : values) all.push_back(to_float(value));
      return all;
    };
    EXPECT_EQ(floats(y.read()), floats(expected.read()));
    EXPECT_NE(floats(y.read()), floats(before));
  }

  Backend backend_{GetParam()};
  Ops& ops_ = backend_.ops();
  OnDevice<float> weight_{ops_, saw(0.25f, 29)}, gradient_{ops_, saw(1.0f, 31)}, other_{ops_, saw(3.0f, 23)};
  OnDevice<bfloat16> low_weight_{ops_, std::vector<bfloat16>(size* size)};
};

TEST_P(PackedWeightTest, FollowsUpdates) {
  for (const NormControl control : {NormControl::none, NormControl::rotational, NormControl::relative}) {
    SCOPED_TRACE(static_cast<int>(control));
    follows(weight_, [&] { update(control, false); });
    follows(low_weight_, [&] { update(control, true); });
  }
}

TEST_P(PackedWeightTest, FollowsWhatOthersWrite) {
  if (ops_.device().backend == "cuda") GTEST_SKIP() << "only device memory that is the host's can be written from here";
  follows(weight_, [&] {
    std::fill_n(weight_.data() + size, size, 3.0f);
    ops_.written(weight_.data() + size, size * sizeof(float));
  });
}

TEST_P(PackedWeightTest, FollowsLinearCombinations) {
  follows(weight_,
          [&] { ops_.linear_combination({.a = 0.5f, .x = view(weight_), .b = 2.0f, .y = view(other_), .out = view(weight_)}); });
  follows(low_weight_, [&] { ops_.normalize({.x = view(other_), .out = low_view(low_weight_)}); });
  follows(weight_, [&] { ops_.normalize({.x = view(other_), .out = view(weight_)}); });
}

INSTANTIATE_TEST_SUITE_P(Backends, PackedWeightTest, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace temper
