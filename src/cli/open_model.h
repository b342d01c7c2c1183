// Opening a trained model from wherever a user points: a run directory, a checkpoint, or a Hugging Face folder.
#pragma once

#include <filesystem>
#include <string>

#include "data/tokenizer.h"
#include "kernels/device_memory.h"
#include "model/weights.h"

namespace temper {

/// The folder with config.json and model.safetensors: `path` itself, or the newest intact checkpoint of the run directory `path`.
/// A checkpoint of a run is verified against its hashes. Nothing usable there: Error(ExitCode::checkpoint).
std::filesystem::path find_model_folder(const std::filesystem::path& path);

/// The tokenizer that `named` gives, or with `named` empty the one beside the model in `folder`, which is empty where the model has
/// none. One with more tokens than the model, or another than the model is known to go with: Error(ExitCode::data).
Tokenizer open_tokenizer(const std::string& named, const std::filesystem::path& folder, const ModelConfig& config);

/// Weights for inference, loaded from such a folder.
Weights open_weights(const std::filesystem::path& folder, Precision precision, Ops& ops, DeviceMemory& memory);

}  // namespace temper
