#include "model/hf_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/staging.h"
#include "io/text.h"
#include "kernels/check.h"
#include "model/hf_config.h"
#include "model/parameters.h"
#include "model/weights.h"

namespace temper {

namespace {

using nlohmann::json;

constexpr std::string_view prefix = "transformer.";
constexpr const char* head = "lm_head.weight";
constexpr const char* token_embedding = "transformer.wte.weight";

/// What DistributedDataParallel and torch.compile put before the names of what they wrap, in either order.
constexpr std::string_view wrappers[] = {"module.", "_orig_mod."};

std::string our_name(std::string_view name) {
  const auto unwrapped = [](std::string_view wrapped) {
    for (const std::string_view wrapper : wrappers)
      if (wrapped.starts_with(wrapper)) wrapped.remove_prefix(wrapper.size());
    return wrapped;
  };
  while (name != unwrapped(name)) name = unwrapped(name);
  return std::string(name == head || name.starts_with(prefix) ? "" : prefix).append(name);
}

/// transformer.h.N.attn.bias is the causal mask and masked_bias the number put where it is 0; neither is a parameter.
bool is_buffer(std::string_view name) {
  const std::string_view block = "transformer.h.";
  if (!name.starts_with(block)) return false;
  name.remove_prefix(block.size());
  const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
  const std::string_view rest = name.substr(digits);
  return digits > 0 && (rest == ".attn.bias" || rest == ".attn.masked_bias");
}

/// "a, b, c and 9 more"
std::string list(const std::vector<std::string>& names) {
  constexpr std::size_t most = 5;
  const std::string text = joined(std::span(names).first(std::min(names.size(), most)));
  return names.size() > most ? fmt::format("{} and {} more", text, names.size() - most) : text;
}

/// File names of an index come from strangers: they must not lead out of the folder.
void check_shard_name(const Json& name, const std::string& label) {
  if (!name.is_string())
    throw Error(ExitCode::checkpoint, label + ": a file name in \"weight_map\" is a " + name.type_name() + "; it must be a string");
  const std::string text = name.get<std::string>();
  const bool plain =
      !text.empty() && text.front() != '.' && text.find("..") == std::string::npos &&
      std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; });
  if (!plain || !text.ends_with(".safetensors"))
    throw Error(ExitCode::checkpoint,
                "{}: \"weight_map\" names the file {}; allowed are plain names of the same folder that end in .safetensors", label,
                name.dump(-1, ' ', true));
}

/// Stored [in, out] there, [out, in] here.
bool is_conv1d(const Parameter& parameter) { return parameter.kind == ParameterKind::matrix; }

/// The one with padded rows here.
bool is_token_embedding(const Parameter& parameter) { return parameter.name == token_embedding; }

/// The parameters as GPT2LMHeadModel has them, in file order: ours, but always with biases.
std::vector<Parameter> hf_parameters(const ModelConfig& config) {
  ModelConfig with_bias = config;
  with_bias.bias = true;
  return ParameterLayout(with_bias).parameters();
}

/// The shape in the file.
std::vector<std::int64_t> hf_shape(const Parameter& parameter, const ModelConfig& config) {
  if (is_conv1d(parameter)) return {parameter.shape[1], parameter.shape[0]};
  if (is_token_embedding(parameter)) return {config.vocab_size, parameter.shape[1]};
  if (parameter.shape.rank() == 2) return {parameter.shape[0], parameter.shape[1]};
  return {parameter.shape[0]};
}

