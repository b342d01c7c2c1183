#include "optim/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>
#include <variant>

#include "config/optimizer_defaults.h"

namespace temper {

namespace {

constexpr const char* group = "optimizer states";

/// Room for `count` plain structs, counted in f32 elements.
template <typename Struct>
TensorView add_structs(DeviceMemory& memory, std::int64_t count) {
  static_assert(sizeof(Struct) % 4 == 0);
  return memory.add(group, DType::f32, {count * static_cast<std::int64_t>(sizeof(Struct) / 4)});
}

/// The AdamW that trains what Muon does not: the same rates and decay, so that all of a step's scalars but the moments' agree.
std::optional<Hyperparameters> hyperparameters_beside_muon(OptimizerConfig config, const Schedule& schedule) {
  if (config.name != OptimizerName::muon) return std::nullopt;
  config.name = OptimizerName::adamw;
  return Hyperparameters(config, schedule);
}

ScaleSettings make_scale_settings(const OptimizerConfig& config, std::int64_t examples) {
  ScaleSettings settings;
  if (config.clip_mode == ClipMode::tensor) settings.max_norm = static_cast<float>(config.grad_clip);
  if (config.rate_correction == RateCorrectionChoice::gradient) settings.correction = RateCorrection::gradient;
  if (config.rate_correction == RateCorrectionChoice::momentum) settings.correction = RateCorrection::momentum;
  settings.examples = static_cast<float>(examples);
  settings.smoothing = static_cast<float>(config.rate_correction_smoothing);
  return settings;
}

bool holds(const ParameterSegment& segment, std::int64_t offset) {
  return offset >= segment.offset && offset < segment.offset + segment.rows * segment.columns;
}

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, const Schedule& schedule, std::vector<OptimizedTensor> tensors,
                     OptimizedBuffers buffers, std::int64_t examples, Ops* ops, DeviceMemory& memory)
    : config_(resolved_optimizer(config)),
      tensors_(std::move(tensors)),
      buffers_(buffers),
      ops_(ops),
      pipeline_(make_pipeline(config_, tensors_)),
      hyperparameters_(config_, schedule),
      beside_muon_(hyperparameters_beside_muon(config_, schedule)),
      scale_settings_(make_scale_settings(config_, examples)) {
  add_states(memory);
  if (ops_ == nullptr) return;
  name_states();
  upload_segments();
}

void Optimizer::add_states(DeviceMemory& memory) {
  std::size_t states = 0;
  for (const UpdatePart& part : pipeline_.parts) states = std::max(states, state_names(part.rule).size());
  for (std::size_t i = 0; i < states; ++i) flat_states_.push_back(memory.add(group, DType::f32, buffers_.master.shape));
  if (pipeline_.controlled_rows > 0) {
    row_norm_ = memory.add(group, DType::f32, {pipeline_.controlled_rows});
    row_mean_square_ = memory.add(group, DType::f32, {pipeline_.controlled_rows});
    row_work_ = add_structs<RowWork>(memory, pipeline_.controlled_rows);
  }
  if (scale_settings_.max_norm > 0.0f || scale_settings_.correction != RateCorrection::none) {
    moments_ = add_structs<TensorMoments>(memory, pipeline_.with_gradient);
    smoothed_ = memory.add(group, DType::f32, {2 * pipeline_.with_gradient});
    scales_ = add_structs<TensorScale>(memory, pipeline_.with_gradient);
  }
  if (beside_muon_) {
    std::vector<Shape> shapes;
    for (std::int64_t i = 0; i < pipeline_.parts[0].count; ++i) {
      const ParameterSegment& segment = pipeline_.segments[static_cast<std::size_t>(i)];
      shapes.push_back({segment.rows, segment.columns});
    }
    newton_schulz_.emplace(shapes, config_.muon_iterations, ops_, memory);
  }
  segments_ = add_structs<ParameterSegment>(memory, segment_count());
  scalars_ = add_structs<StepScalars>(memory, beside_muon_ ? 2 : 1);
}

void Optimizer::name_states() {
  const auto place = [](TensorView flat, std::int64_t offset, Shape shape) {
    return TensorView{flat.as<float>() + offset, DType::f32, shape};
  };
  std::vector<bool> seen(tensors_.size(), false);
  for (const UpdatePart& part : pipeline_.parts) {
    const std::vector<std::string_view> names = state_names(part.rule);
    for (std::int64_t i = part.first; i < part.first + part.count && i < pipeline_.with_gradient; ++i) {
      const auto index = static_cast<std::size_t>(i);
      const ParameterSegment& first = pipeline_.segments[index];
      const std::size_t owner = pipeline_.tensor_of[index];
      const OptimizedTensor& tensor = tensors_[owner];
      if (seen[owner]) continue;  // stacked matrices are one tensor's
      seen[owner] = true;
      for (std::size_t state = 0; state < names.size(); ++state) {
        // Of x, which is shown where the model reads, y is kept instead.
        const bool is_average = names[state] == "x";
        states_.push_back({tensor.name + "." + (is_average ? "y" : std::string(names[state])),
                           place(is_average ? buffers_.gradients : flat_states_[state], tensor.offset, tensor.shape)});
      }
      if (first.control == NormControl::rotational || first.control == NormControl::relative) {
        const Shape rows = {tensor.shape.rows()};
        states_.push_back({tensor.name + ".row_norm", place(row_norm_, first.first_row, rows)});
        if (first.control == NormControl::rotational)
          states_.push_back({tensor.name + ".row_mean_square", place(row_mean_square_, first.first_row, rows)});
      }
      if (scale_settings_.correction != RateCorrection::none) {
        const auto parts = std::count(pipeline_.tensor_of.begin(), pipeline_.tensor_of.begin() + pipeline_.with_gradient, owner);
        states_.push_back({tensor.name + ".smoothed_noise", place(smoothed_, 2 * i, {parts, 2})});
      }
    }
  }
}

void Optimizer::upload_segments() {
  for (const TensorView& flat : flat_states_) ops_->zero(flat.data, flat.bytes());
  for (const TensorView& small : {row_norm_, row_mean_square_, smoothed_, scalars_})
    if (small.present()) ops_->zero(small.data, small.bytes());
  ops_->copy_to_device(segments_.data, pipeline_.segments.data(), pipeline_.segments.size() * sizeof(ParameterSegment));
  ops_->synchronize();
}

// ---- a step ------------------------------------------------------------------------------------------------------------

StepScalars* Optimizer::scalars_of(const UpdatePart& part) const {
  return static_cast<StepScalars*>(scalars_.data) + (part.beside_muon ? 1 : 0);
}

const ParameterSegment* Optimizer::device_segments(std::int64_t first) const {
  return static_cast<const ParameterSegment*>(segments_.data) + first;
}

TensorView Optimizer::loss() const { return {static_cast<char*>(scalars_.data) + offsetof(StepScalars, loss), DType::f32, {1}}; }

void Optimizer::begin_step(std::int64_t k) {
  show_training_point();
  start_average();
  std::array<StepScalars, 2> begun{};
  begun[0] = hyperparameters_.at(k, earlier_);
  if (beside_muon_) begun[1] = beside_muon_->at(k, earlier_);
  ops_->copy_to_device(scalars_.data, begun.data(), (beside_muon_ ? 2 : 1) * sizeof(StepScalars));
}

void Optimizer::finish_step() {
  auto* scalars = static_cast<StepScalars*>(scalars_.data);
  if (config_.decay == DecayMode::l2 && config_.l2_stage == L2Stage::before_clipping) {
    UpdateBuffers buffers;
    buffers.master = buffers_.master.as<float>();
    buffers.gradient = buffers_.gradients.as<float>();
    ops_->add_decay_gradient(buffers, device_segments(0), pipeline_.with_gradient, scalars);
  }
  ops_->global_norm(buffers_.gradients, config_.clip_mode == ClipMode::global ? static_cast<float>(config_.grad_clip) : 0.0f,
                    scalars);
  if (beside_muon_) {
    constexpr std::size_t measured = offsetof(StepScalars, loss);
    ops_->copy(reinterpret_cast<char*>(scalars + 1) + measured, reinterpret_cast<char*>(scalars) + measured,
               sizeof(StepScalars) - measured);
  }
  if (moments_.present()) scale_tensors();
  for (const UpdatePart& part : pipeline_.parts) {
    update(part);
    if (beside_muon_ && &part == pipeline_.parts.data()) orthogonalize();
  }
}

/// Factors of each tensor's gradient and rate, from its own norm and noise.
void Optimizer::scale_tensors() {
  const bool corrects = scale_settings_.correction != RateCorrection::none;
  auto* moments = static_cast<TensorMoments*>(moments_.data);
  auto* scales = static_cast<TensorScale*>(scales_.data);
  ops_->tensor_moments(buffers_.gradients.as<float>(), corrects ? first_moment().as<float>() : nullptr, device_segments(0),
                       pipeline_.with_gradient, moments);
  ops_->tensor_scales(scale_settings_, moments, device_segments(0), pipeline_.with_gradient, scalars(), smoothed_.as<float>(),
                      scales);
}

void Optimizer::update(const UpdatePart& part) {
  UpdateBuffers buffers;
  buffers.master = buffers_.master.as<float>();
  buffers.gradient = buffers_.gradients.as<float>();
  for (std::size_t i = 0; i < flat_states_.size(); ++i) buffers.state[i] = flat_states_[i].as<float>();
  buffers.low_precision = buffers_.low_precision.as<bfloat16>();
  if (scales_.present() && part.first < pipeline_.with_gradient)
    buffers.scales = static_cast<const TensorScale*>(scales_.data) + part.first;
  buffers.row_norm = row_norm_.as<float>();
  buffers.row_mean_square = row_mean_square_.as<float>();
  buffers.row_work = static_cast<RowWork*>(row_work_.data);
  ops_->optimizer_update(part.rule, part.settings, buffers, device_segments(part.first), part.count, scalars_of(part));
}

void Optimizer::orthogonalize() {
  const UpdatePart& directions = pipeline_.parts[0];
  for (std::int64_t i = directions.first; i < directions.first + directions.count; ++i) {
    const ParameterSegment& segment = pipeline_.segments[static_cast<std::size_t>(i)];
    newton_schulz_->orthogonalize({buffers_.gradients.as<float>() + segment.offset, DType::f32, {segment.rows, segment.columns}});
  }
}

StepScalars Optimizer::finish_read(std::uint64_t read) const {
  static_assert(sizeof(StepScalars) <= Ops::read_bytes);
  StepScalars scalars{};
  ops_->finish_read(read, &scalars, sizeof(scalars));
  return scalars;
}

// ---- Schedule-Free: y is trained, x is evaluated and saved ----------------------------------------------------------------

bool Optimizer::averages_weights() const { return config_.name == OptimizerName::schedule_free_adamw; }

/// z and x start where the weights are, which is known only now.
void Optimizer::start_average() {
  if (!averages_weights() || average_started_) return;
  for (const std::size_t state : {0u, 2u}) ops_->copy(flat_states_[state].data, buffers_.master.data, buffers_.master.bytes());
  average_started_ = true;
}

void Optimizer::show_average() {
  if (!averages_weights() || average_shown_) return;
  start_average();
  ops_->copy(buffers_.gradients.data, buffers_.master.data, buffers_.master.bytes());
  ops_->copy(buffers_.master.data, flat_states_[2].data, buffers_.master.bytes());
  refresh_low_precision();
  average_shown_ = true;
}

void Optimizer::show_training_point() {
  if (!average_shown_) return;
  ops_->copy(buffers_.master.data, buffers_.gradients.data, buffers_.master.bytes());
  refresh_low_precision();
  average_shown_ = false;
}

void Optimizer::restored() {
  if (!averages_weights()) return;
  ops_->copy(flat_states_[2].data, buffers_.master.data, buffers_.master.bytes());
  average_started_ = average_shown_ = true;
}

void Optimizer::refresh_low_precision() {
  if (buffers_.low_precision.present()) ops_->cast(buffers_.master, buffers_.low_precision);
}

// ---- logs and diagnostics --------------------------------------------------------------------------------------------

float Optimizer::decay_of(std::int64_t offset) const {
  for (const UpdatePart& part : pipeline_.parts) {
    if (part.settings.decay_form != DecayForm::multiplicative) continue;
    for (std::int64_t i = part.first; i < part.first + part.count; ++i) {
      const ParameterSegment& segment = pipeline_.segments[static_cast<std::size_t>(i)];
      if (segment.control != NormControl::direction && holds(segment, offset)) return segment.weight_decay;
    }
  }
  return 0.0f;
}

TensorView Optimizer::first_moment() const { return flat_states_.empty() || averages_weights() ? TensorView{} : flat_states_[0]; }

std::optional<Optimizer::Average> Optimizer::average_of(const StepScalars& scalars, std::int64_t k) const {
  if (flat_states_.empty() || averages_weights() || beside_muon_) return std::nullopt;
  if (config_.name == OptimizerName::sgdw && config_.momentum_includes_rate) return std::nullopt;  // it holds rates as well
  if (config_.name == OptimizerName::lion)
    return Average{config_.beta2, 1.0 - config_.beta2, std::pow(config_.beta2, static_cast<double>(k + 1 + earlier_))};
  return Average{static_cast<double>(scalars.beta1), static_cast<double>(scalars.gradient_weight),
                 1.0 - static_cast<double>(scalars.bias_correction1)};
}

std::optional<double> Optimizer::prior_deviation(std::int64_t offset, std::int64_t k, double tokens) const {
  if (config_.decay != DecayMode::l2) return std::nullopt;
  const double now = static_cast<double>(hyperparameters_.at(k, earlier_).decay);
  for (std::int64_t i = 0; i < pipeline_.with_gradient; ++i) {
    const ParameterSegment& segment = pipeline_.segments[static_cast<std::size_t>(i)];
    const double lambda = now * static_cast<double>(segment.weight_decay);
    if (holds(segment, offset) && lambda > 0.0) return 1.0 / std::sqrt(tokens * lambda);
  }
  return std::nullopt;
}

}  // namespace temper
