#include "train/start.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>

#include "config/parse.h"
#include "config/resolved.h"
#include "config/validate.h"
#include "io/error.h"
#include "model/hf_format.h"
#include "train/agreement.h"

namespace temper {

namespace fs = std::filesystem;

namespace {

BatchSettings batch_settings(const RunConfig& config, const std::vector<std::string>& files, bool shuffle) {
  return {.files = files,
          .format = config.data.format == "raw_u16" ? ShardFormat::raw_u16 : ShardFormat::automatic,
          .n_ctx = config.model.n_ctx,
          .vocab_size = config.model.vocab_size,
          .shuffle = shuffle,
          .seed = config.seed};
}

/// A thing that ranks must have alike is a row here.
void compare_ranks(const TrainOptions& options, const RunData& data, const TrainerState& state, const fs::path& checkpoint,
                   Communicator& ranks) {
  if (ranks.size() == 1) return;
  std::vector<Fingerprint> rows = {
      {"the program", options.program},
      {"the run directory (--out)", fs::absolute(options.run_directory).lexically_normal().string()},
      {"the tokenizer", state.tokenizer_hash.empty() ? "none" : state.tokenizer_hash},
      {"the checkpoint to resume", checkpoint.empty() ? "none" : hash_file(checkpoint / state_file_name)}};
  for (const Field& field : config_fields()) rows.push_back({field.path, to_text(get_field(field, options.config))});
  RunInputs inputs = data.inputs;
  inputs.insert(state.inputs.begin(), state.inputs.end());
  for (const auto& [key, fingerprint] : inputs) rows.push_back({"what " + key + " names", fingerprint});
  compare_fingerprints(ranks, rows);
}

void initialize_weights(const RunConfig& config, Weights& weights) {
  if (!config.train.init_from) return weights.initialize(config.seed);
  const fs::path folder = *config.train.init_from;
  if (fs::exists(folder / state_file_name)) verify_checkpoint(folder);
  const ModelConfig found = read_hf_config(folder);
  const ModelConfig& wanted = config.model;
  const auto same = [&](const char* key, std::int64_t there, std::int64_t here) {
    if (there != here)
      throw Error(ExitCode::usage, "train.init_from: the model in {} has {} {}, the configuration model.{} {}; make them equal",
                  folder.string(), key, there, key, here);
  };
  same("n_layer", found.n_layer, wanted.n_layer);
  same("n_head", found.n_head, wanted.n_head);
  same("n_embd", found.n_embd, wanted.n_embd);
  same("n_ctx", found.n_ctx, wanted.n_ctx);
  same("vocab_size", found.vocab_size, wanted.vocab_size);
  same("bias", found.bias, wanted.bias);
  load_hf_model(folder, weights);
}

/// Takes weights, moments and place in the data from another run's checkpoint; this run's schedule begins at its own step 0.
void branch(const fs::path& from, const ModelConfig& model, TrainerState& state, Engine& engine) {
  const TrainerState saved = verify_checkpoint(from);
  if (saved.data_fingerprint != state.data_fingerprint)
    throw Error(ExitCode::data,
                "train.branch_from: " + from.string() + " was trained on other data than data.train names; name the same shards");
  const double ratio = config_from_json(saved.config_json, (from / state_file_name).string()).model.width_ratio();
  if (ratio != model.width_ratio())
    throw Error(
        ExitCode::usage,
        "train.branch_from: {} was trained at {:.4g} times its base width (model.mup_base_width; 1 without), this run would be at "
        "{:.4g}: its weights and moments are of other sizes. Give the same base",
        from.string(), ratio, model.width_ratio());
  load_checkpoint(from, engine.weights, engine.optimizer, *engine.device);
  state.next_window = saved.next_window;
  state.earlier_updates = saved.earlier_updates + saved.step;
}

std::string text_of(const ValidationSample& sample) {
  return fmt::format("{} tokens of data {:.8}", sample.tokens, sample.fingerprint);
}

/// `fresh`: the state of this run before its first step. Returns the one that was saved.
TrainerState resume(const fs::path& checkpoint, const TrainerState& fresh, const TrainOptions& options, const RunData& data,
                    Engine& engine, Progress& progress) {
  TrainerState saved = verify_checkpoint(checkpoint);
  for (const std::string& change : check_resumable(saved, fresh, options.allowed_changes, checkpoint))
    progress.note("another course from step " + std::to_string(saved.step) + " on, by --allow-change: " + change);
  if (const std::int64_t steps = total_steps(options.config); steps < saved.step)
    throw Error(
        ExitCode::checkpoint,
        "{} has made {} steps and train.{} asks for a run of {}; give at least {} steps, or start a new run with another --out",
        checkpoint.string(), saved.step, options.config.train.steps ? "steps" : "tokens", steps, saved.step);
  load_checkpoint(checkpoint, engine.weights, engine.optimizer, *engine.device, engine.average ? &*engine.average : nullptr);
  saved.config_json = fresh.config_json;
  for (const auto& [key, fingerprint] : fresh.inputs) saved.inputs[key] = fingerprint;
  if (saved.tokenizer_hash.empty()) saved.tokenizer_hash = fresh.tokenizer_hash;
  progress.note(fmt::format("resuming {} at step {} of {}", checkpoint.string(), saved.step, total_steps(options.config)));
  if (data.val && saved.last_val_loss && saved.val_sample != data.sample)
    progress.note(
        fmt::format("another validation sample than before: {}, where it was {} (eval.tokens, data.val); the next validation's "
                    "loss is the first and the best of the new one",
                    text_of(data.sample), text_of(saved.val_sample)));
  return saved;
}

/// What the representation change is measured on: the first validation windows, or training ones where there are none.
void hold_batch(const RunConfig& config, const RunData& data, Engine& engine) {
  const BatchSource& source = data.val ? *data.val : data.train;
  const std::int64_t sequences = std::min(config.diagnostics.representation_sequences, source.windows_per_epoch());
  Batch batch;
  source.read(0, sequences, batch);
  engine.held->upload(batch, sequences, config.model.n_ctx);
  engine.device->synchronize();
}

/// What a GPU chooses by time is chosen once: by rank 0 on the first micro-batch, unless the checkpoint has it. After that nobody
/// times anything, so that all ranks do the same, and a resumed run what it did before.
void settle_choices(const RunConfig& config, const RunData& data, TrainerState& state, Engine& engine) {
  Ops& device = *engine.device;
  if (!device.device().asynchronous) return;
  if (engine.ranks.rank() == 0 && !device.take_choices(state.choices)) {
    Batch batch;
    data.train.read(0, config.batch.micro_batch, batch);
    engine.batch.upload(batch, config.batch.micro_batch, config.model.n_ctx);
    engine.rehearse(config);
    state.choices = device.choices();
  }
  state.choices = text_of_first(engine.ranks, state.choices, "what rank 0 chose by time");
  device.take_choices(state.choices);
}

constexpr const char* saved_mark = "has_checkpoints";

/// What a run leaves in its folder, in the order in which it is moved aside. Whatever a kill leaves of that, nobody takes for a run or
/// for a free folder: first goes config.json, without which nothing resumes, and last metrics.jsonl, beside which nothing starts.
constexpr std::array run_files = {"config.json", "summary.json", saved_mark,          "checkpoints",  "logs",
                                  "tensorboard", "hook.log",     "diagnostics.jsonl", "metrics.jsonl"};

fs::path aside(const fs::path& path, std::int64_t number) { return path.string() + "." + std::to_string(number); }

bool is_there(const fs::path& path) { return fs::exists(fs::symlink_status(path)); }

/// Renames alone. What is interrupted after config.json is finished by doing it again, under the number that it had: the last one
/// under which none of what is still here has its place taken.
void move_aside(const fs::path& run) {
  const auto any = [&](const auto& condition) { return std::any_of(run_files.begin(), run_files.end(), condition); };
  std::int64_t number = 1;
  while (any([&](const char* name) { return is_there(aside(run / name, number)); })) ++number;
  const auto clashes = [&](std::int64_t with) {
    return any([&](const char* name) { return is_there(run / name) && is_there(aside(run / name, with)); });
  };
  if (std::int64_t begun = number - 1; !is_there(run / run_files.front())) {
    while (begun > 0 && clashes(begun)) --begun;
    if (begun > 0) number = begun;
  }
  for (const char* name : run_files) {
    if (!is_there(run / name)) continue;
    fs::rename(run / name, aside(run / name, number));
    sync_folder(run);
  }
}

/// The newest intact checkpoint to resume; none where the run was ended before its first.
fs::path checkpoint_to_resume(const fs::path& run, const CheckpointFolder& checkpoints) {
  if (const std::optional<fs::path> newest = checkpoints.newest_good()) return *newest;
  if (fs::exists(run / saved_mark) || fs::exists(run / "summary.json"))
    throw Error(
        ExitCode::checkpoint,
        "{}: this run has saved checkpoints and none is left in checkpoints/. Put them back, or begin again at step 0: with "
        "another --out, or here with --start-over in place of --resume, which keeps the old logs under other names.",
        run.string());
  return {};
}

/// A run that was ended before its first checkpoint begins again, as the run that it was.
void check_begun(const TrainOptions& options, const RunData& data) {
  const fs::path begun = options.run_directory / "config.json";
  TrainerState then, now;
  now.data_fingerprint = then.data_fingerprint = data.train.fingerprint();
  then.config_json = read_file(begun);
  now.config_json = config_to_json(options.config);
  check_resumable(then, now, options.allowed_changes, begun);
}

}  // namespace

BatchSettings train_batches(const RunConfig& config) { return batch_settings(config, config.data.train, config.data.shuffle); }

void note_saved(const fs::path& run_directory) {
  if (fs::exists(run_directory / saved_mark)) return;
  write_file_atomically(run_directory / saved_mark, "This run has saved checkpoints: without any, --resume does not begin anew.\n");
}

std::unique_ptr<FolderLock> open_run_directory(const fs::path& path, bool resume, bool start_over) {
  const bool holds_run = fs::exists(path / "config.json");
  const bool holds_history = fs::exists(path / "metrics.jsonl");
  if (resume && !holds_run)
    throw Error(ExitCode::checkpoint,
                path.string() + ": there is no run to resume here; drop --resume to start one, or correct --out" +
                    (is_there(path / run_files.back()) ? " (a run was being moved aside: --start-over finishes that)" : ""));
  const bool holds_sweep = fs::exists(path / "sweep.json");
  if (!resume && !start_over && holds_run)
    throw Error(ExitCode::usage,
                "{}: holds a run already; --resume goes on with it, --start-over moves it aside and another --out starts a new one "
                "elsewhere",
                path.string());
  if (!resume && (holds_sweep || (holds_history && !start_over)))
    throw Error(ExitCode::usage, "{}: holds {}, which a new run would mix with its own; name another --out", path.string(),
                holds_sweep ? "a sweep" : "the metrics.jsonl of a run (--start-over moves it aside)");
  make_folder(path);
  auto lock = std::make_unique<FolderLock>(path);
  if (start_over) move_aside(path);
  return lock;
}

std::vector<std::string> check_resumable(const TrainerState& saved, const TrainerState& now,
                                         const std::vector<std::string>& allowed_changes, const fs::path& checkpoint) {
  std::vector<std::string> changes;
  std::string problems;
  if (saved.data_fingerprint != now.data_fingerprint)
    problems += "\n  the training data differs: fingerprint " + saved.data_fingerprint + " then, " + now.data_fingerprint + " now";
  if (!saved.tokenizer_hash.empty() && !now.tokenizer_hash.empty() && saved.tokenizer_hash != now.tokenizer_hash)
    problems += "\n  the tokenizer differs: hash " + saved.tokenizer_hash + " then, " + now.tokenizer_hash + " now";

  const auto judge = [&](const std::string& path, const std::string& change, bool may_be_allowed) {
    if (may_be_allowed && std::find(allowed_changes.begin(), allowed_changes.end(), path) != allowed_changes.end())
      changes.push_back(change);
    else
      problems += "\n  " + change + (may_be_allowed ? " (--allow-change " + path + " permits it)" : " (cannot change)");
  };
  const std::string rates = "schedule.file";
  const auto rates_then = saved.inputs.find(rates), rates_now = now.inputs.find(rates);
  if (rates_then != saved.inputs.end() && rates_now != now.inputs.end() && rates_then->second != rates_now->second)
    judge(rates, "what " + rates + " names: hash " + rates_then->second + " then, " + rates_now->second + " now", true);

  const RunConfig before = config_from_json(saved.config_json, (checkpoint / "trainer.json").string());
  const RunConfig after = config_from_json(now.config_json, "the configuration given");
  for (const FieldDifference& difference : compare(before, after)) {
    if (difference.resume == ResumeClass::topology || difference.resume == ResumeClass::free) continue;
    const std::string path(difference.path);
    judge(path, path + ": " + difference.before + " then, " + difference.after + " now",
          difference.resume == ResumeClass::trajectory);
  }
  if (!problems.empty())
    throw Error(
        ExitCode::checkpoint,
        "{} was saved by another run:{}\n  Give the configuration it was started with, or start a new run with another --out.",
        checkpoint.string(), problems);
  return changes;
}

RunData::RunData(const RunConfig& config)
    : tokenizer(config.data.tokenizer.empty() ? std::nullopt : std::optional(Tokenizer::load(config.data.tokenizer))),
      train(train_batches(config)) {
  if (!config.data.val.empty()) {
    val.emplace(batch_settings(config, config.data.val, false));
    sample = validation_sample(*val, config.model.n_ctx, config.eval.tokens);
  }
  if (!config.eval.hellaswag.empty()) {
    if (!tokenizer)
      throw Error(ExitCode::usage,
                  "eval.hellaswag needs data.tokenizer: the items are text and must be encoded; set data.tokenizer");
    if (!val)
      throw Error(ExitCode::usage, "eval.hellaswag is scored at each validation, and data.val names no shards; set data.val");
    hellaswag = read_multiple_choice(config.eval.hellaswag);
  }
  if (tokenizer && tokenizer->vocab_size() > config.model.vocab_size)
    throw Error(ExitCode::usage, "{} has {} tokens, model.vocab_size is {}; set model.vocab_size to at least the tokenizer's size",
                config.data.tokenizer, tokenizer->vocab_size(), config.model.vocab_size);
  if (tokenizer) identity.add("data.tokenizer (" + config.data.tokenizer + ")", tokenizer->hash());
  inputs["data.train"] = train.fingerprint();
  if (val) inputs["data.val"] = val->fingerprint();
  if (const auto bytes = val ? val->origins().bytes_per_token() : std::nullopt)
    inputs["data.val"] += fmt::format(", {} bytes per token", *bytes);  // which the sidecar knows and the tokens do not
  if (tokenizer) inputs["data.tokenizer"] = tokenizer->hash();
  if (!config.eval.hellaswag.empty()) inputs["eval.hellaswag"] = hash_file(config.eval.hellaswag);
  if (config.schedule.name == ScheduleName::file) inputs["schedule.file"] = hash_file(*config.schedule.file);
  for (const auto* folder : {&config.train.init_from, &config.train.branch_from})
    if (*folder) identity.add("the model to start from (" + **folder + ")", tokenizer_of_model(**folder));
  identity.add_shards("data.train", train.origins());
  if (val) identity.add_shards("data.val", val->origins());
}

RunInputs model_to_start_from(const TrainConfig& config) {
  if (config.branch_from) {
    if (!fs::exists(fs::path(*config.branch_from) / state_file_name))
      throw Error(ExitCode::checkpoint,
                  "train.branch_from: \"{}\" is no checkpoint; name one, such as runs/NAME/checkpoints/step-00001000",
                  *config.branch_from);
    return {{"train.branch_from", hash_file(fs::path(*config.branch_from) / state_file_name)}};
  }
  if (!config.init_from) return {};
  if (!fs::is_directory(*config.init_from))
    throw Error(ExitCode::checkpoint, "train.init_from: \"{}\" is no folder; name that of a checkpoint or of a Hugging Face model",
                *config.init_from);
  std::set<std::string> hashes;  // of one file or, in larger models, of several
  for (const fs::directory_entry& entry : fs::directory_iterator(*config.init_from)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("model") && name.ends_with(".safetensors")) hashes.insert(hash_file(entry.path()));
  }
  return {{"train.init_from", hash_bytes(fmt::format("{}", fmt::join(hashes, "\n")))}};
}

