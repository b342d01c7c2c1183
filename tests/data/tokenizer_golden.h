// The committed texts with tiktoken's answers (tests/golden/tokenizer/gpt2.json) and a source of random text.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "data/utf8.h"
#include "io/file.h"

namespace temper {

struct GoldenCase {
  std::string name;
  std::string text;                 // raw bytes, not always UTF-8
  std::vector<std::size_t> pieces;  // byte lengths, after invalid bytes became U+FFFD
  std::vector<std::uint32_t> tokens;
};

inline nlohmann::json golden_tokenizer() {
  return nlohmann::json::parse(read_file(TEMPER_SOURCE_DIR "/tests/golden/tokenizer/gpt2.json"));
}

inline std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> cases;
  const nlohmann::json golden = golden_tokenizer();
  for (const auto& entry : golden["cases"]) {
    std::string text = entry.value("text", "");
    const std::string hex = entry.value("hex", "");
    for (std::size_t i = 0; i < hex.size(); i += 2) text.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    cases.push_back({entry["name"], text, entry["pieces"], entry["tokens"]});
  }
  return cases;
}

/// Valid UTF-8 of `characters` code points from all planes and blocks, rich in what the splitter treats specially.
inline std::string random_text(std::mt19937& random, int characters) {
  static constexpr char32_t kSpecial[] = {' ', ' ', ' ', '\n', '\r', '\t',   '\'',   's',    't',    'l',  'r',    'e',     'v',
                                          'A', '1', '.', 0x85, 0xA0, 0x180E, 0x200B, 0x2009, 0x3000, 0xE9, 0x4E2D, 0x1F600, 0x663};
  static constexpr char32_t kLimits[] = {0x80, 0x250, 0x600, 0x3000, 0x10000, 0x20000, 0x110000};
  std::string text;
  for (int i = 0; i < characters;) {
    char32_t c = kSpecial[random() % std::size(kSpecial)];
    if (random() % 2 == 0) c = static_cast<char32_t>(random() % kLimits[random() % std::size(kLimits)]);
    if (c >= 0xD800 && c < 0xE000) continue;
    append_utf8(c, text);
    ++i;
  }
  return text;
}

inline std::string random_bytes(std::mt19937& random, std::size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

}  // namespace temper
