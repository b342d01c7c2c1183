#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <nlohmann/json.hpp>
#include <numbers>
#include <utility>

#include "config/resolved.h"
#include "config/validate.h"
#include "data/batches.h"
#include "data/multiple_choice.h"
#include "data/tokenizer.h"
#include "data/tokenizer_identity.h"
#include "io/error.h"
#include "io/file.h"
#include "model/hf_format.h"
#include "train/agreement.h"
#include "train/checkpoint.h"
#include "train/device_peak.h"
#include "train/engine.h"
#include "train/evaluation.h"
#include "train/metrics.h"
#include "train/progress.h"
#include "train/run_directory.h"
#include "train/signals.h"

namespace temper {

namespace fs = std::filesystem;

namespace {

BatchSettings batch_settings(const RunConfig& config, const std::vector<std::string>& files, bool shuffle) {
  BatchSettings settings;
  settings.files = files;
  settings.format = config.data.format == "raw_u16" ? ShardFormat::raw_u16 : ShardFormat::automatic;
  settings.n_ctx = config.model.n_ctx;
  settings.vocab_size = config.model.vocab_size;
  settings.shuffle = shuffle;
  settings.seed = config.seed;
  return settings;
}

/// Rank 0 has the run directory; the others wait until it is there.
std::optional<RunDirectory> open_directory(const TrainOptions& options, Communicator& ranks) {
  std::optional<RunDirectory> directory;
  if (ranks.rank() == 0) {
    directory.emplace(options.run_directory, options.resume);
    if (ranks.size() > 1) make_inner_folder(options.run_directory / "logs");
  }
  ranks.exchange("", "the run directory");
  return directory;
}

std::string text_of(const ValidationSample& sample) {
  return std::to_string(sample.tokens) + " tokens of data " + sample.fingerprint.substr(0, 8);
}

/// Of several ranks, each has one.
fs::path log_of(const fs::path& run_directory, const Communicator& ranks) {
  if (ranks.size() == 1) return {};
  return run_directory / "logs" / ("rank-" + std::to_string(ranks.rank()) + ".log");
}

class Trainer {
 public:
  Trainer(const TrainOptions& options, Ops& ops, Communicator& ranks);
  TrainSummary run();

 private:
  void start_or_resume(const TrainOptions& options);
  void compare_tokenizers();
  void compare_ranks(const TrainOptions& options, const std::optional<fs::path>& checkpoint);
  void initialize_weights();
  void branch();
  void hold_batch();
  BatchPlan batches_of_step(std::int64_t step, std::int64_t first_window) const;
  void fetch_batches();
  /// Where it was caught.
  void lose_data(const Error& error) {
    if (error.code() != ExitCode::data) throw;
    lost_data_ = (ranks_.size() > 1 ? "rank " + std::to_string(ranks_.rank()) + ": " : "") + error.what();
  }
  void start_training_step();
  bool finish_training_step();
  void diagnose(StepRecord& record, std::int64_t micro_batches, DueDiagnostics due);
  bool evaluate(StepRecord& record);
  bool record_step(StepRecord record);
  void save();
  TrainSummary finish(bool interrupted);

  bool first() const { return ranks_.rank() == 0; }
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
    return val_ && (step == steps_ || step == 0 || (config_.eval.every > 0 && step % config_.eval.every == 0));
  }

  RunConfig config_;
  Ops& ops_;
  Communicator& ranks_;
  const fs::path path_;                    // of the run directory
  std::optional<RunDirectory> directory_;  // rank 0's
  std::optional<Tokenizer> tokenizer_;
  BatchSource train_;
  std::optional<BatchSource> val_;
  ValidationSample sample_;  // of val_
  std::vector<MultipleChoiceItem> hellaswag_;
  std::int64_t steps_;
  Engine engine_;
  CheckpointFolder checkpoints_;
  Progress progress_;
  std::optional<Metrics> metrics_;  // rank 0's