/// The weight files of a Hugging Face GPT-2 folder: one model.safetensors or the shards of an index, seen as one set of tensors.
/// Names are those of parameters.h; in the file with or without "transformer.", and behind those of wrappers. Failures are
/// Error(ExitCode::checkpoint).
class HfTensors {
 public:
  /// Opens the files and checks their headers. Buffers (the causal masks of old checkpoints) are left out. Where the head is
  /// `tied`, the token embedding may stand in the file under the head's name alone.
  HfTensors(const std::filesystem::path& folder, bool tied, const std::string& single = hf_weights_file);

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

HfTensors::HfTensors(const std::filesystem::path& folder, bool tied, const std::string& single) : folder_(folder) {
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  if (std::filesystem::is_regular_file(folder / single)) {
    const SafetensorsFile& file = open(single);
    for (const TensorEntry& entry : file.tensors()) add(file, entry, single);
  } else if (single == hf_weights_file && std::filesystem::is_regular_file(index)) {
    open_shards(index);
  } else {
    throw Error(ExitCode::checkpoint, folder.string() + ": there is neither " + single +
                                          " nor model.safetensors.index.json; save the model "
                                          "with safe_serialization=True (pytorch_model.bin is not read: it can run code)");
  }
  if (tied && has(head) && !has(token_embedding)) {
    auto embedding = tensors_.extract(head);
    embedding.key() = token_embedding;
    tensors_.insert(std::move(embedding));
  }
}

const SafetensorsFile& HfTensors::open(const std::string& file_name) {
  files_.push_back(std::make_unique<SafetensorsFile>(folder_ / file_name));
  return *files_.back();
}

void HfTensors::open_shards(const std::filesystem::path& index) {
  const std::string label = index.string();
  Json object = read_json(index, ExitCode::checkpoint);
  if (!object.is_object() || !object.contains("weight_map") || !object["weight_map"].is_object())
    throw Error(ExitCode::checkpoint, label + ": there is no object \"weight_map\" from tensor names to file names");

  std::map<std::string, std::set<std::string>> names_by_file;
  for (const auto& [name, file] : object["weight_map"].items()) {
    check_shard_name(file, label);
    names_by_file[file.get<std::string>()].insert(name);
  }
  for (const auto& [file_name, names] : names_by_file) {
    if (!std::filesystem::is_regular_file(folder_ / file_name))
      throw Error(ExitCode::checkpoint, label + ": the shard " + file_name + " is missing from the folder; download it again");
    const SafetensorsFile& file = open(file_name);
    for (const std::string& name : names) {
      const TensorEntry* entry = file.find(name);
      if (entry == nullptr)
        throw Error(ExitCode::checkpoint, "{}: the tensor {} should be in {}, but is not", label, json(name).dump(-1, ' ', true),
                    file_name);
      add(file, *entry, file_name);
    }
    if (file.tensors().size() != names.size())
      throw Error(ExitCode::checkpoint, "{}: {} holds {} tensors, but \"weight_map\" lists {} in it", label, file_name,
                  file.tensors().size(), names.size());
  }
}

void HfTensors::add(const SafetensorsFile& file, const TensorEntry& entry, const std::string& file_name) {
  const std::string name = our_name(entry.name);
  if (is_buffer(name)) return;
  const auto [first, added] = tensors_.emplace(name, Located{&file, &entry, file_name});
  if (!added)
    throw Error(ExitCode::checkpoint, "{}: the tensor {} is there twice, as {} and as {}; it must have one of these names",
                folder_.string(), name, first->second.entry->name, entry.name);
}

void HfTensors::check(const HfConfig& config) const {
  check_names(config);
  for (const Parameter& parameter : hf_parameters(config.model))
    if (has(parameter.name)) check_entry(parameter.name, hf_shape(parameter, config.model));
  if (has(head)) check_entry(head, {config.model.vocab_size, config.model.n_embd});
}

void HfTensors::check_names(const HfConfig& config) const {
  std::set<std::string> known = {head};
  std::vector<std::string> missing, unknown;
  for (const Parameter& parameter : hf_parameters(config.model)) {
    known.insert(parameter.name);
    const bool optional = !config.model.bias && parameter.name.ends_with(".bias");
    if (!optional && !has(parameter.name)) missing.push_back(parameter.name);
  }
  if (!config.tied && !has(head)) missing.push_back(head);
  for (const auto& [name, located] : tensors_)
    if (known.count(name) == 0) unknown.push_back(located.entry->name);

  if (missing.empty() && unknown.empty()) return;
  std::vector<std::string> problems;
  if (!missing.empty()) problems.push_back("missing tensors: " + list(missing));
  if (!unknown.empty()) problems.push_back("unknown tensors: " + list(unknown));
  throw Error(ExitCode::checkpoint,
              "{}: {}. Its tensors must be those of a GPT2LMHeadModel with the sizes of its config.json; names may lack \"{}\" or "
              "have {} before them",
              folder_.string(), joined(problems, "; "), prefix, joined(wrappers, " or "));
}

void HfTensors::check_entry(const std::string& name, const std::vector<std::int64_t>& shape) const {
  const TensorEntry& entry = *tensors_.at(name).entry;
  if (entry.shape != shape)
    throw Error(ExitCode::checkpoint, "{} has shape [{}]; config.json asks for [{}]", describe(name), joined(entry.shape),
                joined(shape));
  if (entry.dtype != "F32" && entry.dtype != "F16" && entry.dtype != "BF16")
    throw Error(ExitCode::checkpoint, describe(name) + " holds " + entry.dtype + "; allowed are F32, F16 and BF16");
}

void HfTensors::check_tied_head() const {
  if (!has(head)) return;
  if (read(head) != read(token_embedding))
    throw Error(ExitCode::checkpoint, describe(head) + " differs from wte.weight; temper's head is tied to the token embedding");
}

void HfTensors::check_zero_biases() const {
  for (const auto& [name, located] : tensors_) {
    if (!name.ends_with(".bias")) continue;
    const std::vector<float> values = read(name);
    if (std::any_of(values.begin(), values.end(), [](float value) { return value != 0.0f; }))
      throw Error(ExitCode::checkpoint, describe(name) + " is not zero, but config.json says \"bias\": false; remove that key");
  }
}

std::string HfTensors::describe(const std::string& name) const {
  const Located& located = tensors_.at(name);
  return (folder_ / located.file_name).string() + ": tensor " + located.entry->name;
}

std::vector<float> HfTensors::read(const std::string& name) const {
  const Located& located = tensors_.at(name);
  std::vector<float> values = located.file->read_f32(located.entry->name);
  check_finite(values, describe(name));
  return values;
}

// --- Whole folders ---

/// to[c][r] = from[r][c], in tiles so that both sides stay in cache.
/// Not `parallel`: where training goes on meanwhile, whose threads the processors are for.
void transpose(std::span<const float> from, std::int64_t rows, std::int64_t columns, std::span<float> to, bool parallel) {
  constexpr std::int64_t tile = 32;
#pragma omp parallel for schedule(static) if (parallel)
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
std::vector<float> to_file(const ModelConfig& model, const ParameterLayout& layout, const ReadValues& masters,
                           const Parameter& file_parameter) {
  const Parameter* parameter = layout.find(file_parameter.name);
  if (parameter == nullptr) return std::vector<float>(static_cast<std::size_t>(file_parameter.numel()), 0.0f);
  std::vector<float> values(static_cast<std::size_t>(parameter->numel()));
  masters(parameter->offset, values);
  if (is_conv1d(*parameter)) {
    std::vector<float> transposed(values.size());
    transpose(values, parameter->shape[0], parameter->shape[1], transposed, false);
    return transposed;
  }
  if (is_token_embedding(*parameter)) values.resize(static_cast<std::size_t>(model.vocab_size * parameter->shape[1]));
  return values;
}

}  // namespace

ReadValues read_from(Ops& ops, ConstTensorView values) {
  return [&ops, values](std::int64_t first, std::span<float> to) {
    require(values.dtype == DType::f32 && first + static_cast<std::int64_t>(to.size()) <= values.numel(),
            "read_from: the buffer has not so many values");
    ops.copy_to_host(to.data(), values.as<float>() + first, to.size_bytes());
  };
}

std::string save_hf_weights(const std::filesystem::path& path, const ModelConfig& model, const ReadValues& masters) {
  const ParameterLayout layout(model);
  SafetensorsWriter writer(path, file_entries(model), {{"format", "pt"}});
  for (const Parameter& parameter : hf_parameters(model)) {
    const std::vector<float> values = to_file(model, layout, masters, parameter);
    refuse_to_save_nonfinite(values, parameter.name);
    writer.write(values.data(), values.size() * sizeof(float));
  }
  return writer.close();
}

std::map<std::string, std::string> save_hf_model(const std::filesystem::path& folder, const ModelConfig& model,
                                                 std::uint32_t end_of_text, const ReadValues& masters) {
  std::map<std::string, std::string> hashes = {{hf_weights_file, save_hf_weights(folder / hf_weights_file, model, masters)}};
  const auto write = [&](const std::string& name, const std::string& contents) {
    write_file_atomically(folder / name, contents);
    hashes[name] = hash_bytes(contents);
  };
  write("config.json", hf_config_json(model, end_of_text));
  write("generation_config.json", hf_generation_config_json(end_of_text));
  return hashes;
}

std::map<std::string, std::string> save_hf_model(const std::filesystem::path& folder, const Weights& weights,
                                                 std::uint32_t end_of_text) {
  return save_hf_model(folder, weights.config(), end_of_text, read_from(weights.ops(), weights.master()));
}

ModelConfig read_hf_config(const std::filesystem::path& folder) {
  const HfConfig config = read_config_file(folder);
  HfTensors(folder, config.tied).check(config);
  return config.model;
}

void load_hf_model(const std::filesystem::path& folder, Weights& weights, const std::string& file) {
  const HfConfig config = read_config_file(folder);
  check_same_model(config.model, weights.config(), (folder / "config.json").string());
  const HfTensors tensors(folder, config.tied, file);
  tensors.check(config);
  tensors.check_tied_head();
  if (!config.model.bias) tensors.check_zero_biases();

  weights.upload([&](const Parameter& parameter, std::span<float> values) {
    const std::vector<float> read = tensors.read(parameter.name);
    if (is_conv1d(parameter))
      transpose(read, parameter.shape[1], parameter.shape[0], values, true);
    else
      std::copy(read.begin(), read.end(), values.begin());  // padded vocabulary rows stay zero
  });
}

}  // namespace temper
