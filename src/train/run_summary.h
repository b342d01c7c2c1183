// What a run came to, as a file: summary.json, from which sweeps and reports read results.
#pragma once

#include <filesystem>
#include <string>

#include "config/run_config.h"
#include "train/checkpoint.h"
#include "train/engine.h"
#include "train/trainer.h"

namespace temper {

/// `stop_when`: the text of the condition, where one ended the run.
void write_summary(const std::filesystem::path& run_directory, const RunConfig& config, const TrainerState& state,
                   const Engine& engine, const TrainSummary& summary, const std::string& stop_when);

}  // namespace temper
