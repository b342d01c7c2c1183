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

/// Takes out the mean, and brings what is left to the norm that there was, which is returned. What is all mean stays (its update
/// leaves it alone too, kernels/norm_control.h).
float center(std::span<float> row) {
  double sum = 0.0, squares = 0.0, centred = 0.0;
  for (const float w : row) {
    sum += static_cast<double>(w);
    squares += static_cast<double>(w) * static_cast<double>(w);
  }
  const double mean = sum / static_cast<double>(row.size());
  for (const float w : row) centred += (static_cast<double>(w) - mean) * (static_cast<double>(w) - mean);
  const double scale = centred > 1e-12 * squares ? std::sqrt(squares / centred) : 0.0;
  if (scale > 0.0)
    for (float& w : row) w = static_cast<float>(scale * (static_cast<double>(w) - mean));
  return static_cast<float>(std::sqrt(squares));
}

ScaleSettings make_scale_settings(const OptimizerConfig& config) {
  ScaleSettings settings;
  if (config.clip_mode == ClipMode::tensor) settings.max_norm = static_cast<float>(config.grad_clip);
  if (config.rate_correction == RateCorrectionChoice::gradient) settings.correction = RateCorrection::gradient;
  if (config.rate_correction == RateCorrectionChoice::momentum) settings.correction = RateCorrection::momentum;
  settings.smoothing = static_cast<float>(config.rate_correction_smoothing);
  return settings;
}

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, const Schedule& schedule, std::vector<OptimizedTensor> tensors,
                     OptimizedBuffers buffers, Ops* ops, DeviceMemory& memory, ShardPlace place)
    : config_(resolved_optimizer(config)),
      tensors_(std::move(tensors)),
      buffers_(buffers),
      place_(checked(std::move(place), buffers.gradients.numel())),
      shard_(part_of(buffers_, place_)),
      ops_(ops),
      hyperparameters_(config_, schedule),
      beside_muon_(hyperparameters_beside_muon(config_, schedule)),
      scale_settings_(make_scale_settings(config_)) {
  const Pipeline whole = make_pipeline(config_, tensors_);
  pipeline_ = cut_pipeline(whole, place_.begin(), place_.end());
  add_states(whole, memory);
  add_work(memory);
}

