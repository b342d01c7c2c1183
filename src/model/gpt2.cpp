#include "model/gpt2.h"

#include <algorithm>

#include "kernels/check.h"

namespace temper {

Gpt2Parameters::Gpt2Parameters(const ParameterLayout& layout) {
  auto linear = [&](const std::string& name) {
    return LinearParameters{layout.find(name + ".weight"), layout.find(name + ".bias")};
  };
  auto norm = [&](const std::string& name) { return NormParameters{layout.find(name + ".weight"), layout.find(name + ".bias")}; };

  wte = layout.find("transformer.wte.weight");
  wpe = layout.find("transformer.wpe.weight");
  for (std::int64_t layer = 0;; ++layer) {
    const std::string block = "transformer.h." + std::to_string(layer);
    if (layout.find(block + ".ln_1.weight") == nullptr) break;
    blocks.push_back({norm(block + ".ln_1"), linear(block + ".attn.c_attn"), linear(block + ".attn.c_proj"), norm(block + ".ln_2"),
                      linear(block + ".mlp.c_fc"), linear(block + ".mlp.c_proj")});
  }
  ln_f = norm("transformer.ln_f");
}

std::int64_t head_chunk_rows(const ModelConfig& config, DType activation_type, std::int64_t rows) {
  constexpr std::int64_t largest = std::int64_t{256} << 20;  // bytes of one chunk of logits
  const std::int64_t row_bytes = padded_vocab_size(config) * static_cast<std::int64_t>(size_of(activation_type));
  return std::min(rows, std::max<std::int64_t>(64, largest / row_bytes / 64 * 64));
}

Gpt2::Gpt2(Weights& weights, Weights::Use use, Recompute recompute, std::int64_t sequences, std::int64_t positions, Ops* ops,
           DeviceMemory& memory)
    : weights_(weights),
      parameters_(weights.layout()),
      recompute_(recompute),
      ops_(ops),
      max_sequences_(sequences),
      max_positions_(positions) {
  const ModelConfig& config = weights.config();
  const DType act = weights.activation_type();
  const std::int64_t R = sequences * positions;
  const std::int64_t C = config.n_embd;
  const bool training = use == Weights::Use::training;
  const std::string group = "activations";

  // What a block does not keep, all blocks share; without a backward pass that is everything.
  const bool keeps_cheap = training && recompute == Recompute::none;   // outputs of norms and of GELU
  const bool keeps_inner = training && recompute != Recompute::block;  // whatever else lies inside a block
  const auto layers = static_cast<std::size_t>(config.n_layer);
  blocks_.resize(layers);
  for (std::size_t layer = 0; layer < layers; ++layer) {
    BlockActivations& block = blocks_[layer];
    const auto kept = [&](bool keep, TensorView BlockActivations::*member, DType dtype, Shape shape) {
      block.*member = layer == 0 || keep ? memory.add(group, dtype, shape) : blocks_[0].*member;
    };
    using A = BlockActivations;
    kept(keeps_cheap, &A::ln_1, act, {R, C});
    kept(keeps_inner, &A::ln_1_mean, DType::f32, {R});
    kept(keeps_inner, &A::ln_1_rstd, DType::f32, {R});
    kept(keeps_inner, &A::qkv, act, {R, 3 * C});
    kept(keeps_inner, &A::attention, act, {R, C});
    kept(keeps_inner, &A::lse, DType::f32, {sequences, config.n_head, positions});
    kept(keeps_inner, &A::residual_middle, act, {R, C});
    kept(keeps_cheap, &A::ln_2, act, {R, C});
    kept(keeps_inner, &A::ln_2_mean, DType::f32, {R});
    kept(keeps_inner, &A::ln_2_rstd, DType::f32, {R});
    kept(keeps_inner, &A::fc_pre, act, {R, 4 * C});
    kept(keeps_cheap, &A::fc, act, {R, 4 * C});
    kept(training, &A::residual_out, act, {R, C});
  }
  embedded_ = memory.add(group, act, {R, C});
  branch_ = memory.add(group, act, {R, C});
  ln_f_ = memory.add(group, act, {R, C});
  ln_f_mean_ = memory.add(group, DType::f32, {R});
  ln_f_rstd_ = memory.add(group, DType::f32, {R});
  logits_ = memory.add("logits", act, {head_chunk_rows(config, act, R), padded_vocab_size(config)});
  losses_ = memory.add(group, DType::f32, {R});
  if (training) {
    dresidual_ = memory.add("activation gradients", act, {R, C});
    dnorm_ = memory.add("activation gradients", act, {R, C});
    dwide_ = memory.add("activation gradients", act, {R, 4 * C});
  }
}

ConstTensorView Gpt2::value(const Parameter* parameter) const {
  return parameter == nullptr ? ConstTensorView{} : weights_.weight(*parameter);
}

TensorView Gpt2::gradient(const Parameter* parameter) const {
  return parameter == nullptr ? TensorView{} : weights_.gradient(*parameter);
}

void Gpt2::set_batch(ConstTensorView tokens) {
  require(tokens.shape.rank() == 2, "Gpt2: tokens must be [B,T]");
  B_ = tokens.shape[0];
  T_ = tokens.shape[1];
  require(B_ >= 1 && T_ >= 1 && T_ <= max_positions_ && B_ * T_ <= max_sequences_ * max_positions_,
          "Gpt2: the micro-batch is larger than the memory taken for it");
}

void Gpt2::forward(ConstTensorView tokens) {
  set_batch(tokens);
  const std::int64_t R = B_ * T_;
  const std::int64_t C = weights_.config().n_embd;

  const TensorView branch = rows(branch_, {R, C});
  ops_->embedding_forward(tokens, value(parameters_.wte), value(parameters_.wpe), 0, rows(embedded_, {B_, T_, C}));

  // The sum that ends a block and the norm that opens the next one are one operation.
  for (std::size_t layer = 0; layer < blocks_.size(); ++layer) {
    const BlockParameters& p = parameters_.blocks[layer];
    const BlockActivations& a = blocks_[layer];
    if (layer == 0)
      norm_of_input(layer);
    else
      ops_->residual_layernorm_forward(branch, rows(blocks_[layer - 1].residual_middle, {R, C}), value(p.ln_1.weight),
                                       value(p.ln_1.bias), residual_in(layer), rows(a.ln_1, {R, C}), rows(a.ln_1_mean, {R}),
                                       rows(a.ln_1_rstd, {R}));
    forward_inside(layer);
    linear(p.mlp_proj, p.mlp_proj.epilogue(), rows(a.fc, {R, 4 * C}), branch);
  }
  const BlockActivations& last = blocks_.back();
  ops_->residual_layernorm_forward(branch, rows(last.residual_middle, {R, C}), value(parameters_.ln_f.weight),
                                   value(parameters_.ln_f.bias), rows(last.residual_out, {R, C}), rows(ln_f_, {R, C}),
                                   rows(ln_f_mean_, {R}), rows(ln_f_rstd_, {R}));
}

void Gpt2::linear(const LinearParameters& parameters, Epilogue epilogue, ConstTensorView x, TensorView y, TensorView pre) {
  if (observer_ != nullptr) (*observer_)(*parameters.weight, x);
  ops_->linear_forward(x, value(parameters.weight), value(parameters.bias), epilogue, y, pre);
}

TensorView Gpt2::residual_in(std::size_t layer) const {
  return rows(layer == 0 ? embedded_ : blocks_[layer - 1].residual_out, {B_ * T_, weights_.config().n_embd});
}

void Gpt2::norm_of_input(std::size_t layer) {
  const std::int64_t R = B_ * T_;
  const BlockParameters& p = parameters_.blocks[layer];
  const BlockActivations& a = blocks_[layer];
  ops_->layernorm_forward(residual_in(layer), value(p.ln_1.weight), value(p.ln_1.bias), rows(a.ln_1, {R, weights_.config().n_embd}),
                          rows(a.ln_1_mean, {R}), rows(a.ln_1_rstd, {R}));
}

void Gpt2::forward_inside(std::size_t layer) {
  const std::int64_t R = B_ * T_;
  const std::int64_t C = weights_.config().n_embd;
  const std::int64_t H = weights_.config().n_head;
  const BlockParameters& p = parameters_.blocks[layer];
  const BlockActivations& a = blocks_[layer];
  const TensorView branch = rows(branch_, {R, C});
  const TensorView qkv = rows(a.qkv, {R, 3 * C});
  const TensorView attention = rows(a.attention, {R, C});
  const TensorView ln_2 = rows(a.ln_2, {R, C});

  linear(p.c_attn, p.c_attn.epilogue(), rows(a.ln_1, {R, C}), qkv);
  ops_->attention_forward(qkv.reshaped({B_, T_, 3 * C}), H, attention.reshaped({B_, T_, C}), rows(a.lse, {B_, H, T_}));
  linear(p.attn_proj, p.attn_proj.epilogue(), attention, branch);
  ops_->residual_layernorm_forward(branch, residual_in(layer), value(p.ln_2.weight), value(p.ln_2.bias),
                                   rows(a.residual_middle, {R, C}), ln_2, rows(a.ln_2_mean, {R}), rows(a.ln_2_rstd, {R}));
  linear(p.c_fc, Epilogue::bias_gelu, ln_2, rows(a.fc, {R, 4 * C}), rows(a.fc_pre, {R, 4 * C}));
}

void Gpt2::recompute_block(std::size_t layer) {
  if (recompute_ == Recompute::none || layer + 1 == blocks_.size()) return;  // what all blocks share, the last one left there
  norm_of_input(layer);
  if (recompute_ == Recompute::block) return forward_inside(layer);
  const std::int64_t R = B_ * T_;
  const std::int64_t C = weights_.config().n_embd;
  const BlockParameters& p = parameters_.blocks[layer];
  const BlockActivations& a = blocks_[layer];
  ops_->layernorm_forward(rows(a.residual_middle, {R, C}), value(p.ln_2.weight), value(p.ln_2.bias), rows(a.ln_2, {R, C}),
                          rows(a.ln_2_mean, {R}), rows(a.ln_2_rstd, {R}));
  ops_->gelu(rows(a.fc_pre, {R, 4 * C}), rows(a.fc, {R, 4 * C}));
}

void Gpt2::head_loss(ConstTensorView targets, float loss_scale, bool with_gradient, Write write, TensorView loss) {
  const std::int64_t R = B_ * T_;
  require(targets.numel() == R, "Gpt2: there must be one target for each token");
  const std::int64_t C = weights_.config().n_embd;
  const std::int64_t Vp = padded_vocab_size(weights_.config());
  const ConstTensorView wte = value(parameters_.wte);
  const auto* target_ids = targets.as<std::int32_t>();

  for (std::int64_t first = 0; first < R; first += logits_.shape[0]) {
    const std::int64_t count = std::min(logits_.shape[0], R - first);
    const TensorView logits = rows(logits_, {count, Vp});
    const TensorView x = rows(ln_f_, {R, C}).row_range(first, count);
    const TensorView losses = {losses_.as<float>() + first, DType::f32, {count}};
    ops_->linear_forward(x, wte, {}, Epilogue::none, logits, {});
    ops_->cross_entropy(logits, {target_ids + first, DType::i32, {count}}, weights_.config().vocab_size,
                        with_gradient ? loss_scale : 0.0f, losses);
    if (!with_gradient) continue;
    ops_->linear_backward_input(logits, wte, {}, rows(dnorm_, {R, C}).row_range(first, count));
    ops_->linear_backward_weight(logits, x, gradient(parameters_.wte), {}, first == 0 ? write : Write::accumulate);
  }
  ops_->sum(rows(losses_, {R}), loss_scale, write, loss);
}

void Gpt2::backward(ConstTensorView tokens, Write write, const GradientsFinal& final) {
  const auto tell = [&](std::int64_t from) {
    if (final) final(from);
  };
  const std::int64_t R = B_ * T_;
  const std::int64_t C = weights_.config().n_embd;
  const TensorView dresidual = rows(dresidual_, {R, C});

  ops_->layernorm_backward(rows(dnorm_, {R, C}), rows(blocks_.back().residual_out, {R, C}), value(parameters_.ln_f.weight),
                           rows(ln_f_mean_, {R}), rows(ln_f_rstd_, {R}), {}, dresidual, gradient(parameters_.ln_f.weight),
                           gradient(parameters_.ln_f.bias), write);
  tell(parameters_.ln_f.weight->offset);
  for (std::size_t layer = blocks_.size(); layer-- > 0;) {
    recompute_block(layer);
    backward_block(layer, write);
    tell(parameters_.blocks[layer].ln_1.weight->offset);
  }
  ops_->embedding_backward(dresidual.reshaped({B_, T_, C}), tokens, gradient(parameters_.wte), gradient(parameters_.wpe), write);
  tell(0);
}

void Gpt2::backward_block(std::size_t layer, Write write) {
  const std::int64_t R = B_ * T_;
  const std::int64_t C = weights_.config().n_embd;
  const std::int64_t H = weights_.config().n_head;
  const BlockParameters& p = parameters_.blocks[layer];
  const BlockActivations& a = blocks_[layer];
  const TensorView dresidual = rows(dresidual_, {R, C});
  const TensorView dnorm = rows(dnorm_, {R, C});
  const TensorView dfc = rows(dwide_, {R, 4 * C});
  const TensorView dqkv = rows(dwide_, {R, 3 * C});

  // MLP: dresidual is the gradient of both the branch's output and the residual path beside it.
  ops_->linear_backward_weight(dresidual, rows(a.fc, {R, 4 * C}), gradient(p.mlp_proj.weight), gradient(p.mlp_proj.bias), write);
  ops_->linear_backward_input(dresidual, value(p.mlp_proj.weight), rows(a.fc_pre, {R, 4 * C}), dfc);
  ops_->linear_backward_weight(dfc, rows(a.ln_2, {R, C}), gradient(p.c_fc.weight), gradient(p.c_fc.bias), write);
  ops_->linear_backward_input(dfc, value(p.c_fc.weight), {}, dnorm);
  ops_->layernorm_backward(dnorm, rows(a.residual_middle, {R, C}), value(p.ln_2.weight), rows(a.ln_2_mean, {R}),
                           rows(a.ln_2_rstd, {R}), dresidual, dresidual, gradient(p.ln_2.weight), gradient(p.ln_2.bias), write);

  // Attention.
  ops_->linear_backward_weight(dresidual, rows(a.attention, {R, C}), gradient(p.attn_proj.weight), gradient(p.attn_proj.bias),
                               write);
  ops_->linear_backward_input(dresidual, value(p.attn_proj.weight), {}, dnorm);
  ops_->attention_backward(dnorm.reshaped({B_, T_, C}), rows(a.qkv, {B_, T_, 3 * C}), rows(a.attention, {B_, T_, C}),
                           rows(a.lse, {B_, H, T_}), H, dqkv.reshaped({B_, T_, 3 * C}));
  ops_->linear_backward_weight(dqkv, rows(a.ln_1, {R, C}), gradient(p.c_attn.weight), gradient(p.c_attn.bias), write);
  ops_->linear_backward_input(dqkv, value(p.c_attn.weight), {}, dnorm);
  ops_->layernorm_backward(dnorm, residual_in(layer), value(p.ln_1.weight), rows(a.ln_1_mean, {R}), rows(a.ln_1_rstd, {R}),
                           dresidual, dresidual, gradient(p.ln_1.weight), gradient(p.ln_1.bias), write);
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
  ops_->linear_forward(rows(ln_f_, {B_ * T_, weights_.config().n_embd}), value(parameters_.wte), {}, Epilogue::none, logits, {});
}

void Gpt2::forward_observed(ConstTensorView tokens, const LinearObserver& observer) {
  observer_ = &observer;
  forward(tokens);
  observer_ = nullptr;
}

}  // namespace temper
