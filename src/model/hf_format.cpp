#include "model/hf_format.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "io/staging.h"
#include "model/checked_import.h"
#include "model/hf_config.h"
#include "model/hf_tensors.h"

namespace temper {

namespace {

/// to[c][r] = from[r][c], in tiles so that both sides stay in cache.
void transpose(std::span<const float> from, std::int64_t rows, std::int64_t columns, std::span<float> to) {
  constexpr std::int64_t tile = 32;
#pragma omp parallel for schedule(static)
  for (std::int64_t r0 = 0; r0 < rows; r0 += tile)
    for (std::int64_t c0 = 0; c0 < columns; c0 += tile)
      for (std::int64_t c = c0; c < std::min(c0 + tile, columns); ++c)
        for (std::int64_t r = r0; r < std::min(r0 + tile, rows); ++r)
          to[static_cast<std::size_t>(c * rows + r)] = from[static_cast<std::size_t>(r * columns + c)];
}

HfConfig read_config_file(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  if (!std::filesystem::is_regular_file(path))
    throw Error(ExitCode::checkpoint, folder.string() + ": there is no config.json; give a folder as save_pretrained writes it");
  const std::string text = read_file(path);
  refuse_incomplete(text, path.string(), ExitCode::checkpoint);
  return parse_hf_config(text, path.string());
}

std::vector<TensorEntry> file_entries(const ModelConfig& config) {
  std::vector<TensorEntry> entries;
  for (const Parameter& parameter : hf_parameters(config)) {
    TensorEntry entry;
    entry.name = parameter.name;
    entry.dtype = "F32";
    entry.shape = hf_shape(parameter, config);
    entries.push_back(std::move(entry));
  }
  return entries;
}

/// One parameter as the file has it.
std::vector<float> to_file(const Weights& weights, ConstTensorView masters, const Parameter& file_parameter) {
  const Parameter* parameter = weights.layout().find(file_parameter.name);
  if (parameter == nullptr) return std::vector<float>(static_cast<std::size_t>(file_parameter.numel()), 0.0f);
  std::vector<float> values = weights.download(*parameter, masters);
  if (is_conv1d(*parameter)) {
    std::vector<float> transposed(values.size());
    transpose(values, parameter->shape[0], parameter->shape[1], transposed);
    return transposed;
  }
  if (is_token_embedding(*parameter)) values.resize(static_cast<std::size_t>(weights.config().vocab_size * parameter->shape[1]));
  return values;
}

}  // namespace

std::map<std::string, std::string> save_hf_model(const std::filesystem::path& folder, const Weights& weights,
                                                 std::uint32_t end_of_text, ConstTensorView masters) {
  const ModelConfig& config = weights.config();
  std::map<std::string, std::string> hashes;

  SafetensorsWriter writer(folder / "model.safetensors", file_entries(config), {{"format", "pt"}});
  for (const Parameter& parameter : hf_parameters(config)) {
    const std::vector<float> values = to_file(weights, masters, parameter);
    writer.write(values.data(), values.size() * sizeof(float));
  }
  hashes["model.safetensors"] = writer.close();

  const auto write = [&](const std::string& name, const std::string& contents) {
    write_file_atomically(folder / name, contents);
    hashes[name] = hash_bytes(contents);
  };
  write("config.json", hf_config_json(config, end_of_text));
  write("generation_config.json", hf_generation_config_json(end_of_text));
  return hashes;
}

ModelConfig read_hf_config(const std::filesystem::path& folder) {
  const HfConfig config = read_config_file(folder);
  HfTensors(folder).check(config);
  return config.model;
}

void load_hf_model(const std::filesystem::path& folder, Weights& weights) {
  const HfConfig config = read_config_file(folder);
  check_same_model(config.model, weights.config(), (folder / "config.json").string());
  const HfTensors tensors(folder);
  tensors.check(config);
  tensors.check_tied_head();
  if (!config.model.bias) tensors.check_zero_biases();

  weights.upload([&](const Parameter& parameter, std::span<float> values) {
    const std::vector<float> read = tensors.read(parameter.name);
    if (is_conv1d(parameter)) {
      transpose(read, parameter.shape[1], parameter.shape[0], values);
    } else {
      std::copy(read.begin(), read.end(), values.begin());  // padded vocabulary rows stay zero
    }
  });
}

}  // namespace temper
