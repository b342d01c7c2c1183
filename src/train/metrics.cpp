#include "train/metrics.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace temper {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* diagnostics_file = "diagnostics.jsonl";

Json optional_number(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json to_json(const UpdateDiagnostics& one) {
  return {{"grad_norm", one.gradient_norm},
          {"weight_norm", one.weight_norm},
          {"update_norm", one.update_norm},
          {"step_norm", one.step_norm},
          {"relative_update", one.relative_update},
          {"angle", one.angle},
          {"row_angle", one.row_angle},
          {"step_angle", one.step_angle},
          {"step_row_angle", one.step_row_angle},
          {"effective_rate", one.effective_rate},
          {"alignment", one.alignment},
          {"moment_ratio", one.moment_ratio},
          {"excess_kurtosis", one.excess_kurtosis},
          {"largest_weight", one.largest_weight}};
}

/// "h.0.attn.c_attn.weight" for Hugging Face's "transformer.h.0.attn.c_attn.weight".
std::string short_name(const std::string& name) {
  constexpr std::string_view prefix = "transformer.";
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

/// Root mean square over the layers.
double mean_change(const std::vector<RepresentationChange::Layer>& layers) {
  double squares = 0.0;
  for (const RepresentationChange::Layer& layer : layers) squares += layer.change * layer.change;
  return std::sqrt(squares / static_cast<double>(layers.size()));
}

EventHistogram to_event(const WeightHistogram& histogram) {
  EventHistogram event;
  const auto bins = static_cast<double>(histogram.counts.size());
  for (std::size_t bin = 0; bin < histogram.counts.size(); ++bin) {
    event.limits.push_back(histogram.deviation * (-6.0 + 12.0 * static_cast<double>(bin + 1) / bins));
    event.counts.push_back(histogram.counts[bin]);
    event.sum_squares += histogram.counts[bin] * histogram.deviation * histogram.deviation;
  }
  event.max = event.limits.back();
  event.min = -event.max;
  return event;
}

}  // namespace

Metrics::Metrics(const std::filesystem::path& run_directory, LogBytes keep, std::int64_t first_step, bool tensorboard)
    : run_directory_(run_directory), lines_(run_directory / "metrics.jsonl", keep.metrics) {
  if (std::filesystem::exists(run_directory / diagnostics_file))
    diagnostics_.emplace(run_directory / diagnostics_file, keep.diagnostics);
  if (tensorboard) events_ = std::make_unique<EventFile>(run_directory / "tensorboard", first_step);
}

void Metrics::write(const StepRecord& record, const StepMeasurements& measurements) {
  Json line;
  std::vector<std::pair<std::string, double>> scalars;
  const auto number = [&](const char* key, const char* tag, const std::optional<double>& value) {
    line[key] = optional_number(value);
    if (value) scalars.emplace_back(tag, *value);
  };

  line["step"] = record.step;
  line["tokens"] = record.tokens;
  number("loss", "train/loss", record.loss);
  if (measurements.val_loss) {
    number("val_loss", "val/loss", measurements.val_loss);
    line["val_tokens"] = measurements.val_tokens;
  }
  if (measurements.hellaswag) {
    number("hellaswag_acc", "hellaswag/acc", measurements.hellaswag->accuracy);
    number("hellaswag_acc_norm", "hellaswag/acc_norm", measurements.hellaswag->accuracy_normalized);
    line["hellaswag_items"] = measurements.hellaswag->items;
  }
  number("lr", "optimizer/lr", record.learning_rate);
  number("grad_norm", "optimizer/grad_norm", record.gradient_norm);
  number("tokens_per_second", "perf/tokens_per_second", measurements.tokens_per_second);
  number("mfu", "perf/mfu", measurements.mfu);
  for (const auto& [key, value] : record.update) number(key.c_str(), ("update/" + key).c_str(), value);
  line["seconds"] = measurements.seconds;

  lines_.append(line.dump());
  if (events_) {
    events_->scalars(record.step, scalars);
    events_->flush();
  }
}

std::vector<std::pair<std::string, double>> summary_of(const Diagnosed& diagnosed) {
  std::vector<std::pair<std::string, double>> summary;
  if (diagnosed.update) {
    const UpdateDiagnostics& all = diagnosed.update->all;
    const NoiseDiagnostics& noise = diagnosed.update->noise;
    summary = {{"weight_norm", all.weight_norm},
               {"relative_update", all.relative_update},
               {"step_angle", all.step_row_angle},
               {"alignment", all.alignment},
               {"effective_rate", all.effective_rate}};
    if (noise.moment_snr) summary.emplace_back("moment_snr", *noise.moment_snr);
    if (noise.batch_critical_batch) summary.emplace_back("critical_batch", *noise.batch_critical_batch);
  }
  if (!diagnosed.representation.empty()) summary.emplace_back("representation_change", mean_change(diagnosed.representation));
  return summary;
}

void Metrics::write_diagnostics(const StepRecord& record, const Diagnosed& diagnosed) {
  Json line;
  std::vector<std::pair<std::string, double>> scalars;
  std::vector<std::pair<std::string, EventHistogram>> histograms;
  line["step"] = record.step;
  line["lr"] = record.learning_rate;
  if (diagnosed.update) {
    const NoiseDiagnostics& noise = diagnosed.update->noise;
    line["all"] = to_json(diagnosed.update->all);
    line["noise"] = {{"moment_snr", optional_number(noise.moment_snr)},
                     {"moment_critical_batch", optional_number(noise.moment_critical_batch)},
                     {"batch_snr", optional_number(noise.batch_snr)},
                     {"batch_critical_batch", optional_number(noise.batch_critical_batch)}};
    const auto write_group = [&](const char* group, const std::vector<UpdateDiagnostics>& members) {
      Json& entries = line[group] = Json::object();
      for (const UpdateDiagnostics& one : members) {
        const std::string name = short_name(one.name);
        entries[name] = to_json(one);
        scalars.emplace_back("weight_norm/" + name, one.weight_norm);
        scalars.emplace_back("gradient_norm/" + name, one.gradient_norm);
        scalars.emplace_back("relative_update/" + name, one.relative_update);
        scalars.emplace_back("step_angle/" + name, one.step_row_angle);
        scalars.emplace_back("alignment/" + name, one.alignment);
      }
    };
    write_group("layers", diagnosed.update->layers);
    write_group("tensors", diagnosed.update->tensors);
  }
  if (!diagnosed.representation.empty()) line["representation_sequences"] = diagnosed.representation_sequences;
  for (const RepresentationChange::Layer& layer : diagnosed.representation) {
    const std::string name = short_name(layer.name);
    line["representation"][name] = {{"change", layer.change}, {"relative_update", layer.relative_update}};
    scalars.emplace_back("representation_change/" + name, layer.change);
  }
  const auto write_histograms = [&](const char* key, const char* group, const std::vector<WeightHistogram>& all) {
    for (const WeightHistogram& histogram : all) {
      const std::string name = short_name(histogram.name);
      line[key][name] = {{"deviation", histogram.deviation},
                         {"prior_deviation", optional_number(histogram.prior_deviation)},
                         {"distance", histogram.distance},
                         {"counts", histogram.counts}};
      histograms.emplace_back(group + name, to_event(histogram));
    }
  };
  write_histograms("histograms", "weights/", diagnosed.histograms.plain);
  write_histograms("preconditioned_histograms", "preconditioned_weights/", diagnosed.histograms.preconditioned);

  if (!diagnostics_) diagnostics_.emplace(run_directory_ / diagnostics_file, 0);
  diagnostics_->append(line.dump());
  if (!events_) return;
  events_->scalars(record.step, scalars);
  if (!histograms.empty()) events_->histograms(record.step, histograms);
}

void Metrics::sync() {
  lines_.sync();
  if (diagnostics_) diagnostics_->sync();
}

LogBytes Metrics::bytes() const { return {lines_.size(), diagnostics_ ? diagnostics_->size() : 0}; }

std::vector<ChartSeries> read_loss_curves(const std::filesystem::path& metrics) {
  std::vector<ChartSeries> curves = {{"training loss", '.', {}}, {"validation loss", 'o', {}}};
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(metrics, ignored)) return curves;  // a device in its place may never end
  std::ifstream file(metrics);
  for (std::string text; std::getline(file, text);) {
    const nlohmann::json line = nlohmann::json::parse(text, nullptr, false);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number()) continue;
    const auto point = [&](const char* key, ChartSeries& curve) {
      if (line.contains(key) && line[key].is_number())
        curve.points.emplace_back(line["step"].get<double>(), line[key].get<double>());
    };
    point("loss", curves[0]);
    point("val_loss", curves[1]);
  }
  return curves;
}

}  // namespace temper