/// What lasts from step to step, with the names that checkpoints have for it: the rules' states, a number or two for each
/// controlled row, two for each corrected segment.
void Optimizer::add_states(const Pipeline& whole, DeviceMemory& memory) {
  struct Owner {
    const OptimizedTensor& tensor;
    const UpdatePart& part;
    std::int64_t index;  // of its first segment: stacked matrices are one tensor's
    const ParameterSegment& segment;
  };
  std::vector<Owner> owners;
  std::vector<bool> seen(tensors_.size(), false);
  std::span<const std::string_view> most;  // names of the rule with most states
  for (const UpdatePart& part : whole.parts) {
    if (state_names(part.rule).size() > most.size()) most = state_names(part.rule);
    for (std::int64_t i = part.first; i < std::min(part.first + part.count, whole.with_gradient); ++i) {
      const std::size_t tensor = whole.tensor_of[static_cast<std::size_t>(i)];
      if (!seen[tensor]) owners.push_back({tensors_[tensor], part, i, whole.segments[static_cast<std::size_t>(i)]});
      seen[tensor] = true;
    }
  }
  const auto add = [&](std::string_view name, TensorView values, const std::vector<std::int64_t>& shards, const auto& place) {
    for (const Owner& owner : owners) {
      State state{std::string(name), state_buffers_.size(), 0, {}};
      if (!place(owner, state)) continue;
      state.name = owner.tensor.name + "." + state.name;
      states_.push_back(std::move(state));
    }
    state_buffers_.push_back({std::string(name), values, shards});
  };

  for (std::size_t i = 0; i < most.size(); ++i) {
    flat_states_.push_back(add_floats(memory, place_.end() - place_.begin()));
    add(most[i], flat_states_[i], place_.begins, [&](const Owner& owner, State& state) {
      const std::span<const std::string_view> names = state_names(owner.part.rule);
      if (i >= names.size()) return false;
      state = {std::string(names[i]), state.buffer, owner.tensor.offset, owner.tensor.shape};
      return true;
    });
  }
  if (std::holds_alternative<ScheduleFree>(whole.parts[0].rule)) {
    require(place_.begins.size() == 2, "Optimizer: Schedule-Free is not for several ranks' shards");
    average_ = WeightAverage(buffers_, flat_states_[0], flat_states_[2], ops_);
    state_buffers_[2].values = buffers_.gradients;  // x is shown where the model reads, y lies here
  }

  std::vector<std::int64_t> rows = {0}, moments = {0}, means = {0};  // where each rank's begin
  for (std::size_t rank = 0; rank + 1 < place_.begins.size(); ++rank) {
    const Pipeline part = cut_pipeline(whole, place_.begins[rank], place_.begins[rank + 1]);
    rows.push_back(rows.back() + part.controlled_rows);
    moments.push_back(2 * rows.back());
    means.push_back(means.back() + 2 * part.with_gradient);
  }
  const auto place_rows = [](const Owner& owner, State& state) {
    state.offset = owner.segment.first_row;
    state.shape = {owner.tensor.shape.rows()};
    return holds_norm(owner.segment.control);
  };
  row_norm_ = add_floats(memory, pipeline_.controlled_rows);
  row_mean_square_ = add_floats(memory, pipeline_.controlled_rows);
  if (whole.controlled_rows > 0) add("row_norm", row_norm_, rows, place_rows);
  // Relative steps keep no mean square, though the operation wants room for it.
  if (config_.norm_control == NormControlChoice::rotational && whole.controlled_rows > 0)
    add("row_mean_square", row_mean_square_, rows, place_rows);
  if (config_.rotation_gains && whole.controlled_rows > 0) {
    row_gain_moments_ = add_floats(memory, 2 * pipeline_.controlled_rows);
    add("row_gain_moments", row_gain_moments_, moments, [](const Owner& owner, State& state) {
      state.offset = 2 * owner.segment.first_row;
      state.shape = {owner.tensor.shape.rows(), 2};
      return holds_norm(owner.segment.control);
    });
  }
  if (!corrects_rates()) return;
  smoothed_ = add_floats(memory, 2 * pipeline_.with_gradient);
  add("signal_noise", smoothed_, means, [&](const Owner& owner, State& state) {
    const auto owner_of = whole.tensor_of.begin();
    state.offset = 2 * owner.index;
    state.shape = {std::count(owner_of, owner_of + whole.with_gradient, owner_of[owner.index]), 2};
    return true;
  });
}

/// What a step works with, and zeros in all states.
void Optimizer::add_work(DeviceMemory& memory) {
  row_work_ = add_structs<RowWork>(memory, pipeline_.controlled_rows);
  if (pipeline_.scales_tensors) {
    if (scale_settings_.max_norm > 0.0f) moments_ = add_structs<TensorMoments>(memory, pipeline_.with_gradient);
    if (corrects_rates()) half_moments_ = add_structs<TensorMoments>(memory, pipeline_.with_gradient);
    scales_ = add_structs<TensorScale>(memory, pipeline_.with_gradient);
  }
  std::vector<Shape> directions;
  for (const ParameterSegment& segment : pipeline_.segments)
    if (segment.control == NormControl::direction) directions.push_back({segment.rows, segment.columns});
  if (!directions.empty()) newton_schulz_.emplace(directions, config_.muon_iterations, ops_, memory);
  segments_ = add_structs<ParameterSegment>(memory, segment_count());
  scalars_ = add_structs<StepScalars>(memory, beside_muon_ ? 2 : 1);
  if (ops_ == nullptr) return;

  std::vector<TensorView> all = {row_norm_, row_mean_square_, row_gain_moments_, smoothed_, scalars_};
  all.insert(all.end(), flat_states_.begin(), flat_states_.end());
  for (const TensorView& one : all)
    if (one.present()) ops_->zero(one.data, one.bytes());
  if (segments_.present()) ops_->copy_to_device(segments_.data, pipeline_.segments.data(), segments_.bytes());
  ops_->synchronize();
}

