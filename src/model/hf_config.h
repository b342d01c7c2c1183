// config.json and generation_config.json of a Hugging Face GPT-2 (transformers, models/gpt2/configuration_gpt2.py).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "config/run_config.h"

namespace temper {

struct HfConfig {
  ModelConfig model;
  bool tied = true;  ///< tie_word_embeddings: the head is the token embedding and has no tensor of its own
};

/// Reads a config.json. What temper does not compute (another activation, epsilon, MLP width, attention scaling, cross
/// attention, pruned heads, quantised weights) is refused by name; dropout is accepted and not applied. A missing key means
/// transformers' default, but for the sizes, which must be there. temper's own key "bias" (default true) tells models
/// without biases. Error(ExitCode::checkpoint) with `label`.
HfConfig parse_hf_config(std::string_view json, const std::string& label);

/// `end_of_text` is both bos and eos, as in GPT-2.
std::string hf_config_json(const ModelConfig& model, std::uint32_t end_of_text);
std::string hf_generation_config_json(std::uint32_t end_of_text);

}  // namespace temper
