// A Hugging Face folder that a test writes, spoils and loads.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "golden_model.h"
#include "io/error.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/hf_format.h"
#include "tests/io/temporary_folder.h"

namespace temper {

/// A model for its weights alone.
struct HeldModel {
  explicit HeldModel(const ModelConfig& config)
      : ops(make_cpu_ops()), memory(ops.get()), weights(config, Precision::fp32, Weights::Use::inference, ops.get(), memory) {}

  std::unique_ptr<Ops> ops;
  DeviceMemory memory;
  Weights weights;
};

/// Every weight its own number, so that a misplaced one shows.
inline void number(Weights& weights) {
  weights.upload([&](const Parameter& parameter, std::span<float> values) {
    const std::int64_t vocab = weights.config().vocab_size * weights.config().n_embd;
    const std::int64_t count = parameter.name == "transformer.wte.weight" ? vocab : parameter.numel();
    for (std::int64_t i = 0; i < count; ++i)
      values[static_cast<std::size_t>(i)] = static_cast<float>(parameter.offset + i) * 0x1p-16f;
  });
}

inline void expect_equal(const Weights& a, const Weights& b) {
  for (const Parameter& parameter : a.layout().parameters()) {
    const Parameter* other = b.layout().find(parameter.name);
    ASSERT_NE(other, nullptr) << parameter.name;
    EXPECT_TRUE(a.download(parameter) == b.download(*other)) << parameter.name;
  }
}

/// A tensor of a file that a test writes as it likes.
struct FileTensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
using FileTensors = std::map<std::string, FileTensor>;

/// Little-endian bytes; F16 only for numbers that are whole and small.
inline std::string encode(const FileTensor& tensor) {
  std::string bytes;
  const auto append = [&](const auto& value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof(value)); };
  for (const float value : tensor.values) {
    if (tensor.dtype == "F32") {
      append(value);
    } else if (tensor.dtype == "BF16") {
      append(to_bfloat16(value).bits);
    } else if (tensor.dtype == "F16") {
      int exponent = 0;
      const float fraction = std::frexp(std::abs(value), &exponent);
      const auto magnitude =
          static_cast<std::uint16_t>(value == 0.0f ? 0 : ((exponent + 14) << 10) + static_cast<int>((fraction * 2 - 1) * 1024));
      append(static_cast<std::uint16_t>(magnitude | (value < 0.0f ? 0x8000 : 0)));
    } else {
      append(static_cast<std::int32_t>(value));
    }
  }
  return bytes;
}

inline void write_tensors(const std::filesystem::path& path, const FileTensors& tensors) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    TensorEntry entry;
    entry.name = name;
    entry.dtype = tensor.dtype;
    entry.shape = tensor.shape;
    entries.push_back(entry);
  }
  SafetensorsWriter writer(path, entries, {{"format", "pt"}});
  for (const auto& [name, tensor] : tensors) {
    const std::string bytes = encode(tensor);
    writer.write(bytes.data(), bytes.size());
  }
  writer.close();
}

inline FileTensors read_tensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  FileTensors tensors;
  for (const TensorEntry& entry : file.tensors()) tensors[entry.name] = {entry.dtype, entry.shape, file.read_f32(entry.name)};
  return tensors;
}

class HfFormat : public testing::Test {
 protected:
  void save(bool bias) {
    config_ = small_config(bias);
    model_ = std::make_unique<HeldModel>(config_);
    number(model_->weights);
    save_hf_model(folder_.path(), model_->weights, 130);
  }

  void change_config(const std::function<void(nlohmann::json&)>& change) {
    nlohmann::json config = read_json(folder_ / "config.json");
    change(config);
    write_file_atomically(folder_ / "config.json", config.dump());
  }

  void change_tensors(const std::function<void(FileTensors&)>& change) {
    FileTensors tensors = read_tensors(folder_ / "model.safetensors");
    change(tensors);
    write_tensors(folder_ / "model.safetensors", tensors);
  }

  /// Loads as `import` does: sizes first.
  std::unique_ptr<HeldModel> load() {
    auto loaded = std::make_unique<HeldModel>(read_hf_config(folder_.path()));
    load_hf_model(folder_.path(), loaded->weights);
    return loaded;
  }

  void expect_loads_the_same() {
    const std::unique_ptr<HeldModel> loaded = load();
    expect_equal(model_->weights, loaded->weights);
  }

  /// Loading fails with the checkpoint's exit code and says each of `words`.
  void expect_refused(const std::vector<std::string>& words) {
    try {
      load();
      FAIL() << "loaded; expected a refusal that says " << words.front();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::checkpoint) << error.what();
      for (const std::string& word : words)
        EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << word << " in: " << error.what();
    }
  }

  TemporaryFolder folder_;
  ModelConfig config_;
  std::unique_ptr<HeldModel> model_;
};

}  // namespace temper