// ---- a step ------------------------------------------------------------------------------------------------------------

/// On the host, in double, since it is done once: any device begins with the same bits.
void Optimizer::center_rows() {
  if (config_.norm_control != NormControlChoice::rotational || !config_.rotation_zero_mean || !row_norm_.present()) return;
  std::vector<float> norms(static_cast<std::size_t>(row_norm_.numel())), weights;
  ops_->copy_to_host(norms.data(), row_norm_.data, row_norm_.bytes());
  for (const ParameterSegment& segment : pipeline_.segments) {
    if (segment.control != NormControl::rotational) continue;
    const std::int64_t together = segment.per_row != 0 ? segment.columns : segment.rows * segment.columns;
    const TensorView master = {shard_.master.as<float>() + segment.offset, DType::f32, {segment.rows * segment.columns}};
    weights.resize(static_cast<std::size_t>(master.numel()));
    ops_->copy_to_host(weights.data(), master.data, master.bytes());
    for (std::int64_t first = 0; first < master.numel(); first += together) {
      float& norm = norms[static_cast<std::size_t>(segment.first_row + first / segment.columns)];
      if (norm == 0.0f)
        norm = center(std::span(weights).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(together)));
    }
    ops_->copy_to_device(master.data, weights.data(), master.bytes());
    if (shard_.low_precision.present())
      ops_->cast({.from = master, .to = {shard_.low_precision.as<bfloat16>() + segment.offset, DType::bf16, master.shape}});
    ops_->synchronize();  // `weights` is reused
  }
  ops_->copy_to_device(row_norm_.data, norms.data(), row_norm_.bytes());
  ops_->synchronize();
}

StepScalars Optimizer::scalars_at(std::int64_t k, const UpdatePart& part) const {
  return (part.beside_muon ? *beside_muon_ : hyperparameters_).at(k, earlier_);
}

StepScalars* Optimizer::scalars_of(const UpdatePart& part) const {
  return static_cast<StepScalars*>(scalars_.data) + (part.beside_muon ? 1 : 0);
}

const ParameterSegment* Optimizer::device_segments(std::int64_t first) const {
  return static_cast<const ParameterSegment*>(segments_.data) + first;
}

TensorView Optimizer::loss() const { return {static_cast<char*>(scalars_.data) + offsetof(StepScalars, loss), DType::f32, {1}}; }

void Optimizer::begin_step(std::int64_t k) {
  average_.hide();
  std::array<StepScalars, 2> begun{};
  begun[0] = hyperparameters_.at(k, earlier_);
  if (beside_muon_) begun[1] = beside_muon_->at(k, earlier_);
  ops_->copy_to_device(scalars_.data, begun.data(), (beside_muon_ ? 2 : 1) * sizeof(StepScalars));
}

/// Before decay and clipping, which are not the data's.
void Optimizer::measure_halves(const BatchHalves& halves) {
  require(corrects_rates(), "Optimizer: halves are measured where a rate is corrected");
  require(halves.first.numel() == buffers_.gradients.numel(), "Optimizer: the first half is as long as the gradients");
  require(halves.first_examples > 0 && halves.second_examples > 0, "Optimizer: both halves have examples");
  scale_settings_.first_examples = static_cast<float>(halves.first_examples);
  scale_settings_.second_examples = static_cast<float>(halves.second_examples);
  if (pipeline_.with_gradient == 0) return;
  ops_->tensor_moments({.gradient = shard_.gradients.as<float>(),
                        .moment = halves.first.as<float>() + place_.begin(),
                        .segments = {device_segments(0), pipeline_.with_gradient},
                        .out = static_cast<TensorMoments*>(half_moments_.data)});
}

