// A folder of tests/golden (scripts/compare/make_golden.py): a small GPT-2 and what PyTorch computed with it in float64.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "small_model.h"

namespace temper {

inline nlohmann::json read_json(const std::filesystem::path& path) {
  std::ifstream stream(path);
  if (!stream) throw std::runtime_error("cannot read " + path.string());
  return nlohmann::json::parse(stream);
}

/// [B][T] in JSON -> B*T tokens.
inline Tokens flat_tokens(const nlohmann::json& rows) {
  Tokens tokens;
  for (const nlohmann::json& row : rows)
    for (const nlohmann::json& token : row) tokens.push_back(token.get<std::int32_t>());
  return tokens;
}

struct GoldenTokens {
  std::int64_t sequences;
  Tokens inputs, targets;

  explicit GoldenTokens(const nlohmann::json& object)
      : sequences(static_cast<std::int64_t>(object.at("inputs").size())),
        inputs(flat_tokens(object.at("inputs"))),
        targets(flat_tokens(object.at("targets"))) {}
};

inline std::filesystem::path golden_folder(const std::string& name) {
  return std::filesystem::path(TEMPER_SOURCE_DIR) / "tests" / "golden" / name;
}

}  // namespace temper
