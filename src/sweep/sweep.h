// A sweep in its folder: all trials it could come to, and how far they are.
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "sweep/sweep_file.h"
#include "sweep/trial_folder.h"
#include "sweep/trials.h"

namespace temper {

struct Sweep {
  SweepFile file;
  std::filesystem::path folder;
  std::vector<Configuration> configurations;
  std::vector<std::vector<Trial>> rungs;  ///< of each rung the trials of all configurations, seed by seed
  std::vector<std::string> notes;         ///< for people: see drop_repeated()

  const Trial& trial(std::size_t rung, std::size_t configuration, std::size_t seed) const {
    return rungs[rung][configuration * file.seeds.size() + seed];
  }
};

/// Expands and checks everything before anything runs; see configurations(), make_trials() and check_budget() for what is refused.
Sweep make_sweep(SweepFile file, std::filesystem::path folder);

struct PlannedTrial {
  const Trial* trial;
  TrialStatus status;

  bool ended() const { return status.state != TrialState::waiting && status.state != TrialState::interrupted; }
  double done() const;  ///< share of its steps
};

/// Where a sweep stands, as its folders tell. Of halving it holds the rungs whose configurations are known: a rung begins when all
/// trials of the one before have ended.
struct SweepPlan {
  std::vector<std::vector<PlannedTrial>> rungs;
  std::size_t trials_to_come = 0;  ///< of rungs that are not known yet
  double flops_to_come = 0.0;      ///< at most

  std::vector<const PlannedTrial*> trials() const;  ///< of all rungs that are known
  std::size_t count(TrialState state) const;
  std::size_t known() const { return trials().size(); }
  bool ended() const;         ///< nothing is left to run, failed trials aside
  double flops_left() const;  ///< at most, failed trials aside
};

/// Error(ExitCode::usage): a trial's folder is another's; Error(ExitCode::data): see SeenInputs.
SweepPlan read_plan(const Sweep& sweep);

/// What trials found under the names of files in their configurations. Results of different data under one name are not to be
/// ranked: add() throws Error(ExitCode::data), which names both.
class SeenInputs {
 public:
  /// `inputs` as TrialStatus has them; `who` names them in messages.
  void add(const Trial& trial, const std::map<std::string, std::string>& inputs, const std::string& who);

 private:
  struct Seen {
    std::string fingerprint, who;
  };
  std::map<std::string, Seen> seen_;  // by key and value
};
/// Of the finished trials.
SeenInputs inputs_of(const SweepPlan& plan);

/// What trials took so far.
struct Spent {
  double flops = 0.0;
  double seconds = 0.0;  ///< of training, trials side by side each counted
};
Spent spent(const SweepPlan& plan);

}  // namespace temper
