#include "train/metrics.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace temper {

Metrics::Metrics(const std::filesystem::path& run_directory, std::uint64_t keep_bytes, std::int64_t first_step, bool tensorboard)
    : lines_(run_directory / "metrics.jsonl", keep_bytes) {
  if (tensorboard) events_ = std::make_unique<EventFile>(run_directory / "tensorboard", first_step);
}

void Metrics::write(const StepRecord& record, const StepMeasurements& measurements) {
  nlohmann::ordered_json line;
  std::vector<std::pair<std::string, double>> scalars;
  const auto number = [&](const char* key, const char* tag, const std::optional<double>& value) {
    line[key] = value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
    if (value) scalars.emplace_back(tag, *value);
  };

  line["step"] = record.step;
  line["tokens"] = record.tokens;
  number("loss", "train/loss", record.loss);
  if (measurements.val_loss) number("val_loss", "val/loss", measurements.val_loss);
  if (measurements.hellaswag) {
    number("hellaswag_acc", "hellaswag/acc", measurements.hellaswag->accuracy);
    number("hellaswag_acc_norm", "hellaswag/acc_norm", measurements.hellaswag->accuracy_normalized);
  }
  number("lr", "optimizer/lr", record.learning_rate);
  number("grad_norm", "optimizer/grad_norm", record.gradient_norm);
  number("tokens_per_second", "perf/tokens_per_second", measurements.tokens_per_second);
  number("mfu", "perf/mfu", measurements.mfu);
  line["seconds"] = measurements.seconds;

  lines_.append(line.dump());
  if (events_) {
    events_->scalars(record.step, scalars);
    events_->flush();
  }
}

std::vector<ChartSeries> read_loss_curves(const std::filesystem::path& metrics) {
  std::vector<ChartSeries> curves = {{"training loss", '.', {}}, {"validation loss", 'o', {}}};
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
