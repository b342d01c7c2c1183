#include "sweep/slurm_commands.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <sstream>

#include "io/descriptor.h"
#include "io/error.h"
#include "io/process.h"

namespace temper {
namespace {

struct Reserved {
  std::string_view option, why;
};
constexpr std::string_view set_here = "temper sets it for every trial";
constexpr std::array reserved = {
    Reserved{"array", "the array is the trials; resources.trials_at_once limits how many run"},
    Reserved{"chdir", "trials run in the folder that temper sweep was started in"},
    Reserved{"clusters", "trials are looked for on one cluster; set SLURM_CLUSTERS instead, which all of Slurm's programs read"},
    Reserved{"cpus-per-task", "give resources.threads_per_trial"},
    Reserved{"dependency", "trials wait for others where more than resources.trials_at_once would run"},
    Reserved{"error", "the output of a trial is its trial.log, that of the script slurm.log"},
    Reserved{"gpus-per-task", "give resources.gpus_per_trial"},
    Reserved{"job-name", "temper finds its jobs by their names"},
    Reserved{"no-requeue", "trials that have saved are queued again"},
    Reserved{"ntasks", "a trial is one process"},
    Reserved{"open-mode", set_here},
    Reserved{"output", "the output of a trial is its trial.log, that of the script slurm.log"},
    Reserved{"parsable", set_here},
    Reserved{"requeue", set_here},
    Reserved{"signal", "trials are asked to save two minutes before their time limit"},
    Reserved{"test-only", "--dry-run of temper sweep shows what would run"},
    Reserved{"wait", "temper sweep waits for its trials"},
    Reserved{"wrap", "the script is temper's"},
};

struct Answer {
  int exit_code = 0;  ///< 128 + signal where one ended it
  std::string out, err;
};

std::string read_all(int descriptor) {
  std::string text;
  std::array<char, 65536> piece;
  while (true) {
    const ssize_t count = ::pread(descriptor, piece.data(), piece.size(), static_cast<off_t>(text.size()));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(count));
  }
}

/// Runs a program of the PATH to its end.
Answer ask(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
  // Files in memory: whatever the program writes, it never waits for a reader.
  const Descriptor out(::memfd_create("output", MFD_CLOEXEC)), err(::memfd_create("errors", MFD_CLOEXEC));
  if (!out || !err)
    throw Error(ExitCode::io, std::string("no memory for the output of ") + command[0] + ": " + std::strerror(errno));
  std::string path;
  for (const std::string& entry : environment) {
    if (entry.starts_with("PATH=")) path = entry.substr(5);
  }
  std::vector<std::string> words = command;
  words.front() = find_program(command.front(), path).string();
  if (words.front().empty()) {
    throw Error(ExitCode::usage, command[0] +
                                     " was not found in the PATH; --executor slurm needs Slurm's programs (on many clusters: "
                                     "module load slurm), without it the trials run on this machine");
  }
  // A process group of its own: Ctrl-C at the terminal is for temper, which must know whether a job was submitted. Slurm's programs
  // give up by themselves within two minutes; one that hangs shall not hold up a sweep for ever.
  const int code = run_to_end({.words = words,
                               .environment = environment,
                               .output = out.get(),
                               .errors = err.get(),
                               .own_group = true,
                               .limit = std::chrono::minutes(5)});
  return {code, read_all(out.get()), read_all(err.get())};
}

/// What a program said of its failure, without the line ends.
std::string complaint(const std::vector<std::string>& command, const Answer& answer) {
  std::string text = answer.err.empty() ? answer.out : answer.err;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text.empty() ? command[0] + " ended with exit code " + std::to_string(answer.exit_code) : text;
}

std::vector<std::string> without(std::vector<std::string> environment, std::string_view prefix) {
  std::erase_if(environment, [&](const std::string& entry) { return entry.starts_with(prefix); });
  return environment;
}

}  // namespace

std::string why_refused(std::string_view option) {
  const std::string_view name = option.substr(std::min<std::size_t>(2, option.size()));
  if (!option.starts_with("--") || name.empty() || name.front() == '=' || name.front() == '-') {
    return "write the long form, --name=value";
  }
  const std::string_view word = name.substr(0, name.find('='));
  const auto control = [](char character) { return static_cast<unsigned char>(character) < ' '; };
  if (word.find(' ') != std::string_view::npos || std::any_of(option.begin(), option.end(), control)) {
    return "write --name=value, one option in each text";
  }
  // sbatch takes abbreviations too.
  for (const Reserved& each : reserved) {
    if (each.option.starts_with(word)) return "--" + std::string(each.option) + " cannot be given; " + std::string(each.why);
  }
  return "";
}

std::int64_t SlurmCommands::submit(const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {"sbatch", "--parsable"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  // The step that temper sweep itself may run in is not the trials'.
  const Answer answer = ask(command, without(environment_, "SLURM_STEP_"));
  std::int64_t number = 0;
  std::istringstream(answer.out) >> number;  // "1234" or "1234;cluster"
  if (answer.exit_code == 0 && number > 0) return number;
  throw Error(ExitCode::usage,
              "the trials could not be submitted: " + complaint(command, answer) +
                  "; no trial counts as failed. Correct slurm or resources in the sweep file (a limit on submitted "
                  "jobs: lower slurm.queued_trials) and run the same command again");
}

std::optional<std::vector<QueuedTask>> SlurmCommands::queue(const std::vector<std::string>& jobs, std::string& problem) const {
  std::string names;
  for (const std::string& job : jobs) names += (names.empty() ? "" : ",") + job;
  // Without --states it lists what has not ended.
  const std::vector<std::string> command = {
      "squeue",          "--noheader",          "--all", "--array", "--user=" + std::to_string(::getuid()),
      "--name=" + names, "--format=%j %F %K %T"};
  const Answer answer = ask(command, without(environment_, "SQUEUE_"));
  if (answer.exit_code != 0) {
    problem = complaint(command, answer);
    return std::nullopt;
  }
  std::vector<QueuedTask> tasks;
  std::istringstream lines(answer.out);
  for (std::string line; std::getline(lines, line);) {
    QueuedTask task{};
    if (std::istringstream(line) >> task.job >> task.number >> task.index >> task.state) tasks.push_back(std::move(task));
  }
  return tasks;
}

std::string SlurmCommands::cancel(const std::vector<std::int64_t>& waiting, const std::vector<std::int64_t>& running,
                                  std::string_view signal) const {
  const std::vector<std::string> environment = without(environment_, "SCANCEL_");
  const auto run = [&](std::vector<std::string> command, const std::vector<std::int64_t>& jobs) -> std::string {
    if (jobs.empty()) return "";
    for (const std::int64_t job : jobs) command.push_back(std::to_string(job));
    const Answer answer = ask(command, environment);
    return answer.exit_code == 0 ? "" : complaint(command, answer);
  };
  // In this order: while tasks of an array wait, Slurm 22.05 calls a signal to the others unsuccessful and sends it again and
  // again.
  const std::string first = run({"scancel", "--quiet", "--state=PENDING"}, waiting);
  const std::string second = run({"scancel", "--quiet", "--batch", "--state=RUNNING", "--signal=" + std::string(signal)}, running);
  return first.empty() ? second : first;
}

}  // namespace temper
