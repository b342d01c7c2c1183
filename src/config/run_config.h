// Everything a training run depends on, as plain structs. Defaults live here; names, ranges and help text live in the
// field table (config/fields.cpp), from which parser, overrides, JSON Schema and the reference page are made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace temper {

enum class DeviceChoice { automatic, cpu, cuda };
enum class Precision {
  fp32,
  bf16,
  tf32,  ///< fp32 storage; a GPU's matmuls round their inputs to TF32
};
/// Named settings of the update pipeline; what each implies stands in config/optimizer_defaults.cpp.
enum class OptimizerName {
  sgd,
  sgdw,
  adam,
  adamw,
  lion,
  nesterov_lion,
  liona,
  lionar,
  adamh,
  muon,
  ademamix,
  schedule_free_adamw,
};
/// With lambda = weight_decay, lr_k the rate, s_k the schedule's multiplier, w the weight before the update.
enum class DecayMode {
  by_name,  ///< what the optimizer's name implies
  none,
  l2,              ///< lambda w is added to the gradient
  decoupled,       ///< w loses lr_k lambda of itself (torch.optim.AdamW)
  independent,     ///< w loses s_k lambda of itself (Loshchilov & Hutter)
  normalized,      ///< independent with lambda / sqrt(updates of the run, or of the restart cycle)
  scale_adjusted,  ///< lambda / peak rate times w times the preconditioner is added to the gradient
  cautious,        ///< decoupled, only where the update moves the weight towards 0
};
enum class L2Stage { before_clipping, after_clipping };
enum class DecaySchedule { constant, follow_rate, linear, cosine };
enum class ClipMode { global, tensor, value };
enum class BiasCorrection { both, second };
enum class EpsilonPlacement { outside, inside };
/// What the rate of a sign update is multiplied with early on, b = momentum.
enum class InverseBiasCorrection {
  none,
  linear,  ///< 1 - b^t
  root,    ///< sqrt(1 - b^(2t))
};
/// Size of LionA's updates.
enum class SignScale {
  noise,         ///< sqrt((1-b)/(1+b)): what an AdamW update has where gradients are noise
  norm_matched,  ///< that, divided by what weights come out smaller than under AdamW
  one,
};
enum class NormControlChoice { by_name, none, rotational, relative };
enum class Granularity { by_name, row, matrix };
enum class RotationSchedule {
  root,    ///< the rate stands inside the root of the angle
  linear,  ///< the angle follows the schedule
};
enum class RateCorrectionChoice { none, gradient, momentum };
enum class MuonScale {
  shape,      ///< sqrt(max(1, rows/columns))
  match_rms,  ///< 0.2 sqrt(max(rows, columns)): updates as large as AdamW's
};
enum class Initialization { gpt2, xavier, he };
/// Which activations are computed again in the backward pass instead of kept, to save memory.
enum class Recompute {
  none,
  gelu_layernorm,  ///< outputs of GELU and of the layer norms: 6 of a block's 16 rows per token, without a matmul
  block,           ///< everything inside a block: its forward pass runs twice
};
enum class ScheduleName { constant, linear, cosine, step, wsd, inverse_sqrt, restarts, power };
enum class WarmupShape { linear, exponential, cosine };
/// The multiplier of the first of W warmup updates.
enum class WarmupFirst {
  zero,      ///< k/W: 0
  one_step,  ///< (k+1)/W
  percent,   ///< 0.01 + 0.99 k/W
};
enum class CooldownShape { linear, one_minus_sqrt, cosine, one_minus_square, mirror_cosine, exponential };

struct ModelConfig {
  std::int64_t n_layer = 12;
  std::int64_t n_head = 12;
  std::int64_t n_embd = 768;
  std::int64_t n_ctx = 1024;
  std::int64_t vocab_size = 50257;  ///< as the tokenizer has it; padded to a multiple of 128 inside the model only
  bool bias = true;
  double init_std = 0.02;
  Initialization init = Initialization::gpt2;
  bool residual_scaling = true;  ///< projections into the residual stream start smaller by sqrt(2 n_layer)
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
  std::string init_from;    ///< folder with a model to start from; empty: fresh weights
  std::string branch_from;  ///< checkpoint whose weights, moments and place in the data this run goes on from, at its own step 0
};

/// Numbers that are -1 are not given: the optimizer's name decides.
struct OptimizerConfig {
  OptimizerName name = OptimizerName::adamw;
  double learning_rate = 6e-4;
  double other_learning_rate = -1.0;  ///< muon, adamh: peak rate of the tensors that AdamW trains
  double beta1 = -1.0;                ///< adam family, lion
  double beta2 = -1.0;
  double beta3 = 0.9999;               ///< ademamix: slow moment
  double momentum = -1.0;              ///< sgd, sign family, muon
  bool nesterov = false;               ///< sgd, sgdw, liona, lionar
  double dampening = 0.0;              ///< sgd
  bool momentum_includes_rate = true;  ///< sgdw: the momentum buffer holds rate x gradient, as in the paper
  double eps = 1e-8;
  EpsilonPlacement eps_placement = EpsilonPlacement::outside;
  BiasCorrection bias_correction = BiasCorrection::both;
  InverseBiasCorrection inverse_bias_correction = InverseBiasCorrection::none;
  SignScale sign_scale = SignScale::noise;

