#include "train/trainer.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <deque>
#include <numbers>
#include <utility>

#include "config/resolved.h"
#include "config/validate.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json.h"
#include "kernels/host_device.h"
#include "train/agreement.h"
#include "train/checkpoint_writer.h"
#include "train/device_peak.h"
#include "train/hook.h"
#include "train/incidents.h"
#include "train/metrics.h"
#include "train/run_summary.h"
#include "train/signals.h"
#include "train/start.h"
#include "train/stop_judge.h"
#include "train/validation.h"

namespace temper {

namespace fs = std::filesystem;

namespace {

/// Rank 0 has the run directory; the others wait until it is there.
std::unique_ptr<FolderLock> open_directory(const TrainOptions& options, Communicator& ranks) {
  std::unique_ptr<FolderLock> lock;
  if (ranks.rank() == 0) {
    lock = open_run_directory(options.run_directory, options.resume, options.start_over);
    if (ranks.size() > 1) make_inner_folder(options.run_directory / "logs");
  }
  ranks.meet("the run directory");
  return lock;
}

/// Of several ranks, each has one.
fs::path log_of(const fs::path& run_directory, const Communicator& ranks) {
  if (ranks.size() == 1) return {};
  return run_directory / "logs" / fmt::format("rank-{}.log", ranks.rank());
}

/// How what a signal may end, data that is lost, or a condition, came to an end.
enum class Ending { regular, interrupted, stopped };

class Trainer {
 public:
  Trainer(const TrainOptions& options, Ops& ops, Communicator& ranks);
  TrainSummary run() { return finish(take_steps()); }

 private:
  [[nodiscard]] Ending take_steps();
  BatchPlan batches_of_step(std::int64_t step, std::int64_t first_window) const;
  void fetch_batches();
  /// Where it was caught.
  void lose_data(const Error& error) {
    if (error.code() != ExitCode::data) throw;
    lost_data_ = (ranks_.size() > 1 ? "rank " + std::to_string(ranks_.rank()) + ": " : "") + error.what();
  }
  void start_training_step();
  void stop_profiler();
  [[nodiscard]] Ending finish_training_step();
  void roll_back(const StepRecord& bad);
  void open_metrics();
  void diagnose(StepRecord& record, DueDiagnostics due);
  [[nodiscard]] Ending record_step(StepRecord record);
  [[nodiscard]] bool evaluate(StepRecord& record);
  void save(bool goes_on);
  TrainSummary finish(Ending ending);

  bool first() const { return ranks_.rank() == 0; }
  MovingAverage* average() { return engine_.average ? &*engine_.average : nullptr; }
  bool comparison_due(std::int64_t step) const {
    return ranks_.size() > 1 && config_.parallel.check_every > 0 && step % config_.parallel.check_every == 0;
  }
  bool checkpoint_due(std::int64_t step) const { return config_.checkpoint.every > 0 && step % config_.checkpoint.every == 0; }
  /// What is due of update number `step` from 1; the first is always measured, since large first updates are what one looks for.
  DueDiagnostics diagnostics_due(std::int64_t step) const {
    const auto due = [&](std::int64_t every) { return every > 0 && (step % every == 0 || step == 1); };
    const DiagnosticsConfig& wanted = config_.diagnostics;
    return {due(wanted.every), due(wanted.representation_every), due(wanted.histogram_every)};
  }
  bool evaluation_due(std::int64_t step) const {
    return data_.val && (step == steps_ || step == 0 || (config_.eval.every > 0 && step % config_.eval.every == 0));
  }
  /// Whether something after that step looks at the weights as it left them.
  bool weights_wanted(std::int64_t step) const {
    return step == steps_ || evaluation_due(step) || checkpoint_due(step) || diagnostics_due(step).any() || comparison_due(step);
  }

  RunConfig config_;
  Ops& ops_;
  Communicator& ranks_;
  const fs::path path_;               // of the run directory
  std::unique_ptr<FolderLock> lock_;  // on it; rank 0's
  const std::int64_t steps_;
  Progress progress_;
  RunData data_;
  Engine engine_;
  std::optional<Metrics> metrics_;  // rank 0's
  CheckpointWriter checkpoints_;
  Incidents incidents_;

  std::optional<StepRange> profiled_;  // until these steps are done
  StopJudge stop_;                     // of its lines

  TrainerState state_;
  std::int64_t saved_step_ = -1;     // at which nothing is left to save
  std::vector<Batch> host_batches_;  // this rank's of the step to come
  std::string lost_data_;            // why there are none
  double tokens_per_second_ = 0.0;

