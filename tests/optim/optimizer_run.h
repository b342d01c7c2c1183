// An optimizer over a few tensors on a backend: what tests of update rules need.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/emulated/emulated_ops.h"
#include "made_up_half.h"
#include "optim/optimizer.h"

namespace temper {

constexpr double f32 = 2e-6;  ///< rounding of weights near 1 over some tens of steps

struct NamedBackend {
  std::string name;
  std::function<std::unique_ptr<Ops>()> make;
};
inline void PrintTo(const NamedBackend& backend, std::ostream* out) { *out << backend.name; }
inline std::string backend_name(const testing::TestParamInfo<NamedBackend>& info) { return info.param.name; }

/// The CPU; the CUDA sources emulated, in two orders of threads, with copies done late and early; a GPU where there is one.
inline std::vector<NamedBackend> optimizer_backends() {
  std::vector<NamedBackend> all = {
      {"Cpu", [] { return make_cpu_ops(); }},
      {"EmulatedDescending",
       [] {
         return make_emulated_ops({1, true, 2});
       }},
      {"EmulatedShuffled",
       [] {
         return make_emulated_ops({2, false, 2});
       }},
  };
  if (cuda_available(nullptr)) all.push_back({"Cuda", [] { return make_cuda_ops(); }});
  return all;
}

/// Constant rate, no clipping, no decay: what a rule makes of a gradient.
inline OptimizerConfig bare(OptimizerName name, double learning_rate, double weight_decay = 0.0) {
  OptimizerConfig config;
  config.name = name;
  config.learning_rate = learning_rate;
  config.weight_decay = weight_decay;
  config.grad_clip = 0.0;
  return config;
}

inline ScheduleConfig constant_schedule() { return {.name = ScheduleName::constant}; }

/// A matrix "w".
inline std::vector<OptimizedTensor> one_matrix(std::int64_t rows, std::int64_t columns) {
  return {{"w", {rows, columns}, 0, ParameterKind::matrix, 0, 1}};
}

using Numbers = std::vector<double>;

/// Weights, gradients and states are lists of all tensors' elements, one tensor after another, without the padding between them.
class OptimizerRun {
 public:
  OptimizerRun(std::unique_ptr<Ops> backend, const OptimizerConfig& config, std::vector<OptimizedTensor> tensors,
               const Numbers& weights, const ScheduleConfig& schedule = constant_schedule(), std::int64_t total = 100,
               bool low_precision = false)
      : ops_(std::move(backend)),
        memory_(ops_.get()),
        half_memory_(ops_.get()),
        tensors_(place(std::move(tensors))),
        buffers_{memory_.add("test", DType::f32, {flat_size()}), memory_.add("test", DType::f32, {flat_size()}),
                 low_precision ? memory_.add("test", DType::bf16, {flat_size()}) : TensorView{}},
        half_(half_memory_.add("test", DType::f32, {flat_size()})),
        halves{half_, first_examples, second_examples},
        optimizer(config, Schedule(schedule, total, 1), tensors_, buffers_, ops_.get(), memory_) {
    for (const TensorView& flat : {buffers_.master, buffers_.gradients, buffers_.low_precision})
      if (flat.present()) ops_->zero(flat.data, flat.bytes());
    set_weights(weights);
    optimizer.center_rows();
  }
  /// On the CPU.
  OptimizerRun(const OptimizerConfig& config, std::vector<OptimizedTensor> tensors, const Numbers& weights,
               const ScheduleConfig& schedule = constant_schedule(), std::int64_t total = 100)
      : OptimizerRun(make_cpu_ops(), config, std::move(tensors), weights, schedule, total) {}

  Ops& ops() { return *ops_; }
  const DeviceMemory& memory() const { return memory_; }
  const OptimizedBuffers& buffers() const { return buffers_; }

  void set_weights(const Numbers& values) {
    upload(buffers_.master, values);
    if (buffers_.low_precision.present()) ops_->cast({.from = buffers_.master, .to = buffers_.low_precision});
  }
  Numbers weights() { return gather(buffers_.master); }

