// llm.c's model files (train_gpt2.py write_model, train_gpt2.c gpt2_build_from_checkpoint): a header of 256 little-endian
// int32, then all weights of one kind after the other, each kind for all layers, matrices [out, in].
// Failures of a file's contents are Error(ExitCode::checkpoint).
#pragma once

#include <filesystem>

#include "config/run_config.h"
#include "kernels/tensor.h"
#include "model/weights.h"

namespace temper {

/// The sizes of the model in a file. Magic, version (3: f32, 5: bf16), ranges and the file's length are checked, so memory
/// taken for this configuration is about what the file holds. These models always have biases.
ModelConfig read_llmc_config(const std::filesystem::path& path);

/// Loads a file into a model of its sizes. Padded vocabulary rows, however many, are dropped; values must be finite. On
/// failure the weights are undefined.
void load_llmc_model(const std::filesystem::path& path, Weights& weights);

/// Writes f32 or bf16 (rounded to nearest even), the vocabulary padded as in temper. A model without biases gets zeros.
void save_llmc_model(const std::filesystem::path& path, const Weights& weights, DType dtype);

}  // namespace temper
