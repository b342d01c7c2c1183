#include "optim/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>
#include <variant>

#include "kernels/check.h"

namespace temper {

namespace {

constexpr const char* group = "optimizer states";

/// What an empty shard has is absent.
TensorView add_floats(DeviceMemory& memory, std::int64_t count) {
  return count > 0 ? memory.add(group, DType::f32, {count}) : TensorView{nullptr, DType::f32, {0}};
}

/// Room for `count` plain structs, counted in f32 elements.
template <typename Struct>
TensorView add_structs(DeviceMemory& memory, std::int64_t count) {
  static_assert(sizeof(Struct) % 4 == 0);
  return add_floats(memory, count * static_cast<std::int64_t>(sizeof(Struct) / 4));
}

ShardPlace checked(ShardPlace place, std::int64_t flat_size) {
  if (place.begins.empty()) return {{0, flat_size}, 0};
  const std::vector<std::int64_t>& begins = place.begins;
  require(begins.front() == 0 && begins.back() == flat_size && std::is_sorted(begins.begin(), begins.end()),
          "Optimizer: shards begin at 0, never fall and end with the flat buffers");
  require(place.rank >= 0 && place.rank + 1 < static_cast<std::int64_t>(begins.size()), "Optimizer: no shard is this rank's");
  return place;
}

OptimizedBuffers part_of(const OptimizedBuffers& whole, const ShardPlace& place) {
  const auto part = [&](TensorView flat) {
    if (flat.numel() == place.end() - place.begin()) return flat;
    char* data = static_cast<char*>(flat.data);
    if (flat.present()) data += static_cast<std::size_t>(place.begin()) * size_of(flat.dtype);
    return TensorView{data, flat.dtype, {place.end() - place.begin()}};
  };
  return {part(whole.master), part(whole.gradients), part(whole.low_precision)};
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
                     OptimizedBuffers buffers, std::int64_t examples, Ops* ops, DeviceMemory& memory, ShardPlace place)
    : config_(resolved_optimizer(config)),
      tensors_(std::move(tensors)),
      buffers_(buffers),
      place_(checked(std::move(place), buffers.gradients.numel())),
      shard_(part_of(buffers_, place_)),
      ops_(ops),
      hyperparameters_(config_, schedule),
      beside_muon_(hyperparameters_beside_muon(config_, schedule)),
      scale_settings_(make_scale_settings(config_, examples)) {
  require(is_alone() || !averages_weights(), "Optimizer: Schedule-Free is not for several ranks' shards");
  const Pipeline whole = make_pipeline(config_, tensors_);
  pipeline_ = cut_pipeline(whole, place_.begin(), place_.end());
  add_states(whole, memory);
  name_states(whole);
  if (ops_ != nullptr) upload_segments();
}

bool Optimizer::is_alone() const { return place_.begins.size() == 2; }

void Optimizer::add_states(const Pipeline& whole, DeviceMemory& memory) {
  add_state_buffers(whole, memory);
  row_work_ = add_structs<RowWork>(memory, pipeline_.controlled_rows);
  if (pipeline_.scales_tensors) {
    moments_ = add_structs<TensorMoments>(memory, pipeline_.with_gradient);
    scales_ = add_structs<TensorScale>(memory, pipeline_.with_gradient);
  }
  if (beside_muon_) {
    std::vector<Shape> shapes;
    for (std::int64_t i = 0; i < pipeline_.parts[0].count; ++i) {
      const ParameterSegment& segment = pipeline_.segments[static_cast<std::size_t>(i)];
      shapes.push_back({segment.rows, segment.columns});
    }
    if (!shapes.empty()) newton_schulz_.emplace(shapes, config_.muon_iterations, ops_, memory);
  }
  segments_ = add_structs<ParameterSegment>(memory, segment_count());
  scalars_ = add_structs<StepScalars>(memory, beside_muon_ ? 2 : 1);
}

/// What lasts from step to step: the rules' states, a number or two for each controlled row, two for each corrected segment.
void Optimizer::add_state_buffers(const Pipeline& whole, DeviceMemory& memory) {
  std::vector<std::string_view> names;  // of the rule with most
  for (const UpdatePart& part : whole.parts)
    if (state_names(part.rule).size() > names.size()) names = state_names(part.rule);
  for (const std::string_view name : names) {
    flat_states_.push_back(add_floats(memory, place_.end() - place_.begin()));
    // Of x, which is shown where the model reads, y is kept instead.
    if (name == "x")
      state_buffers_.push_back({"y", buffers_.gradients, place_.begins});
    else
      state_buffers_.push_back({std::string(name), flat_states_.back(), place_.begins});
  }

  std::vector<std::int64_t> rows = {0}, means = {0};  // where each rank's begin
  for (std::size_t rank = 0; rank + 1 < place_.begins.size(); ++rank) {
    const Pipeline part = cut_pipeline(whole, place_.begins[rank], place_.begins[rank + 1]);
    rows.push_back(rows.back() + part.controlled_rows);
    means.push_back(means.back() + 2 * part.with_gradient);
  }
  row_norm_ = add_floats(memory, pipeline_.controlled_rows);
  row_mean_square_ = add_floats(memory, pipeline_.controlled_rows);
  if (whole.controlled_rows > 0) state_buffers_.push_back({"row_norm", row_norm_, rows});
  // Relative steps keep no mean square, though the operation wants room for it.
  if (config_.norm_control == NormControlChoice::rotational && whole.controlled_rows > 0)
    state_buffers_.push_back({"row_mean_square", row_mean_square_, rows});
  if (scale_settings_.correction == RateCorrection::none) return;
  smoothed_ = add_floats(memory, 2 * pipeline_.with_gradient);
  state_buffers_.push_back({"smoothed_noise", smoothed_, means});
}

void Optimizer::name_states(const Pipeline& whole) {
  const auto buffer_of = [&](std::string_view name) {
    const auto found =
        std::find_if(state_buffers_.begin(), state_buffers_.end(), [&](const auto& one) { return one.name == name; });
    return static_cast<std::size_t>(found - state_buffers_.begin());
  };
  std::vector<bool> seen(tensors_.size(), false);
  for (const UpdatePart& part : whole.parts) {
    const std::vector<std::string_view> names = state_names(part.rule);
    for (std::int64_t i = part.first; i < part.first + part.count && i < whole.with_gradient; ++i) {
      const auto index = static_cast<std::size_t>(i);
      const ParameterSegment& first = whole.segments[index];
      const std::size_t owner = whole.tensor_of[index];
      const OptimizedTensor& tensor = tensors_[owner];
      if (seen[owner]) continue;  // stacked matrices are one tensor's
      seen[owner] = true;
      const auto add = [&](std::string_view name, std::size_t buffer, std::int64_t offset, Shape shape) {
        states_.push_back({tensor.name + "." + std::string(name), buffer, offset, shape});
      };
      for (std::size_t state = 0; state < names.size(); ++state)  // the first buffers; each rule has its own names for them
        add(names[state] == "x" ? "y" : names[state], state, tensor.offset, tensor.shape);
      for (const std::string_view name : {"row_norm", "row_mean_square"})
        if (holds_norm(first.control) && buffer_of(name) < state_buffers_.size())
          add(name, buffer_of(name), first.first_row, {tensor.shape.rows()});
      if (scale_settings_.correction != RateCorrection::none) {
        const auto parts = std::count(whole.tensor_of.begin(), whole.tensor_of.begin() + whole.with_gradient, owner);
        add("smoothed_noise", buffer_of("smoothed_noise"), 2 * i, {parts, 2});
      }
    }
  }
  std::stable_sort(states_.begin(), states_.end(), [](const State& a, const State& b) { return a.buffer < b.buffer; });
}

void Optimizer::upload_segments() {
  std::vector<TensorView> all = {row_norm_, row_mean_square_, smoothed_, scalars_};
  all.insert(all.end(), flat_states_.begin(), flat_states_.end());
  for (const TensorView& one : all)
    if (one.present()) ops_->zero(one.data, one.bytes());
  if (segments_.present()) ops_->copy_to_device(segments_.data, pipeline_.segments.data(), segments_.bytes());
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

void Optimizer::add_decay_gradient() {
  if (config_.decay != DecayMode::l2 || config_.l2_stage != L2Stage::before_clipping || pipeline_.with_gradient == 0) return;
  UpdateBuffers buffers;
  buffers.master = shard_.master.as<float>();
  buffers.gradient = shard_.gradients.as<float>();
  ops_->add_decay_gradient(buffers, device_segments(0), pipeline_.with_gradient, scalars());
}

void Optimizer::measure_shard(TensorView norm) {
  require(norm.dtype == DType::f32 && norm.numel() > 0, "Optimizer: a norm wants room for one f32");
  if (shard_.gradients.numel() == 0) return ops_->zero(norm.data, sizeof(float));
  auto* scalars = static_cast<StepScalars*>(scalars_.data);
  ops_->global_norm(shard_.gradients, 0.0f, scalars);  // whose norm is finish_step's to write, which comes after this
  ops_->copy(norm.data, &scalars->gradient_norm, sizeof(float));
}

void Optimizer::finish_step(ConstTensorView norm_of) {
  auto* scalars = static_cast<StepScalars*>(scalars_.data);
  ops_->global_norm(norm_of, config_.clip_mode == ClipMode::global ? static_cast<float>(config_.grad_clip) : 0.0f, scalars);
  if (beside_muon_) {
    constexpr std::size_t measured = offsetof(StepScalars, loss);
    ops_->copy(reinterpret_cast<char*>(scalars + 1) + measured, reinterpret_cast<char*>(scalars) + measured,
               sizeof(StepScalars) - measured);
  }
  if (moments_.present()) scale_tensors();
  for (const UpdatePart& part : pipeline_.parts) {
    if (part.count == 0) continue;
    update(part);
    if (beside_muon_ && &part == pipeline_.parts.data()) orthogonalize();
  }
}

/// Factors of each tensor's gradient and rate, from its own norm and noise.
void Optimizer::scale_tensors() {
  const bool corrects = scale_settings_.correction != RateCorrection::none;
  auto* moments = static_cast<TensorMoments*>(moments_.data);
  auto* scales = static_cast<TensorScale*>(scales_.data);
  ops_->tensor_moments(shard_.gradients.as<float>(), corrects ? flat_states_[0].as<float>() : nullptr, device_segments(0),
                       pipeline_.with_gradient, moments);
  ops_->tensor_scales(scale_settings_, moments, device_segments(0), pipeline_.with_gradient, scalars(), smoothed_.as<float>(),
                      scales);
}

void Optimizer::update(const UpdatePart& part) {
  UpdateBuffers buffers;
  buffers.master = shard_.master.as<float>();
  buffers.gradient = shard_.gradients.as<float>();
  for (std::size_t i = 0; i < flat_states_.size(); ++i) buffers.state[i] = flat_states_[i].as<float>();
  buffers.low_precision = shard_.low_precision.as<bfloat16>();
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
    newton_schulz_->orthogonalize({shard_.gradients.as<float>() + segment.offset, DType::f32, {segment.rows, segment.columns}});
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

constexpr const char* needs_everything = "Optimizer: diagnostics are for one rank that has everything";

float Optimizer::decay_of(std::int64_t offset) const {
  require(is_alone(), needs_everything);
  for (const UpdatePart& part : pipeline_.parts) {
    if (part.settings.decay_form != DecayForm::multiplicative) continue;
    for (std::int64_t i = part.first; i < part.first + part.count; ++i) {
      const ParameterSegment& segment = pipeline_.segments[static_cast<std::size_t>(i)];
      if (segment.control != NormControl::direction && holds(segment, offset)) return segment.weight_decay;
    }
  }
  return 0.0f;
}

TensorView Optimizer::first_moment() const {
  require(is_alone(), needs_everything);
  return flat_states_.empty() || averages_weights() ? TensorView{} : flat_states_[0];
}

std::optional<Optimizer::Average> Optimizer::average_of(const StepScalars& scalars, std::int64_t k) const {
  require(is_alone(), needs_everything);
  if (flat_states_.empty() || averages_weights() || beside_muon_) return std::nullopt;
  if (config_.name == OptimizerName::sgdw && config_.momentum_includes_rate) return std::nullopt;  // it holds rates as well
  if (config_.name == OptimizerName::lion)
    return Average{*config_.beta2, 1.0 - *config_.beta2, std::pow(*config_.beta2, static_cast<double>(k + 1 + earlier_))};
  return Average{static_cast<double>(scalars.beta1), static_cast<double>(scalars.gradient_weight),
                 1.0 - static_cast<double>(scalars.bias_correction1)};
}

std::optional<double> Optimizer::prior_deviation(std::int64_t offset, std::int64_t k, double tokens) const {
  require(is_alone(), needs_everything);
  if (config_.decay != DecayMode::l2) return std::nullopt;
  const double now = static_cast<double>(hyperparameters_.at(k, earlier_).decay);
  for (std::int64_t i = 0; i < pipeline_.with_gradient; ++i) {
    const ParameterSegment& segment = pipeline_.segments[static_cast<std::size_t>(i)];
    const double lambda = now * static_cast<double>(segment.weight_decay);
    if (holds(segment, offset) && lambda > 0.0) return 1.0 / std::sqrt(tokens * lambda);
  }
  return std::nullopt;
}

/// The part in which Adam's preconditioner and a decay beside it, or on its scale, meet.
const UpdatePart* Optimizer::preconditioned_part() const {
  for (const UpdatePart& part : pipeline_.parts) {
    const DecayForm form = part.settings.decay_form;
    if (form != DecayForm::multiplicative && form != DecayForm::scaled_gradient) continue;
    if (std::holds_alternative<Adam>(part.rule) || std::holds_alternative<AdEMAMix>(part.rule)) return &part;
  }
  return nullptr;
}

std::optional<Optimizer::Preconditioner> Optimizer::preconditioner(std::int64_t k) const {
  require(is_alone(), needs_everything);
  const UpdatePart* part = preconditioned_part();
  if (part == nullptr) return std::nullopt;
  const StepScalars scalars = (part->beside_muon ? *beside_muon_ : hyperparameters_).at(k, earlier_);
  PriorScale scale;
  scale.root_scale = 1.0f / std::sqrt(scalars.bias_correction2);
  scale.epsilon = static_cast<float>(config_.eps);
  if (config_.eps_placement == EpsilonPlacement::inside) scale.epsilon *= scale.root_scale;
  return Preconditioner{scale, flat_states_[1]};
}

std::optional<double> Optimizer::preconditioned_prior_deviation(std::int64_t offset, std::int64_t k, double tokens) const {
  require(is_alone(), needs_everything);
  const UpdatePart* part = preconditioned_part();
  if (part == nullptr) return std::nullopt;
  const StepScalars scalars = (part->beside_muon ? *beside_muon_ : hyperparameters_).at(k, earlier_);
  for (std::int64_t i = part->first; i < part->first + part->count; ++i) {
    const ParameterSegment& segment = pipeline_.segments[static_cast<std::size_t>(i)];
    if (!holds(segment, offset) || segment.control != NormControl::none) continue;
    double lambda = static_cast<double>(scalars.decay) * static_cast<double>(segment.weight_decay);
    if (part->settings.decay_form == DecayForm::multiplicative)
      lambda /= static_cast<double>(scalars.learning_rate) * static_cast<double>(segment.learning_rate_scale);
    if (std::isfinite(lambda) && lambda > 0.0) return 1.0 / std::sqrt(tokens * lambda);
  }
  return std::nullopt;
}

}  // namespace temper
