#include "train/validation.h"

#include <fmt/format.h>

#include "train/evaluation.h"
#include "train/signals.h"

namespace temper {

bool validate(StepRecord& record, const RunConfig& config, RunData& data, Engine& engine, Progress& progress) {
  engine.optimizer.average().show();
  const auto showing = [&](const char* what) {
    return [&progress, what](double share) {
      progress.activity(what, share);
      return !StopSignals::requested();
    };
  };
  const auto loss_of = [&](const char* what) {
    return validation_loss(engine.model, *data.val, config.batch.micro_batch, config.model.n_ctx, data.sample, engine.batch,
                           *engine.device, engine.ranks, showing(what));
  };
  record.val_loss = loss_of("validating");
  if (!record.val_loss) return false;
  if (engine.average && record.step > 0) {
    struct Shown {
      explicit Shown(MovingAverage& shown) : average(shown) { average.show(); }
      ~Shown() { average.hide(); }
      MovingAverage& average;
    };
    const Shown shown(*engine.average);
    record.val_loss_average = loss_of("validating the average");
    if (!record.val_loss_average) return false;
  }
  record.val_tokens = data.sample.tokens;
  if (data.hellaswag.empty()) return true;
  const std::optional<MultipleChoiceScore> score =
      multiple_choice_score(engine.model, data.hellaswag, config.eval.hellaswag_items, *data.tokenizer, config.model.n_ctx,
                            config.batch.micro_batch, engine.batch, *engine.device, engine.ranks, showing("scoring HellaSwag"));
  if (!score) return false;
  record.hellaswag_acc = score->accuracy;
  record.hellaswag_acc_norm = score->accuracy_normalized;
  record.hellaswag_items = score->items;
  return true;
}

void note_validation(const StepRecord& record, std::int64_t steps, const RunData& data, TrainerState& state, Progress& progress) {
  if (state.val_sample != data.sample) state.first_val_loss = state.best_val_loss = std::nullopt;
  state.val_sample = data.sample;
  for (const auto& [key, fingerprint] : data.inputs) state.inputs[key] = fingerprint;
  state.last_val_loss = record.val_loss;
  state.last_val_loss_average = record.val_loss_average;
  if (!state.first_val_loss) state.first_val_loss = record.val_loss;
  if (!state.best_val_loss || *record.val_loss < *state.best_val_loss) state.best_val_loss = record.val_loss;
  std::string line = fmt::format("step {}/{}  validation loss {:.4f} nats per token", record.step, steps, *record.val_loss);
  if (record.val_loss_average) line += fmt::format(", {:.4f} with averaged weights", *record.val_loss_average);
  if (record.hellaswag_items)
    line += fmt::format("  HellaSwag acc_norm {:.4f} (acc {:.4f}, {} items)", *record.hellaswag_acc_norm, *record.hellaswag_acc,
                        *record.hellaswag_items);
  progress.note(line);
}

}  // namespace temper
