#include "sweep/trial_folder.h"

#include <algorithm>

#include "config/parse.h"
#include "config/resolved.h"
#include "config/validate.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/json_lines.h"
#include "sweep/metric.h"

namespace temper {

namespace fs = std::filesystem;

namespace {

template <class T>
T member_or(const Json& object, const char* key, T otherwise) {
  if (!object.is_object() || !object.contains(key)) return otherwise;
  const Json& value = object[key];
  return (std::is_integral_v<T> ? value.is_number_integer() : value.is_number()) ? value.get<T>() : otherwise;
}

std::string describe_end(int exit_code, int signal) {
  return signal != 0 ? "signal " + std::to_string(signal) : "exit code " + std::to_string(exit_code);
}

}  // namespace

std::string_view to_string(TrialState state) {
  constexpr std::string_view names[] = {"waiting", "interrupted", "finished", "stopped", "failed"};
  return names[static_cast<std::size_t>(state)];
}

fs::path trial_folder(const fs::path& sweep_folder, const Trial& trial) { return sweep_folder / "trials" / trial.id; }

TrialStatus read_trial(const fs::path& folder, const Trial& trial, const SweepFile& sweep) {
  TrialStatus status;
  const std::int64_t steps = total_steps(trial.config);
  const Json summary = read_json_if_whole(folder / "summary.json");
  const bool was_stopped = summary.is_object() && summary.contains("stopped");
  const Json stop = was_stopped ? summary["stopped"] : Json();
  const bool as_asked = stop.is_object() && stop.contains("when") && stop["when"] == sweep.stop_when && !sweep.stop_when.empty();
  if (as_asked || (!was_stopped && member_or<std::int64_t>(summary, "steps", -1) == steps)) {
    status.state = as_asked ? TrialState::stopped : TrialState::finished;
    status.steps = as_asked ? std::clamp<std::int64_t>(member_or<std::int64_t>(stop, "step", 0), 0, steps) : steps;
    status.train_seconds = member_or(summary, "train_seconds", 0.0);
    if (as_asked)
      status.failure = "step " + std::to_string(status.steps) + ": " + sweep.stop_when;
    else
      status.metric = read_metric(find_metric(sweep.metric.name), folder);
    if (const auto inputs = summary.find("inputs"); inputs != summary.end() && inputs->is_object())
      for (const auto& [key, fingerprint] : inputs->items())
        if (fingerprint.is_string()) status.inputs[key] = fingerprint.get<std::string>();
    return status;
  }
  constexpr std::uint64_t enough = 16384;  // a line of metrics is a few hundred bytes, and the last may be torn
  const auto look = [&](const std::string& line) {
    const Json json = parse_json_if_whole(line).value_or(Json());
    status.steps = member_or(json, "step", status.steps);
    status.train_seconds = member_or(json, "seconds", status.train_seconds);
  };
  for_lines(folder / "metrics.jsonl", look, enough);
  std::error_code ignored;
  if (fs::exists(folder / "metrics.jsonl", ignored)) status.state = TrialState::interrupted;
  const Json failure = read_json_if_whole(folder / "failure.json");
  if (failure.is_object()) {
    status.state = TrialState::failed;
    status.failure = describe_end(member_or(failure, "exit_code", 0), member_or(failure, "signal", 0));
  }
  return status;
}

void check_trial_folder(const fs::path& folder, const Trial& trial) {
  const auto check = [&](const fs::path& file, const std::string& found) {
    if (found != trial.id)
      throw Error(ExitCode::usage,
                  "{}: is of configuration {}, and the folder's name of {}; remove the folder, and the trial runs again",
                  file.string(), found, trial.id);
  };
  const Json summary = read_json_if_whole(folder / "summary.json");
  if (summary.is_object() && summary.contains("config_id") && summary["config_id"].is_string())
    check(folder / "summary.json", summary["config_id"].get<std::string>());
  const fs::path path = folder / "config.json";
  if (!fs::exists(path)) return;
  std::string found;
  try {
    found = config_identity(config_from_json(read_config_file(path, "", "a file"), path.string()));
  } catch (const Error& error) {
    throw Error(ExitCode::usage, "{}; remove the folder, and the trial runs again", error.what());
  }
  check(path, found);
}

void prepare_trial(const fs::path& folder, const Trial& trial, const SweepFile& sweep, const Configuration& configuration) {
  make_inner_folder(folder);
  Json json;
  json["seed"] = trial.seed;
  json["steps"] = total_steps(trial.config);
  json["values"] = Json::object();
  const std::vector<std::string> names = columns(sweep);
  for (std::size_t i = 0; i < names.size(); ++i) json["values"][names[i]] = to_json(configuration.labels[i]);
  write_file_atomically(folder / "trial.json", json_text(json, 2) + "\n");
  // Last: with this file the folder is a run that can be resumed, at step 0 where it has no checkpoint.
  write_file_atomically(folder / "config.json", config_to_json(trial.config));
  fs::remove(folder / "failure.json");
}

bool is_in_use(const fs::path& folder) {
  if (!fs::exists(folder / "run.lock")) return false;
  try {
    const FolderLock probe(folder);
    return false;
  } catch (const Error&) {
    return true;
  }
}

void record_failure(const fs::path& folder, const ProcessEnd& end) {
  constexpr std::uint64_t most_bytes = 8192;
  constexpr std::size_t most_lines = 20;
  std::vector<std::string> log;
  const auto look = [&](const std::string& line) { log.push_back(line); };
  for_lines(folder / "trial.log", look, most_bytes);
  if (log.size() > most_lines) log.erase(log.begin(), log.end() - most_lines);
  Json json;
  json["exit_code"] = end.signal != 0 ? Json() : Json(end.exit_code);
  json["signal"] = end.signal != 0 ? Json(end.signal) : Json();
  json["log"] = log;
  write_file_atomically(folder / "failure.json", json_text(json, 2) + "\n");
}

void record_process(const fs::path& folder, const ProcessTimes& times, const ProcessEnd& end) {
  Json json;
  json["started"] = times.started;
  json["ended"] = times.ended;
  json["end"] = describe_end(end.exit_code, end.signal);
  AppendLog(folder / "processes.jsonl", 0).append(json_text(json) + "\n");
}

std::vector<ProcessTimes> read_processes(const fs::path& folder) {
  std::vector<ProcessTimes> processes;
  for_json_lines(folder / "processes.jsonl", [&](const Json& json) {
    const ProcessTimes times{member_or(json, "started", 0.0), member_or(json, "ended", 0.0)};
    if (times.started > 0 && times.ended >= times.started) processes.push_back(times);
  });
  return processes;
}

}  // namespace temper
