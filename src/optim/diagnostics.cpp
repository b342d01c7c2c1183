#include "optim/diagnostics.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <map>

#include "optim/prior.h"

namespace temper {

namespace {

TensorView add_structs(DeviceMemory& memory, std::size_t bytes) {
  return memory.add("diagnostics", DType::f32, {static_cast<std::int64_t>((bytes + 3) / 4)});
}

template <typename Struct>
std::vector<Struct> download(Ops& ops, TensorView from, std::size_t count) {
  std::vector<Struct> all(count);
  ops.copy_to_host(all.data(), from.data, count * sizeof(Struct));
  return all;
}

/// What is measured of a tensor, or the sum over several.
struct Sums : TensorMoments, UpdateStatistics {
  double rows, elements;

  void add(const Sums& other) {
    TensorMoments::add(other);
    UpdateStatistics::add(other);
    rows += other.rows;
    elements += other.elements;
  }
};

double ratio(double numerator, double denominator) { return denominator > 0.0 ? numerator / denominator : 0.0; }

UpdateDiagnostics derive(std::string name, const Sums& sums, double learning_rate) {
  UpdateDiagnostics out{};
  out.name = std::move(name);
  out.grad_norm = std::sqrt(sums.gradient_squares);
  out.weight_norm = std::sqrt(sums.weight_squares);
  out.update_norm = std::sqrt(sums.update_squares);
  out.step_norm = std::sqrt(sums.step_squares);
  out.relative_update = ratio(out.update_norm, out.weight_norm);
  out.angle = angle_turned(sums.weight_squares, sums.UpdateStatistics::product, sums.update_squares);
  out.row_angle = std::sqrt(sums.row_angles / sums.rows);
  out.step_angle = angle_turned(sums.weight_squares, sums.step_product, sums.step_squares);
  out.step_row_angle = std::sqrt(sums.step_row_angles / sums.rows);
  out.effective_rate = ratio(learning_rate, out.weight_norm);
  out.alignment = ratio(sums.TensorMoments::product, std::sqrt(sums.gradient_squares * sums.moment_squares));
  out.moment_ratio = ratio(std::sqrt(sums.moment_squares), out.grad_norm);
  out.excess_kurtosis =
      sums.weight_squares > 0.0 ? sums.elements * sums.fourth_powers / (sums.weight_squares * sums.weight_squares) - 3.0 : 0.0;
  out.largest_weight = sums.largest;
  return out;
}

/// Of a tensor, or of several together: sums over halves, and over matrices what their rates are multiplied with.
struct Noise {
  TensorMoments halves;
  double matrices = 0.0, applied = 0.0, averages = 0.0, asked = 0.0;