  double weight_decay = 0.1;
  DecayMode decay = DecayMode::by_name;
  L2Stage l2_stage = L2Stage::after_clipping;
  DecaySchedule decay_schedule = DecaySchedule::constant;
  std::vector<std::string> decay_on = {"matrices", "embeddings"};  ///< of matrices, embeddings, biases, layernorms
  std::vector<std::string> decay_factors;                          ///< "GLOB=FACTOR" on tensor names; the last match counts
  std::vector<std::string> rate_factors;
  double depth_rate_factor = 1.0;  ///< rate of block l is multiplied by this to the power of n_layer-1-l

  double grad_clip = 1.0;  ///< 0: off
  ClipMode clip_mode = ClipMode::global;

  NormControlChoice norm_control = NormControlChoice::by_name;
  Granularity norm_granularity = Granularity::by_name;
  bool rotation_zero_mean = true;
  double rotation_averaging = 0.9;
  bool rotation_embeddings = true;
  RotationSchedule rotation_schedule = RotationSchedule::root;
  RateCorrectionChoice rate_correction = RateCorrectionChoice::none;
  double rate_correction_smoothing = 0.95;

  double ademamix_alpha = 8.0;
  std::int64_t ademamix_warmup_steps = 0;  ///< over which alpha and beta3 grow; 0: there from the start
  double averaging_power = 0.0;            ///< schedule_free_adamw: point t counts t to this power
  std::int64_t muon_iterations = 5;
  MuonScale muon_scale = MuonScale::shape;
};

struct ScheduleConfig {
  ScheduleName name = ScheduleName::cosine;
  std::int64_t warmup_steps = -1;  ///< -1: not given; at most one of the three is given, none means no warmup
  double warmup_fraction = -1.0;
  std::int64_t warmup_tokens = -1;
  WarmupShape warmup_shape = WarmupShape::linear;
  WarmupFirst warmup_first = WarmupFirst::one_step;
  double min_ratio = 0.0;          ///< the rate at the end, as a share of the peak
  std::int64_t horizon_steps = 0;  ///< where linear and cosine would end; 0: with the run
  double cooldown_fraction = 0.2;  ///< wsd: share of the run that decays
  CooldownShape cooldown_shape = CooldownShape::one_minus_sqrt;
  std::vector<double> milestones = {0.3, 0.6, 0.8};  ///< step: shares of the run after which the rate drops
  double step_factor = 0.1;                          ///< to this share
  std::int64_t cycle_steps = 0;                      ///< restarts: length of the first cycle; required
  double cycle_growth = 2.0;                         ///< each next one is longer by this factor
  double power = 1.2;                                ///< power: multiplier min(1, power_scale (T-k)^power)
  double power_scale = 1e-4;
  std::int64_t momentum_warmup_steps = 0;  ///< over which the first moment's decay rate goes from momentum_start to its value
  double momentum_start = 0.85;
  std::int64_t momentum_cooldown_steps = 0;  ///< last steps, over which it goes back
  std::int64_t batch_warmup_steps = 0;       ///< over which tokens per step grow from batch_start_tokens
  std::int64_t batch_start_tokens = 0;       ///< required with batch_warmup_steps
};

/// What is measured about the update; 0: off.
struct DiagnosticsConfig {
  std::int64_t every = 0;                 ///< steps between measurements of norms, angles, alignment and noise
  std::int64_t representation_every = 0;  ///< steps between measurements of the representation change
  std::int64_t representation_sequences = 1;
  std::int64_t histogram_every = 0;
  std::int64_t histogram_bins = 96;
};

struct EvalConfig {
  std::int64_t every = 250;  ///< steps; 0: only at the end
  /// Of the validation set, always its first ones, in whole windows; 0: all of it. At the other defaults a validation of 2^20 takes
  /// 0.3 % of the training between two of them, whatever the size of the set.
  std::int64_t tokens = 1 << 20;
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

/// How the ranks of a run share its work.
struct ParallelConfig {
  std::int64_t zero_stage = 0;  ///< 1: a rank keeps optimizer states for its share of the weights only
  bool deterministic = false;   ///< the same bits for any number of ranks
  std::int64_t bucket_mib = 25;
  std::int64_t timeout_seconds = 120;
  std::int64_t check_every = 1000;  ///< steps between comparisons of the ranks' weights; 0: never
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
  DiagnosticsConfig diagnostics;
  ParallelConfig parallel;
};

}  // namespace temper
