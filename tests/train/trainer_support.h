// Whole runs in the process, on both backends, and what they leave.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "config/parse.h"
#include "io/file.h"
#include "io/json.h"
#include "kernels/emulated/emulated_ops.h"
#include "tiny_run.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

namespace temper {

class TrainerTest : public testing::TestWithParam<const char*> {
 protected:
  TrainerTest() : ops(std::string(GetParam()) == "cpu" ? make_cpu_ops() : make_emulated_ops()) {
    config = tiny_config();
    config.data.train = {put_tiny_shard(folder / "train.bin", 400, 1)};
    config.data.val = {put_tiny_shard(folder / "val.bin", 100, 2)};
    config.eval.every = 3;
    config.checkpoint.every = 2;
  }

  TrainSummary run(bool resume = false, const std::vector<std::string>& allowed_changes = {}) {
    testing::internal::CaptureStderr();
    try {
      const TrainSummary summary = train({.config = config,
                                          .run_directory = folder / "run",
                                          .resume = resume,
                                          .allowed_changes = allowed_changes,
                                          .stop_when = stop_when},
                                         *ops, *ranks);
      said = testing::internal::GetCapturedStderr();
      return summary;
    } catch (...) {
      said = testing::internal::GetCapturedStderr();
      throw;
    }
  }
  std::vector<Json> metrics() const {
    std::vector<Json> found;
    std::ifstream file(folder / "run/metrics.jsonl");
    for (std::string line; std::getline(file, line);) found.push_back(Json::parse(line));
    return found;
  }
  Json summary_file() const { return Json::parse(read_file(folder / "run/summary.json")); }
  /// Steps that have a line, and of those the ones with a validation loss.
  std::vector<int> steps(bool validated) const {
    std::vector<int> found;
    for (const Json& line : metrics())
      if (!validated || line.contains("val_loss")) found.push_back(line["step"].get<int>());
    return found;
  }

  TemporaryFolder folder;
  std::unique_ptr<Communicator> ranks = make_self_communicator();
  std::unique_ptr<Ops> ops;
  RunConfig config;
  std::optional<StopCondition> stop_when;
  std::string said;  // on stderr, by the last run
};

}  // namespace temper
