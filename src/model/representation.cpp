#include "model/representation.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"

namespace temper {

namespace {

constexpr std::int64_t sums_per_matrix = 6, segments_per_matrix = 2;

template <typename Struct>
TensorView add_structs(DeviceMemory& memory, std::int64_t count) {
  return memory.add("diagnostics", DType::f32, {count * static_cast<std::int64_t>((sizeof(Struct) + 3) / 4)});
}

double ratio(double numerator, double denominator) { return denominator > 0.0 ? std::sqrt(numerator / denominator) : 0.0; }

}  // namespace

RepresentationChange::RepresentationChange(const Weights& weights, std::int64_t positions, Ops* ops, DeviceMemory& memory)
    : weights_(weights), ops_(ops), positions_(positions) {
  std::int64_t largest = 0;
  for (const Parameter& parameter : weights.layout().parameters()) {
    if (parameter.kind != ParameterKind::matrix) continue;
    const std::int64_t parts = parameter.stacked(), numel = parameter.numel() / parts;
    for (std::int64_t part = 0; part < parts; ++part)
      matrices_.push_back({&parameter,
                           parts == 1 ? parameter.name : parameter.name + "." + "qkv"[part],
                           parameter.offset + part * numel,
                           {parameter.shape[0] / parts, parameter.shape[1]}});
    largest = std::max(largest, numel);
  }
  const Shape widest = {positions_, 4 * weights.config().n_embd};
  if (weights.activation_type() != DType::f32) input_ = memory.add("diagnostics", DType::f32, widest);
  output_ = memory.add("diagnostics", DType::f32, widest);
  change_ = memory.add("diagnostics", DType::f32, {largest});
  const auto count = static_cast<std::int64_t>(matrices_.size());
  segments_ = add_structs<ParameterSegment>(memory, segments_per_matrix * count);
  squares_ = add_structs<TensorMoments>(memory, sums_per_matrix * count);
}

/// Of matrix `number`, all six.
void RepresentationChange::add_squares(const Matrix& matrix, ConstTensorView x, ConstTensorView before, ConstTensorView step,
                                       std::size_t number) {
  const auto part_of = [&](ConstTensorView flat) {
    return ConstTensorView{flat.as<float>() + matrix.offset, DType::f32, matrix.shape};
  };
  const TensorView difference = {change_.data, DType::f32, matrix.shape},
                   y = {output_.data, DType::f32, {x.shape[0], matrix.shape[0]}};
  ops_->linear_combination({.a = 1.0f, .x = part_of(weights_.master()), .b = -1.0f, .y = part_of(before), .out = difference});
  const auto* outputs = static_cast<const ParameterSegment*>(segments_.data) + segments_per_matrix * number;
  auto* out = static_cast<TensorMoments*>(squares_.data) + sums_per_matrix * number;
  for (const ConstTensorView& weight : {part_of(before), ConstTensorView(difference), part_of(step)}) {
    ops_->linear_forward({.x = x, .weight = weight, .y = y});
    ops_->tensor_moments({.gradient = y.as<float>(), .segments = {outputs, 1}, .out = out});
    ops_->tensor_moments({.gradient = weight.as<float>(), .segments = {outputs + 1, 1}, .out = out + 3});
    ++out;
  }
}

std::vector<RepresentationChange::Layer> RepresentationChange::measure(Gpt2& model, ConstTensorView tokens, ConstTensorView before,
                                                                       ConstTensorView step) {
  const std::int64_t S = tokens.shape[0], T = tokens.shape[1];
  require(T <= positions_, "RepresentationChange: a sequence is longer than the memory taken for it");
  std::vector<ParameterSegment> segments(matrices_.size() * segments_per_matrix);
  for (std::size_t i = 0; i < matrices_.size(); ++i) {
    ParameterSegment& outputs = segments[2 * i];
    outputs.rows = T;
    outputs.columns = matrices_[i].shape[0];
    ParameterSegment& itself = segments[2 * i + 1];
    itself.rows = matrices_[i].shape[0];
    itself.columns = matrices_[i].shape[1];
  }
  ops_->copy_to_device(segments_.data, segments.data(), segments.size() * sizeof(ParameterSegment));

  std::size_t next = 0;  // the model visits its matrices in the order of its layout
  const LinearObserver observer = [&](const Parameter& weight, ConstTensorView x) {
    require(next < matrices_.size() && matrices_[next].owner == &weight, "RepresentationChange: matrices come in another order");
    if (x.dtype != DType::f32) {
      const TensorView as_f32 = {input_.data, DType::f32, x.shape};
      ops_->cast({.from = x, .to = as_f32});
      x = as_f32;
    }
    for (; next < matrices_.size() && matrices_[next].owner == &weight; ++next) add_squares(matrices_[next], x, before, step, next);
  };

  std::vector<TensorMoments> one(matrices_.size() * sums_per_matrix);
  std::vector<double> all(one.size(), 0.0);
  for (std::int64_t sequence = 0; sequence < S; ++sequence) {
    next = 0;
    model.forward_observed({tokens.as<std::int32_t>() + sequence * T, DType::i32, {1, T}}, observer);
    ops_->copy_to_host(one.data(), squares_.data, one.size() * sizeof(TensorMoments));
    for (std::size_t i = 0; i < one.size(); ++i) all[i] += one[i].gradient_squares;
  }
  std::vector<Layer> layers;
  for (std::size_t i = 0; i < matrices_.size(); ++i) {
    const double* sums = all.data() + sums_per_matrix * i;  // those of the weights S times over, which their ratio does not see
    layers.push_back(
        {matrices_[i].name, ratio(sums[1], sums[0]), ratio(sums[2], sums[0]), ratio(sums[4], sums[3]), ratio(sums[5], sums[3])});
  }
  return layers;
}

}  // namespace temper
