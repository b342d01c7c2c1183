// What is measured of a run's weights on data that it does not train on, and what the run keeps of that.
#pragma once

#include <cstdint>

#include "config/run_config.h"
#include "distributed/communicator.h"
#include "train/checkpoint.h"
#include "train/engine.h"
#include "train/progress.h"
#include "train/start.h"

namespace temper {

/// Validation loss, that of the weights' average and HellaSwag, as far as the configuration asks for them, into the step's record.
/// False: a signal came before all was measured. Data that cannot be read: Error(ExitCode::data).
[[nodiscard]] bool validate(StepRecord& record, const RunConfig& config, RunData& data, Engine& engine, Progress& progress);

/// Takes a validation, all of it finite, into the run's state and tells it. `steps` of the run.
void note_validation(const StepRecord& record, std::int64_t steps, const RunData& data, TrainerState& state, Progress& progress);

}  // namespace temper
