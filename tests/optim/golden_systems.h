// The systems of tests/golden/optimizers and how they are set up; scripts/compare/optimizer_golden.py describes the files.
#pragma once

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "config/fields.h"
#include "io/safetensors.h"
#include "optimizer_run.h"

namespace temper {

using Json = nlohmann::ordered_json;

class Golden {
 public:
  Golden()
      : folder_(std::filesystem::path(TEMPER_SOURCE_DIR) / "tests/golden/optimizers"),
        file_(folder_ / "trajectories.safetensors"),
        table(Json::parse(std::ifstream(folder_ / "systems.json"))) {}

  template <typename T>
  std::vector<T> read(const std::string& name) const {
    const std::span<const std::byte> bytes = file_.bytes(*file_.find(name));
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  std::vector<OptimizedTensor> tensors() const {
    std::vector<OptimizedTensor> all;
    for (const Json& tensor : table.at("tensors")) {
      const auto kind = std::find(parameter_kind_names.begin(), parameter_kind_names.end(), tensor.at("kind").get<std::string>());
      const auto extents = tensor.at("shape").get<std::vector<std::int64_t>>();
      all.push_back({tensor.at("name"), extents.size() == 2 ? Shape{extents[0], extents[1]} : Shape{extents[0]}, 0,
                     static_cast<ParameterKind>(kind - parameter_kind_names.begin()), tensor.at("layer"), tensor.at("stacked")});
    }
    return all;
  }

 private:
  std::filesystem::path folder_;
  SafetensorsFile file_;

 public:
  Json table;
};

inline Value to_value(const Json& json) {
  if (json.is_boolean()) return {json.get<bool>()};
  if (json.is_number_integer()) return {json.get<std::int64_t>()};
  if (json.is_number()) return {json.get<double>()};
  if (json.is_string()) return {json.get<std::string>()};
  std::vector<Value> list;
  for (const Json& one : json) list.push_back(to_value(one));
  return {std::move(list)};
}

inline void set_keys(RunConfig& config, const Json& keys) {
  for (const auto& [key, value] : keys.items()) {
    const Field* field = find_field(key);
    ASSERT_NE(field, nullptr) << key;
    EXPECT_EQ(set_field(*field, config, to_value(value)), "");
  }
}

inline std::vector<std::string> systems() {
  const Golden golden;
  std::vector<std::string> names;
  for (const auto& [name, keys] : golden.table.at("systems").items()) names.push_back(name);
  return names;
}

/// The run of a system.
inline RunConfig config_of(const Golden& golden, const std::string& system) {
  RunConfig config;
  config.train.steps = golden.table.at("steps");
  set_keys(config, golden.table.at("schedule"));
  config.optimizer.weight_decay = 0.1;  // the generator's, where a system does not say otherwise, as is one rate for all tensors
  set_keys(config, golden.table.at("systems").at(system));
  if (!config.optimizer.other_learning_rate) config.optimizer.other_learning_rate = config.optimizer.learning_rate;
  return config;
}

}  // namespace temper
