#include "sweep/slurm_record.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/descriptor.h"
#include "io/file.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// N of a job's name PREFIXN; 0: it is none.
std::int64_t number_of(const std::string& job, const std::string& prefix) {
  std::int64_t number = 0;
  if (!job.starts_with(prefix)) return 0;
  const char* end = job.data() + job.size();
  const auto [read_to, failed] = std::from_chars(job.data() + prefix.size(), end, number);
  return failed == std::errc() && read_to == end && number > 0 ? number : 0;
}

}  // namespace

SlurmRecord::SlurmRecord(const fs::path& folder)
    : path_(folder / "slurm.jsonl"),
      prefix_("temper-" + hash_bytes(fs::weakly_canonical(fs::absolute(folder)).string()).substr(0, 12) + "-") {
  std::ifstream file(path_);
  for (std::string line; std::getline(file, line);) {
    const Json json = Json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("job") || !json["job"].is_string() || !json.contains("trials")) continue;
    if (!json["trials"].is_array()) continue;
    const auto job = json["job"].get<std::string>();
    if (!job.empty() && number_of(job, prefix_) == 0) continue;
    std::vector<std::string> trials;
    for (const Json& trial : json["trials"]) trials.push_back(trial.is_string() ? trial.get<std::string>() : "");
    take(job, trials);
  }
}

std::string SlurmRecord::next_job() const { return prefix_ + std::to_string(jobs_ + 1); }

void SlurmRecord::take(const std::string& job, const std::vector<std::string>& trials) {
  jobs_ = std::max(jobs_, number_of(job, prefix_));
  if (!job.empty()) trials_of_.try_emplace(job, trials);  // a later line may give it some of them back
  for (const std::string& trial : trials) job_of_[trial] = job;
}

void SlurmRecord::assign(const std::string& job, const std::vector<std::string>& trials) {
  Json json;
  json["job"] = job;
  json["trials"] = trials;
  const Descriptor file = open_descriptor(path_, O_RDWR | O_CREAT | O_APPEND);
  if (!file) throw_failure("open", path_, errno);
  std::string line = json.dump() + "\n";
  // The last line may have been cut off by a full disk or a crash.
  char last = '\n';
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size > 0 && ::pread(file.get(), &last, 1, size - 1) == 1 && last != '\n') line.insert(0, "\n");
  if (const int failed = write_all(file.get(), line.data(), line.size())) throw_failure("write", path_, failed);
  if (::fsync(file.get()) != 0) throw_failure("write", path_, errno);
  take(job, trials);
}

std::string SlurmRecord::job_of(const std::string& trial) const {
  const auto found = job_of_.find(trial);
  return found == job_of_.end() ? "" : found->second;
}

std::string SlurmRecord::trial_of(const std::string& job, std::size_t task) const {
  const auto found = trials_of_.find(job);
  return found == trials_of_.end() || task >= found->second.size() ? "" : found->second[task];
}

std::vector<std::string> SlurmRecord::assigned() const {
  std::vector<std::string> trials;
  for (const auto& [trial, job] : job_of_) {
    if (!job.empty()) trials.push_back(trial);
  }
  return trials;
}

}  // namespace temper
