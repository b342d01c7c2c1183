#include "model/generate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "io/error.h"
#include "kernels/check.h"
#include "kernels/philox.h"

namespace temper {

std::uint32_t sample_token(std::span<const float> logits, const SamplingSettings& settings, std::uint32_t draw) {
  // NaN has no place in an order: sorting it is undefined.
  if (!std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); }))
    throw Error(ExitCode::numeric, "the model's logits are not finite; its weights are damaged or their training diverged");
  std::vector<std::uint32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0u);
  // Likeliest first; equal logits by id, so that the order is total.
  const auto likelier = [&](std::uint32_t a, std::uint32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  if (settings.temperature <= 0.0) return *std::min_element(order.begin(), order.end(), likelier);

  std::size_t kept = order.size();
  if (settings.top_k > 0) kept = std::min(kept, static_cast<std::size_t>(settings.top_k));
  if (kept < order.size())
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(), likelier);
  else
    std::sort(order.begin(), order.end(), likelier);

  std::vector<double> weights(kept);
  double total = 0.0;
  for (std::size_t i = 0; i < kept; ++i) {
    weights[i] = std::exp((static_cast<double>(logits[order[i]]) - logits[order[0]]) / settings.temperature);
    total += weights[i];
  }
  if (settings.top_p < 1.0) {
    double reached = 0.0;
    std::size_t nucleus = 0;
    while (nucleus < kept && reached < settings.top_p * total) reached += weights[nucleus++];
    kept = std::max<std::size_t>(nucleus, 1);
    total = reached;
  }

  const PhiloxBlock block = random_block(settings.seed, RandomPurpose::sample, draw, 0);
  double threshold = uniform_open(block.word[0]) * total;
  for (std::size_t i = 0; i + 1 < kept; ++i) {
    threshold -= weights[i];
    if (threshold < 0.0) return order[i];
  }
  return order[kept - 1];
}

Generator::Generator(const Weights& weights, Ops& ops, DeviceMemory& memory) : weights_(weights), layers_(weights), ops_(ops) {
  const ModelConfig& config = weights.config();
  const DType act = weights.activation_type();
  const std::int64_t T = config.n_ctx;
  const std::int64_t C = config.n_embd;
  for (std::int64_t layer = 0; layer < config.n_layer; ++layer) {
    key_cache_.push_back(memory.add("key/value cache", act, {1, T, C}));
    value_cache_.push_back(memory.add("key/value cache", act, {1, T, C}));
  }
  const std::string group = "generation";
  tokens_ = memory.add(group, DType::i32, {1, T});
  residual_ = memory.add(group, act, {T, C});
  residual_middle_ = memory.add(group, act, {T, C});
  norm_ = memory.add(group, act, {T, C});
  wide_ = memory.add(group, act, {T, 4 * C});
  wide_pre_ = memory.add(group, act, {T, 4 * C});
  statistics_ = memory.add(group, DType::f32, {2, T});
  logits_ = memory.add(group, act, {1, padded_vocab_size(config)});
  logits_f32_ = memory.add(group, DType::f32, {1, padded_vocab_size(config)});
  host_logits_.resize(static_cast<std::size_t>(padded_vocab_size(config)));
}

std::span<const float> Generator::advance(std::span<const std::uint32_t> tokens, std::int64_t start) {
  const ModelConfig& config = weights_.config();
  const auto S = static_cast<std::int64_t>(tokens.size());
  const std::int64_t C = config.n_embd;
  require(S >= 1 && start + S <= config.n_ctx, "Generator: the tokens do not fit in the context");

  for (const std::uint32_t token : tokens)
    if (token >= static_cast<std::uint64_t>(config.vocab_size))
      throw Error(ExitCode::data, "token {} is not in the model's vocabulary of {}; use the tokenizer the model was trained with",
                  token, config.vocab_size);
  std::vector<std::int32_t> ids(tokens.begin(), tokens.end());
  ops_.copy_to_device(tokens_.data, ids.data(), ids.size() * sizeof(std::int32_t));
  ops_.synchronize();

  const auto rows = [&](const TensorView& full, std::int64_t width) { return TensorView{full.data, full.dtype, {S, width}}; };
  const TensorView residual = rows(residual_, C), residual_middle = rows(residual_middle_, C);
  const TensorView qkv = rows(wide_, 3 * C);
  const TensorView fc = rows(wide_, 4 * C);
  const NormOutput norm = {
      rows(norm_, C), {statistics_.as<float>(), DType::f32, {S}}, {statistics_.as<float>() + config.n_ctx, DType::f32, {S}}};

  ops_.embedding_forward({.tokens = {tokens_.data, DType::i32, {1, S}},
                          .wte = layers_.head.weight,
                          .wpe = layers_.wpe,
                          .first_position = start,
                          .out = residual.reshaped({1, S, C})});
  for (std::size_t layer = 0; layer < layers_.blocks.size(); ++layer) {
    const BlockLayers& block = layers_.blocks[layer];
    block.ln_1.forward(ops_, residual, norm);
    block.c_attn.forward(ops_, norm.out, qkv);
    ops_.attention_cached({.qkv = qkv.reshaped({1, S, 3 * C}),
                           .n_head = config.n_head,
                           .start = start,
                           .key_cache = key_cache_[layer],
                           .value_cache = value_cache_[layer],
                           .out = norm.out.reshaped({1, S, C})});
    block.attn_proj.forward(ops_, norm.out, residual_middle, residual);
    block.ln_2.forward(ops_, residual_middle, norm);
    block.c_fc.forward_gelu(ops_, norm.out, rows(wide_pre_, 4 * C), fc, false);
    block.mlp_proj.forward(ops_, fc, residual, residual_middle);
  }
  layers_.ln_f.forward(ops_, residual, norm);
  layers_.head.forward(ops_, norm.out.row_range(S - 1, 1), logits_);
  ops_.cast({.from = logits_, .to = logits_f32_});
  ops_.copy_to_host(host_logits_.data(), logits_f32_.data, logits_f32_.bytes());
  return std::span<const float>(host_logits_).first(static_cast<std::size_t>(config.vocab_size));
}

void Generator::generate(std::span<const std::uint32_t> prompt, const SamplingSettings& settings,
                         const std::function<bool(std::uint32_t)>& emit) {
  require(!prompt.empty(), "Generator: the prompt is empty");
  const auto n_ctx = static_cast<std::size_t>(weights_.config().n_ctx);

  std::vector<std::uint32_t> context(prompt.begin(), prompt.end());
  std::size_t read = 0;  // tokens of `context` that the cache holds
  for (std::int64_t count = 0; count < settings.tokens; ++count) {
    if (context.size() > n_ctx) {
      const std::size_t keep = count == 0 ? n_ctx : std::max<std::size_t>(1, n_ctx / 2);
      context.erase(context.begin(), context.end() - static_cast<std::ptrdiff_t>(keep));
      read = 0;
    }
    const std::span<const float> logits = advance(std::span(context).subspan(read), static_cast<std::int64_t>(read));
    read = context.size();
    const std::uint32_t next = sample_token(logits, settings, static_cast<std::uint32_t>(count));
    context.push_back(next);
    if (!emit(next)) return;
  }
}

}  // namespace temper
