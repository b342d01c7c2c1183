// Documents in text files and JSON lines, and the places where a document can be cut without changing its tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "io/file.h"

namespace temper {

/// A document as it stands in its file: the text itself, or a line of JSON that holds it.
struct RawDocument {
  std::string_view bytes;
  std::int64_t line = 0;  ///< of its first byte, counted from 1; only JSON lines are counted, 0 in a text
};

/// A memory-mapped file of documents. A name ending in .jsonl or .ndjson: one document a line. Any other: one document, or
/// several between separators.
class TextFile {
 public:
  /// `separator` may be empty: a text file is one document. A compressed file, another known format, a NUL byte,
  /// or more than one byte in a thousand that is not UTF-8: Error(ExitCode::data).
  TextFile(const std::filesystem::path& path, std::string separator);

  /// The next document that is not all white space; false at the end.
  bool next(RawDocument& document);

  bool json_lines() const { return json_lines_; }
  const std::filesystem::path& path() const { return path_; }
  std::string_view contents() const { return contents_; }
  /// That are not UTF-8, and which encoding replaces by U+FFFD.
  std::int64_t invalid_bytes() const { return invalid_bytes_; }

 private:
  std::filesystem::path path_;
  std::string separator_;
  MappedFile file_;
  std::string_view contents_;
  bool json_lines_;
  std::int64_t invalid_bytes_ = 0;
  std::size_t position_ = 0;
  std::int64_t line_ = 0;
};

/// The string in `field` of a document of JSON lines. Not JSON, no such field, not a string: Error(ExitCode::data) with file and
/// line.
std::string json_text(const RawDocument& document, const std::string& field, const std::filesystem::path& path);

/// Nothing but spaces, tabs and line ends.
bool is_blank(std::string_view text);

/// The first place at or after `target` where `text` can be cut so that the tokens of the two parts are the tokens of the whole;
/// text.size() if there is none.
std::size_t token_border(std::string_view text, std::size_t target);

/// Where the last `fraction` of a text begins: after the paragraph that the exact place is in, if it ends soon, else after the
/// line, else after the word.
std::size_t validation_cut(std::string_view text, double fraction);

}  // namespace temper
