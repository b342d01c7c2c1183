#include "model/weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <string>

#include "io/error.h"
#include "kernels/check.h"
#include "kernels/philox.h"

namespace temper {

namespace {

/// The weights of linear layers, the head's among them.
bool is_multiplied(const Parameter& parameter) {
  return parameter.kind == ParameterKind::matrix || parameter.name == "transformer.wte.weight";
}

/// Normal numbers by Box-Muller, two from each Philox block; element i of a tensor depends on (seed, tensor, i) alone.
void fill_normal(std::span<float> values, double standard_deviation, std::uint64_t seed, std::uint32_t tensor) {
  const auto pairs = static_cast<std::int64_t>((values.size() + 1) / 2);
#pragma omp parallel for schedule(static)
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    const PhiloxBlock block = random_block(seed, RandomPurpose::initialize, tensor, static_cast<std::uint64_t>(pair));
    const double radius = standard_deviation * std::sqrt(-2.0 * std::log(uniform_open(block.word[0])));
    const double angle = 2.0 * std::numbers::pi * uniform_open(block.word[1]);
    const auto first = static_cast<std::size_t>(2 * pair);
    values[first] = static_cast<float>(radius * std::cos(angle));
    if (first + 1 < values.size()) values[first + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

/// Standard deviation of a matrix's or embedding's initial weights, before its fold.
double initial_deviation(const ModelConfig& config, const Parameter& parameter) {
  if (parameter.kind == ParameterKind::embedding) return config.init_std;
  const double fan_in = static_cast<double>(parameter.shape[1]);
  const double fan_out = static_cast<double>(parameter.shape[0]) / static_cast<double>(parameter.stacked());
  double deviation = config.init_std / std::sqrt(config.width_ratio());
  if (config.init == Initialization::xavier) deviation = std::sqrt(2.0 / (fan_in + fan_out));
  if (config.init == Initialization::he) deviation = std::sqrt(2.0 / fan_in);
  const bool into_residual = config.residual_scaling && parameter.name.ends_with(".c_proj.weight");
  return deviation * (into_residual ? 1.0 / std::sqrt(2.0 * static_cast<double>(config.n_layer)) : 1.0);
}

}  // namespace

Weights::Weights(const ModelConfig& config, Precision precision, Use use, Ops* ops, DeviceMemory& memory,
                 std::optional<Range> masters)
    : config_(config), layout_(config), activation_type_(precision == Precision::bf16 ? DType::bf16 : DType::f32), ops_(ops) {
  const Shape flat = {layout_.flat_size()};
  const bool can_leave_out = activation_type_ == DType::bf16 && use == Use::training;
  kept_ = can_leave_out ? masters.value_or(Range{0, layout_.flat_size()}) : Range{0, layout_.flat_size()};
  master_ = {nullptr, DType::f32, {kept_.end - kept_.begin}};
  if (master_.numel() > 0) master_ = memory.add("weights (f32)", DType::f32, master_.shape);
  if (activation_type_ == DType::bf16) low_precision_ = memory.add("weights (bf16 copy)", DType::bf16, flat);
  if (use == Use::training) gradients_ = memory.add("gradients (f32)", DType::f32, flat);
  if (ops_ == nullptr) return;

  // The gaps between tensors are read by nobody but the norm and the update: zeros there stay zeros.
  if (master_.present()) ops_->zero(master_.data, master_.bytes());
  if (low_precision_.present()) ops_->zero(low_precision_.data, low_precision_.bytes());
  if (gradients_.present()) ops_->zero(gradients_.data, gradients_.bytes());
  for (const Parameter& parameter : layout_.parameters())
    if (is_multiplied(parameter)) ops_->register_weight(weight(parameter));
}

void Weights::count_backend_memory(const Ops& ops, const Workload& workload, DeviceMemory& memory) const {
  std::size_t packed = 0;
  for (const Parameter& parameter : layout_.parameters())
    if (is_multiplied(parameter)) packed += ops.packed_bytes(activation_type_, parameter.shape);
  memory.count("packed weights", packed);
  memory.count("scratch", ops.scratch_bytes(workload));
}

ConstTensorView Weights::weight(const Parameter& parameter) const {
  const TensorView flat = read_by_model();
  if (!flat.present()) return {nullptr, activation_type_, parameter.shape};  // only planned
  if (low_precision_.present()) return {flat.as<bfloat16>() + parameter.offset, DType::bf16, parameter.shape};
  return {flat.as<float>() + parameter.offset, DType::f32, parameter.shape};
}

TensorView Weights::gradient(const Parameter& parameter) const {
  if (!gradients_.present()) return {nullptr, DType::f32, parameter.shape};
  return {gradients_.as<float>() + parameter.offset, DType::f32, parameter.shape};
}

void Weights::initialize(std::uint64_t seed) {
  std::uint32_t tensor = 0;
  upload([&](const Parameter& parameter, std::span<float> values) {
    const std::uint32_t index = tensor++;
    switch (parameter.kind) {
      case ParameterKind::bias:
        break;
      case ParameterKind::layernorm:
        for (float& value : values) value = parameter.name.ends_with(".weight") ? static_cast<float>(parameter.fold) : 0.0f;
        break;
      case ParameterKind::embedding:
      case ParameterKind::matrix: {
        const std::int64_t rows = parameter.name == "transformer.wte.weight" ? config_.vocab_size : parameter.shape[0];
        fill_normal(values.first(static_cast<std::size_t>(rows * parameter.shape[1])),
                    parameter.fold * initial_deviation(config_, parameter), seed, index);
        break;
      }
    }
  });
}

void Weights::upload(const std::function<void(const Parameter&, std::span<float>)>& fill) {
  std::vector<float> values;
  for (const Parameter& parameter : layout_.parameters()) {
    values.assign(static_cast<std::size_t>(parameter.numel()), 0.0f);
    fill(parameter, values);
    upload(parameter, values);
    ops_->synchronize();  // `values` is reused
  }
}

void Weights::upload(const Parameter& parameter, const std::vector<float>& values) {
  const std::int64_t begin = std::clamp(parameter.offset, kept_.begin, kept_.end);
  const std::int64_t end = std::clamp(parameter.offset + parameter.numel(), kept_.begin, kept_.end);
  if (end > begin)
    ops_->copy_to_device(master_.as<float>() + (begin - kept_.begin), values.data() + (begin - parameter.offset),
                         static_cast<std::size_t>(end - begin) * sizeof(float));
  if (!low_precision_.present()) return;
  const TensorView low = {low_precision_.as<bfloat16>() + parameter.offset, DType::bf16, parameter.shape};
  if (has_all_masters())
    return ops_->cast({.from = {master_.as<float>() + parameter.offset, DType::f32, parameter.shape}, .to = low});
  const TensorView staged = gradient(parameter);
  ops_->copy_to_device(staged.data, values.data(), staged.bytes());
  ops_->cast({.from = staged, .to = low});
}

std::vector<float> Weights::download(const Parameter& parameter) const {
  require(has_all_masters(), "Weights: a download wants all masters");
  std::vector<float> values(static_cast<std::size_t>(parameter.numel()));
  ops_->copy_to_host(values.data(), master_.as<float>() + parameter.offset, values.size() * sizeof(float));
  return values;
}

// --- Imported weights ---

namespace {

/// The first value that is not finite, else how many there are.
std::size_t first_nonfinite(std::span<const float> values) {
  constexpr std::uint32_t exponent = 0x7f800000u;  // all of it set: NaN or infinity
  constexpr std::size_t piece = 4096;              // without a way out, so that the compiler can make vectors of it
  for (std::size_t begin = 0; begin < values.size(); begin += piece) {
    const std::span<const float> some = values.subspan(begin, std::min(piece, values.size() - begin));
    bool found = false;
    for (const float value : some) found |= (std::bit_cast<std::uint32_t>(value) & exponent) == exponent;
    if (!found) continue;
    const auto at = std::find_if(some.begin(), some.end(), [](float value) { return !std::isfinite(value); });
    return begin + static_cast<std::size_t>(at - some.begin());
  }
  return values.size();
}

}  // namespace

void check_finite(std::span<const float> values, const std::string& what) {
  if (const std::size_t i = first_nonfinite(values); i < values.size())
    throw Error(ExitCode::checkpoint,
                "{}: element {} is {:f}; weights must be finite. The file is damaged or its training diverged", what, i, values[i]);
}

void refuse_to_save_nonfinite(std::span<const float> values, const std::string& tensor) {
  if (const std::size_t i = first_nonfinite(values); i < values.size())
    throw Error(ExitCode::numeric,
                "element {} of {} is {:f}, and nothing that is not finite is saved. Resume from a checkpoint before, with a lower "
                "optimizer.learning_rate, a longer warmup or optimizer.grad_clip",
                i, tensor, values[i]);
}

}  // namespace temper