void Optimizer::add_decay_gradient() {
  if (config_.decay != DecayMode::l2 || config_.l2_stage != L2Stage::before_clipping || pipeline_.with_gradient == 0) return;
  UpdateBuffers buffers;
  buffers.master = shard_.master.as<float>();
  buffers.gradient = shard_.gradients.as<float>();
  ops_->add_decay_gradient({.buffers = buffers, .segments = {device_segments(0), pipeline_.with_gradient}, .scalars = scalars()});
}

void Optimizer::measure_shard(TensorView norm) {
  require(norm.dtype == DType::f32 && norm.numel() > 0, "Optimizer: a norm wants room for one f32");
  if (shard_.gradients.numel() == 0) return ops_->zero(norm.data, sizeof(float));
  auto* scalars = static_cast<StepScalars*>(scalars_.data);
  ops_->global_norm({.gradients = shard_.gradients,
                     .max_norm = 0.0f,
                     .scalars = scalars});  // whose norm is finish_step's to write, which comes after this
  ops_->copy(norm.data, &scalars->gradient_norm, sizeof(float));
}

void Optimizer::finish_step(ConstTensorView norm_of) {
  auto* scalars = static_cast<StepScalars*>(scalars_.data);
  ops_->global_norm({.gradients = norm_of,
                     .max_norm = config_.clip_mode == ClipMode::global ? static_cast<float>(config_.grad_clip) : 0.0f,
                     .scalars = scalars});
  if (beside_muon_) {
    constexpr std::size_t measured = offsetof(StepScalars, loss);
    ops_->copy(reinterpret_cast<char*>(scalars + 1) + measured, reinterpret_cast<char*>(scalars) + measured,
               sizeof(StepScalars) - measured);
  }
  if (scales_.present()) scale_tensors();
  for (const UpdatePart& part : pipeline_.parts) {
    if (part.count == 0) continue;
    update(part);
    orthogonalize(part);
  }
}

void Optimizer::rehearse() {
  for (const UpdatePart& part : pipeline_.parts) orthogonalize(part);
}

/// Directions, which an update leaves where the gradients were.
void Optimizer::orthogonalize(const UpdatePart& part) {
  for (const ParameterSegment& segment : segments_of(pipeline_, part)) {
    if (segment.control != NormControl::direction) continue;
    float* direction = shard_.gradients.as<float>() + segment.offset;
    newton_schulz_->orthogonalize({direction, DType::f32, {segment.rows, segment.columns}});
  }
}

/// Factors of each tensor's gradient and rate, from its own norm and noise.
void Optimizer::scale_tensors() {
  auto* moments = static_cast<TensorMoments*>(moments_.data);
  const SegmentTable segments = {device_segments(0), pipeline_.with_gradient};
  if (moments != nullptr) ops_->tensor_moments({.gradient = shard_.gradients.as<float>(), .segments = segments, .out = moments});
  ops_->tensor_scales({.settings = scale_settings_,
                       .moments = moments,
                       .halves = static_cast<TensorMoments*>(half_moments_.data),
                       .segments = segments,
                       .scalars = scalars(),
                       .smoothed = smoothed_.as<float>(),
                       .scales = static_cast<TensorScale*>(scales_.data)});
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
  buffers.row_gain_moments = row_gain_moments_.as<float>();
  buffers.row_work = static_cast<RowWork*>(row_work_.data);
  ops_->optimizer_update({.rule = part.rule,
                          .settings = part.settings,
                          .buffers = buffers,
                          .segments = {device_segments(part.first), part.count},
                          .scalars = scalars_of(part)});
}

StepScalars Optimizer::finish_read(std::uint64_t read) const {
  static_assert(sizeof(StepScalars) <= Ops::read_bytes);
  StepScalars scalars{};
  ops_->finish_read(read, &scalars, sizeof(scalars));
  return scalars;
}

}  // namespace temper
