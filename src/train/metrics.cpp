#include "train/metrics.h"
#include "io/json.h"

#include <cmath>
#include <type_traits>

namespace temper {

namespace {

using Scalars = std::vector<std::pair<std::string, double>>;  // TensorBoard's, whose tags are the names

constexpr const char* diagnostics_file = "diagnostics.jsonl";

/// The record's measurements by their names.
template <typename Record, typename... Tables>
Json by_name(const Record& record, const Tables&... tables) {
  Json json;
  const auto put = [&](const auto& table) {
    for (const auto& one : table) json[one.name] = record.*one.member;
  };
  (put(tables), ...);
  return json;
}

/// "h.0.attn.c_attn.weight" for Hugging Face's "transformer.h.0.attn.c_attn.weight".
std::string short_name(const std::string& name) {
  constexpr std::string_view prefix = "transformer.";
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

/// Root mean square over the matrices; empty where it was not measured.
std::optional<double> mean_change(const std::vector<RepresentationDiagnostics>& matrices,
                                  std::optional<double> RepresentationDiagnostics::*change) {
  double squares = 0.0;
  for (const RepresentationDiagnostics& matrix : matrices) {
    if (!(matrix.*change)) return std::nullopt;
    squares += *(matrix.*change) * *(matrix.*change);
  }
  if (matrices.empty()) return std::nullopt;
  return std::sqrt(squares / static_cast<double>(matrices.size()));
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

Json Metrics::write(const StepRecord& record) {
  Json line;
  Scalars scalars;
  for_each_metric([&](const char* name, auto member, Absent absent, const char* /*meaning*/) {
    const std::optional value = record.*member;
    if (value || absent == Absent::null) line[name] = value;
    if constexpr (std::is_floating_point_v<typename decltype(value)::value_type>)
      if (value) scalars.emplace_back(name, *value);
  });
  for (const auto& [name, value] : record.update) line[name] = value;
  scalars.insert(scalars.end(), record.update.begin(), record.update.end());

  lines_.append(json_text(line));
  if (events_) {
    events_->scalars(record.step, scalars);
    events_->flush();
  }
  return line;
}

std::vector<std::pair<std::string, double>> summary_of(const Diagnosed& diagnosed) {
  Scalars summary;
  const auto add = [&](const UpdateDiagnostics& record, const auto& table) {
    for (const auto& one : table)
      if (const std::optional<double> value = record.*one.member; one.in_summary && value) summary.emplace_back(one.name, *value);
  };
  if (diagnosed.update) {
    add(diagnosed.update->all, update_measurements);
    add(diagnosed.update->all, noise_measurements);
  }
  for (const auto& one : representation_measurements)
    if (const auto mean = mean_change(diagnosed.representation, one.member); one.in_summary && mean)
      summary.emplace_back(one.name, *mean);
  return summary;
}

void Metrics::write_diagnostics(const StepRecord& record, const Diagnosed& diagnosed) {
  Json line = {{"step", record.step}, {"learning_rate", record.learning_rate}};
  Scalars scalars;
  std::vector<std::pair<std::string, EventHistogram>> histograms;
  if (diagnosed.update) {
    line["all"] = by_name(diagnosed.update->all, update_measurements, noise_measurements);
    const auto write_group = [&](const char* group, const std::vector<UpdateDiagnostics>& members) {
      Json& entries = line[group] = Json::object();
      for (const UpdateDiagnostics& one : members) {
        const std::string name = short_name(one.name);
        entries[name] = by_name(one, update_measurements, noise_measurements);
        const auto add = [&](const auto& table) {
          for (const auto& measurement : table)
            if (const std::optional<double> value = one.*measurement.member; measurement.of_parts && value)
              scalars.emplace_back(measurement.name + ("/" + name), *value);
        };
        add(update_measurements);
        add(noise_measurements);
      }
    };
    write_group("layers", diagnosed.update->layers);
    write_group("tensors", diagnosed.update->tensors);
  }
  if (!diagnosed.representation.empty()) {
    line["representation_sequences"] = diagnosed.representation_sequences;
    line["batch_representation_sequences"] = diagnosed.batch_representation_sequences;
  }
  for (const RepresentationDiagnostics& matrix : diagnosed.representation) {
    const std::string name = short_name(matrix.name);
    Json& entry = line["representation"][name] = by_name(matrix, representation_measurements);
    entry["relative_update"] = matrix.relative_update;
    entry["relative_step"] = matrix.relative_step;
    for (const auto& one : representation_measurements)
      if (const std::optional<double> value = matrix.*one.member; one.of_parts && value)
        scalars.emplace_back(one.name + ("/" + name), *value);
  }
  const auto write_histograms = [&](const char* key, const char* group, const std::vector<WeightHistogram>& all) {
    for (const WeightHistogram& histogram : all) {
      const std::string name = short_name(histogram.name);
      line[key][name] = {{"deviation", histogram.deviation},
                         {"prior_deviation", histogram.prior_deviation},
                         {"distance", histogram.distance},
                         {"counts", histogram.counts}};
      histograms.emplace_back(group + name, to_event(histogram));
    }
  };
  write_histograms("histograms", "weights/", diagnosed.histograms.plain);
  write_histograms("preconditioned_histograms", "preconditioned_weights/", diagnosed.histograms.preconditioned);

  if (!diagnostics_) diagnostics_.emplace(run_directory_ / diagnostics_file, 0);
  diagnostics_->append(json_text(line));
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
  for_json_lines(metrics, [&](const Json& line) {
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number()) return;
    const auto point = [&](const char* key, ChartSeries& curve) {
      if (line.contains(key) && line[key].is_number())
        curve.points.emplace_back(line["step"].get<double>(), line[key].get<double>());
    };
    point("loss", curves[0]);
    point("val_loss", curves[1]);
  });
  return curves;
}

}  // namespace temper