  void add(const Noise& other) {
    halves.gradient_squares += other.halves.gradient_squares;
    halves.product += other.halves.product;
    halves.moment_squares += other.halves.moment_squares;
    for (double Noise::*member : {&Noise::matrices, &Noise::applied, &Noise::averages, &Noise::asked})
      this->*member += other.*member;
  }
  void put(const double* means, double examples, UpdateDiagnostics& out) const {
    if (means[0] == 0.0 && means[1] == 0.0) return;  // no gradient so far
    out.snr = signal_to_noise(means[0], means[1]);
    if (*out.snr > 0.0) out.critical_batch = examples / *out.snr;
    if (averages > 0.0) out.rate_factor = asked / averages;
    if (matrices > 0.0) out.rate_applied = applied / matrices;
  }
};

/// "c_attn.weight.q": matrices stacked in one tensor are the three of a qkv weight.
std::string name_of(const OptimizedTensor& tensor, std::int64_t part) {
  return tensor.stacked == 1 ? tensor.name : tensor.name + "." + "qkv"[part];
}

}  // namespace

Diagnostics::Diagnostics(const Optimizer& optimizer, std::int64_t histogram_bins, Ops* ops, DeviceMemory& memory)
    : optimizer_(optimizer), ops_(ops), bins_(histogram_bins) {
  for (const OptimizedTensor& tensor : optimizer.tensors()) {
    const std::int64_t rows = tensor.shape.rank() >= 2 ? tensor.shape.rows() : 1;
    const std::int64_t columns = tensor.shape.numel() / rows;
    for (std::int64_t part = 0; part < tensor.stacked; ++part) {
      ParameterSegment segment{};
      segment.rows = rows / tensor.stacked;
      segment.columns = columns;
      segment.offset = tensor.offset + part * segment.rows * columns;
      segment.learning_rate_scale = 1.0f;
      segment.weight_decay = decay_of(optimizer, segment.offset);
      tensors_.push_back({name_of(tensor, part), tensor.layer, segment});
    }
  }
  before_ = memory.add("diagnostics", DType::f32, optimizer.buffers().master.shape);
  segments_ = add_structs(memory, tensors_.size() * sizeof(ParameterSegment));
  half_moments_ = add_structs(memory, tensors_.size() * sizeof(TensorMoments));
  moments_ = add_structs(memory, tensors_.size() * sizeof(TensorMoments));
  statistics_ = add_structs(memory, tensors_.size() * sizeof(UpdateStatistics));
  counts_ = memory.add("diagnostics", DType::i32, {bins_});
  if (ops == nullptr) return;

  std::vector<ParameterSegment> segments;
  for (const Tensor& tensor : tensors_) segments.push_back(tensor.segment);
  ops->copy_to_device(segments_.data, segments.data(), segments.size() * sizeof(ParameterSegment));
}

void Diagnostics::measure_moments(const float* moment, TensorView out) {
  ops_->tensor_moments(
      {.gradient = optimizer_.buffers().gradients.as<float>(),
       .moment = moment,
       .segments = {static_cast<const ParameterSegment*>(segments_.data), static_cast<std::int64_t>(tensors_.size())},
       .out = static_cast<TensorMoments*>(out.data)});
}

void Diagnostics::before_update(const std::optional<BatchHalves>& halves) {
  halves_ = halves;
  if (halves) measure_moments(halves->first.as<float>(), half_moments_);
  const TensorView moment = first_moment(optimizer_);
  measure_moments(moment.present() ? moment.as<float>() : nullptr, moments_);
  const TensorView master = optimizer_.buffers().master;
  ops_->copy(before_.data, master.data, master.bytes());
}

void Diagnostics::after_update() {
  ops_->update_statistics(
      {.before = before_.as<float>(),
       .after = optimizer_.buffers().master.as<float>(),
       .decay = decay_in_change(optimizer_),
       .gradient = optimizer_.buffers().gradients.as<float>(),
       .segments = {static_cast<const ParameterSegment*>(segments_.data), static_cast<std::int64_t>(tensors_.size())},
       .scalars = optimizer_.scalars(),
       .step = optimizer_.buffers().gradients.as<float>(),
       .out = static_cast<UpdateStatistics*>(statistics_.data)});
}

StepDiagnostics Diagnostics::read(std::int64_t k, NoiseAverages& averages) {
  const auto moments = download<TensorMoments>(*ops_, moments_, tensors_.size());
  const auto statistics = download<UpdateStatistics>(*ops_, statistics_, tensors_.size());
  StepScalars scalars{};
  ops_->copy_to_host(&scalars, optimizer_.scalars(), sizeof(scalars));
  const double rate = optimizer_.learning_rate(k);

  StepDiagnostics out;
  Sums all{};
  std::map<std::int64_t, Sums> layers;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& tensor = tensors_[i];
    const Sums sums{moments[i], statistics[i], static_cast<double>(tensor.segment.rows),
                    static_cast<double>(tensor.segment.rows * tensor.segment.columns)};
    out.tensors.push_back(derive(tensor.name, sums, rate));
    all.add(sums);
    if (tensor.layer >= 0) layers[tensor.layer].add(sums);
  }
  for (const auto& [layer, sums] : layers) out.layers.push_back(derive("layer " + std::to_string(layer), sums, rate));
  out.all = derive("all", all, rate);
  if (halves_) read_noise(k, averages, out);
  return out;
}

