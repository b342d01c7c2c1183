// Folders that Hugging Face's GPT2LMHeadModel.from_pretrained reads, and the ones it writes: config.json and safetensors.
// Failures of a folder's contents are Error(ExitCode::checkpoint).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "config/run_config.h"
#include "model/weights.h"

namespace temper {

/// Gives elements [first, first + to.size()) of a flat f32 buffer, on the host.
using ReadValues = std::function<void(std::int64_t first, std::span<float> to)>;
/// That of a buffer in device memory.
ReadValues read_from(Ops& ops, ConstTensorView values);

/// Writes model.safetensors (F32 masters, tensor by tensor), config.json and generation_config.json into an existing folder
/// and returns each file's hash (FileWriter's) by name. The four matrices of a block are transposed to [in, out] (HF's
/// Conv1D), padded vocabulary rows are cut, the head is left out since it is the token embedding. A model without biases
/// gets zero biases, which compute the same, because GPT2LMHeadModel has no other form; its config.json says "bias": false.
/// `end_of_text` becomes bos and eos id. `masters` gives all of them. Works on one thread.
std::map<std::string, std::string> save_hf_model(const std::filesystem::path& folder, const ModelConfig& model,
                                                 std::uint32_t end_of_text, const ReadValues& masters);
/// Of weights that keep all masters.
std::map<std::string, std::string> save_hf_model(const std::filesystem::path& folder, const Weights& weights,
                                                 std::uint32_t end_of_text);

/// The file of the weights in such a folder.
constexpr const char* hf_weights_file = "model.safetensors";
/// Writes such a file alone, as `path`; returns its hash.
std::string save_hf_weights(const std::filesystem::path& path, const ModelConfig& model, const ReadValues& masters);

/// The sizes of the model in `folder`. The headers of its weight files are checked against config.json, so memory taken for
/// this configuration is about what the files hold.
ModelConfig read_hf_config(const std::filesystem::path& folder);

/// Loads model.safetensors, or the shards of model.safetensors.index.json, of a folder of equal sizes. Names may lack
/// "transformer."; F32, F16 and BF16 are converted; the buffers h.i.attn.bias and h.i.attn.masked_bias are ignored;
/// lm_head.weight must equal wte.weight. Missing, unknown or misshapen tensors, values that are not finite, and biases other
/// than zero for a model without them are refused. On failure the weights are undefined. `file`: another one than model.safetensors,
/// with the same tensors.
void load_hf_model(const std::filesystem::path& folder, Weights& weights, const std::string& file = hf_weights_file);

}  // namespace temper
