// Everything a training run depends on. A key is a member of its section's struct, whose initialiser is the default, and a row of
// the struct's declare(): range, meaning, who reads it. From these rows parser, overrides, checks, JSON Schema, the reference page
// and the resolved configuration are made (config/fields.h). What is optional and not given has no value until resolved() fills it
// in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/optimizer_config.h"
#include "config/schedule_config.h"

namespace temper {

enum class DeviceChoice { automatic, cpu, cuda };
/// When the operations of a GPU are held against a reference before a run.
enum class DeviceCheck { automatic, always, off };
enum class Precision {
  fp32,
  bf16,
  tf32,  ///< fp32 storage; a GPU's matmuls round their inputs to TF32
};
enum class Initialization { gpt2, xavier, he };
/// Which activations are computed again in the backward pass instead of kept, to save memory.
enum class Recompute {
  none,
  gelu_layernorm,  ///< outputs of GELU and of the layer norms: 6 of a block's 16 rows per token, without a matmul
  block,           ///< everything inside a block: its forward pass runs twice
};

struct ModelConfig {
  std::int64_t n_layer = 12;
  std::int64_t n_head = 12;
  std::int64_t n_embd = 768;
  std::int64_t n_ctx = 1024;
  std::int64_t vocab_size = 50257;  ///< as the tokenizer has it; padded to a multiple of 128 inside the model only
  bool bias = true;
  double init_std = 0.02;
  Initialization init = Initialization::gpt2;
  bool residual_scaling = true;
  std::optional<std::int64_t> mup_base_width;

  /// n_embd over the base's width, by whose powers initial weights and rates change under muP; 1 without.
  double width_ratio() const { return static_cast<double>(n_embd) / static_cast<double>(mup_base_width.value_or(n_embd)); }

  static void declare(auto& rows) {
    using Self = ModelConfig;
    using namespace row;
    rows("n_layer", &Self::n_layer, also_called("num_layers layers depth"), from(1), to(1024), "transformer blocks");
    rows("n_head", &Self::n_head, also_called("num_heads heads"), from(1), to(1024),
         "attention heads of a block; n_embd / n_head is the head size, even and at most 256");
    rows("n_embd", &Self::n_embd, also_called("d_model hidden_size embed_dim width"), from(2), to(65536),
         "width of the residual stream");
    rows("n_ctx", &Self::n_ctx, also_called("block_size context_length sequence_length seq_len n_positions max_seq_len"), from(1),
         to(1 << 20), "context length in tokens");
    rows("vocab_size", &Self::vocab_size, also_called("vocab"), from(2), to(65536),
         "tokens the tokenizer knows (shards hold 16-bit tokens, so at most 65536)");
    rows("bias", &Self::bias, "biases in linear layers and layernorms, as GPT-2 has them");
    rows("init_std", &Self::init_std, also_called("initializer_range"), above(0), to(10),
         "standard deviation of initial weights (with init xavier and he: of the embeddings)");
    rows("init", &Self::init, also_called("initialization"), one_of({"gpt2", "xavier", "he"}),
         "how large initial weights of linear layers are: gpt2 init_std, xavier sqrt(2 / (inputs + outputs)), he sqrt(2 / "
         "inputs)");
    rows("residual_scaling", &Self::residual_scaling,
         "initial projections into the residual stream are divided by sqrt(2 n_layer)");
    rows("mup_base_width", &Self::mup_base_width, also_called("mup base_width d_model_base"), from(2), to(65536),
         "muP: initial weights and rates change with n_embd so that what was tuned at this width, with as many heads, holds at "
         "every other (docs/optimizers.md); not given: they do not change");
  }
};

struct DataConfig {
  std::vector<std::string> train;  ///< shard files or globs
  std::vector<std::string> val;
  std::string tokenizer;  ///< a folder or file; empty: none
  bool shuffle = false;
  std::string format = "auto";

