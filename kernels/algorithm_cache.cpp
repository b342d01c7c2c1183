#include "kernels/algorithm_cache.h"

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace temper {

namespace {

// The file: a first line, then one line per choice with its fields separated by tabs:
//   machine, product, the algorithm in hexadecimal, a checksum of what stands before it.
constexpr std::string_view first_line = "temper matmul algorithms 1";
constexpr std::string_view digits = "0123456789abcdef";

template <typename Bytes>
std::string hexadecimal(const Bytes& bytes) {
  std::string text;
  for (const auto byte : bytes) {
    text += digits[static_cast<unsigned>(byte) >> 4 & 15];
    text += digits[static_cast<unsigned>(byte) & 15];
  }
  return text;
}

std::optional<AlgorithmCache::Algorithm> algorithm_of(std::string_view text) {
  AlgorithmCache::Algorithm algorithm;
  if (text.size() != 2 * algorithm.size()) return std::nullopt;
  for (std::size_t i = 0; i < algorithm.size(); ++i) {
    const std::size_t high = digits.find(text[2 * i]), low = digits.find(text[2 * i + 1]);
    if (high == digits.npos || low == digits.npos) return std::nullopt;
    algorithm[i] = static_cast<std::byte>(high << 4 | low);
  }
  return algorithm;
}

// FNV-1a, 64 bits: a damaged line must not be taken for another algorithm.
std::string checksum(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3u;
  std::array<std::uint8_t, 8> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(hash >> (56 - 8 * i));
  return hexadecimal(bytes);
}

std::string line_of(const std::string& key, const AlgorithmCache::Algorithm& algorithm) {
  const std::string fields = key + '\t' + hexadecimal(algorithm);
  return fields + '\t' + checksum(fields) + '\n';
}

struct FileContents {
  bool replaceable = true;  // false: somebody else's file
  std::map<std::string, AlgorithmCache::Algorithm> choices;
};

FileContents read(const std::string& path) {
  FileContents contents;
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return contents;
  contents.replaceable = std::filesystem::is_regular_file(status);
  if (!contents.replaceable) return contents;

  std::ifstream file(path, std::ios::binary);
  std::string line;
  if (!std::getline(file, line)) {
    contents.replaceable = file.eof();  // an empty file holds nothing that could be lost
    return contents;
  }
  contents.replaceable = line == first_line;
  if (!contents.replaceable) return contents;
  while (std::getline(file, line)) {
    const std::size_t sum = line.rfind('\t');
    if (sum == line.npos || sum == 0 || checksum(std::string_view(line).substr(0, sum)) != line.substr(sum + 1)) continue;
    const std::size_t code = line.rfind('\t', sum - 1);
    if (code == line.npos) continue;
    if (const auto algorithm = algorithm_of(std::string_view(line).substr(code + 1, sum - code - 1)))
      contents.choices.emplace(line.substr(0, code), *algorithm);
  }
  return contents;
}

// Under another name first, so that whoever reads meanwhile finds the old file or the new one.
void write(const std::string& path, const std::map<std::string, AlgorithmCache::Algorithm>& choices) {
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file << first_line << '\n';
  for (const auto& [key, algorithm] : choices) file << line_of(key, algorithm);
  file.close();
  std::error_code error;
  if (file.good()) std::filesystem::rename(temporary, path, error);
  if (!file.good() || error) std::filesystem::remove(temporary, error);
}

// As part of a line.
std::string field(std::string text) {
  for (char& letter : text)
    if (static_cast<unsigned char>(letter) < ' ') letter = ' ';
  return text;
}

}  // namespace

AlgorithmCache::AlgorithmCache(std::string path, std::string machine)
    : path_(std::move(path)), machine_(field(std::move(machine))) {
  if (has_file()) choices_ = read(path_).choices;
}

std::string AlgorithmCache::key(const std::string& product) const { return machine_ + '\t' + field(product); }

std::optional<AlgorithmCache::Algorithm> AlgorithmCache::find(const std::string& product) const {
  const auto found = choices_.find(key(product));
  if (found == choices_.end()) return std::nullopt;
  return found->second;
}

AlgorithmCache::Algorithm AlgorithmCache::keep(const std::string& product, const Algorithm& algorithm) {
  if (!has_file()) return algorithm;
  FileContents contents = read(path_);
  contents.choices.merge(choices_);
  const bool added = contents.choices.emplace(key(product), algorithm).second;
  choices_ = std::move(contents.choices);
  if (added && contents.replaceable) write(path_, choices_);
  return choices_.at(key(product));
}

}  // namespace temper
