#include "sweep/slurm.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <fstream>
#include <sstream>

#include "io/descriptor.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/process.h"
#include "io/text.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
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

/// Runs a program of the PATH to its end.
Answer ask(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
  const Descriptor out = memory_file(), err = memory_file();
  std::string path;
  for (const std::string& entry : environment)
    if (entry.starts_with("PATH=")) path = entry.substr(5);
  std::vector<std::string> words = command;
  words.front() = find_program(command.front(), path).string();
  if (words.front().empty())
    throw Error(ExitCode::usage, command[0] +
                                     " was not found in the PATH; --executor slurm needs Slurm's programs (on many clusters: "
                                     "module load slurm), without it the trials run on this machine");
  // A process group of its own: Ctrl-C at the terminal is for temper, which must know whether a job was submitted. Slurm's programs
  // give up by themselves within two minutes; one that hangs shall not hold up a sweep for ever.
  const int code = run_to_end({.words = words,
                               .environment = environment,
                               .output = out.get(),
                               .errors = err.get(),
                               .own_group = true,
                               .limit = std::chrono::minutes(5)});
  const auto written = [](const Descriptor& file) { return read_file("/proc/self/fd/" + std::to_string(file.get())); };
  return {code, written(out), written(err)};
}

/// What a program said of its failure, as lines of a message.
std::string complaint(const std::vector<std::string>& command, const Answer& answer) {
  std::istringstream said(answer.err.empty() ? answer.out : answer.err);
  std::string text;
  for (std::string line; std::getline(said, line);) text += (text.empty() || line.empty() ? "" : "\n  ") + line;
  return text.empty() ? command[0] + " ended with exit code " + std::to_string(answer.exit_code) : text;
}

std::vector<std::string> without(std::vector<std::string> environment, std::string_view prefix) {
  std::erase_if(environment, [&](const std::string& entry) { return entry.starts_with(prefix); });
  return environment;
}

/// N of a job's name PREFIXN; 0: it is none.
std::int64_t number_of(const std::string& job, const std::string& prefix) {
  std::int64_t number = 0;
  if (!job.starts_with(prefix)) return 0;
  const char* end = job.data() + job.size();
  const auto [read_to, failed] = std::from_chars(job.data() + prefix.size(), end, number);
  return failed == std::errc() && read_to == end && number > 0 ? number : 0;
}

// What follows the variables job, sweep, temper, work, options, trials and OMP_NUM_THREADS.
constexpr const char* script_body = R"script(
trial=${trials[$SLURM_ARRAY_TASK_ID]}
folder=$sweep/trials/$trial
end=$folder/slurm_end.json
newest_checkpoint() { ls -d "$folder"/checkpoints/step-???????? 2>/dev/null | tail -n 1; }

