#include "model/checked_import.h"

#include <cmath>
#include <cstddef>

#include "io/error.h"

namespace temper {

namespace {

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

}  // namespace

void check_model_sizes(const ModelConfig& config, const std::string& label) {
  for (const SizeLimit& limit : size_limits) {
    const std::int64_t value = config.*limit.size;
    if (value < 1 || value > limit.largest)
      throw Error(ExitCode::checkpoint, label + ": " + limit.name + " is " + std::to_string(value) + "; allowed is 1 to " +
                                            std::to_string(limit.largest) + ". The file is damaged or not a GPT-2");
  }
  if (config.n_embd % (2 * config.n_head) != 0 || config.n_embd / config.n_head > largest_head)
    throw Error(ExitCode::checkpoint, label + ": n_embd is " + std::to_string(config.n_embd) + " with n_head " +
                                          std::to_string(config.n_head) +
                                          "; n_embd / n_head, the size of a head, must be an even " + "whole number, at most " +
                                          std::to_string(largest_head));
}

void check_same_model(const ModelConfig& file, const ModelConfig& model, const std::string& label) {
  for (const SizeLimit& limit : size_limits) {
    if (file.*limit.size != model.*limit.size)
      throw Error(ExitCode::checkpoint, label + ": " + limit.name + " is " + std::to_string(file.*limit.size) +
                                            ", but the model has " + std::to_string(model.*limit.size) +
                                            "; load it into a model of its own sizes");
  }
  if (file.bias != model.bias)
    throw Error(ExitCode::checkpoint, label + ": it is a model with" + (file.bias ? "" : "out") +
                                          " biases, and cannot be loaded into one with" + (model.bias ? "" : "out"));
}

void check_finite(std::span<const float> values, const std::string& what) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]))
      throw Error(ExitCode::checkpoint, what + ": element " + std::to_string(i) + " is " + std::to_string(values[i]) +
                                            "; weights must be finite. The file is damaged or its training diverged");
  }
}

}  // namespace temper