void Diagnostics::read_noise(std::int64_t k, NoiseAverages& averages, StepDiagnostics& out) {
  const auto moments = download<TensorMoments>(*ops_, half_moments_, tensors_.size());
  std::vector<TensorScale> applied;
  if (optimizer_.scales().present())
    applied = download<TensorScale>(*ops_, optimizer_.scales(), static_cast<std::size_t>(optimizer_.pipeline().with_gradient));
  const std::size_t entries = out.tensors.size() + out.layers.size() + 1;
  if (averages.means.size() != 2 * entries) averages = {0, std::vector<double>(2 * entries)};
  const double keep = std::pow(optimizer_.config().rate_correction_smoothing, static_cast<double>(k + 1 - averages.updates));
  averages.updates = k + 1;

  const auto a = static_cast<double>(halves_->first_examples), b = static_cast<double>(halves_->second_examples);
  const bool is_gradients = optimizer_.config().rate_correction == RateCorrectionChoice::gradient;
  const RateCorrection formula = is_gradients ? RateCorrection::gradient : RateCorrection::momentum;
  double* means = averages.means.data();
  const auto finish = [&](const Noise& noise, UpdateDiagnostics& entry) {
    noise.put(means, a + b, entry);
    means += 2;
  };
  Noise all;
  std::map<std::int64_t, Noise> layers;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    follow_halves(moments[i], a, b, keep, means);
    Noise noise{moments[i]};
    if (const ParameterSegment& segment = tensors_[i].segment; segment.rows > 1) {
      noise.matrices = noise.applied = 1.0;
      if (!applied.empty()) noise.applied = static_cast<double>(applied[segment_at(optimizer_, segment.offset)].rate);
      if (const std::optional<double> beta = direction_beta(optimizer_, segment.offset, k)) {
        noise.averages = 1.0;
        noise.asked = rate_correction(formula, signal_to_noise(means[0], means[1]) / (a + b), a + b, *beta);
      }
    }
    finish(noise, out.tensors[i]);
    all.add(noise);
    if (tensors_[i].layer >= 0) layers[tensors_[i].layer].add(noise);
  }
  auto entry = out.layers.begin();
  for (const auto& [layer, noise] : layers) {
    follow_halves(noise.halves, a, b, keep, means);
    finish(noise, *entry++);
  }
  follow_halves(all.halves, a, b, keep, means);
  finish(all, out.all);
}

/// Root mean squares of the tensors' parts of a flat buffer.
std::vector<double> Diagnostics::deviations(const float* values) {
  const auto segments = static_cast<std::int64_t>(tensors_.size());
  ops_->tensor_moments({.gradient = values,
                        .segments = {static_cast<const ParameterSegment*>(segments_.data), segments},
                        .out = static_cast<TensorMoments*>(moments_.data)});
  std::vector<double> all;
  for (const TensorMoments& of_tensor : download<TensorMoments>(*ops_, moments_, tensors_.size())) {
    const ParameterSegment& segment = tensors_[all.size()].segment;
    all.push_back(std::sqrt(of_tensor.gradient_squares / static_cast<double>(segment.rows * segment.columns)));
  }
  return all;
}

WeightHistogram Diagnostics::histogram(const Tensor& tensor, const float* values, double deviation) {
  const std::int64_t elements = tensor.segment.rows * tensor.segment.columns;
  WeightHistogram one{tensor.name, deviation, std::nullopt, 0.0, {}};
  const ConstTensorView weights{values + tensor.segment.offset, DType::f32, {elements}};
  ops_->histogram({.x = weights, .scale = static_cast<float>(1.0 / deviation), .counts = counts_});
  one.counts = download<std::int32_t>(*ops_, counts_, static_cast<std::size_t>(bins_));

  std::int64_t below = 0;
  for (std::int64_t bin = 0; bin + 1 < bins_; ++bin) {
    below += one.counts[static_cast<std::size_t>(bin)];
    const double edge = -6.0 + 12.0 * static_cast<double>(bin + 1) / static_cast<double>(bins_);
    const double gaussian = 0.5 * std::erfc(-edge / std::sqrt(2.0));
    one.distance = std::max(one.distance, std::abs(static_cast<double>(below) / static_cast<double>(elements) - gaussian));
  }
  return one;
}

WeightHistograms Diagnostics::histograms(std::int64_t k, double tokens) {
  // Of each matrix in `values` that is not all 0, beside its prior; where `wants_prior`, of those that have one.
  const auto measure = [&](const float* values, const auto& prior_of, bool wants_prior) {
    std::vector<WeightHistogram> all;
    const std::vector<double> of_tensors = deviations(values);
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const std::optional<double> prior = prior_of(optimizer_, tensors_[i].segment.offset, k, tokens);
      if (tensors_[i].segment.rows == 1 || of_tensors[i] == 0.0 || (wants_prior && !prior)) continue;
      all.push_back(histogram(tensors_[i], values, of_tensors[i]));
      all.back().prior_deviation = prior;
    }
    return all;
  };
  const TensorView master = optimizer_.buffers().master;
  WeightHistograms all{measure(master.as<float>(), prior_deviation, false), {}};
  if (const std::optional<Preconditioner> by = preconditioner(optimizer_, k)) {
    ops_->precondition({.scale = by->scale, .x = master, .second_moment = by->second_moment, .out = before_});
    all.preconditioned = measure(before_.as<float>(), preconditioned_prior_deviation, true);
  }
  return all;
}

}  // namespace temper
