#include "train/run_directory.h"

#include <algorithm>

#include "config/parse.h"
#include "config/resolved.h"
#include "io/error.h"

namespace temper {

namespace fs = std::filesystem;

RunDirectory::RunDirectory(fs::path path, bool resume) : path_(std::move(path)) {
  const bool holds_run = fs::exists(path_ / "config.json");
  const bool holds_history = fs::exists(path_ / "metrics.jsonl") || fs::exists(path_ / "sweep.json");
  if (resume && !holds_run)
    throw Error(ExitCode::checkpoint,
                path_.string() + ": there is no run to resume here; drop --resume to start one, or correct --out");
  if (!resume && holds_run)
    throw Error(ExitCode::usage,
                path_.string() + ": holds a run already; --resume goes on with it, another --out starts a new one");
  if (!resume && holds_history)
    throw Error(ExitCode::usage, path_.string() + ": holds " +
                                     (fs::exists(path_ / "sweep.json") ? "a sweep" : "the metrics.jsonl of a run") +
                                     ", which a new run would mix with its own; name another --out");
  make_folder(path_);
  lock_ = std::make_unique<FolderLock>(path_);
}

void check_resumable(const TrainerState& saved, const TrainerState& now, const std::vector<std::string>& allowed_changes,
                     const fs::path& checkpoint) {
  std::string problems;
  if (saved.data_fingerprint != now.data_fingerprint)
    problems += "\n  the training data differs: fingerprint " + saved.data_fingerprint + " then, " + now.data_fingerprint + " now";
  if (!saved.tokenizer_hash.empty() && !now.tokenizer_hash.empty() && saved.tokenizer_hash != now.tokenizer_hash)
    problems += "\n  the tokenizer differs: hash " + saved.tokenizer_hash + " then, " + now.tokenizer_hash + " now";

  const RunConfig before = config_from_json(saved.config_json, (checkpoint / "trainer.json").string());
  const RunConfig after = config_from_json(now.config_json, "the configuration given");
  for (const FieldDifference& difference : compare(before, after)) {
    if (difference.resume == ResumeClass::topology || difference.resume == ResumeClass::free) continue;
    const std::string path(difference.path);
    const bool allowed = std::find(allowed_changes.begin(), allowed_changes.end(), path) != allowed_changes.end();
    if (difference.resume == ResumeClass::trajectory && allowed) continue;
    problems += "\n  " + path + ": " + difference.before + " then, " + difference.after + " now";
    problems += difference.resume == ResumeClass::trajectory ? " (--allow-change " + path + " permits it)" : " (cannot change)";
  }
  if (!problems.empty())
    throw Error(ExitCode::checkpoint, checkpoint.string() + " was saved by another run:" + problems +
                                          "\nGive the configuration it was started with, or start a new run with another --out.");
}

}  // namespace temper
