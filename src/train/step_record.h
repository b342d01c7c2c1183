// One step as the run's record has it: the table here is what metrics.jsonl, TensorBoard and docs/diagnostics.md are made from.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// What was not measured is null in JSON.
template <typename Value>
struct nlohmann::adl_serializer<std::optional<Value>> {
  template <typename Json>
  static void to_json(Json& json, const std::optional<Value>& value) {
    json = value ? Json(*value) : Json(nullptr);
  }
  template <typename Json>
  static void from_json(const Json& json, std::optional<Value>& value) {
    value = json.is_null() ? std::nullopt : std::optional(json.template get<Value>());
  }
};

namespace temper {

/// A line of metrics.jsonl. What was not measured is absent.
struct StepRecord {
  std::int64_t step = 0;
  std::int64_t tokens = 0;
  std::optional<double> loss = {};
  std::optional<double> grad_norm = {};
  double learning_rate = 0.0;
  std::vector<std::pair<std::string, double>> update = {};  ///< summary_of what diagnostics measured of the update
  std::optional<double> val_loss = {};
  std::optional<double> val_loss_average = {};
  std::optional<std::int64_t> val_tokens = {};
  std::optional<double> hellaswag_acc = {}, hellaswag_acc_norm = {};
  std::optional<std::int64_t> hellaswag_items = {};
  std::optional<double> tokens_per_second = {}, mfu = {};
  std::optional<double> checkpoint_pause = {}, checkpoint_seconds = {}, checkpoint_gib_per_second = {};
  double seconds = 0.0;
  std::optional<double> spike = {};
  std::optional<std::int64_t> incidents = {};
};

/// Lengths of metrics.jsonl and diagnostics.jsonl, as a checkpoint records them.
struct LogBytes {
  std::uint64_t metrics = 0, diagnostics = 0;
};

/// What a line says of a number that was not measured.
enum class Absent { null, nothing };

/// Calls visit(name, member, absent, meaning) for each number of a line, in the line's order; after them come those of `update`.
template <typename Visit>
void for_each_metric(Visit visit) {
  visit("step", &StepRecord::step, Absent::null, "updates made; 0: the untrained model");
  visit("tokens", &StepRecord::tokens, Absent::null, "tokens trained on so far");
  visit("loss", &StepRecord::loss, Absent::null, "mean training loss of the step, nats per token; null where it was not finite");
  visit("val_loss", &StepRecord::val_loss, Absent::nothing,
        "mean loss over the validation sample, nats per token; null where it was not finite");
  visit("val_loss_average", &StepRecord::val_loss_average, Absent::nothing,
        "the same with the average of the weights (eval.weight_average)");
  visit("val_tokens", &StepRecord::val_tokens, Absent::nothing, "tokens of that sample");
  visit("hellaswag_acc", &StepRecord::hellaswag_acc, Absent::nothing, "share of items whose right ending has the smallest loss");
  visit("hellaswag_acc_norm", &StepRecord::hellaswag_acc_norm, Absent::nothing, "the same by loss per token");
  visit("hellaswag_items", &StepRecord::hellaswag_items, Absent::nothing, "items scored");
  visit("learning_rate", &StepRecord::learning_rate, Absent::null, "of the step, as the schedule has it");
  visit("grad_norm", &StepRecord::grad_norm, Absent::null,
        "l2 norm of the whole gradient, before clipping; null where it was not finite");
  visit("spike", &StepRecord::spike, Absent::nothing,
        "standard deviations by which the loss is above the mean of those before, where that is more than train.spike_sigmas");
  visit("incidents", &StepRecord::incidents, Absent::nothing,
        "steps and validations so far that were skipped or rolled back; absent while there are none");
  visit("tokens_per_second", &StepRecord::tokens_per_second, Absent::null, "of all ranks together");
  visit("mfu", &StepRecord::mfu, Absent::null, "model FLOPs utilisation, 0 to 1; null where the device's peak is not known");
  visit("checkpoint_pause", &StepRecord::checkpoint_pause, Absent::nothing,
        "seconds that training stood still for checkpoints since the line before");
  visit("checkpoint_seconds", &StepRecord::checkpoint_seconds, Absent::nothing,
        "that writing one took, beside training, which was finished since the line before");
  visit("checkpoint_gib_per_second", &StepRecord::checkpoint_gib_per_second, Absent::nothing, "its tensors by these seconds");
  visit("seconds", &StepRecord::seconds, Absent::null, "time in steps since the run began");
}

}  // namespace temper
