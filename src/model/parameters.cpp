#include "model/parameters.h"

#include <cmath>

#include "io/error.h"
#include "kernels/host_device.h"

namespace temper {

namespace {

constexpr std::int64_t alignment = 64;  // elements: 256 bytes in f32, 128 in bf16

std::int64_t round_up(std::int64_t value, std::int64_t multiple) { return ceil_div(value, multiple) * multiple; }

struct SizeLimit {
  const char* name;
  std::int64_t ModelConfig::*size;
  std::int64_t largest;
};

constexpr SizeLimit size_limits[] = {
    {"n_layer", &ModelConfig::n_layer, 1024},
    {"n_head", &ModelConfig::n_head, 1024},
    {"n_embd", &ModelConfig::n_embd, std::int64_t{1} << 16},
    {"n_ctx (n_positions)", &ModelConfig::n_ctx, std::int64_t{1} << 20},
    {"vocab_size", &ModelConfig::vocab_size, std::int64_t{1} << 24},
};

constexpr std::int64_t largest_head = 256;

/// Parameter::fold at ratio m.
double fold_of(const std::string& name, double m) {
  if (name.starts_with("transformer.ln_f.")) return 1.0 / m;
  if (name.find(".attn.c_attn.") != std::string::npos) return std::pow(m, -0.25);
  if (name.ends_with(".attn.c_proj.weight")) return std::pow(m, 0.25);
  return 1.0;
}

}  // namespace

std::int64_t padded_vocab_size(const ModelConfig& config) { return round_up(config.vocab_size, 128); }

ParameterLayout::ParameterLayout(const ModelConfig& config) {
  const std::int64_t C = config.n_embd;

  auto add = [&](std::string name, ParameterKind kind, Shape shape, std::int64_t layer) {
    const double fold = fold_of(name, config.width_ratio());
    parameters_.push_back({std::move(name), kind, shape, flat_size_, layer, fold});
    flat_size_ += round_up(shape.numel(), alignment);
    parameter_count_ += shape.numel();
  };
  auto add_norm = [&](const std::string& name, std::int64_t layer) {
    add(name + ".weight", ParameterKind::layernorm, {C}, layer);
    if (config.bias) add(name + ".bias", ParameterKind::layernorm, {C}, layer);
  };
  auto add_linear = [&](const std::string& name, std::int64_t out, std::int64_t in, std::int64_t layer) {
    add(name + ".weight", ParameterKind::matrix, {out, in}, layer);
    if (config.bias) add(name + ".bias", ParameterKind::bias, {out}, layer);
  };

  add("transformer.wte.weight", ParameterKind::embedding, {padded_vocab_size(config), C}, -1);
  add("transformer.wpe.weight", ParameterKind::embedding, {config.n_ctx, C}, -1);
  for (std::int64_t layer = 0; layer < config.n_layer; ++layer) {
    const std::string block = "transformer.h." + std::to_string(layer);
    add_norm(block + ".ln_1", layer);
    add_linear(block + ".attn.c_attn", 3 * C, C, layer);
    add_linear(block + ".attn.c_proj", C, C, layer);
    add_norm(block + ".ln_2", layer);
    add_linear(block + ".mlp.c_fc", 4 * C, C, layer);
    add_linear(block + ".mlp.c_proj", C, 4 * C, layer);
  }
  add_norm("transformer.ln_f", -1);

  parameter_count_ -= (padded_vocab_size(config) - config.vocab_size) * C;
}

const Parameter* ParameterLayout::find(const std::string& name) const {
  for (const Parameter& parameter : parameters_)
    if (parameter.name == name) return &parameter;
  return nullptr;
}

double training_flops_per_token(const ModelConfig& config, std::int64_t length) {
  const ParameterLayout layout(config);
  const double padding = static_cast<double>((padded_vocab_size(config) - config.vocab_size) * config.n_embd);
  const double weights = static_cast<double>(layout.parameter_count()) + padding;
  const double attention = static_cast<double>(config.n_layer) * static_cast<double>(length) * static_cast<double>(config.n_embd);
  return 6.0 * weights + 6.0 * attention;
}

void check_model_sizes(const ModelConfig& config, const std::string& label) {
  for (const SizeLimit& limit : size_limits) {
    const std::int64_t value = config.*limit.size;
    if (value < 1 || value > limit.largest)
      throw Error(ExitCode::checkpoint, "{}: {} is {}; allowed is 1 to {}. The file is damaged or not a GPT-2", label, limit.name,
                  value, limit.largest);
  }
  if (config.n_embd % (2 * config.n_head) != 0 || config.n_embd / config.n_head > largest_head)
    throw Error(ExitCode::checkpoint,
                "{}: n_embd is {} with n_head {}; n_embd / n_head, the size of a head, must be an even whole number, at most {}",
                label, config.n_embd, config.n_head, largest_head);
}

void check_same_model(const ModelConfig& file, const ModelConfig& model, const std::string& label) {
  for (const SizeLimit& limit : size_limits) {
    if (file.*limit.size != model.*limit.size)
      throw Error(ExitCode::checkpoint, "{}: {} is {}, but the model has {}; load it into a model of its own sizes", label,
                  limit.name, file.*limit.size, model.*limit.size);
  }
  if (file.bias != model.bias)
    throw Error(ExitCode::checkpoint, "{}: it is a model with{} biases, and cannot be loaded into one with{}", label,
                file.bias ? "" : "out", model.bias ? "" : "out");
}

}  // namespace temper