  TrainerState state_;
  std::int64_t saved_step_ = -1;
  fs::path last_checkpoint_;
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
      directory_(open_directory(options, ranks)),
      tokenizer_(config_.data.tokenizer.empty() ? std::nullopt : std::optional(Tokenizer::load(config_.data.tokenizer))),
      train_(batch_settings(config_, config_.data.train, config_.data.shuffle)),
      steps_(total_steps(config_)),
      engine_(config_, &ops, &ranks),
      checkpoints_(path_ / "checkpoints", config_.checkpoint.keep),
      progress_(steps_, config_.log.every, first(), log_of(path_, ranks)) {
  if (!config_.data.val.empty()) {
    val_.emplace(batch_settings(config_, config_.data.val, false));
    sample_ = validation_sample(*val_, config_.model.n_ctx, config_.eval.tokens);
  }
  if (!config_.eval.hellaswag.empty()) {
    if (!tokenizer_)
      throw Error(ExitCode::usage,
                  "eval.hellaswag needs data.tokenizer: the items are text and must be encoded; set data.tokenizer");
    if (!val_)
      throw Error(ExitCode::usage, "eval.hellaswag is scored at each validation, and data.val names no shards; set data.val");
    hellaswag_ = read_multiple_choice(config_.eval.hellaswag);
  }
  compare_tokenizers();
  start_or_resume(options);
}

void Trainer::compare_tokenizers() {
  if (tokenizer_ && tokenizer_->vocab_size() > config_.model.vocab_size)
    throw Error(ExitCode::usage, config_.data.tokenizer + " has " + std::to_string(tokenizer_->vocab_size()) +
                                     " tokens, model.vocab_size is " + std::to_string(config_.model.vocab_size) +
                                     "; set model.vocab_size to at least the tokenizer's size");
  TokenizerIdentity identity;
  if (tokenizer_) identity.add("data.tokenizer (" + config_.data.tokenizer + ")", tokenizer_->hash());
  for (const auto* folder : {&config_.train.init_from, &config_.train.branch_from})
    if (*folder) identity.add("the model to start from (" + **folder + ")", tokenizer_of_model(**folder));
  identity.add_shards("data.train", train_.origins());
  if (val_) identity.add_shards("data.val", val_->origins());
  for (const std::string& note : identity.notes()) progress_.note("note: " + note);
  state_.tokenizer_hash = identity.hash();
}

/// A thing that ranks must have alike is a row here.
void Trainer::compare_ranks(const TrainOptions& options, const std::optional<fs::path>& checkpoint) {
  if (ranks_.size() == 1) return;
  const auto hash_of_file = [](const fs::path& path) { return path.empty() ? "none" : hash_file(path); };
  const fs::path branch = config_.train.branch_from.value_or("");
  std::vector<Fingerprint> rows = {
      {"the program", options.program},
      {"the run directory (--out)", fs::absolute(path_).lexically_normal().string()},
      {"the training data (data.train)", train_.fingerprint()},
      {"the validation data (data.val)", val_ ? val_->fingerprint() : "none"},
      {"the tokenizer", state_.tokenizer_hash.empty() ? "none" : state_.tokenizer_hash},
      {"the HellaSwag items (eval.hellaswag)", hash_of_file(config_.eval.hellaswag)},
      {"the checkpoint to branch from", hash_of_file(branch.empty() ? branch : branch / "trainer.json")},
      {"the checkpoint to resume", hash_of_file(checkpoint ? *checkpoint / "trainer.json" : fs::path())}};
  for (const Field& field : config_fields()) rows.push_back({field.path, to_text(get_field(field, config_))});
  compare_fingerprints(ranks_, rows);
}

void Trainer::start_or_resume(const TrainOptions& options) {
  std::optional<fs::path> checkpoint;
  if (options.resume && first()) checkpoint = checkpoints_.newest_good();
  const fs::path chosen = text_of_first(ranks_, checkpoint.value_or("").string(), "the choice of a checkpoint");
  if (!chosen.empty()) checkpoint = chosen;
  state_.config_json = config_to_json(config_);
  state_.data_fingerprint = train_.fingerprint();
  compare_ranks(options, checkpoint);

  if (!checkpoint) {
    if (options.resume) progress_.note("no checkpoint yet in " + path_.string() + ": starting at step 0");
    initialize_weights();
    if (config_.train.branch_from) branch();
    if (val_) state_.pending = StepRecord{};  // the loss of the untrained model
  } else {
    TrainerState saved = verify_checkpoint(*checkpoint);
    check_resumable(saved, state_, options.allowed_changes, *checkpoint);
    load_checkpoint(*checkpoint, engine_.weights, engine_.optimizer, ops_);
    saved.config_json = state_.config_json;
    if (saved.tokenizer_hash.empty()) saved.tokenizer_hash = state_.tokenizer_hash;
    state_ = std::move(saved);
    last_checkpoint_ = *checkpoint;
    saved_step_ = state_.pending ? -1 : state_.step;
    progress_.note("resuming " + checkpoint->string() + " at step " + std::to_string(state_.step) + " of " +
                   std::to_string(steps_));
    if (val_ && state_.last_val_loss && state_.val_sample != sample_)
      progress_.note("another validation sample than before: " + text_of(sample_) + ", where it was " + text_of(state_.val_sample) +
                     " (eval.tokens, data.val); the next validation's loss is the first and the best of the new one");
  }
  if (ranks_.size() > 1) compare_fingerprints(ranks_, {{"the weights to start with", hash_of(engine_.weights, ops_)}});
  engine_.optimizer.set_earlier_updates(state_.earlier_updates);
  if (config_.diagnostics.representation_every > 0) hold_batch();
  if (!first()) return;
  write_file_atomically(path_ / "config.json", state_.config_json);
  const std::int64_t first_redone = !checkpoint ? 0 : state_.pending ? state_.step : state_.step + 1;
  metrics_.emplace(path_, LogBytes{state_.metrics_bytes, state_.diagnostics_bytes}, first_redone, config_.log.tensorboard);
}

void Trainer::initialize_weights() {
  if (!config_.train.init_from) {
    engine_.weights.initialize(config_.seed);
    return;
  }
  const fs::path folder = *config_.train.init_from;
  const ModelConfig found = read_hf_config(folder);
  const ModelConfig& wanted = config_.model;
  const auto same = [&](const char* key, std::int64_t there, std::int64_t here) {
    if (there != here)
      throw Error(ExitCode::usage, "train.init_from: the model in " + folder.string() + " has " + key + " " +
                                       std::to_string(there) + ", the configuration model." + key + " " + std::to_string(here) +
                                       "; make them equal");
  };
  same("n_layer", found.n_layer, wanted.n_layer);
  same("n_head", found.n_head, wanted.n_head);
  same("n_embd", found.n_embd, wanted.n_embd);
  same("n_ctx", found.n_ctx, wanted.n_ctx);
  same("vocab_size", found.vocab_size, wanted.vocab_size);
  same("bias", found.bias, wanted.bias);
  load_hf_model(folder, engine_.weights);
}

/// Takes weights, moments and place in the data from another run's checkpoint; this run's schedule begins at its own step 0.
void Trainer::branch() {
  const fs::path from = *config_.train.branch_from;
  const TrainerState saved = verify_checkpoint(from);
  if (saved.data_fingerprint != state_.data_fingerprint)
    throw Error(ExitCode::data,
                "train.branch_from: " + from.string() + " was trained on other data than data.train names; name the same shards");
  load_checkpoint(from, engine_.weights, engine_.optimizer, ops_);
  state_.next_window = saved.next_window;
  state_.earlier_updates = saved.earlier_updates + saved.step;
}

/// Uploads what the representation change is measured on: the first validation windows, or training ones where there are none.
void Trainer::hold_batch() {
  const BatchSource& source = val_ ? *val_ : train_;
  const std::int64_t sequences = std::min(config_.diagnostics.representation_sequences, source.windows_per_epoch());
  Batch batch;
  source.read(0, sequences, batch);
  engine_.held->upload(batch, sequences, config_.model.n_ctx);
  ops_.synchronize();
}

/// This rank's micro-batches of a step whose windows begin there.
BatchPlan Trainer::batches_of_step(std::int64_t step, std::int64_t first_window) const {
  const std::int64_t B = config_.batch.micro_batch;
  const std::int64_t number = (micro_batches_at(config_, step) - ranks_.rank() + ranks_.size() - 1) / ranks_.size();
  return {first_window + ranks_.rank() * B, B, ranks_.size() * B, std::max<std::int64_t>(0, number)};
}

/// All that the step to come needs, before any rank begins it: what one of them cannot read must not leave others inside of a step.
void Trainer::fetch_batches() {
  const std::int64_t next_window = state_.next_window + micro_batches_at(config_, state_.step) * config_.batch.micro_batch;
  try {
    train_.read_prefetched(batches_of_step(state_.step, state_.next_window), batches_of_step(state_.step + 1, next_window),
                           host_batches_);
  } catch (const Error& error) {
    lose_data(error);
  }
}

void Trainer::start_training_step() {
  if (started_.empty()) interval_begin_ = std::chrono::steady_clock::now();
  const std::int64_t B = config_.batch.micro_batch;
  const std::int64_t micro_batches = micro_batches_at(config_, state_.step);
  const DueDiagnostics due = diagnostics_due(state_.step + 1);
  const std::uint64_t read = engine_.start_step(
      state_.step, micro_batches,
      [&](std::int64_t number) {
        engine_.batch.upload(host_batches_[static_cast<std::size_t>(number / ranks_.size())], B, config_.model.n_ctx);
      },
      due);
  state_.next_window += micro_batches * B;
  StepRecord record;
  record.learning_rate = engine_.optimizer.learning_rate(state_.step);
  record.step = ++state_.step;
  record.tokens = state_.next_window * config_.model.n_ctx;
  started_.push_back({record, read, micro_batches, due});
}

/// Waits for the oldest started step and records it. False: a signal came while it was evaluated.
bool Trainer::finish_training_step() {
  const StartedStep started = started_.front();
  StepRecord record = started.record;
  const StepScalars scalars = engine_.finish_step(started.read);
  started_.pop_front();
  ranks_.check();  // what a collective that failed has left is not to be believed
  if (scalars.finite == 0) {
    const std::string stands =
        last_checkpoint_.empty() ? "no checkpoint was saved yet" : "the last checkpoint is " + last_checkpoint_.string();
    fail_together(ranks_, ExitCode::numeric,
                  "step " + std::to_string(record.step) + ": loss " + std::to_string(scalars.loss) + ", gradient norm " +
                      std::to_string(scalars.gradient_norm) + ": not finite. The update was not made and nothing was saved; " +
                      stands + ". Try a lower optimizer.learning_rate, a longer warmup or optimizer.grad_clip.");
  }
  record.loss = scalars.loss;
  record.grad_norm = scalars.gradient_norm;
  if (started.due.any()) diagnose(record, started.micro_batches, started.due);

  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - interval_begin_).count();
  interval_begin_ = now;
  state_.train_seconds += seconds;
  tokens_per_second_ = static_cast<double>(started.micro_batches * config_.batch.micro_batch * config_.model.n_ctx) / seconds;
  progress_.step(record, tokens_per_second_,
                 state_.train_seconds / static_cast<double>(record.step) * static_cast<double>(steps_ - record.step));
  return record_step(record);
}

/// Measures what is due of the update just made and writes it; its summary goes into the record, whose line is written later.
void Trainer::diagnose(StepRecord& record, std::int64_t micro_batches, DueDiagnostics due) {
  Diagnosed diagnosed;
  const std::int64_t k = record.step - 1;
  if (due.update) diagnosed.update = engine_.diagnostics->read(k, micro_batches, config_.batch.micro_batch, state_.noise);
  if (due.representation) {
    const ConstTensorView held = engine_.held->tokens();
    diagnosed.representation = engine_.representation->measure(engine_.model, held, engine_.diagnostics->weights_before());
    diagnosed.representation_sequences = held.shape[0];
  }
  if (due.histograms)
    diagnosed.histograms = engine_.diagnostics->histograms(k, static_cast<double>(tokens_before(config_, steps_)));
  record.update = summary_of(diagnosed);
  if (metrics_) metrics_->write_diagnostics(record, diagnosed);
}

bool Trainer::evaluate(StepRecord& record) {
  engine_.optimizer.average().show();
  const auto showing = [&](const char* what) {
    return [this, what](double share) {
      progress_.activity(what, share);
      return !StopSignals::requested();
    };
  };
  try {
    record.val_loss = validation_loss(engine_.model, *val_, config_.batch.micro_batch, config_.model.n_ctx, sample_, engine_.batch,
                                      ops_, ranks_, showing("validating"));
  } catch (const Error& error) {
    lose_data(error);
  }
  if (!record.val_loss) return false;
  record.val_tokens = sample_.tokens;
  if (hellaswag_.empty()) return true;
  const std::optional<MultipleChoiceScore> score =
      multiple_choice_score(engine_.model, hellaswag_, config_.eval.hellaswag_items, *tokenizer_, config_.model.n_ctx,
                            config_.batch.micro_batch, engine_.batch, ops_, ranks_, showing("scoring HellaSwag"));
  if (!score) return false;
  record.hellaswag_acc = score->accuracy;
  record.hellaswag_acc_norm = score->accuracy_normalized;
  record.hellaswag_items = score->items;
  return true;
}

/// Evaluates where due and writes the step's line. False: a signal came first, and the record waits in state_.pending.
bool Trainer::record_step(StepRecord record) {
  if (evaluation_due(record.step) && !evaluate(record)) {
    state_.pending = record;
    return false;
  }
  state_.pending.reset();
  if (tokens_per_second_ > 0.0 && record.loss) {
    record.tokens_per_second = tokens_per_second_;
    record.mfu =
        model_flops_utilisation(ops_.device(), engine_.weights.activation_type(),
                                tokens_per_second_ * training_flops_per_token(config_.model) / static_cast<double>(ranks_.size()));
  }
  record.seconds = state_.train_seconds;
  const bool written = record.step % config_.log.every == 0 || record.step == steps_ || record.val_loss;
  if (metrics_ && written) metrics_->write(record);

  if (record.val_loss) {
    if (state_.val_sample != sample_) state_.first_val_loss = state_.best_val_loss = std::nullopt;
    state_.val_sample = sample_;
    state_.last_val_loss = record.val_loss;
    if (!state_.first_val_loss) state_.first_val_loss = record.val_loss;
    if (!state_.best_val_loss || *record.val_loss < *state_.best_val_loss) state_.best_val_loss = record.val_loss;
    char text[160];
    std::snprintf(text, sizeof(text), "step %lld/%lld  validation loss %.4f nats per token", static_cast<long long>(record.step),
                  static_cast<long long>(steps_), *record.val_loss);
    std::string line = text;
    if (record.hellaswag_items) {
      std::snprintf(text, sizeof(text), "  HellaSwag acc_norm %.4f (acc %.4f, %lld items)", *record.hellaswag_acc_norm,
                    *record.hellaswag_acc, static_cast<long long>(*record.hellaswag_items));
      line += text;
    }
    progress_.note(line);
  }
  return true;
}

void Trainer::save() {
  engine_.optimizer.average().show();
  const WholeState whole = [this](const Optimizer::StateBuffer& buffer) { return engine_.whole(buffer); };
  if (metrics_) {
    metrics_->sync();
    state_.metrics_bytes = metrics_->bytes().metrics;
    state_.diagnostics_bytes = metrics_->bytes().diagnostics;
    last_checkpoint_ =
        checkpoints_.save(state_, engine_.weights, engine_.optimizer, ops_, tokenizer_ ? &*tokenizer_ : nullptr, whole);
  } else {
    contribute_to_checkpoint(engine_.weights, engine_.optimizer, whole);
  }
  ranks_.meet("a checkpoint to be saved");
  last_checkpoint_ = text_of_first(ranks_, last_checkpoint_.string(), "the name of a checkpoint");
  saved_step_ = state_.pending ? -1 : state_.step;
}

TrainSummary Trainer::run() {
  if (state_.pending && !record_step(*state_.pending)) return finish(true);
  const std::size_t ahead = ops_.device().asynchronous ? 2 : 0;
  while (state_.step < steps_) {
    fetch_batches();
    const bool stop = asked_to_stop(ranks_, !lost_data_.empty());
    if (!stop) start_training_step();
    const bool weights_wanted = stop || state_.step == steps_ || evaluation_due(state_.step) || checkpoint_due(state_.step) ||
                                diagnostics_due(state_.step).any() || comparison_due(state_.step);
    while (started_.size() > (weights_wanted ? 0 : ahead))
      if (!finish_training_step()) return finish(true);
    if (stop) return finish(true);
    if (comparison_due(state_.step)) compare_weights(ranks_, engine_.weights, ops_, state_.step);
    if (checkpoint_due(state_.step)) save();
  }
  return finish(false);
}

TrainSummary Trainer::finish(bool interrupted) {
  if (saved_step_ != state_.step || state_.pending) save();
  TrainSummary summary;
  summary.interrupted = interrupted;
  summary.steps = state_.step;
  summary.first_val_loss = state_.first_val_loss;
  summary.val_loss = state_.last_val_loss;
  summary.checkpoint = last_checkpoint_;
  if (interrupted) {
    for (const std::string& lost : ranks_.exchange(lost_data_, "the reason to stop")) {
      if (lost.empty()) continue;
      fail_together(ranks_, ExitCode::data,
                    lost + ". Saved " + last_checkpoint_.string() +
                        "; when the data is as it was, run the same command with --resume to go on");
    }
    const std::string signal = StopSignals::name();
    progress_.note((signal.empty() ? "another rank was asked to stop" : signal) + ": saved " + last_checkpoint_.string() +
                   "; run the same command with --resume to go on");
    return summary;
  }

  if (summary.val_loss && state_.val_sample == sample_) {
    if (const std::optional<double> bytes = val_->origins().bytes_per_token())
      summary.bits_per_byte = *summary.val_loss / std::numbers::ln2 / *bytes;
  }
  if (!first()) return summary;
  const auto optional_number = [](const std::optional<double>& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
  };
  nlohmann::ordered_json json;
  json["name"] = config_.name;
  json["steps"] = state_.step;
  json["tokens"] = state_.next_window * config_.model.n_ctx;
  json["parameters"] = engine_.weights.layout().parameter_count();
  json["first_val_loss"] = optional_number(summary.first_val_loss);
  json["best_val_loss"] = optional_number(state_.best_val_loss);
  json["val_loss"] = optional_number(summary.val_loss);
  json["val_tokens"] = summary.val_loss ? nlohmann::ordered_json(state_.val_sample.tokens) : nullptr;
  json["val_fingerprint"] = summary.val_loss ? nlohmann::ordered_json(state_.val_sample.fingerprint) : nullptr;
  json["bits_per_byte"] = optional_number(summary.bits_per_byte);
  json["train_seconds"] = state_.train_seconds;
  json["checkpoint"] = fs::relative(last_checkpoint_, path_).string();
  write_file_atomically(path_ / "summary.json", json.dump(2) + "\n");
  progress_.note(draw_chart(read_loss_curves(path_ / "metrics.jsonl"), 72, 16, "steps"));
  return summary;
}

}  // namespace

TrainSummary train(const TrainOptions& options, Ops& ops, Communicator& ranks) {
  const StopSignals signals;  // from the beginning: a signal during set-up counts too
  return Trainer(options, ops, ranks).run();
}

}  // namespace temper
