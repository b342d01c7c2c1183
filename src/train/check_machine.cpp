// Whether a run fits on this machine, before it takes anything: memory, disk, size of files. What a run would find out at its first
// step or its first save is said here, with the changes that would make it fit.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <limits>
#include <numeric>

#include "config/validate.h"
#include "io/error.h"
#include "io/file.h"
#include "io/text.h"
#include "kernels/check.h"
#include "kernels/host_device.h"
#include "kernels/machine.h"
#include "train/checkpoint.h"
#include "train/engine.h"
#include "train/trainer.h"

namespace temper {

namespace fs = std::filesystem;

namespace {

/// The largest micro-batch below the present one that a step can be made of.
bool lower_micro_batch(RunConfig& config, const std::function<bool(const RunConfig&)>& fits) {
  const std::int64_t sequences = config.batch.tokens_per_step / config.model.n_ctx;
  for (std::int64_t size = config.batch.micro_batch - 1; size > 0; --size) {
    if (sequences % size != 0) continue;
    config.batch.micro_batch = size;
    if (fits(config)) return true;
  }
  return false;
}

/// "batch.micro_batch=4 (1.20 GiB) or train.recompute=block (2.10 GiB)"
std::string what_would_fit(const RunConfig& config, const Ops& ops, Communicator& ranks, std::size_t room) {
  const auto bytes = [&](const RunConfig& changed) { return planned_bytes(changed, ops, ranks); };
  const auto fits = [&](const RunConfig& changed) { return bytes(changed) <= room; };
  std::vector<std::string> found;
  const auto offer = [&](const std::string& text, const RunConfig& changed) {
    found.push_back(fmt::format("{} ({})", text, format_bytes(bytes(changed))));
  };
  RunConfig changed = config;
  if (lower_micro_batch(changed, fits)) offer(fmt::format("batch.micro_batch={}", changed.batch.micro_batch), changed);
  changed = config;
  changed.train.recompute = Recompute::block;
  if (config.train.recompute != Recompute::block && fits(changed)) offer("train.recompute=block", changed);
  changed = config;
  changed.precision = Precision::bf16;
  if (config.precision != Precision::bf16 && ops.device().bf16 && fits(changed)) offer("precision=bf16", changed);
  if (!found.empty()) return joined(found, " or ");
  changed = config;
  changed.batch.micro_batch = 1;
  changed.train.recompute = Recompute::block;
  if (fits(changed)) return fmt::format("batch.micro_batch=1 train.recompute=block ({})", format_bytes(bytes(changed)));
  return fmt::format(
      "batch.micro_batch=1 train.recompute=block still takes {}: a smaller model, or more ranks with parallel.zero_stage=1",
      format_bytes(bytes(changed)));
}

void check_memory(const RunConfig& config, const Ops& ops, Communicator& ranks) {
  const bool on_host = !ops.device().asynchronous;
  const std::size_t program = on_host ? program_bytes() : 0;
  const std::size_t planned = planned_bytes(config, ops, ranks);
  // The system ends whoever exceeds a limit without a word; memory that others use may become free again.
  const std::size_t limit = on_host ? std::min(memory_limit(), group_limits().available) : ops.device().memory;
  if (limit > 0 && planned + program > limit)
    throw OutOfMemory(fmt::format("the run takes {}{}, and this process may use {} of {}; what fits: {}. --dry-run prints the plan",
                                  format_bytes(planned), on_host ? " and the program " + format_bytes(program) : "",
                                  format_bytes(limit), ops.device().name,
                                  what_would_fit(config, ops, ranks, limit - std::min(limit, program))));
  if (on_host && planned + program > memory_available())
    tell(fmt::format("warning: the run takes {}, and {} are free: others use the memory of this machine",
                     format_bytes(planned + program), format_bytes(memory_available())));
}

std::uint64_t file_size_limit() {
  rlimit limit{};
  const bool known = getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  return known ? limit.rlim_cur : std::numeric_limits<std::uint64_t>::max();
}

std::uint64_t bytes_in(const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code missing;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, missing))
    if (entry.is_regular_file(missing)) bytes += entry.file_size(missing);
  return bytes;
}

