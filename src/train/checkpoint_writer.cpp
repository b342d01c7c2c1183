#include "train/checkpoint_writer.h"

#include <fmt/format.h>

#include <new>
#include <utility>

#include "io/text.h"
#include "kernels/check.h"
#include "train/start.h"

namespace temper {

namespace fs = std::filesystem;

namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

CheckpointWriter::CheckpointWriter(const fs::path& run_directory, const CheckpointConfig& config, SavedParts parts,
                                   Communicator& ranks, Progress& progress, Hook* hook, std::size_t (*free_memory)())
    : run_directory_(run_directory),
      folder_(run_directory / "checkpoints", config, ranks.rank() == 0),
      parts_(std::move(parts)),
      bytes_(checkpoint_bytes(parts_.weights, parts_.optimizer, parts_.average != nullptr)),
      ranks_(ranks),
      progress_(progress),
      hook_(hook),
      free_memory_(free_memory) {}

CheckpointWriter::~CheckpointWriter() {
  try {
    wait();
  } catch (const std::exception& error) {  // beside the one that ended the run
    tell(std::string("warning: ") + error.what());
  }
}

std::string CheckpointWriter::standing() {
  settle();
  return last_.empty() ? "no checkpoint was saved yet" : "the last checkpoint is " + last_.string();
}

void CheckpointWriter::wait() {
  standing_since_ = std::chrono::steady_clock::now();
  if (written_.valid()) finish();
}

void CheckpointWriter::save(const TrainerState& state, bool goes_on) {
  require(!written_.valid(), "CheckpointWriter: one is being written; wait() first");
  last_ = folder_.place_of(state.step);
  step_ = state.step;
  if (ranks_.rank() != 0) {
    folder_.copy(state, parts_, copy_);
  } else if (goes_on && has_room()) {
    folder_.copy(state, parts_, copy_);
    // Where there is no thread to be had it is written when it is next asked for.
    written_ =
        std::async(std::launch::async | std::launch::deferred, [this] { return timed([this] { folder_.write(copy_, parts_); }); });
  } else {
    written_ = std::async(std::launch::deferred, [&] { return timed([&] { folder_.save(state, parts_); }); });
    written_.wait();
  }
  ranks_.meet("a checkpoint to be saved");
  pause_ = seconds_since(standing_since_);
  told_pause_ = told_pause_.value_or(0.0) + pause_;
}

/// The copy's memory is taken at the first save, when the run has all of its own.
bool CheckpointWriter::has_room() {
  if (copy_.values) return true;
  const std::size_t free = free_memory_();
  try {
    if (bytes_.copy + bytes_.copy / 8 < free) copy_.values = std::make_unique_for_overwrite<float[]>(bytes_.copy / sizeof(float));
  } catch (const std::bad_alloc&) {
  }
  if (!copy_.values && !std::exchange(told_no_room_, true))
    progress_.note(
        fmt::format("note: training waits while checkpoints are written: the copy to write them from takes {} of host "
                    "memory, and {} are free",
                    format_bytes(bytes_.copy), format_bytes(free)));
  return copy_.values != nullptr;
}

double CheckpointWriter::timed(const std::function<void()>& write) const {
  const auto begin = std::chrono::steady_clock::now();
  write();
  note_saved(run_directory_);
  return seconds_since(begin);
}

void CheckpointWriter::poll(std::int64_t step) {
  if (written_.valid() && written_.wait_for(std::chrono::seconds(0)) != std::future_status::timeout) finish();
  if (hook_ != nullptr) hook_->poll(step);
}

void CheckpointWriter::settle() {
  wait();
  ranks_.meet("a checkpoint to be saved");
}

/// Waits for the thread.
void CheckpointWriter::finish() {
  const double seconds = written_.get();
  told_seconds_ = seconds;
  told_rate_ = static_cast<double>(bytes_.tensors()) / static_cast<double>(std::size_t{1} << 30) / seconds;
  progress_.note(fmt::format("saved {} ({}): training waited {:.3g} s, written in {:.3g} s, {:.3g} GiB/s", last_.string(),
                             format_bytes(bytes_.tensors()), pause_, seconds, *told_rate_));
  if (hook_ != nullptr) hook_->checkpoint(step_, last_);
}

void CheckpointWriter::take_times(StepRecord& record) {
  record.checkpoint_pause = std::exchange(told_pause_, std::nullopt);
  record.checkpoint_seconds = std::exchange(told_seconds_, std::nullopt);
  record.checkpoint_gib_per_second = std::exchange(told_rate_, std::nullopt);
}

}  // namespace temper