  /// Makes update k from these gradients, of which `first_half` is the part of the batch's first half, where a rate is corrected;
  /// through a recording where one is given.
  StepScalars step(std::int64_t k, const Numbers& gradients, const Numbers& first_half, float loss = 1.0f,
                   Recording* recording = nullptr) {
    optimizer.begin_step(k);
    upload(buffers_.gradients, gradients);
    upload(half_, first_half);
    ops_->copy_to_device(optimizer.loss().data, &loss, sizeof(loss));
    const auto update = [&] {
      if (optimizer.corrects_rates()) optimizer.measure_halves(halves);
      optimizer.add_decay_gradient();
      optimizer.finish_step(buffers_.gradients);
    };
    if (recording == nullptr)
      update();
    else
      ops_->replay(*recording, update);
    return optimizer.finish_read(optimizer.start_read());
  }
  StepScalars step(std::int64_t k, const Numbers& gradients, float loss = 1.0f, Recording* recording = nullptr) {
    return step(k, gradients, made_up_half(gradients), loss, recording);
  }

  TensorView values_of(const Optimizer::State& state) const {
    return {optimizer.state_buffers()[state.buffer].values.as<float>() + state.offset, DType::f32, state.shape};
  }
  /// A state of a checkpoint, by its whole name.
  Numbers state(const std::string& name) {
    for (const Optimizer::State& state : optimizer.states())
      if (state.name == name) {
        const std::vector<float> values = flat(values_of(state));
        return {values.begin(), values.end()};
      }
    throw std::out_of_range("no state " + name);
  }

  template <typename T = float>
  std::vector<T> flat(ConstTensorView view) {
    std::vector<T> values(static_cast<std::size_t>(view.numel()));
    ops_->copy_to_host(values.data(), view.data, view.bytes());
    return values;
  }

  /// All elements of the tensors, as places in the flat buffers.
  std::vector<std::size_t> places() const {
    std::vector<std::size_t> all;
    for (const OptimizedTensor& tensor : tensors_)
      for (std::int64_t i = 0; i < tensor.shape.numel(); ++i) all.push_back(static_cast<std::size_t>(tensor.offset + i));
    return all;
  }

 private:
  static std::vector<OptimizedTensor> place(std::vector<OptimizedTensor> tensors) {
    std::int64_t offset = 0;
    for (OptimizedTensor& tensor : tensors) {
      tensor.offset = offset;
      offset += (tensor.shape.numel() + 63) / 64 * 64;
    }
    return tensors;
  }
  std::int64_t flat_size() const { return (tensors_.back().offset + tensors_.back().shape.numel() + 63) / 64 * 64; }

  void upload(TensorView into, const Numbers& values) {
    const std::vector<std::size_t> where = places();
    ASSERT_EQ(values.size(), where.size());
    std::vector<float> padded(static_cast<std::size_t>(flat_size()), 0.0f);
    for (std::size_t i = 0; i < values.size(); ++i) padded[where[i]] = static_cast<float>(values[i]);
    ops_->copy_to_device(into.data, padded.data(), padded.size() * sizeof(float));
  }
  Numbers gather(ConstTensorView from) {
    const std::vector<float> all = flat(from);
    Numbers values;
    for (const std::size_t place : places()) values.push_back(static_cast<double>(all[place]));
    return values;
  }

  std::unique_ptr<Ops> ops_;
  DeviceMemory memory_, half_memory_;
  std::vector<OptimizedTensor> tensors_;
  OptimizedBuffers buffers_;
  TensorView half_;

 public:
  BatchHalves halves;
  Optimizer optimizer;
};

/// Normal numbers, the same on each run of the test.
class Normal {
 public:
  explicit Normal(std::uint32_t seed) : generator_(seed) {}
  Numbers operator()(std::size_t count, double deviation = 1.0) {
    Numbers values(count);
    for (double& value : values) value = deviation * numbers_(generator_);
    return values;
  }

 private:
  std::mt19937 generator_;
  std::normal_distribution<double> numbers_;
};

inline void expect_near(const Numbers& values, const Numbers& expected, double tolerance, const std::string& what = "") {
  ASSERT_EQ(values.size(), expected.size()) << what;
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], tolerance) << what << " element " << i;
}

inline double norm(const Numbers& values, std::size_t begin, std::size_t count) {
  double squares = 0.0;
  for (std::size_t i = begin; i < begin + count; ++i) squares += values[i] * values[i];
  return std::sqrt(squares);
}

/// Radians between the rows of `columns` elements that begin at `begin`.
inline double angle(const Numbers& a, const Numbers& b, std::size_t begin, std::size_t columns) {
  double along = 0.0, across = 0.0;
  for (std::size_t i = begin; i < begin + columns; ++i) along += a[i] * b[i];
  const double squares = std::pow(norm(a, begin, columns), 2);
  for (std::size_t i = begin; i < begin + columns; ++i) across += std::pow(b[i] - along / squares * a[i], 2);
  return std::atan2(std::sqrt(across), along / std::sqrt(squares));
}

}  // namespace temper