  static void declare(auto& rows) {
    using Self = DataConfig;
    using namespace row;
    rows("train", &Self::train, also_called("input_bin dataset"), ResumeClass::free,
         "token shards to train on: files or globs, in this order");
    rows("val", &Self::val, also_called("input_val_bin validation"), ResumeClass::free,
         "token shards to validate on; empty: no validation");
    rows("tokenizer", &Self::tokenizer, ResumeClass::free,
         "folder or file of the tokenizer that made the shards, copied into checkpoints; empty: none, and `sample` needs one");
    rows("shuffle", &Self::shuffle, "true: windows in an order drawn anew each epoch; false: in file order");
    rows("format", &Self::format, one_of({"auto", "raw_u16"}), ResumeClass::must_match,
         "shard format; auto reads the header, raw_u16 is nanoGPT's headerless file of 16-bit tokens");
  }
};

struct BatchConfig {
  std::int64_t tokens_per_step = 524288;
  std::int64_t micro_batch = 4;  ///< sequences of n_ctx tokens per forward pass; 0: not decided yet (largest_micro_batch)

  static void declare(auto& rows) {
    using Self = BatchConfig;
    using namespace row;
    rows("tokens_per_step", &Self::tokens_per_step,
         also_called("batch_size total_batch_size gradient_accumulation_steps grad_accum"), from(1), to(most_tokens_per_step),
         "tokens of one optimizer step, a multiple of micro_batch x n_ctx; the gradient is their mean");
    rows("micro_batch", &Self::micro_batch, also_called("batch_size micro_batch_size"), from(1), to(1 << 20), or_word("auto"),
         ResumeClass::topology,
         "sequences of n_ctx tokens in one forward and backward pass; decides the memory, not the result; auto: the largest that "
         "the GPU has memory for and all ranks share evenly, and 4 on a CPU, which config.json then names");
  }
};

/// What is done about a step whose loss or gradient is not finite, and about one whose loss is a spike.
enum class OnNonfinite { stop, skip, rollback };
enum class OnSpike { warn, rollback };

struct TrainConfig {
  std::optional<std::int64_t> steps, tokens;  ///< exactly one of them is given
  Recompute recompute = Recompute::none;
  std::optional<std::string> init_from, branch_from;
  OnNonfinite on_nonfinite = OnNonfinite::stop;
  std::int64_t nonfinite_limit = 10;
  double spike_sigmas = 6.0;
  OnSpike on_spike = OnSpike::warn;

  static void declare(auto& rows) {
    using Self = TrainConfig;
    using namespace row;
    rows("steps", &Self::steps, also_called("max_steps max_iters num_iterations iterations iters total_steps"), from(1),
         either("length"), "length of the run in optimizer steps");
    rows("tokens", &Self::tokens, also_called("max_tokens total_tokens epochs"), from(1), to(most_tokens), either("length"),
         "length of the run in tokens, rounded up to whole steps");
    rows("recompute", &Self::recompute, one_of({"none", "gelu_layernorm", "block"}), ResumeClass::topology,
         "activations computed again in the backward pass instead of kept, so that larger micro-batches fit: none, those of GELU "
         "and layer norms (cheap), or a whole block (its forward pass runs twice)");
    rows("init_from", &Self::init_from, either("start"),
         "folder with a model of these sizes to start from (Hugging Face's layout; see `temper import`); not given: fresh "
         "weights");
    rows("branch_from", &Self::branch_from, either("start"),
         "checkpoint whose weights, moments and place in the data this run goes on from, with a schedule of its own from step "
         "0");
    rows("on_nonfinite", &Self::on_nonfinite, one_of({"stop", "skip", "rollback"}), as_before({"stop"}), ResumeClass::free,
         "a step whose loss or gradient is not finite makes no update; then stop ends the run, skip goes on with the next batch, "
         "rollback goes back to the last checkpoint and on with the batch after the bad one (docs/reliability.md)");
    rows("nonfinite_limit", &Self::nonfinite_limit, from(1), as_before({std::int64_t{10}}), ResumeClass::free,
         read_by("train.on_nonfinite skip and rollback, and train.on_spike rollback",
                 [](const auto& c) {
                   return c.train.on_nonfinite != OnNonfinite::stop ||
                          (c.train.spike_sigmas > 0 && c.train.on_spike == OnSpike::rollback);
                 }),
         or_ignored, "how many steps of a run may be skipped or rolled back; one more ends it");
    rows("spike_sigmas", &Self::spike_sigmas, from(0), to(1000), as_before({6.0}), ResumeClass::free,
         "a loss is reported as a spike when it is this many standard deviations above the mean of the last 128 ordinary ones; 0: "
         "off");
    rows("on_spike", &Self::on_spike, one_of({"warn", "rollback"}), as_before({"warn"}), ResumeClass::free,
         read_by("train.spike_sigmas above 0", [](const auto& c) { return c.train.spike_sigmas > 0; }), or_ignored,
         "what happens after a spike is reported: warn nothing more, rollback as for on_nonfinite");
  }
};

struct EvalConfig {
  std::int64_t every = 250;
  /// At the other defaults a validation of 2^20 takes 0.3 % of the training between two of them, whatever the size of the set.
  std::int64_t tokens = 1 << 20;
  std::string hellaswag;
  std::int64_t hellaswag_items = 0;
  double weight_average = 0.0;

