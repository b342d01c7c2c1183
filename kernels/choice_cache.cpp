#include "kernels/choice_cache.h"

#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

namespace temper {

namespace {

using Lines = std::map<std::string, std::string>;

// The file: a first line, then one line per choice with its fields separated by tabs:
//   machine, name, value, a checksum of what stands before it.
constexpr std::string_view first_line = "temper gpu choices 2";

// FNV-1a, 64 bits: a damaged line must not be taken for another algorithm.
std::string checksum(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3u;
  std::array<char, 17> digits;
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(hash));
  return digits.data();
}

std::string line_of(const std::string& key, const std::string& value) {
  const std::string fields = key + '\t' + value;
  return fields + '\t' + checksum(fields) + '\n';
}

// Adds what a line says, where it is whole.
void read_line(const std::string& line, Lines& choices) {
  const std::size_t sum = line.rfind('\t');
  if (sum == line.npos || sum == 0 || checksum(std::string_view(line).substr(0, sum)) != line.substr(sum + 1)) return;
  const std::size_t value = line.rfind('\t', sum - 1);
  if (value != line.npos) choices.emplace(line.substr(0, value), line.substr(value + 1, sum - value - 1));
}

struct FileContents {
  bool replaceable = true;  // false: somebody else's file
  Lines choices;
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
  while (std::getline(file, line)) read_line(line, contents.choices);
  return contents;
}

// Under another name first, so that whoever reads meanwhile finds the old file or the new one.
void write(const std::string& path, const Lines& choices) {
  const std::string temporary = path + ".tmp" + std::to_string(::getpid());
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file << first_line << '\n';
  for (const auto& [key, value] : choices) file << line_of(key, value);
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

ChoiceCache::ChoiceCache(std::string path, std::string machine) : path_(std::move(path)), machine_(field(std::move(machine))) {
  if (!path_.empty()) choices_ = read(path_).choices;
}

std::string ChoiceCache::key(const std::string& name) const { return machine_ + '\t' + field(name); }

std::optional<std::string> ChoiceCache::find(const std::string& name) {
  const auto found = choices_.find(key(name));
  if (found == choices_.end()) return std::nullopt;
  taken_.insert(*found);
  return found->second;
}

std::string ChoiceCache::keep(const std::string& name, const std::string& value) {
  if (!wants_more()) return value;
  FileContents contents = read(path_);
  contents.choices.merge(choices_);
  const auto [choice, added] = contents.choices.emplace(key(name), field(value));
  taken_.insert(*choice);
  choices_ = std::move(contents.choices);
  if (added && contents.replaceable) write(path_, choices_);
  return choices_.at(key(name));
}

void ChoiceCache::put(const std::string& name, const std::string& value) {
  FileContents contents = read(path_);
  contents.choices.merge(choices_);
  contents.choices.insert_or_assign(key(name), field(value));
  choices_ = std::move(contents.choices);
  if (!path_.empty() && contents.replaceable) write(path_, choices_);
}

std::string ChoiceCache::text() const {
  std::string text;
  for (const auto& [key, value] : taken_) text += line_of(key, value);
  return text;
}

bool ChoiceCache::fix(const std::string& text) {
  Choices given;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) read_line(line, given);
  const auto first = given.lower_bound(machine_ + '\t');
  const bool holds = first != given.end() && first->first.starts_with(machine_ + '\t');
  taken_ = given;
  if (holds) {
    choices_ = std::move(given);
    fixed_ = true;
  }
  return holds;
}

}  // namespace temper
