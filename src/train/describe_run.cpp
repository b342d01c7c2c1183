// What a run will be, before it begins.
#include <cstdio>

#include "config/validate.h"
#include "model/parameters.h"
#include "train/engine.h"
#include "train/progress.h"
#include "train/trainer.h"

namespace temper {

std::string describe_run(const RunConfig& config, const Ops& ops, const std::string& device, Communicator& ranks) {
  Engine plan(config, nullptr, &ranks);
  plan.count_backend_memory(config, ops);
  const double tokens = static_cast<double>(config.batch.tokens_per_step);
  const double steps = static_cast<double>(total_steps(config));
  const double all_tokens = static_cast<double>(tokens_before(config, total_steps(config)));
  const double flops = training_flops_per_token(config.model);
  char text[512];
  std::snprintf(text, sizeof(text),
                "model       %lld layers, %lld heads, %lld wide, context %lld, vocabulary %lld (padded to %lld)\n"
                "parameters  %s\n"
                "run         %s steps of %s tokens (%lld micro-batches of %lld x %lld), %s tokens in all\n"
                "operations  %.1f MFLOP per token, %.3g FLOP in all (6 N + 6 L C T)\n",
                static_cast<long long>(config.model.n_layer), static_cast<long long>(config.model.n_head),
                static_cast<long long>(config.model.n_embd), static_cast<long long>(config.model.n_ctx),
                static_cast<long long>(config.model.vocab_size), static_cast<long long>(padded_vocab_size(config.model)),
                format_count(static_cast<double>(plan.weights.layout().parameter_count())).c_str(), format_count(steps).c_str(),
                format_count(tokens).c_str(), static_cast<long long>(micro_batches_at(config, total_steps(config) - 1)),
                static_cast<long long>(config.batch.micro_batch), static_cast<long long>(config.model.n_ctx),
                format_count(all_tokens).c_str(), flops / 1e6, flops * all_tokens);
  std::string out = "device      " + device + "\n";
  if (ranks.size() > 1) out += "ranks       " + ranks.description() + (config.parallel.zero_stage > 0 ? ", ZeRO-1" : "") + "\n";
  out += text;
  out += ranks.size() > 1 ? "memory of rank 0\n" : "memory\n";
  for (const MemoryGroup& group : plan.memory.plan()) {
    std::snprintf(text, sizeof(text), "  %-24s %12s\n", group.name.c_str(), format_bytes(group.bytes).c_str());
    out += text;
  }
  std::snprintf(text, sizeof(text), "  %-24s %12s\n", "total", format_bytes(plan.memory.total_bytes()).c_str());
  out += text;
  std::snprintf(text, sizeof(text), "checkpoint  %s each, %lld kept\n",
                format_bytes(static_cast<std::size_t>(plan.weights.layout().flat_size()) * 12).c_str(),
                static_cast<long long>(config.checkpoint.keep));
  return out + text;
}

}  // namespace temper