  static void declare(auto& rows) {
    using Self = EvalConfig;
    using namespace row;
    rows("every", &Self::every, also_called("val_every eval_interval val_loss_every"), from(0),
         "steps between validations; 0: only at the end");
    rows("tokens", &Self::tokens, also_called("eval_iters val_max_steps batches"), from(0), to(most_tokens),
         "tokens of the validation set to score, always its first ones, rounded up to whole sequences of n_ctx; 0: all of it");
    rows("hellaswag", &Self::hellaswag, "HellaSwag file to score at each validation; empty: off");
    rows("hellaswag_items", &Self::hellaswag_items, from(0),
         read_by("eval.hellaswag", [](const auto& c) { return !c.eval.hellaswag.empty(); }), or_ignored,
         "items of that file to score, its first ones; 0: all");
    rows("weight_average", &Self::weight_average, also_called("ema ema_decay"), from(0), below(1), as_before({0.0}),
         ResumeClass::must_match,
         "decay rate, per step, of an exponential moving average of the weights, which is evaluated and saved too; 0: off");
  }
};

struct CheckpointConfig {
  std::int64_t every = 1000;
  std::int64_t keep = 2;
  std::int64_t keep_every = 0;

  static void declare(auto& rows) {
    using Self = CheckpointConfig;
    using namespace row;
    rows("every", &Self::every, also_called("save_every save_interval"), from(0), "steps between checkpoints; 0: only at the end");
    rows("keep", &Self::keep, from(1), to(1'000'000), "newest checkpoints that stay on disk");
    rows("keep_every", &Self::keep_every, from(0), as_before({std::int64_t{0}}),
         "beside them, checkpoints of steps that are a multiple of this stay for good; 0: none");
  }
};

struct LogConfig {
  std::int64_t every = 1;
  bool tensorboard = true;

  static void declare(auto& rows) {
    using Self = LogConfig;
    using namespace row;
    rows("every", &Self::every, also_called("log_interval"), from(1), "steps between lines on the terminal and in metrics.jsonl");
    rows("tensorboard", &Self::tensorboard, "also write TensorBoard event files");
  }
};

/// What is measured about the update; 0: off.
struct DiagnosticsConfig {
  std::int64_t every = 0;
  std::int64_t representation_every = 0;
  std::int64_t representation_sequences = 1;
  std::int64_t histogram_every = 0;
  std::int64_t histogram_bins = 96;