StartedRun start_run(const TrainOptions& options, const RunData& data, const CheckpointFolder& checkpoints, Engine& engine,
                     Progress& progress) {
  const RunConfig& config = options.config;
  Communicator& ranks = engine.ranks;
  for (const std::string& note : data.identity.notes()) progress.note("note: " + note);
  if (data.val && data.val->fingerprint() == data.train.fingerprint())
    progress.note(
        "warning: data.val holds the tokens of data.train: the validation loss will not tell how well the model does on "
        "text it has not seen; name shards that are not trained on (`temper data tokenize --val-fraction` makes some)");
  fs::path newest;
  if (ranks.rank() == 0) {
    checkpoints.remove_leftovers();
    if (options.resume) newest = checkpoint_to_resume(options.run_directory, checkpoints);
    if (options.resume && newest.empty()) check_begun(options, data);
  }
  const fs::path checkpoint = text_of_first(ranks, newest.string(), "the choice of a checkpoint");

  TrainerState state;
  state.config_json = config_to_json(config);
  state.data_fingerprint = data.train.fingerprint();
  state.tokenizer_hash = data.identity.hash();
  if (checkpoint.empty()) state.inputs = model_to_start_from(config.train);
  state.inputs["data.train"] = state.data_fingerprint;
  if (const auto rates = data.inputs.find("schedule.file"); rates != data.inputs.end()) state.inputs.insert(*rates);
  compare_ranks(options, data, state, checkpoint, ranks);
  if (!checkpoint.empty()) {
    state = resume(checkpoint, state, options, data, engine, progress);
  } else {
    if (options.resume) progress.note("no checkpoint yet in " + options.run_directory.string() + ": starting at step 0");
    initialize_weights(config, engine.weights);
    if (config.train.branch_from) branch(*config.train.branch_from, config.model, state, engine);
    engine.optimizer.center_rows();
    engine.gradient_sum.gather_weights();
    if (engine.average) engine.average->take();
    if (data.val) state.pending = StepRecord{};  // the loss of the untrained model
  }
  if (ranks.size() > 1) compare_fingerprints(ranks, {{"the weights to start with", hash_of(engine.weights, *engine.device)}});
  engine.optimizer.set_earlier_updates(state.earlier_updates);
  if (engine.held) hold_batch(config, data, engine);
  settle_choices(config, data, state, engine);
  for (const std::string& note : engine.device->take_notes()) progress.note("note: " + note);
  return {std::move(state), checkpoint};
}

}  // namespace temper
