#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "cli/commands.h"
#include "config/parse.h"
#include "data/batches.h"
#include "data/multiple_choice.h"
#include "data/shard_sidecar.h"
#include "data/tokenizer.h"
#include "io/json.h"
#include "io/text.h"
#include "model/coordinates.h"
#include "train/checkpoint.h"
#include "train/evaluation.h"
#include "train/progress.h"

namespace temper {

namespace {

struct EvalArguments {
  std::string checkpoint;
  std::vector<std::string> data;
  std::string format = "auto";
  std::string hellaswag;
  std::string tokenizer;
  std::int64_t items = 0;
  std::optional<std::int64_t> tokens;
  std::int64_t batch = 4;
  std::string device = "auto";
  std::string precision = "fp32";
  std::string against;
  bool average = false;
};

/// What a run in `folder` was validated on, for what the arguments leave out.
void ask_the_run(const std::filesystem::path& folder, EvalArguments& arguments) {
  const std::filesystem::path state = folder / "trainer.json";
  if (!std::filesystem::exists(state)) return;
  const RunConfig config = config_from_json(verify_checkpoint(folder, false).config_json, state.string());
  if (!arguments.tokens) arguments.tokens = config.eval.tokens;
  if (!arguments.data.empty() || !arguments.hellaswag.empty()) return;
  arguments.data = config.data.val;
  arguments.format = config.data.format;
}

void require_finite(double number, const char* what) {
  if (!std::isfinite(number))
    throw Error(ExitCode::numeric,
                "{}: {:f}, which is not finite; the model's training diverged, or its numbers are too large for "
                "--precision",
                what, number);
}

void run(EvalArguments arguments) {
  if (!arguments.against.empty() && parse_precision(arguments.precision) != Precision::fp32)
    throw Error(ExitCode::usage, "--against compares activations in fp32; leave out --precision {}", arguments.precision);
  const std::unique_ptr<Ops> ops =
      open_device(parse_device(arguments.device), parse_precision(arguments.precision), DeviceUse::inference);
  const std::filesystem::path folder = find_model_folder(arguments.checkpoint);
  ask_the_run(folder, arguments);
  if (arguments.data.empty() && arguments.hellaswag.empty())
    throw Error(ExitCode::usage,
                folder.string() + " names no validation data: give --data with validation shards, or --hellaswag with its file");
  if (!arguments.against.empty() && arguments.data.empty())
    throw Error(ExitCode::usage, "--against looks at activations on validation data: give --data with shards");
  DeviceMemory memory(ops.get());
  Weights weights = open_weights(folder, parse_precision(arguments.precision), *ops, memory, arguments.average);
  const ModelConfig& config = weights.config();
  Gpt2 model(weights, Weights::Use::inference, Recompute::none, arguments.batch, config.n_ctx, ops.get(), memory);
  DeviceBatch device_batch(arguments.batch, config.n_ctx, ops.get(), memory);
  Progress progress(0, 1);
  const std::unique_ptr<Communicator> by_itself = make_self_communicator();

  nlohmann::ordered_json result;
  result["checkpoint"] = folder.string();
  if (arguments.average) result["average"] = true;
  TokenizerIdentity identity;
  identity.add("the model in " + folder.string(), tokenizer_of_model(folder));
  if (!arguments.data.empty()) {
    BatchSettings settings;
    settings.files = arguments.data;
    settings.format = arguments.format == "raw_u16" ? ShardFormat::raw_u16 : ShardFormat::automatic;
    settings.n_ctx = config.n_ctx;
    settings.vocab_size = config.vocab_size;
    const BatchSource source(settings);
    identity.add_shards("--data", source.origins());
    for (const std::string& note : identity.notes()) tell("note: " + note);
    const ValidationSample sample = validation_sample(source, config.n_ctx, arguments.tokens.value_or(0));
    const std::optional<double> loss =
        validation_loss(model, source, arguments.batch, config.n_ctx, sample, device_batch, *ops, *by_itself, [&](double share) {
          progress.activity("validating", share);
          return true;
        });
    require_finite(*loss, "the validation loss");
    result["val_loss"] = *loss;
    result["val_tokens"] = sample.tokens;
    result["val_fingerprint"] = sample.fingerprint;
    result["perplexity"] = std::exp(*loss);
    if (const std::optional<double> bytes = source.origins().bytes_per_token())
      result["bits_per_byte"] = *loss / std::numbers::ln2 / *bytes;
    if (!arguments.against.empty()) {
      const std::filesystem::path other = find_model_folder(arguments.against);
      Weights others = open_weights(other, Precision::fp32, *ops, memory);
      check_same_model(others.config(), config, other.string());
      Gpt2 before(others, Weights::Use::inference, Recompute::none, arguments.batch, config.n_ctx, ops.get(), memory);
      Batch batch;
      const std::int64_t sequences = std::min(arguments.batch, source.windows_per_epoch());
      source.read(0, sequences, batch);
      device_batch.upload(batch, sequences, config.n_ctx);
      result["against"] = other.string();
      for (const CoordinateSize& one : coordinate_sizes(config, model, before, device_batch.tokens(), *ops))
        result["activations"][one.name] = {{"size", one.size}, {"change", one.change}};
    }
  }
  if (!arguments.hellaswag.empty()) {
    const Tokenizer tokenizer = open_tokenizer(arguments.tokenizer, folder, config);
    identity.add("the tokenizer for --hellaswag", tokenizer.hash());
    const std::optional<MultipleChoiceScore> score =
        multiple_choice_score(model, read_multiple_choice(arguments.hellaswag), arguments.items, tokenizer, config.n_ctx,
                              arguments.batch, device_batch, *ops, *by_itself, [&](double share) {
                                progress.activity("scoring HellaSwag", share);
                                return true;
                              });
    require_finite(score->accuracy, "the HellaSwag score");
    result["hellaswag_items"] = score->items;
    result["hellaswag_acc"] = score->accuracy;
    result["hellaswag_acc_norm"] = score->accuracy_normalized;
  }
  progress.clear();
  write_output(json_text(result, 2) + "\n");
}

}  // namespace

void add_eval_command(CLI::App& app) {
  auto arguments = std::make_shared<EvalArguments>();
  CLI::App* command = app.add_subcommand("eval", "Measure a trained model: validation loss, HellaSwag accuracy");
  command->add_option("checkpoint", arguments->checkpoint, "Checkpoint, run directory or Hugging Face folder")->required();
  command->add_option("--data", arguments->data, "Validation shards (paths or globs; default: those of the run)");
  command->add_option("--format", arguments->format, "auto, or raw_u16 for headerless shards")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "raw_u16"}));
  command->add_option("--tokens", arguments->tokens, "Score the first N tokens; 0: all (default: the run's eval.tokens, or all)")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--batch", arguments->batch, "Sequences at a time; changes memory and speed alone")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--hellaswag", arguments->hellaswag, "HellaSwag items: the original JSONL, or six lines an item");
  command->add_option("--items", arguments->items, "HellaSwag items to score; 0: all")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--tokenizer", arguments->tokenizer, "Tokenizer folder or file (default: the checkpoint's own)");
  command->add_option(
      "--against", arguments->against,
      "Another model of these sizes: also how large activations are, and how far from its, on the first --batch sequences");
  add_average_option(*command, arguments->average);
  command->add_option("--device", arguments->device, "auto, cpu or cuda")->capture_default_str();
  command->add_option("--precision", arguments->precision, "fp32 or bf16")->capture_default_str();
  command->footer(
      "Examples:\n  temper eval runs/quickstart      (what its summary.json says)\n"
      "  temper eval runs/quickstart --data 'data/quickstart/*_val_*.bin' --tokens 0");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace temper