  // Steps that were started and whose results were not read yet. The device works on while the host reads a little late; it waits
  // only where the weights after a step are wanted.
  struct StartedStep {
    StepRecord record;
    std::uint64_t read;
    std::int64_t micro_batches;
    DueDiagnostics due;
  };
  std::deque<StartedStep> started_;
  std::chrono::steady_clock::time_point interval_begin_;  // since when the oldest of them has been worked on
};

Trainer::Trainer(const TrainOptions& options, Ops& ops, Communicator& ranks)
    : config_(resolved(options.config)),
      ops_(ops),
      ranks_(ranks),
      path_(options.run_directory),
      lock_(open_directory(options, ranks)),
      steps_(total_steps(config_)),
      progress_(steps_, config_.log.every, first(), log_of(path_, ranks)),
      data_(config_),
      engine_(config_, &ops, &ranks),
      checkpoints_(path_, config_.checkpoint,
                   {.weights = engine_.weights,
                    .optimizer = engine_.optimizer,
                    .ops = ops_,
                    .tokenizer = data_.tokenizer ? &*data_.tokenizer : nullptr,
                    .whole = [this](const Optimizer::StateBuffer& buffer) { return engine_.whole(buffer); },
                    .average = average()},
                   ranks_, progress_, options.hook),
      incidents_(config_.train, steps_, ranks_, progress_, checkpoints_),
      profiled_(options.profiled),
      stop_(options.stop_when, steps_) {
  if (options.hook != nullptr) options.hook->begin(path_);
  StartedRun begun = start_run(options, data_, checkpoints_.folder(), engine_, progress_);
  state_ = std::move(begun.state);
  checkpoints_.set_last(begun.checkpoint);
  if (!begun.checkpoint.empty() && !state_.pending) saved_step_ = state_.step;
  if (profiled_ && state_.step >= profiled_->first)
    fail_together(ranks_, ExitCode::usage,
                  fmt::format("--profile-steps {}:{}: the run goes on behind step {}; give steps from {} to {}", profiled_->first,
                              profiled_->last, state_.step, state_.step + 1, steps_));
  if (!first()) return;
  write_file_atomically(path_ / "config.json", state_.config_json);
  open_metrics();
}

/// Cut to what the state has recorded.
void Trainer::open_metrics() {
  const bool has_line = !checkpoints_.last().empty() && !state_.pending;
  metrics_.emplace(path_, state_.log_bytes, has_line ? state_.step + 1 : state_.step, config_.log.tensorboard);
  stop_.read(path_ / "metrics.jsonl");
}

Ending Trainer::take_steps() {
  const std::size_t ahead = ops_.device().asynchronous ? 2 : 0;
  while (true) {
    checkpoints_.poll(state_.step);
    if (state_.pending) {
      if (record_step(*std::exchange(state_.pending, std::nullopt)) == Ending::interrupted) return Ending::interrupted;
      continue;  // rolled back, it may be due once more
    }
    while (stop_.stopped_at() && !started_.empty())
      if (finish_training_step() == Ending::interrupted) return Ending::interrupted;
    if (stop_.stopped_at()) return Ending::stopped;
    if (state_.step >= steps_) return Ending::regular;
    const std::int64_t begun = state_.step;
    fetch_batches();
    const bool stop = asked_to_stop(ranks_, !lost_data_.empty());
    if (!stop) start_training_step();
    while (started_.size() > (stop || weights_wanted(state_.step) ? 0 : ahead))
      if (finish_training_step() == Ending::interrupted) return Ending::interrupted;
    if (state_.step < begun) continue;  // rolled back
    if (stop) return Ending::interrupted;
    if (comparison_due(state_.step)) compare_weights(ranks_, engine_.weights, ops_, state_.step);
    if (checkpoint_due(state_.step)) save(state_.step < steps_);
  }
}

/// This rank's micro-batches of a step whose windows begin there.
BatchPlan Trainer::batches_of_step(std::int64_t step, std::int64_t first_window) const {
  const std::int64_t B = config_.batch.micro_batch;
  const std::int64_t number = ceil_div(micro_batches_at(config_, step) - ranks_.rank(), ranks_.size());
  return {first_window + ranks_.rank() * B, B, ranks_.size() * B, std::max<std::int64_t>(0, number)};
}

/// All that the step to come needs, before any rank begins it: what one of them cannot read must not leave others inside of a step.
void Trainer::fetch_batches() {
  const std::int64_t next_window = state_.next_window + micro_batches_at(config_, state_.step) * config_.batch.micro_batch;
  try {
    data_.train.read_prefetched(batches_of_step(state_.step, state_.next_window), batches_of_step(state_.step + 1, next_window),
                                host_batches_);
  } catch (const Error& error) {
    lose_data(error);
  }
}

void Trainer::start_training_step() {
  if (started_.empty()) interval_begin_ = std::chrono::steady_clock::now();
  const std::int64_t B = config_.batch.micro_batch;
  const std::int64_t micro_batches = micro_batches_at(config_, state_.step), length = context_at(config_, state_.step);
  const DueDiagnostics due = diagnostics_due(state_.step + 1);
  if (profiled_ && engine_.replays && state_.step + 1 == profiled_->first) {
    ops_.start_profiler();
    engine_.replays = false;
  }
  const auto start = [&] {
    return engine_.start_step(
        state_.step, micro_batches,
        [&](std::int64_t number) {
          engine_.batch.upload(host_batches_[static_cast<std::size_t>(number / ranks_.size())], B * config_.model.n_ctx / length,
                               length);
        },
        due);
  };
  const auto start_in_range = [&] {
    const NamedRange range(ops_, fmt::format("step {}", state_.step + 1).c_str());
    return start();
  };
  const std::uint64_t read = engine_.replays ? start() : start_in_range();
  if (profiled_ && state_.step + 1 == profiled_->last) stop_profiler();
  state_.next_window += micro_batches * B;
  StepRecord record;
  record.learning_rate = engine_.optimizer.learning_rate(state_.step);
  record.step = ++state_.step;
  record.tokens = state_.next_window * config_.model.n_ctx;
  started_.push_back({record, read, micro_batches, due});
}

/// Waits for all steps that were started.
void Trainer::stop_profiler() {
  if (engine_.replays) return;
  ops_.stop_profiler();
  engine_.replays = true;
  profiled_.reset();
}

/// Waits for the oldest started step and records it.
Ending Trainer::finish_training_step() {
  const StartedStep started = started_.front();
  StepRecord record = started.record;
  const StepScalars scalars = engine_.finish_step(started.read);
  started_.pop_front();
  ranks_.check();  // what a collective that failed has left is not to be believed
  record.loss = scalars.loss;
  record.grad_norm = scalars.gradient_norm;
  // All ranks have the same numbers, and decide the same.
  const bool goes_on =
      scalars.finite == 1
          ? incidents_.pass_spike(state_, record)
          : incidents_.survive_nonfinite(
                state_, record, fmt::format("loss {:f}, gradient norm {:f}: not finite", scalars.loss, scalars.gradient_norm),
                "no update was made");
  if (!goes_on) {
    roll_back(record);
    return Ending::regular;
  }
  if (!std::isfinite(scalars.loss)) record.loss.reset();
  if (!std::isfinite(scalars.gradient_norm)) record.grad_norm.reset();
  if (started.due.any() && scalars.finite == 1) diagnose(record, started.due);

  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - interval_begin_).count();
  interval_begin_ = now;
  state_.train_seconds += seconds;
  tokens_per_second_ = static_cast<double>(started.micro_batches * config_.batch.micro_batch * config_.model.n_ctx) / seconds;
  progress_.step(record, tokens_per_second_,
                 state_.train_seconds / static_cast<double>(record.step) * static_cast<double>(steps_ - record.step));
  return record_step(record);
}

/// To the last checkpoint, and on from there with the batch behind the bad step's. Steps that were started meanwhile are dropped.
void Trainer::roll_back(const StepRecord& bad) {
  for (; !started_.empty(); started_.pop_front()) engine_.finish_step(started_.front().read);
  checkpoints_.settle();
  const fs::path& last = checkpoints_.last();
  const std::int64_t incidents = state_.incidents;
  const double seconds = state_.train_seconds;
  std::string config = std::move(state_.config_json);
  state_ = verify_checkpoint(last);
  load_checkpoint(last, engine_.weights, engine_.optimizer, ops_, average());
  state_.next_window = bad.tokens / config_.model.n_ctx;
  state_.incidents = incidents;
  state_.train_seconds = seconds;
  state_.config_json = std::move(config);
  saved_step_ = -1;
  ranks_.meet("the way back to a checkpoint");  // nobody saves into what another still reads
  if (first()) open_metrics();
  progress_.note(
      fmt::format("back at step {} of {}, {}; the data goes on behind step {}'s", state_.step, steps_, last.string(), bad.step));
}

/// Measures what is due of the update just made and writes it; its summary goes into the record, whose line is written later.
void Trainer::diagnose(StepRecord& record, DueDiagnostics due) {
  Diagnosed diagnosed;
  const std::int64_t k = record.step - 1;
  if (due.update) diagnosed.update = engine_.diagnostics->read(k, state_.noise);
  if (due.representation) {
    // Rank 0 alone has the batch's tokens, and alone writes.
    diagnosed.representation = engine_.representation_changes(first());
    diagnosed.representation_sequences = engine_.held->tokens().shape[0];
    if (first()) diagnosed.batch_representation_sequences = engine_.of_batch.shape[0];
  }
  if (due.histograms)
    diagnosed.histograms = engine_.diagnostics->histograms(k, static_cast<double>(tokens_before(config_, steps_)));
  record.update = summary_of(diagnosed);
  if (metrics_) metrics_->write_diagnostics(record, diagnosed);
}

/// False where that was interrupted.
bool Trainer::evaluate(StepRecord& record) {
  try {
    return validate(record, config_, data_, engine_, progress_);
  } catch (const Error& error) {
    lose_data(error);
    return false;
  }
}

/// Evaluates where due and writes the step's line. Where that was interrupted, the record waits in state_.pending.
Ending Trainer::record_step(StepRecord record) {
  if (evaluation_due(record.step) && !evaluate(record)) {
    state_.pending = std::move(record);
    return Ending::interrupted;
  }
  if (tokens_per_second_ > 0.0 && record.loss) {
    record.tokens_per_second = tokens_per_second_;
    const double flops = training_flops_per_token(config_.model, context_at(config_, record.step - 1));
    record.mfu = model_flops_utilisation(ops_.device(), engine_.weights.activation_type(),
                                         tokens_per_second_ * flops / static_cast<double>(ranks_.size()));
  }
  record.seconds = state_.train_seconds;
  const bool finite = std::isfinite(record.val_loss.value_or(0.0)) && std::isfinite(record.val_loss_average.value_or(0.0)) &&
                      std::isfinite(record.hellaswag_acc.value_or(0.0));
  if (!finite || state_.incidents > 0) record.incidents = state_.incidents + (finite ? 0 : 1);
  const bool written = record.step % config_.log.every == 0 || record.step == steps_ || record.val_loss;
  if (metrics_ && written) {
    checkpoints_.take_times(record);
    stop_.look(metrics_->write(record));
  }
  if (finite && record.val_loss) note_validation(record, steps_, data_, state_, progress_);
  if (!finite &&
      !incidents_.survive_nonfinite(state_, record,
                                    fmt::format("validation loss {:f}, HellaSwag {}: not finite", *record.val_loss,
                                                record.hellaswag_acc ? fmt::format("{:f}", *record.hellaswag_acc) : "not scored"),
                                    "it counts for nothing"))
    roll_back(record);
  return Ending::regular;
}

/// All ranks do, together.
void Trainer::save(bool goes_on) {
  checkpoints_.wait();
  if (lock_) lock_->check();
  if (metrics_) {
    metrics_->sync();
    state_.log_bytes = metrics_->bytes();
  }
  checkpoints_.save(state_, goes_on);
  saved_step_ = state_.pending ? -1 : state_.step;
}

TrainSummary Trainer::finish(Ending ending) {
  stop_profiler();
  if (saved_step_ != state_.step || state_.pending) save(false);
  checkpoints_.settle();
  const fs::path& saved = checkpoints_.last();
  TrainSummary summary;
  summary.interrupted = ending == Ending::interrupted;
  summary.steps = state_.step;
  if (ending == Ending::stopped) summary.stopped_at = stop_.stopped_at();
  summary.first_val_loss = state_.first_val_loss;
  if (data_.val) summary.val_loss = state_.last_val_loss;
  summary.checkpoint = saved;
  if (summary.interrupted) {
    for (const std::string& lost : ranks_.exchange(lost_data_, "the reason to stop")) {
      if (lost.empty()) continue;
      fail_together(
          ranks_, ExitCode::data,
          lost + ". Saved " + saved.string() + "; when the data is as it was, run the same command with --resume to go on");
    }
    const std::string signal = StopSignals::name();
    progress_.note((signal.empty() ? "another rank was asked to stop" : signal) + ": saved " + saved.string() +
                   "; run the same command with --resume to go on");
    return summary;
  }
  if (summary.val_loss && state_.val_sample == data_.sample) {
    if (const std::optional<double> bytes = data_.val->origins().bytes_per_token())
      summary.bits_per_byte = *summary.val_loss / std::numbers::ln2 / *bytes;
  }
  if (!first()) return summary;
  lock_->check();
  write_summary(path_, config_, state_, engine_, summary, stop_.text());
  progress_.print(draw_chart(read_loss_curves(path_ / "metrics.jsonl"), 72, 16, "steps"));
  return summary;
}

}  // namespace

TrainSummary train(const TrainOptions& options, Ops& ops, Communicator& ranks) {
  const StopSignals signals;  // from the beginning: a signal during set-up counts too
  return Trainer(options, ops, ranks).run();
}

}  // namespace temper
