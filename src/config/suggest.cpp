#include "config/suggest.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "config/fields.h"

namespace temper {
namespace {

using Paths = std::vector<std::string_view>;

/// What other trainers (nanoGPT, llm.c, Hugging Face, PyTorch) call the same thing.
const std::vector<std::pair<std::string_view, std::string_view>>& names_elsewhere() {
  static const std::vector<std::pair<std::string_view, std::string_view>> names = {
      {"lr", "optimizer.learning_rate"},
      {"max_lr", "optimizer.learning_rate"},
      {"wd", "optimizer.weight_decay"},
      {"clip", "optimizer.grad_clip"},
      {"clip_grad", "optimizer.grad_clip"},
      {"max_grad_norm", "optimizer.grad_clip"},
      {"gradient_clipping", "optimizer.grad_clip"},
      {"mu", "optimizer.momentum"},
      {"beta", "optimizer.momentum"},
      {"alpha", "optimizer.ademamix_alpha"},
      {"ns_steps", "optimizer.muon_iterations"},
      {"adjust_lr_fn", "optimizer.muon_scale"},
      {"layer_decay", "optimizer.depth_rate_factor"},
      {"betas", "optimizer.beta1"},
      {"betas", "optimizer.beta2"},
      {"adam_beta1", "optimizer.beta1"},
      {"adam_beta2", "optimizer.beta2"},
      {"epsilon", "optimizer.eps"},
      {"warmup", "schedule.warmup_steps"},
      {"warmup", "schedule.warmup_fraction"},
      {"warmup", "schedule.warmup_tokens"},
      {"warmup_iters", "schedule.warmup_steps"},
      {"warmup_ratio", "schedule.warmup_fraction"},
      {"min_lr", "schedule.min_ratio"},
      {"final_lr_fraction", "schedule.min_ratio"},
      {"lr_decay_iters", "schedule.horizon_steps"},
      {"warmdown_iters", "schedule.cooldown_fraction"},
      {"cooldown", "schedule.cooldown_fraction"},
      {"decay_shape", "schedule.cooldown_shape"},
      {"gamma", "schedule.step_factor"},
      {"T_0", "schedule.cycle_steps"},
      {"T_mult", "schedule.cycle_growth"},
      {"lr_scheduler", "schedule.name"},
      {"lr_schedule", "schedule.name"},
      {"scheduler", "schedule.name"},
      {"max_steps", "train.steps"},
      {"max_iters", "train.steps"},
      {"num_iterations", "train.steps"},
      {"iterations", "train.steps"},
      {"iters", "train.steps"},
      {"total_steps", "train.steps"},
      {"max_tokens", "train.tokens"},
      {"total_tokens", "train.tokens"},
      {"epochs", "train.tokens"},
      {"batch_size", "batch.micro_batch"},
      {"batch_size", "batch.tokens_per_step"},
      {"micro_batch_size", "batch.micro_batch"},
      {"total_batch_size", "batch.tokens_per_step"},
      {"gradient_accumulation_steps", "batch.tokens_per_step"},
      {"grad_accum", "batch.tokens_per_step"},
      {"block_size", "model.n_ctx"},
      {"context_length", "model.n_ctx"},
      {"sequence_length", "model.n_ctx"},
      {"seq_len", "model.n_ctx"},
      {"n_positions", "model.n_ctx"},
      {"max_seq_len", "model.n_ctx"},
      {"num_layers", "model.n_layer"},
      {"layers", "model.n_layer"},
      {"depth", "model.n_layer"},
      {"num_heads", "model.n_head"},
      {"heads", "model.n_head"},
      {"d_model", "model.n_embd"},
      {"hidden_size", "model.n_embd"},
      {"embed_dim", "model.n_embd"},
      {"width", "model.n_embd"},
      {"initializer_range", "model.init_std"},
      {"initialization", "model.init"},
      {"dtype", "precision"},
      {"val_every", "eval.every"},
      {"eval_interval", "eval.every"},
      {"val_loss_every", "eval.every"},
      {"eval_iters", "eval.tokens"},
      {"val_max_steps", "eval.tokens"},
      {"batches", "eval.tokens"},
      {"save_every", "checkpoint.every"},
      {"save_interval", "checkpoint.every"},
      {"log_interval", "log.every"},
      {"input_bin", "data.train"},
      {"input_val_bin", "data.val"},
      {"dataset", "data.train"},
      {"validation", "data.val"},
      {"vocab", "model.vocab_size"},
      {"run_name", "name"},
  };
  return names;
}

std::string_view last_component(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

Paths all_paths() {
  Paths paths;
  for (const Field& field : config_fields()) paths.push_back(field.path);
  for (const Section& section : config_sections()) paths.push_back(section.name);
  return paths;
}

Paths nearest(std::string_view unknown) {
  const std::string_view key = last_component(unknown);
  Paths same_key;
  for (const Field& field : config_fields()) {
    if (field.key() == key) same_key.push_back(field.path);
  }
  if (!same_key.empty()) return same_key;

  Paths best;
  for (const auto& [elsewhere, path] : names_elsewhere()) {
    if (elsewhere == key) best.push_back(path);
  }
  if (!best.empty()) return best;

  std::size_t best_distance = std::numeric_limits<std::size_t>::max();
  for (const std::string_view path : all_paths()) {
    const bool same_section =
        unknown.substr(0, unknown.size() - key.size()) == path.substr(0, path.size() - last_component(path).size());
    const std::size_t key_distance = edit_distance(key, last_component(path)) + (same_section ? 0 : 1);
    const std::size_t distance = std::min(edit_distance(unknown, path), key_distance);
    if (distance > best_distance || distance > std::max<std::size_t>(1, key.size() / 2)) continue;
    if (distance < best_distance) best.clear();
    best_distance = distance;
    best.push_back(path);
  }
  return best;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

std::string suggestion_for(std::string_view unknown_path) {
  constexpr std::size_t longest_name = 100;  // edit distance is quadratic; nobody mistypes a name this long
  const Paths near = unknown_path.size() <= longest_name ? nearest(unknown_path) : Paths{};
  std::string text;
  if (!near.empty()) {
    for (std::size_t i = 0; i < std::min<std::size_t>(near.size(), 3); ++i) {
      text += (i == 0 ? "did you mean \"" : " or \"") + std::string(near[i]) + '"';
    }
    return text + "?";
  }
  const std::size_t dot = unknown_path.find('.');
  const Section* section = dot == std::string_view::npos ? nullptr : find_section(unknown_path.substr(0, dot));
  for (const Field& field : config_fields()) {
    if (field.section() == (section != nullptr ? section->name : std::string_view{})) {
      text += (text.empty() ? "" : ", ") + std::string(field.key());
    }
  }
  if (section != nullptr) return "keys of " + std::string(section->name) + ": " + text;
  for (const Section& each : config_sections()) text += ", " + std::string(each.name);
  return "known at the top level: " + text;
}

}  // namespace temper