cd "$work" || exit 1
# As everywhere in temper: no program of the current folder is run, and nothing is written through a link.
path=
while read -rd: each; do [[ $each != /* ]] || path+=${path:+:}$each; done <<<"$PATH:"
PATH=$path
for each in "$folder" "$folder/trial.log" "$end.tmp"; do
  [ ! -L "$each" ] || { echo "$each: is a symbolic link, which is not followed in a sweep"; exit 8; }
done

# The last line of slurm.jsonl that names a trial says which job may run it: a submission that nobody waits for does nothing. And
# what has ended does not begin again.
if ! grep -F "\"$trial\"" "$sweep/slurm.jsonl" | tail -n 1 | grep -qF "\"$job\"" || grep -qsF "\"$job\"" "$end"; then
  echo "$job, task $SLURM_ARRAY_TASK_ID: trial $trial is not this task's to run"
  exit 0
fi

# SIGTERM (the time limit comes near, preemption, scancel): the trial saves, and Slurm queues this task again.
# SIGUSR2 (temper sweep was stopped): the trial saves, and that was it.
# Some signals come to this shell alone, some to every process of the task. temper may see one only, as a second one ends it
# before it has saved: it ignores SIGTERM, as its parent does, and gets one SIGUSR1 from here.
child= again= told=
tell() { [ -z "$child" ] || [ -n "$told" ] || { told=yes; kill -USR1 "$child"; }; }
trap 'again=${again:-yes}; tell' TERM
trap 'again=no; tell' USR2

before=$(newest_checkpoint)
started=$(date +%s)
# A shell between the two reports through a pipe: `wait` in a shell that has traps may lose an exit code.
exec 3< <(
  trap '' TERM USR2
  "$temper" train "$folder/config.json" --out "$folder" --resume "${options[@]}" >>"$folder/trial.log" 2>&1 </dev/null &
  echo $!
  wait $!
  echo $?
)
read -r child <&3
[ -z "$again" ] || tell
read -r code <&3 || exit 1

if [ "$code" = 75 ] && [ "$again" != no ]; then
  task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  case $(squeue --noheader --jobs="$task" --format=%T) in
    RUNNING | SIGNALING)
      # Without a step since it began it would be queued for ever; temper sweep knows when to give up.
      if [ "$(newest_checkpoint)" != "$before" ]; then
        echo "the trial has saved; Slurm queues its task again" >>"$folder/trial.log"
        # Slurm ends this task while scontrol still waits for its answer.
        (trap '' TERM && exec scontrol requeue "$task") && exit 75
      fi ;;
    '') ;;         # Slurm does not answer: temper sweep submits the trial again
    *) exit 75 ;;  # cancelled, or queued again by Slurm itself: temper sweep sees which
  esac
fi

# Whole or not at all.
printf '{"job": "%s", "exit_code": %d, "started": %d, "ended": %d}\n' "$job" "$code" "$started" "$(date +%s)" >"$end.tmp" &&
  mv "$end.tmp" "$end"
exit "$code"
)script";

}  // namespace

std::string why_refused(std::string_view option) {
  const std::string_view name = option.substr(std::min<std::size_t>(2, option.size()));
  if (!option.starts_with("--") || name.empty() || name.front() == '=' || name.front() == '-')
    return "write the long form, --name=value";
  const std::string_view word = name.substr(0, name.find('='));
  const auto control = [](char character) { return static_cast<unsigned char>(character) < ' '; };
  if (word.find(' ') != std::string_view::npos || std::any_of(option.begin(), option.end(), control))
    return "write --name=value, one option in each text";
  // sbatch takes abbreviations too.
  for (const Reserved& each : reserved)
    if (each.option.starts_with(word)) return "--" + std::string(each.option) + " cannot be given; " + std::string(each.why);
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
  const std::string names = joined(jobs, ",");
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

SlurmRecord::SlurmRecord(const fs::path& folder)
    : path_(folder / "slurm.jsonl"),
      prefix_("temper-" + hash_bytes(fs::weakly_canonical(fs::absolute(folder)).string()).substr(0, 12) + "-") {
  for_json_lines(path_, [&](const Json& json) {
    if (!json.is_object() || !json.contains("job") || !json["job"].is_string() || !json.contains("trials")) return;
    if (!json["trials"].is_array()) return;
    const auto job = json["job"].get<std::string>();
    if (!job.empty() && number_of(job, prefix_) == 0) return;
    std::vector<std::string> trials;
    for (const Json& trial : json["trials"]) trials.push_back(trial.is_string() ? trial.get<std::string>() : "");
    take(job, trials);
  });
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
  std::string line = json_text(json) + "\n";
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
  for (const auto& [trial, job] : job_of_)
    if (!job.empty()) trials.push_back(trial);
  return trials;
}

std::string batch_script(const ArrayJob& job) {
  std::string text = "#!/bin/bash\n# Written by temper sweep: trains one trial, as one task of an array job. Submitted with\n#   ";
  text += job.command + "\n\n";
  text += "job=" + job.name + "\n";
  text += "sweep=" + shell_word(job.sweep.string()) + "\n";
  text += "temper=" + shell_word(job.program.string()) + "\n";
  text += "work=" + shell_word(job.working_folder.string()) + "\n";
  text += "options=(";
  for (const std::string& word : job.options) text += (text.back() == '(' ? "" : " ") + shell_word(word);
  text += ")\n";
  text += "export OMP_NUM_THREADS=" + (job.threads > 0 ? std::to_string(job.threads) : std::string("$SLURM_CPUS_ON_NODE")) + "\n";
  text += "trials=(\n";
  for (const std::string& trial : job.trials) text += "  " + trial + "\n";
  return text + ")\n" + script_body;
}

std::optional<EndedTrial> read_task_end(const fs::path& trial_folder, const std::string& job) {
  const Json json = read_json_if_whole(trial_folder / "slurm_end.json");
  const auto number = [&](const char* key) { return json.is_object() && json.contains(key) && json[key].is_number(); };
  if (!number("exit_code") || !number("started") || !number("ended") || !json.contains("job") || json["job"] != job)
    return std::nullopt;
  EndedTrial task{trial_folder.filename().string(), {}, {}};
  // A shell's way to say which signal ended the process; temper itself ends so when a second signal comes.
  const auto code = json["exit_code"].get<std::int64_t>();
  (code > 128 ? task.end.signal : task.end.exit_code) = static_cast<int>(code > 128 ? code - 128 : code);
  task.times = {json["started"].get<double>(), json["ended"].get<double>()};
  return task;
}

}  // namespace temper
