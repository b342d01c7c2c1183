#include "train/run_summary.h"

#include <nlohmann/json.hpp>

#include "config/resolved.h"
#include "io/file.h"
#include "io/json.h"

namespace temper {

void write_summary(const std::filesystem::path& run_directory, const RunConfig& config, const TrainerState& state,
                   const Engine& engine, const TrainSummary& summary, const std::string& stop_when) {
  const std::optional<DecaySummary> decay = engine.optimizer.decay_summary();
  const auto of_decay = [&](auto member) { return decay ? std::optional<double>((*decay).*member) : std::nullopt; };
  nlohmann::ordered_json json = {
      {"name", config.name},
      {"config_id", config_identity(config)},
      {"steps", state.step},
      {"tokens", state.next_window * config.model.n_ctx},
      {"parameters", engine.weights.layout().parameter_count()},
      {"first_val_loss", summary.first_val_loss},
      {"best_val_loss", state.best_val_loss},
      {"val_loss", summary.val_loss},
      {"val_loss_average", summary.val_loss ? state.last_val_loss_average : std::nullopt},
      {"val_tokens", summary.val_loss ? nlohmann::ordered_json(state.val_sample.tokens) : nullptr},
      {"val_fingerprint", summary.val_loss ? nlohmann::ordered_json(state.val_sample.fingerprint) : nullptr},
      {"bits_per_byte", summary.bits_per_byte},
      {"train_seconds", state.train_seconds},
      {"decay_timescale", of_decay(&DecaySummary::timescale)},
      {"rate_decay_sum", of_decay(&DecaySummary::sum)},
      {"equilibrium_rms", decay ? decay->equilibrium_rms : std::nullopt},
      {"inputs", state.inputs},
      {"checkpoint", std::filesystem::relative(summary.checkpoint, run_directory).string()}};
  if (summary.stopped_at) json["stopped"] = {{"step", *summary.stopped_at}, {"when", stop_when}};
  write_file_atomically(run_directory / "summary.json", json_text(json, 2) + "\n");
}

}  // namespace temper
