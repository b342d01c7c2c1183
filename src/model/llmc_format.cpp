#include "model/llmc_format.h"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/file.h"
#include "kernels/bfloat16.h"
#include "kernels/check.h"
#include "model/weights.h"

namespace temper {

namespace {

constexpr std::int32_t magic = 20240326;
constexpr std::int32_t version_f32 = 3;
constexpr std::int32_t version_bf16 = 5;
constexpr std::size_t header_bytes = 256 * sizeof(std::int32_t);

/// Names in the order of the file; those of a block ("h.") stand for all layers.
constexpr std::array<const char*, 16> kinds = {
    "wte.weight",           "wpe.weight",         "h.ln_1.weight", "h.ln_1.bias", "h.attn.c_attn.weight", "h.attn.c_attn.bias",
    "h.attn.c_proj.weight", "h.attn.c_proj.bias", "h.ln_2.weight", "h.ln_2.bias", "h.mlp.c_fc.weight",    "h.mlp.c_fc.bias",
    "h.mlp.c_proj.weight",  "h.mlp.c_proj.bias",  "ln_f.weight",   "ln_f.bias",
};

struct Header {
  ModelConfig model;
  std::int64_t padded_vocab = 0;
  DType dtype = DType::f32;
};

/// One parameter in the file, in file order.
struct Section {
  std::string name;  // parameters.h
  std::int64_t numel;
};

std::vector<Section> sections(const Header& header) {
  ModelConfig with_bias = header.model;
  with_bias.bias = true;
  const ParameterLayout layout(with_bias);
  std::vector<Section> result;
  const auto add = [&](const std::string& name) {
    const bool padded = name == "transformer.wte.weight";
    result.push_back({name, padded ? header.padded_vocab * header.model.n_embd : layout.find(name)->numel()});
  };
  for (const std::string kind : kinds) {
    if (!kind.starts_with("h.")) {
      add("transformer." + kind);
      continue;
    }
    for (std::int64_t layer = 0; layer < header.model.n_layer; ++layer)
      add(fmt::format("transformer.h.{}{}", layer, kind.substr(1)));
  }
  return result;
}

Header read_header(std::span<const std::byte> file, const std::string& label) {
  if (file.size() < header_bytes)
    throw Error(ExitCode::checkpoint, "{}: {} bytes are fewer than a header's {}; it is not a model of llm.c, or was cut off",
                label, file.size(), header_bytes);
  std::array<std::int32_t, 8> words;
  std::memcpy(words.data(), file.data(), sizeof(words));
  if (words[0] != magic)
    throw Error(ExitCode::checkpoint, "{}: it begins with {} instead of {}; it is not a model of llm.c", label, words[0], magic);
  if (words[1] != version_f32 && words[1] != version_bf16)
    throw Error(ExitCode::checkpoint, "{}: version {}; allowed are 3 (f32) and 5 (bf16). Write it again with a current llm.c",
                label, words[1]);

  Header header;
  header.dtype = words[1] == version_f32 ? DType::f32 : DType::bf16;
  header.model.n_ctx = words[2];
  header.model.vocab_size = words[3];
  header.model.n_layer = words[4];
  header.model.n_head = words[5];
  header.model.n_embd = words[6];
  header.model.bias = true;
  header.padded_vocab = words[7];
  check_model_sizes(header.model, label);
  if (header.padded_vocab < header.model.vocab_size)
    throw Error(ExitCode::checkpoint, "{}: the padded vocabulary, {}, is smaller than the vocabulary, {}. The file is damaged",
                label, header.padded_vocab, header.model.vocab_size);

  // Within check_model_sizes' limits this stays far below 2^63.
  std::int64_t numel = 0;
  for (const Section& section : sections(header)) numel += section.numel;
  const std::uint64_t expected = header_bytes + static_cast<std::uint64_t>(numel) * size_of(header.dtype);
  if (file.size() != expected)
    throw Error(ExitCode::checkpoint,
                "{}: the file has {} bytes, its header says {}. It was cut off or does not belong to this header", label,
                file.size(), expected);
  return header;
}

/// The first values.size() elements of a section.
void convert(std::span<const std::byte> section, DType dtype, std::span<float> values) {
  if (dtype == DType::f32) {
    std::memcpy(values.data(), section.data(), values.size_bytes());
    return;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    bfloat16 value;
    std::memcpy(&value, section.data() + i * sizeof(value), sizeof(value));
    values[i] = to_float(value);
  }
}

void write_section(FileWriter& file, std::span<const float> values, DType dtype) {
  if (dtype == DType::f32) {
    file.write(values.data(), values.size_bytes());
    return;
  }
  std::vector<bfloat16> rounded(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) rounded[i] = to_bfloat16(values[i]);
  file.write(rounded.data(), rounded.size() * sizeof(bfloat16));
}

}  // namespace

ModelConfig read_llmc_config(const std::filesystem::path& path) {
  return read_header(MappedFile(path).bytes(), path.string()).model;
}

void load_llmc_model(const std::filesystem::path& path, Weights& weights) {
  const MappedFile file(path);
  const Header header = read_header(file.bytes(), path.string());
  check_same_model(header.model, weights.config(), path.string());

  std::map<std::string, std::size_t> offsets;
  std::size_t offset = header_bytes;
  for (const Section& section : sections(header)) {
    offsets[section.name] = offset;
    offset += static_cast<std::size_t>(section.numel) * size_of(header.dtype);
  }
  weights.upload([&](const Parameter& parameter, std::span<float> values) {
    // Our padding of the vocabulary may differ from the file's: both stay outside.
    const bool padded = parameter.name == "transformer.wte.weight";
    const std::int64_t numel = padded ? header.model.vocab_size * header.model.n_embd : parameter.numel();
    values = values.first(static_cast<std::size_t>(numel));
    convert(file.bytes().subspan(offsets.at(parameter.name)), header.dtype, values);
    check_finite(values, path.string() + ": " + parameter.name);
  });
}

void save_llmc_model(const std::filesystem::path& path, const Weights& weights, DType dtype) {
  require(dtype == DType::f32 || dtype == DType::bf16, "save_llmc_model: dtype must be f32 or bf16");
  const Header header = {weights.config(), padded_vocab_size(weights.config()), dtype};
  std::array<std::int32_t, 256> words{};
  const std::int64_t values[] = {magic,
                                 dtype == DType::f32 ? version_f32 : version_bf16,
                                 header.model.n_ctx,
                                 header.model.vocab_size,
                                 header.model.n_layer,
                                 header.model.n_head,
                                 header.model.n_embd,
                                 header.padded_vocab};
  for (std::size_t i = 0; i < std::size(values); ++i) words[i] = static_cast<std::int32_t>(values[i]);

  FileWriter file(path);
  file.write(words.data(), sizeof(words));
  for (const Section& section : sections(header)) {
    const Parameter* parameter = weights.layout().find(section.name);
    const std::vector<float> contents =
        parameter != nullptr ? weights.download(*parameter) : std::vector<float>(static_cast<std::size_t>(section.numel), 0.0f);
    write_section(file, contents, dtype);
  }
  file.close();
}

}  // namespace temper
