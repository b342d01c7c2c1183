#include "sweep/slurm_script.h"

#include <fstream>
#include <nlohmann/json.hpp>

namespace temper {
namespace {

namespace fs = std::filesystem;

// What follows the variables job, sweep, temper, work, trials and OMP_NUM_THREADS.
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
  "$temper" train "$folder/config.json" --out "$folder" --resume >>"$folder/trial.log" 2>&1 </dev/null &
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

std::string shell_word(const std::string& text) {
  constexpr const char* plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+:.,/%@";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
  std::string word = "'";
  for (const char character : text) word += character == '\'' ? std::string("'\\''") : std::string(1, character);
  return word + "'";
}

std::string batch_script(const ArrayJob& job) {
  std::string text = "#!/bin/bash\n# Written by temper sweep: trains one trial, as one task of an array job. Submitted with\n#   ";
  text += job.command + "\n\n";
  text += "job=" + job.name + "\n";
  text += "sweep=" + shell_word(job.sweep.string()) + "\n";
  text += "temper=" + shell_word(job.program.string()) + "\n";
  text += "work=" + shell_word(job.working_folder.string()) + "\n";
  text += "export OMP_NUM_THREADS=" + (job.threads > 0 ? std::to_string(job.threads) : std::string("$SLURM_CPUS_ON_NODE")) + "\n";
  text += "trials=(\n";
  for (const std::string& trial : job.trials) text += "  " + trial + "\n";
  return text + ")\n" + script_body;
}

std::optional<TaskEnd> read_task_end(const fs::path& trial_folder, const std::string& job) {
  std::ifstream file(trial_folder / "slurm_end.json");
  if (!file) return std::nullopt;
  const auto json = nlohmann::json::parse(file, nullptr, false);
  const auto number = [&](const char* key) { return json.is_object() && json.contains(key) && json[key].is_number(); };
  if (!number("exit_code") || !number("started") || !number("ended") || !json.contains("job") || json["job"] != job) {
    return std::nullopt;
  }
  TaskEnd task;
  // A shell's way to say which signal ended the process; temper itself ends so when a second signal comes.
  const auto code = json["exit_code"].get<std::int64_t>();
  (code > 128 ? task.end.signal : task.end.exit_code) = static_cast<int>(code > 128 ? code - 128 : code);
  task.times = {json["started"].get<double>(), json["ended"].get<double>()};
  return task;
}

}  // namespace temper