/// `checkpoint`: bytes of one; `largest`: of its largest file.
void check_disk(const TrainOptions& options, std::uint64_t checkpoint, std::uint64_t largest) {
  const CheckpointConfig& wanted = options.config.checkpoint;
  if (largest > file_size_limit())
    throw Error(ExitCode::io,
                "a checkpoint of this model has a file of about {}, and files of this process may have {} (ulimit -f); raise it",
                format_bytes(largest), format_bytes(file_size_limit()));
  // One more than are kept: the new one is whole before an old one goes.
  const std::int64_t steps = total_steps(options.config), saves = wanted.every > 0 ? ceil_div(steps, wanted.every) : 1;
  std::int64_t for_good = 0;  // of steps that are multiples of both intervals
  if (wanted.every > 0 && wanted.keep_every > 0) {
    const std::int64_t factor = wanted.every / std::gcd(wanted.every, wanted.keep_every);
    for_good = steps / wanted.keep_every / factor;
  }
  const std::int64_t at_once = std::min(saves, wanted.keep + 1 + for_good);
  const std::uint64_t all = checkpoint * static_cast<std::uint64_t>(at_once);
  fs::path folder = fs::absolute(options.run_directory);
  const std::uint64_t there = bytes_in(folder / "checkpoints");
  std::error_code missing;
  while (!fs::exists(folder, missing) && folder.has_relative_path()) folder = folder.parent_path();
  const std::uint64_t free = free_bytes(folder);
  if (all <= there + free) return;
  throw Error(ExitCode::io,
              "{}: {} checkpoints of {} are there at once (checkpoint.keep={}, {} by checkpoint.keep_every, and one that is being "
              "written), and {} are free; make room, lower checkpoint.keep, or name another folder with --out",
              options.run_directory.string(), at_once, format_bytes(checkpoint), wanted.keep, for_good, format_bytes(free));
}

}  // namespace

std::size_t program_bytes() { return resident_bytes() + (std::size_t{16} << 20); }

std::size_t planned_bytes(const RunConfig& config, const Ops& ops, Communicator& ranks) {
  Engine plan(config, nullptr, &ranks);
  plan.count_backend_memory(config, ops);
  return plan.memory.total_bytes();
}

std::int64_t largest_micro_batch(const RunConfig& config, const Ops& ops, Communicator& ranks) {
  constexpr std::size_t beside = std::size_t{1} << 30;
  constexpr std::int64_t most_on_cpu = 4;
  const DeviceInfo& info = ops.device();
  const std::size_t room = info.asynchronous ? info.memory - std::min(info.memory, beside) : memory_limit();
  const std::int64_t sequences = config.batch.tokens_per_step / config.model.n_ctx;
  RunConfig changed = config;
  for (const std::int64_t shares : {ranks.size(), std::int64_t{1}}) {
    const std::int64_t most = std::min(sequences / shares, info.asynchronous ? std::int64_t{1} << 20 : most_on_cpu);
    for (std::int64_t size = most; size > 0; --size) {
      if (sequences % (size * shares) != 0) continue;
      changed.batch.micro_batch = size;
      if (config_problems(changed).empty() && planned_bytes(changed, ops, ranks) <= room) return size;
    }
  }
  return 0;
}

void check_machine(const TrainOptions& options, const Ops& ops, Communicator& ranks) {
  check_memory(options.config, ops, ranks);
  if (ranks.rank() != 0) return;  // which writes no checkpoints
  const Engine plan(options.config, nullptr, &ranks);
  const CheckpointBytes bytes = checkpoint_bytes(plan.weights, plan.optimizer, plan.average.has_value());
  check_disk(options, bytes.all(), std::max(bytes.weights, bytes.states));
}

}  // namespace temper
