// Everything a training run depends on, as plain structs. Defaults live here; names, ranges and help text live in the
// field table (config/fields.cpp), from which parser, overrides, JSON Schema and the reference page are made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace temper {

enum class DeviceChoice { automatic, cpu, cuda };
enum class Precision { fp32, bf16 };
enum class OptimizerName { adamw };
enum class DecayMode { none, decoupled };
/// Which activations are computed again in the backward pass instead of kept, to save memory.
enum class Recompute {
  none,
  gelu_layernorm,  ///< outputs of GELU and of the layer norms: 6 of a block's 16 rows per token, without a matmul
  block,           ///< everything inside a block: its forward pass runs twice
};
enum class ScheduleName { constant, linear, cosine, wsd };

struct ModelConfig {
  std::int64_t n_layer = 12;
  std::int64_t n_head = 12;
  std::int64_t n_embd = 768;
  std::int64_t n_ctx = 1024;
  std::int64_t vocab_size = 50257;  ///< as the tokenizer has it; padded to a multiple of 128 inside the model only
  bool bias = true;
  double init_std = 0.02;
};

struct DataConfig {
  std::vector<std::string> train;  ///< shard files or globs
  std::vector<std::string> val;
  std::string tokenizer;        ///< a folder or file; empty: none, then sample needs one
  bool shuffle = false;         ///< false: windows in file order
  std::string format = "auto";  ///< auto (by magic) | raw_u16 (nanoGPT's headerless files)
};

struct BatchConfig {
  std::int64_t tokens_per_step = 524288;
  std::int64_t micro_batch = 4;  ///< sequences of n_ctx tokens per forward pass
};

struct TrainConfig {
  std::int64_t steps = 0;  ///< exactly one of steps and tokens is set
  std::int64_t tokens = 0;
  Recompute recompute = Recompute::none;
  std::string init_from;  ///< folder with a model to start from; empty: fresh weights
};

struct OptimizerConfig {
  OptimizerName name = OptimizerName::adamw;
  double learning_rate = 6e-4;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  DecayMode decay = DecayMode::decoupled;
  double grad_clip = 1.0;  ///< 0: off
};

struct ScheduleConfig {
  ScheduleName name = ScheduleName::cosine;
  std::int64_t warmup_steps = -1;  ///< -1: not given; at most one of the two is given, none means no warmup
  double warmup_fraction = -1.0;
  double min_ratio = 0.0;          ///< the rate at the end, as a share of the peak
  double cooldown_fraction = 0.2;  ///< wsd: share of the run that decays
};

struct EvalConfig {
  std::int64_t every = 250;          ///< steps; 0: only at the end
  std::int64_t batches = 20;         ///< micro-batches of the validation set, always its first ones; 0: all of it
  std::string hellaswag;             ///< file to score with; empty: off
  std::int64_t hellaswag_items = 0;  ///< 0: all
};

struct CheckpointConfig {
  std::int64_t every = 1000;  ///< steps; 0: only at the end
  std::int64_t keep = 2;
};

struct LogConfig {
  std::int64_t every = 1;
  bool tensorboard = true;
};

struct RunConfig {
  std::string name = "run";
  std::uint64_t seed = 1337;
  DeviceChoice device = DeviceChoice::automatic;
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
};

}  // namespace temper