  static void declare(auto& rows) {
    using Self = DiagnosticsConfig;
    using namespace row;
    rows("every", &Self::every, from(0), "steps between measurements of norms, angles, alignment and noise per tensor; 0: off");
    rows("representation_every", &Self::representation_every, from(0),
         "steps between measurements of how far an update moves each layer's outputs on a batch that is held fixed; 0: off");
    rows("representation_sequences", &Self::representation_sequences, from(1), to(1 << 20),
         read_by("diagnostics.representation_every above 0", [](const auto& c) { return c.diagnostics.representation_every > 0; }),
         or_ignored, "sequences of n_ctx tokens in that batch");
    rows("histogram_every", &Self::histogram_every, from(0),
         "steps between histograms of the weights beside the Gaussian prior that the decay implies; 0: off");
    rows("histogram_bins", &Self::histogram_bins, from(8), to(4096),
         read_by("diagnostics.histogram_every above 0", [](const auto& c) { return c.diagnostics.histogram_every > 0; }),
         or_ignored, "bins of a histogram");
  }
};

/// How the ranks of a run share its work.
struct ParallelConfig {
  std::int64_t zero_stage = 0;
  bool deterministic = false;
  std::int64_t bucket_mib = 25;
  std::int64_t timeout_seconds = 120;
  std::int64_t check_every = 1000;

  static void declare(auto& rows) {
    using Self = ParallelConfig;
    using namespace row;
    rows("zero_stage", &Self::zero_stage, from(0), to(1), ResumeClass::topology,
         "1: each rank keeps the optimizer's states, and in bf16 the master weights, of its share of the parameters only "
         "(ZeRO-1); 0: of all");
    rows("deterministic", &Self::deterministic, ResumeClass::topology,
         "on a CPU: gradients are added micro-batch by micro-batch, in their order, so that any number of ranks gives the same "
         "bits; takes more memory and time");
    rows("bucket_mib", &Self::bucket_mib, from(1), to(65536), ResumeClass::topology,
         "MiB of gradients that are sent together while the backward pass goes on");
    rows("timeout_seconds", &Self::timeout_seconds, from(1), to(86400),
         "seconds that a rank waits for the others in a collective before it gives up");
    rows("check_every", &Self::check_every, from(0),
         "steps between comparisons of the ranks' weights, which must be equal to the bit; 0: never");
  }
};

struct RunConfig {
  std::string name = "run";
  std::uint64_t seed = 1337;
  DeviceChoice device = DeviceChoice::automatic;
  DeviceCheck device_check = DeviceCheck::automatic;
  Precision precision = Precision::fp32;
  ModelConfig model;
  DataConfig data;
  BatchConfig batch;
  TrainConfig train;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  EvalConfig eval;
  CheckpointConfig checkpoint;
  LogConfig log;
  DiagnosticsConfig diagnostics;
  ParallelConfig parallel;

  /// The keys that stand in no section.
  static void declare(auto& rows) {
    using Self = RunConfig;
    using namespace row;
    rows("name", &Self::name, also_called("run_name"), folder_name, ResumeClass::free,
         "what the run is called in logs and folder names");
    rows("seed", &Self::seed, ResumeClass::must_match, "starts every random number: initial weights, data order");
    rows("device", &Self::device, one_of({"auto", "cpu", "cuda"}), ResumeClass::topology,
         "where to compute; auto takes a GPU where this build and machine have one");
    rows(
        "device_check", &Self::device_check, one_of({"auto", "always", "off"}), no_identity, ResumeClass::free,
        "when a GPU's operations are compared with a reference before the run (docs/reliability.md): auto once for each GPU, driver "
        "and version of temper, always before every run, or never");
    rows("precision", &Self::precision, also_called("dtype"), one_of({"fp32", "bf16", "tf32"}),
         "type of weights and activations in the matmuls; tf32 is fp32 whose matmuls a GPU computes from inputs rounded to 10 "
         "bits of mantissa; master weights, moments and accumulated gradients are fp32 always");
  }
};

}  // namespace temper
