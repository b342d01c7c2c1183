// Which of a library's matmul algorithms was fastest for a product, kept in a file that goes with a run: nothing is timed twice,
// and a resumed run takes the same algorithms and so computes the same bits. Knows nothing of the library: an algorithm is 64
// bytes, a product a text.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string>

namespace temper {

class AlgorithmCache {
 public:
  using Algorithm = std::array<std::byte, 64>;

  /// `path` empty: no file, and nothing is found. `machine` names all that a choice holds for: GPU and library version.
  /// A file that is not there or cannot be read counts as empty, damaged lines as not there. A file that is no cache stays as it
  /// is.
  AlgorithmCache(std::string path, std::string machine);

  bool has_file() const { return !path_.empty(); }
  const std::string& path() const { return path_; }

  std::optional<Algorithm> find(const std::string& product) const;

  /// Keeps `algorithm` for `product` unless the file holds a choice by now, made by another process; returns the one that stands.
  /// The file is replaced as a whole, with the choices of other machines that it holds. Where it cannot be written, the choice
  /// stands for this process.
  Algorithm keep(const std::string& product, const Algorithm& algorithm);

 private:
  /// By "machine<tab>product".
  using Choices = std::map<std::string, Algorithm>;

  std::string key(const std::string& product) const;

  std::string path_;
  std::string machine_;
  Choices choices_;
};

}  // namespace temper
