#include "model/gpt2.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "kernels/host_device.h"

namespace temper {

std::int64_t head_chunk_rows(const ModelConfig& config, DType activation_type, std::int64_t rows, std::int64_t most_bytes) {
  constexpr std::int64_t unit = 64;
  const std::int64_t row_bytes = padded_vocab_size(config) * static_cast<std::int64_t>(size_of(activation_type));
  const std::int64_t most_units = std::max<std::int64_t>(1, most_bytes / row_bytes / unit), units = ceil_div(rows, unit);
  return std::min(rows, ceil_div(units, ceil_div(units, most_units)) * unit);
}

Workload workload_of(const Weights& weights, std::int64_t sequences, std::int64_t head_rows, std::int64_t segments) {
  const ModelConfig& config = weights.config();
  const DType act = weights.activation_type();
  const std::int64_t C = config.n_embd, R = sequences * config.n_ctx;
  const auto linear = [&](std::int64_t N, std::int64_t K) { return Workload::Linear{{N, K}, R, config.bias}; };
  return {
      .activation = act,
      .sequences = sequences,
      .positions = config.n_ctx,
      .n_embd = C,
      .n_head = config.n_head,
      .segments = segments,
      .linears = {
          linear(3 * C, C), linear(C, C), linear(4 * C, C), linear(C, 4 * C), {{padded_vocab_size(config), C}, head_rows, false}}};
}

Gpt2::Gpt2(Weights& weights, Weights::Use use, Recompute recompute, std::int64_t sequences, std::int64_t positions, Ops* ops,
           DeviceMemory& memory, std::int64_t most_logits_bytes)
    : weights_(weights), layers_(weights), recompute_(recompute), ops_(ops), max_sequences_(sequences), max_positions_(positions) {
  const ModelConfig& config = weights.config();
  const DType act = weights.activation_type();
  const std::int64_t R = sequences * positions;
  const std::int64_t C = config.n_embd;
  const bool training = use == Weights::Use::training;
  const std::string group = "activations";

  for (std::int64_t layer = 0; layer < config.n_layer; ++layer) {
    forward_names_.push_back("layer " + std::to_string(layer));
    backward_names_.push_back(forward_names_.back() + " backward");
  }

  // What a block does not keep, all blocks share; without a backward pass that is everything.
  const bool keeps_cheap = training && recompute == Recompute::none;   // outputs of norms and of GELU
  const bool keeps_inner = training && recompute != Recompute::block;  // whatever else lies inside a block
  taken_.blocks.resize(static_cast<std::size_t>(config.n_layer));
  for (BlockActivations& block : taken_.blocks) {
    const bool first = &block == &taken_.blocks.front();
    if (!first) block = taken_.blocks.front();
    const auto kept = [&](bool keep, TensorView& view, DType dtype, Shape shape) {
      if (first || keep) view = memory.add(group, dtype, shape);
    };
    kept(keeps_cheap, block.ln_1.out, act, {R, C});
    kept(keeps_inner, block.ln_1.mean, DType::f32, {R});
    kept(keeps_inner, block.ln_1.rstd, DType::f32, {R});
    kept(keeps_inner, block.qkv, act, {R, 3 * C});
    kept(keeps_inner, block.attention, act, {R, C});
    kept(keeps_inner, block.lse, DType::f32, {sequences, config.n_head, positions});
    kept(keeps_inner, block.residual_middle, act, {R, C});
    kept(keeps_cheap, block.ln_2.out, act, {R, C});
    kept(keeps_inner, block.ln_2.mean, DType::f32, {R});
    kept(keeps_inner, block.ln_2.rstd, DType::f32, {R});
    kept(keeps_inner, block.fc_pre, act, {R, 4 * C});
    kept(keeps_cheap, block.fc, act, {R, 4 * C});
    kept(training, block.residual_out, act, {R, C});
  }
  taken_.embedded = memory.add(group, act, {R, C});
  taken_.ln_f = {memory.add(group, act, {R, C}), memory.add(group, DType::f32, {R}), memory.add(group, DType::f32, {R})};
  logits_ = memory.add("logits", act, {head_chunk_rows(config, act, R, most_logits_bytes), padded_vocab_size(config)});
  taken_.losses = memory.add(group, DType::f32, {R});
  if (training) {
    taken_.dresidual = memory.add("activation gradients", act, {R, C});
    taken_.dnorm = memory.add("activation gradients", act, {R, C});
    taken_.dfc = memory.add("activation gradients", act, {R, 4 * C});
    taken_.dqkv = taken_.dfc.reshaped({R, 3 * C});
  }
}

Gpt2::Activations Gpt2::shaped(Activations a, std::int64_t B, std::int64_t T) {
  const auto rows = [R = B * T](TensorView& view) {
    if (view.present()) view.shape = view.shape.rank() == 1 ? Shape{R} : Shape{R, view.shape[1]};
  };
  const auto norm = [&](NormOutput& output) {
    for (TensorView* view : {&output.out, &output.mean, &output.rstd}) rows(*view);
  };
  for (BlockActivations& block : a.blocks) {
    norm(block.ln_1);
    norm(block.ln_2);
    for (TensorView* view : {&block.qkv, &block.attention, &block.residual_middle, &block.fc_pre, &block.fc, &block.residual_out})
      rows(*view);
    block.lse.shape = {B, block.lse.shape[1], T};
  }
  norm(a.ln_f);
  for (TensorView* view : {&a.embedded, &a.losses, &a.dresidual, &a.dnorm, &a.dfc, &a.dqkv}) rows(*view);
  return a;
}

void Gpt2::set_batch(ConstTensorView tokens) {
  require(tokens.shape.rank() == 2, "Gpt2: tokens must be [B,T]");
  if (tokens.shape[0] == B_ && tokens.shape[1] == T_) return;
  const std::int64_t B = tokens.shape[0], T = tokens.shape[1];
  require(B >= 1 && T >= 1 && T <= max_positions_ && B * T <= max_sequences_ * max_positions_,
          "Gpt2: the micro-batch is larger than the memory taken for it");
  B_ = B;
  T_ = T;
  now_ = shaped(taken_, B, T);
}

void Gpt2::observe(const LinearLayer& layer, ConstTensorView x) const {
  if (observer_ != nullptr) (*observer_)(*layer.parameter, x);
}

void Gpt2::forward(ConstTensorView tokens) {
  const NamedRange range(*ops_, "forward");
  set_batch(tokens);
  ops_->embedding_forward({.tokens = tokens, .wte = layers_.head.weight, .wpe = layers_.wpe, .out = by_sequence(now_.embedded)});
  for (std::size_t layer = 0; layer < now_.blocks.size(); ++layer) {
    const BlockLayers& block = layers_.blocks[layer];
    const BlockActivations& a = now_.blocks[layer];
    const NamedRange block_range(*ops_, forward_names_[layer].c_str());
    block.ln_1.forward(*ops_, residual_in(layer), a.ln_1);
    forward_inside(layer);
    observe(block.mlp_proj, a.fc);
    block.mlp_proj.forward(*ops_, a.fc, a.residual_out, a.residual_middle);
  }
  layers_.ln_f.forward(*ops_, now_.blocks.back().residual_out, now_.ln_f);
}

void Gpt2::forward_inside(std::size_t layer) {
  const BlockLayers& block = layers_.blocks[layer];
  const BlockActivations& a = now_.blocks[layer];
  observe(block.c_attn, a.ln_1.out);
  block.c_attn.forward(*ops_, a.ln_1.out, a.qkv);
  ops_->attention_forward(
      {.qkv = by_sequence(a.qkv), .n_head = weights_.config().n_head, .out = by_sequence(a.attention), .lse = a.lse});
  observe(block.attn_proj, a.attention);
  block.attn_proj.forward(*ops_, a.attention, a.residual_middle, residual_in(layer));
  block.ln_2.forward(*ops_, a.residual_middle, a.ln_2);
  observe(block.c_fc, a.ln_2.out);
  block.c_fc.forward_gelu(*ops_, a.ln_2.out, a.fc_pre, a.fc, recompute_ == Recompute::gelu_layernorm);
}

void Gpt2::recompute_block(std::size_t layer) {
  if (recompute_ == Recompute::none || layer + 1 == now_.blocks.size()) return;  // what all blocks share, the last one left there
  const BlockLayers& block = layers_.blocks[layer];
  const BlockActivations& a = now_.blocks[layer];
  block.ln_1.forward(*ops_, residual_in(layer), a.ln_1);
  if (recompute_ == Recompute::block) return forward_inside(layer);
  block.ln_2.forward(*ops_, a.residual_middle, a.ln_2);
  ops_->gelu({.pre = a.fc_pre, .y = a.fc});
}

void Gpt2::head_loss(ConstTensorView targets, float loss_scale, bool with_gradient, Write write, TensorView loss) {
  const NamedRange range(*ops_, "head and loss");
  const std::int64_t R = B_ * T_;
  require(targets.numel() == R, "Gpt2: there must be one target for each token");
  for (std::int64_t first = 0; first < R; first += logits_.shape[0]) {
    const std::int64_t count = std::min(logits_.shape[0], R - first);
    const TensorView logits = logits_.row_range(0, count);
    const TensorView x = now_.ln_f.out.row_range(first, count);
    layers_.head.forward(*ops_, x, logits);
    ops_->cross_entropy({.logits = logits,
                         .targets = {targets.as<std::int32_t>() + first, DType::i32, {count}},
                         .vocab_size = weights_.config().vocab_size,
                         .gradient_scale = with_gradient ? loss_scale : 0.0f,
                         .losses = {now_.losses.as<float>() + first, DType::f32, {count}}});
    if (!with_gradient) continue;
    layers_.head.backward_input(*ops_, logits, now_.dnorm.row_range(first, count));
    layers_.head.backward_weight(*ops_, logits, x, first == 0 ? write : Write::accumulate);
  }
  ops_->sum({.x = now_.losses, .scale = loss_scale, .write = write, .out = loss});
}

void Gpt2::backward(ConstTensorView tokens, Write write, const GradientsFinal& final) {
  const NamedRange range(*ops_, "backward");
  const auto tell = [&](std::int64_t from) {
    if (final) final(from);
  };
  layers_.ln_f.backward(*ops_, now_.dnorm, now_.blocks.back().residual_out, now_.ln_f, {}, now_.dresidual, write);
  tell(layers_.ln_f.parameter->offset);
  for (std::size_t layer = now_.blocks.size(); layer-- > 0;) {
    {
      const NamedRange block_range(*ops_, backward_names_[layer].c_str());
      recompute_block(layer);
      backward_block(layer, write);
    }
    tell(layers_.blocks[layer].ln_1.parameter->offset);
  }
  ops_->embedding_backward({.dout = by_sequence(now_.dresidual),
                            .tokens = tokens,
                            .dwte = layers_.head.dweight,
                            .dwpe = layers_.dwpe,
                            .write_wpe = write});
  tell(0);
}

void Gpt2::backward_block(std::size_t layer, Write write) {
  const BlockLayers& block = layers_.blocks[layer];
  const BlockActivations& a = now_.blocks[layer];
  const TensorView& dresidual = now_.dresidual;

  // MLP: dresidual is the gradient of both the branch's output and the residual path beside it.
  block.mlp_proj.backward_weight(*ops_, dresidual, a.fc, write);
  block.mlp_proj.backward_input(*ops_, dresidual, now_.dfc, a.fc_pre);
  block.c_fc.backward_weight(*ops_, now_.dfc, a.ln_2.out, write);
  block.c_fc.backward_input(*ops_, now_.dfc, now_.dnorm);
  block.ln_2.backward(*ops_, now_.dnorm, a.residual_middle, a.ln_2, dresidual, dresidual, write);

  // Attention.
  block.attn_proj.backward_weight(*ops_, dresidual, a.attention, write);
  block.attn_proj.backward_input(*ops_, dresidual, now_.dnorm);
  ops_->attention_backward({.dout = by_sequence(now_.dnorm),
                            .qkv = by_sequence(a.qkv),
                            .out = by_sequence(a.attention),
                            .lse = a.lse,
                            .n_head = weights_.config().n_head,
                            .dqkv = by_sequence(now_.dqkv)});
  block.c_attn.backward_weight(*ops_, now_.dqkv, a.ln_1.out, write);
  block.c_attn.backward_input(*ops_, now_.dqkv, now_.dnorm);
  block.ln_1.backward(*ops_, now_.dnorm, residual_in(layer), a.ln_1, dresidual, dresidual, write);
}

void Gpt2::forward_backward(ConstTensorView tokens, ConstTensorView targets, float loss_scale, Write write, TensorView loss,
                            const GradientsFinal& final) {
  forward(tokens);
  head_loss(targets, loss_scale, true, write, loss);
  backward(tokens, write, final);
}

void Gpt2::forward_loss(ConstTensorView tokens, ConstTensorView targets, float loss_scale, Write write, TensorView loss) {
  forward(tokens);
  head_loss(targets, loss_scale, false, write, loss);
}

void Gpt2::forward_logits(ConstTensorView tokens, TensorView logits) {
  forward(tokens);
  layers_.head.forward(*ops_, now_.ln_f.out, logits);
}

void Gpt2::forward_observed(ConstTensorView tokens, const LinearObserver& observer) {
  observer_ = &observer;
  forward(tokens);
  observer_ = nullptr;
}

}  // namespace temper
