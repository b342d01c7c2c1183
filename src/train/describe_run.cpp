// What a run will be, before it begins.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "config/validate.h"
#include "io/text.h"
#include "model/parameters.h"
#include "train/checkpoint.h"
#include "train/device_peak.h"
#include "train/engine.h"
#include "train/trainer.h"

namespace temper {

namespace {

/// The largest micro-batch, up to the one configured, that gives all ranks equally many in a step and at least one in a step of
/// `tokens`; 0: none.
std::int64_t even_micro_batch(const RunConfig& config, std::int64_t ranks, std::int64_t tokens) {
  const std::int64_t n_ctx = config.model.n_ctx, sequences = config.batch.tokens_per_step / n_ctx;
  std::int64_t size = std::min(config.batch.micro_batch, tokens / n_ctx / ranks);
  while (size > 0 && sequences % (size * ranks) != 0) --size;
  return size;
}

}  // namespace

std::string idle_ranks(const RunConfig& config, std::int64_t ranks) {
  const std::int64_t all = config.batch.tokens_per_step, micro_batches = micro_batches_per_step(config);
  const auto text = [](std::int64_t number) { return std::to_string(number); };
  const auto idle = [&](std::int64_t count) {
    return text(count) + " of " + text(ranks) + (count == 1 ? " ranks has" : " ranks have") + " nothing to compute in ";
  };
  if (const std::int64_t last = micro_batches % ranks; last != 0) {
    const std::int64_t rounds = micro_batches / ranks + 1, even = even_micro_batch(config, ranks, all);
    return idle(ranks - last) + (rounds == 1 ? "" : "the last of " + text(rounds) + " rounds of ") + "each step, which has " +
           text(micro_batches) + " micro-batches; " +
           (even > 0 ? "batch.micro_batch=" + text(even) + " gives each rank " + text(all / config.model.n_ctx / even / ranks)
                     : "no batch.micro_batch shares it evenly: let batch.tokens_per_step be a multiple of ranks x model.n_ctx = " +
                           text(ranks * config.model.n_ctx) + ", or take other ranks");
  }
  std::int64_t short_steps = 0;  // while the batch grows
  while (short_steps < total_steps(config) && micro_batches_at(config, short_steps) < ranks) ++short_steps;
  if (short_steps == 0) return "";
  const std::int64_t even = even_micro_batch(config, ranks, config.schedule.batch_start_tokens.value_or(0));
  return idle(ranks - micro_batches_at(config, 0)) + "the first step, and some in the first " + text(short_steps) +
         ", while the batch grows; " +
         (even > 0 ? "batch.micro_batch=" + text(even) + " gives each rank one from the beginning"
                   : "schedule.batch_start_tokens=" + text(ranks * config.batch.micro_batch * config.model.n_ctx) +
                         " is enough for all");
}

namespace {

/// Under model.mup_base_width: what tensors learn at, beside a model of that width. Those of all blocks are alike.
std::string describe_width(const ModelConfig& model, const Optimizer& optimizer) {
  std::vector<OptimizedTensor> tensors = optimizer.tensors();
  const Pipeline here = make_pipeline(optimizer.config(), tensors);
  for (OptimizedTensor& tensor : tensors) tensor.width_ratio = tensor.fold = 1.0;
  const Pipeline base = make_pipeline(optimizer.config(), tensors);
  std::map<std::string, std::string> names;  // by factor
  std::string last;
  for (std::size_t i = 0; i < here.segments.size(); ++i) {
    const OptimizedTensor& tensor = tensors[here.tensor_of[i]];
    const float factor = here.segments[i].learning_rate_scale / base.segments[i].learning_rate_scale;
    if (tensor.layer > 0 || tensor.name == last || factor == 1.0f || std::isnan(factor)) continue;
    last = tensor.name;
    names[fmt::format("{:.3g}", factor)] +=
        " " + tensor.name.substr(std::string(tensor.layer == 0 ? "transformer.h.0." : "transformer.").size());
  }
  std::string out = fmt::format("muP         {:.4g} times the base width {}, with heads {:.4g} times as wide; rates",
                                model.width_ratio(), *model.mup_base_width, model.width_ratio());
  for (const auto& [factor, of] : names) out += fmt::format("{} x {}{}", out.ends_with("rates") ? "" : ",", factor, of);
  return out + (names.empty() ? " as there" : "; the others, and decay, as there") + "\n";
}

}  // namespace

std::string describe_run(const RunConfig& config, const Ops& ops, const std::string& device, Communicator& ranks, double rate) {
  Engine plan(config, nullptr, &ranks, &ops);
  plan.count_backend_memory(config, ops);
  const double tokens = static_cast<double>(config.batch.tokens_per_step);
  const double steps = static_cast<double>(total_steps(config));
  const double all_tokens = static_cast<double>(tokens_before(config, total_steps(config)));
  const ModelConfig& model = config.model;
  const auto group = [](const std::string& name, std::size_t bytes) {
    return fmt::format("  {:<24} {:>12}\n", name, format_bytes(bytes));
  };
  std::string out = "device      " + device + "\n";
  if (ranks.size() > 1) out += "ranks       " + ranks.description() + (config.parallel.zero_stage > 0 ? ", ZeRO-1" : "") + "\n";
  if (const std::string idle = idle_ranks(config, ranks.size()); !idle.empty()) out += "warning     " + idle + "\n";
  out += fmt::format("model       {} layers, {} heads, {} wide, context {}, vocabulary {} (padded to {})\n", model.n_layer,
                     model.n_head, model.n_embd, model.n_ctx, model.vocab_size, padded_vocab_size(model));
  out += "parameters  " + format_count(static_cast<double>(plan.weights.layout().parameter_count())) + "\n";
  out += fmt::format("run         {} steps of {} tokens ({} micro-batches of {} x {}), {} tokens in all\n", format_count(steps),
                     format_count(tokens), micro_batches_at(config, total_steps(config) - 1), config.batch.micro_batch, model.n_ctx,
                     format_count(all_tokens));
  if (ranks.size() > 1)
    out += fmt::format("rounds      {} a step, of a micro-batch for each rank\n",
                       ceil_div(micro_batches_at(config, total_steps(config) - 1), ranks.size()));
  if (const std::vector<ContextStage> stages = context_stages(config); stages.size() > 1) {
    out += "sequences   of";
    for (const ContextStage& stage : stages)
      out += fmt::format("{} {}{} from step {}", &stage == &stages.front() ? "" : ",", stage.length,
                         &stage == &stages.front() ? " tokens" : "", stage.first + 1);
    out += "\n";
  }
  out += fmt::format("operations  {:.1f} MFLOP per token, {:.3g} FLOP in all (6 N + 6 L C T)\n",
                     training_flops_per_token(model, model.n_ctx) / 1e6, training_flops(config));
  if (model.mup_base_width) out += describe_width(model, plan.optimizer);
  if (const std::optional<DecaySummary> decay = plan.optimizer.decay_summary()) {
    out += fmt::format("decay       timescale {:.4g} steps, {:.3g} of the run; sum of rate x decay {:.4g}", decay->timescale,
                       decay->share, decay->sum);
    if (decay->equilibrium_rms) out += fmt::format("; equilibrium RMS sqrt(rate / 2 decay) {:.3g}", *decay->equilibrium_rms);
    out += "\n";
  }
  out += ranks.size() > 1 ? "memory of rank 0\n" : "memory\n";
  for (const MemoryGroup& one : plan.memory.plan()) out += group(one.name, one.bytes);
  const std::size_t program = ops.device().asynchronous ? 0 : program_bytes();  // beside a GPU's memory it does not count
  if (program > 0) out += group("the program itself", program);
  out += group("total", plan.memory.total_bytes() + program);
  if (ops.device().asynchronous) {
    const std::int64_t largest = largest_micro_batch(config, ops, ranks);
    const bool even = largest > 0 && config.batch.tokens_per_step / model.n_ctx % (largest * ranks.size()) == 0;
    out += fmt::format("fits        {} {}; ", planned_bytes(config, ops, ranks) <= ops.device().memory ? "into" : "NOT into",
                       format_bytes(ops.device().memory));
    out += largest == 0 ? "not even one sequence does\n"
                        : fmt::format("batch.micro_batch {} is the largest that does{}\n", largest,
                                      ranks.size() > 1 && even ? " and that all ranks share evenly" : "");
  }
  if (rate > 0.0) out += fmt::format("time        {:.3g} hours at {} tokens/s\n", all_tokens / rate / 3600.0, format_count(rate));
  const CheckpointBytes checkpoint = checkpoint_bytes(plan.weights, plan.optimizer, plan.average.has_value());
  out += fmt::format("checkpoint  {} each, {} kept", format_bytes(checkpoint.all()), config.checkpoint.keep);
  if (config.checkpoint.every > 0 && config.checkpoint.every < total_steps(config))
    out +=
        fmt::format("; written beside training from a copy of {} in host memory, if that is free", format_bytes(checkpoint.copy));
  return out + "\n";
}

}  // namespace temper
