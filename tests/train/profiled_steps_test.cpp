// --profile-steps: what NVIDIA's profilers would see of a run on the emulated GPU.
#include <algorithm>
#include <set>

#include "kernels/emulated/profiler.h"
#include "trainer_support.h"

namespace temper {
namespace {

class ProfiledSteps : public TrainerTest {
 protected:
  ProfiledSteps() {
    config.model.n_layer = 2;
    config.train.steps = 8;
    emulated::take_profile();
  }

  /// What is left of a run in which these steps are profiled.
  std::vector<std::string> left(std::optional<StepRange> profiled, const char* name) {
    testing::internal::CaptureStderr();
    const TrainSummary summary = train({.config = config, .run_directory = folder / name, .profiled = profiled}, *ops, *ranks);
    testing::internal::GetCapturedStderr();
    std::vector<std::string> all;
    for (const char* file : {"model.safetensors", "optimizer.safetensors"}) all.push_back(read_file(summary.checkpoint / file));
    std::ifstream lines(folder / name / "metrics.jsonl");
    for (std::string line; std::getline(lines, line);) {
      Json json = Json::parse(line);
      for (const char* timing : timing_fields) json.erase(timing);
      all.push_back(json.dump());
    }
    return all;
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, ProfiledSteps, testing::Values("emulated"), [](const auto& each) { return each.param; });

std::vector<std::string> with_depth(const std::vector<std::string>& ranges, int depth) {
  std::vector<std::string> found;
  std::copy_if(ranges.begin(), ranges.end(), std::back_inserter(found),
               [&](const std::string& each) { return std::count(each.begin(), each.end(), '/') == depth; });
  return found;
}

// Two micro-batches a step. Evaluations are due after steps 3, 6 and 8, checkpoints after every second.
TEST_P(ProfiledSteps, AreSeenWholeAndNoOthersAndHaveTheSameBits) {
  const std::vector<std::string> expected = left(std::nullopt, "plain");
  emulated::Profile seen = emulated::take_profile();
  EXPECT_EQ(seen.starts + seen.stops, 0);
  EXPECT_GT(seen.other_graphs, 0);

  EXPECT_EQ(left(StepRange{4, 6}, "profiled"), expected);
  seen = emulated::take_profile();
  EXPECT_EQ(seen.starts, 1);
  EXPECT_EQ(seen.stops, 1);
  EXPECT_TRUE(seen.idle) << "the profiler was started or stopped while the GPU had work";
  EXPECT_EQ(seen.graphs, 0);
  EXPECT_GT(seen.other_graphs, 0) << "steps that are not profiled are replayed";

  EXPECT_EQ(with_depth(seen.ranges, 0), (std::vector<std::string>{"step 4", "step 5", "step 6"}));
  std::vector<std::string> phases;
  for (const char* step : {"step 4", "step 5", "step 6"})
    for (const char* phase : {"/forward", "/head and loss", "/backward", "/forward", "/head and loss", "/backward", "/update"})
      phases.push_back(std::string(step) + phase);
  EXPECT_EQ(with_depth(seen.ranges, 1), phases);
  const std::set<std::string> all(seen.ranges.begin(), seen.ranges.end());
  for (const char* each :
       {"step 5/forward/embedding_forward/embedding_forward", "step 5/forward/layer 0/attention_forward",
        "step 5/forward/layer 1/linear_forward", "step 5/head and loss/cross_entropy/cross_entropy",
        "step 5/backward/layer 1 backward/attention_backward", "step 5/backward/layer 0 backward/layernorm_backward",
        "step 5/backward/embedding_backward", "step 5/update/global_norm", "step 5/update/optimizer_update/optimizer_update"})
    EXPECT_TRUE(all.contains(each)) << each;
}

TEST_P(ProfiledSteps, MayBeTheFirstOnesAndTheLastOnes) {
  const std::vector<std::string> expected = left(std::nullopt, "plain");
  for (const StepRange range : {StepRange{1, 1}, StepRange{8, 8}, StepRange{1, 8}}) {
    emulated::take_profile();
    EXPECT_EQ(left(range, ("from " + std::to_string(range.first) + " to " + std::to_string(range.last)).c_str()), expected);
    const emulated::Profile seen = emulated::take_profile();
    EXPECT_EQ(seen.starts, 1);
    EXPECT_EQ(seen.stops, 1);
    EXPECT_EQ(with_depth(seen.ranges, 0).front(), "step " + std::to_string(range.first));
    EXPECT_EQ(with_depth(seen.ranges, 0).back(), "step " + std::to_string(range.last));
  }
}

TEST_P(ProfiledSteps, ThatAResumedRunHasBehindItAreRefused) {
  left(std::nullopt, "run");
  expect_error(ExitCode::usage, {"--profile-steps 7:8", "behind step 8"}, [&] {
    train({.config = config, .run_directory = folder / "run", .resume = true, .profiled = StepRange{7, 8}}, *ops, *ranks);
  });
}

}  // namespace
}  // namespace temper
