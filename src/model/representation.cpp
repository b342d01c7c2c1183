#include "model/representation.h"

#include <cmath>

#include "kernels/check.h"

namespace temper {

namespace {

constexpr std::int64_t sums_per_matrix = 4, segments_per_matrix = 2;

template <typename Struct>
TensorView add_structs(DeviceMemory& memory, std::int64_t count) {
  return memory.add("diagnostics", DType::f32, {count * static_cast<std::int64_t>((sizeof(Struct) + 3) / 4)});
}

double ratio(double numerator, double denominator) { return denominator > 0.0 ? std::sqrt(numerator / denominator) : 0.0; }

}  // namespace

RepresentationChange::RepresentationChange(const Weights& weights, std::int64_t positions, Ops* ops, DeviceMemory& memory)
    : weights_(weights), ops_(ops), positions_(positions) {
  for (const Parameter& parameter : weights.layout().parameters())
    if (parameter.kind == ParameterKind::matrix) matrices_.push_back(&parameter);
  const Shape widest = {positions_, 4 * weights.config().n_embd};
  if (weights.activation_type() != DType::f32) input_ = memory.add("diagnostics", DType::f32, widest);
  output_ = memory.add("diagnostics", DType::f32, widest);
  const auto count = static_cast<std::int64_t>(matrices_.size());
  segments_ = add_structs<ParameterSegment>(memory, segments_per_matrix * count);
  squares_ = add_structs<TensorMoments>(memory, sums_per_matrix * count);
}

std::vector<RepresentationChange::Layer> RepresentationChange::measure(Gpt2& model, ConstTensorView tokens,
                                                                       ConstTensorView before) {
  const std::int64_t S = tokens.shape[0], T = tokens.shape[1];
  require(T <= positions_, "RepresentationChange: a sequence is longer than the memory taken for it");
  const TensorView difference = weights_.gradients();
  ops_->linear_combination({.a = 1.0f, .x = weights_.master(), .b = -1.0f, .y = before, .out = difference});

  std::vector<ParameterSegment> segments(matrices_.size() * segments_per_matrix);
  for (std::size_t i = 0; i < matrices_.size(); ++i) {
    ParameterSegment& outputs = segments[2 * i];
    outputs.rows = T;
    outputs.columns = matrices_[i]->shape[0];
    ParameterSegment& itself = segments[2 * i + 1];
    itself.offset = matrices_[i]->offset;
    itself.rows = matrices_[i]->shape[0];
    itself.columns = matrices_[i]->shape[1];
  }
  ops_->copy_to_device(segments_.data, segments.data(), segments.size() * sizeof(ParameterSegment));

  const auto* on_device = static_cast<const ParameterSegment*>(segments_.data);
  auto* squares = static_cast<TensorMoments*>(squares_.data);
  std::size_t next = 0;  // the model visits its matrices in the order of its layout
  const LinearObserver observer = [&](const Parameter& weight, ConstTensorView x) {
    require(next < matrices_.size() && matrices_[next] == &weight, "RepresentationChange: matrices come in another order");
    const ParameterSegment* outputs = on_device + 2 * next;
    const ParameterSegment* itself = outputs + 1;
    TensorMoments* out = squares + sums_per_matrix * next++;
    if (x.dtype != DType::f32) {
      const TensorView as_f32 = {input_.data, DType::f32, x.shape};
      ops_->cast({.from = x, .to = as_f32});
      x = as_f32;
    }
    const TensorView y = {output_.data, DType::f32, {T, weight.shape[0]}};
    for (const ConstTensorView& flat : {before, ConstTensorView(difference)}) {
      ops_->linear_forward({.x = x, .weight = {flat.as<float>() + weight.offset, DType::f32, weight.shape}, .y = y});
      ops_->tensor_moments({.gradient = y.as<float>(), .segments = {outputs, 1}, .out = out});
      ops_->tensor_moments({.gradient = flat.as<float>(), .segments = {itself, 1}, .out = out + 2});
      ++out;
    }
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
    layers.push_back({matrices_[i]->name, ratio(sums[1], sums[0]), ratio(sums[3], sums[2])});
  }
  return layers;
}

}  // namespace temper
