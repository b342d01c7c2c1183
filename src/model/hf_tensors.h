// The weight files of a Hugging Face GPT-2 folder: one model.safetensors or the shards of an index, seen as one set of tensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/hf_config.h"
#include "model/parameters.h"

namespace temper {

/// The parameters as GPT2LMHeadModel has them, in file order: ours, but always with biases.
std::vector<Parameter> hf_parameters(const ModelConfig& config);
/// Stored [in, out] there, [out, in] here.
bool is_conv1d(const Parameter& parameter);
/// The one with padded rows here.
bool is_token_embedding(const Parameter& parameter);
/// The shape in the file.
std::vector<std::int64_t> hf_shape(const Parameter& parameter, const ModelConfig& config);

/// Names are those of parameters.h, with or without "transformer." in the file. Failures are Error(ExitCode::checkpoint).
class HfTensors {
 public:
  /// Opens the files and checks their headers. Buffers (the causal masks of old checkpoints) are left out.
  explicit HfTensors(const std::filesystem::path& folder);

  /// Refuses names, shapes and dtypes other than those of `config`.
  void check(const HfConfig& config) const;
  /// Refuses an lm_head.weight other than wte.weight. Reads both.
  void check_tied_head() const;
  /// Refuses biases other than zero: those of a model without biases.
  void check_zero_biases() const;

  /// The tensor, converted and finite.
  std::vector<float> read(const std::string& name) const;

 private:
  struct Located {
    const SafetensorsFile* file;
    const TensorEntry* entry;
    std::string file_name;
  };

  bool has(const std::string& name) const { return tensors_.count(name) > 0; }
  /// "FILE: tensor NAME", as the file spells it.
  std::string describe(const std::string& name) const;

  void open_shards(const std::filesystem::path& index);
  const SafetensorsFile& open(const std::string& file_name);
  void add(const SafetensorsFile& file, const TensorEntry& entry, const std::string& file_name);
  void check_names(const HfConfig& config) const;
  void check_entry(const std::string& name, const std::vector<std::int64_t>& shape) const;

  std::filesystem::path folder_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Located> tensors_;  // by our name
};

}  // namespace temper
