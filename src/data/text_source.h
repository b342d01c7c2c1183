// Documents in text files and JSON lines, and the places where a document can be cut without changing its tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/shard_sidecar.h"
#include "data/text_decoding.h"

namespace temper {

/// What becomes of bytes that are not UTF-8, and of lines of JSON that hold no text.
enum class BadText {
  few,     ///< bytes are replaced by U+FFFD, lines left out; more than one in 1000 of a file: Error(ExitCode::data)
  refuse,  ///< the first: Error(ExitCode::data)
  skip,    ///< lines, and documents with such bytes, are left out
  replace  ///< as `few` without its limit; surrogates in JSON that are half of no pair become U+FFFD, and their lines stay
};

struct TextOptions {
  std::string separator;            ///< splits a text file into documents; empty: it is one
  std::string json_field = "text";  ///< of JSON lines
  BadText bad_text = BadText::few;
  BytesDone decoding = {};  ///< of a file that comes packed
};

/// A document as it stands in its file: the text itself, or a line of JSON that holds it.
struct RawDocument {
  std::string_view bytes;
  std::int64_t line = 0;  ///< of its first byte, counted from 1; only JSON lines are counted, 0 in a text
};

/// A file of documents, from disk or a pipe, in UTF-8 or packed as data/text_decoding.h knows. One named .jsonl or .ndjson (in
/// whatever case, before .gz or .zst), or whose first two lines are JSON objects and that is not named .txt: one document a line.
/// Any other: one document, or several between separators.
class TextFile {
 public:
  /// `scratch`: a folder for what is decoded. What is no text, JSON in .json that is not lines of it, and bad text that `options`
  /// do not allow: Error(ExitCode::data).
  TextFile(const std::filesystem::path& path, const TextOptions& options, const std::filesystem::path& scratch);

  /// The next document that is not all white space; false at the end.
  bool next(RawDocument& document);
  /// Begins once more.
  void rewind();
  /// The text of a document of JSON lines; nothing where it has none, or is left out, which is added to `found`, or an
  /// Error(ExitCode::data) with file and line where it is not allowed. From any thread.
  std::optional<std::string> json_text(const RawDocument& document, TextFindings& found) const;
  /// Throws where `found` in this file's JSON lines so far is more than is allowed.
  void check(const TextFindings& found) const;

  bool json_lines() const { return json_lines_; }
  bool piped() const { return bytes_.piped(); }
  std::string_view contents() const { return bytes_.text(); }
  std::int64_t input_bytes() const { return static_cast<std::int64_t>(bytes_.raw().size()); }
  /// With what next() found; of JSON lines it is only what json_text() adds.
  SourceRecord record() const;

 private:
  void check_invalid(std::string_view contents);

  std::filesystem::path path_;
  std::filesystem::file_time_type written_at_;  // of a regular file
  TextOptions options_;
  TextBytes bytes_;
  std::string kind_;
  bool json_lines_ = false;
  std::int64_t lines_ = 0;  // of JSON
  TextFindings found_;
  std::int64_t invalid_bytes_ = 0;
  std::size_t position_ = 0;
  std::int64_t line_ = 0;
};

/// Files named by paths and globs as expand_globs takes them; "-" is standard input.
std::vector<std::filesystem::path> text_inputs(std::vector<std::string> patterns);

using ByteSink = std::function<void(std::string_view)>;

/// The texts of all documents of a file, in pieces of bounded size that are valid UTF-8, a line feed after each document.
SourceRecord read_text(const std::filesystem::path& path, const TextOptions& options, const std::filesystem::path& scratch,
                       const ByteSink& sink);

/// How often <|endoftext|> stands in a text.
std::int64_t count_marks(std::string_view text);

/// Nothing but spaces, tabs and line ends.
bool is_blank(std::string_view text);

/// The first place at or after `target` where `text` can be cut so that the tokens of the two parts are the tokens of the whole;
/// text.size() if there is none.
std::size_t token_border(std::string_view text, std::size_t target);

/// The bytes of a piece of a document of `label`: token_border, and Error(ExitCode::data) where it is so far that no text has it.
std::size_t piece_length(std::string_view text, std::size_t target, const std::filesystem::path& label);

/// Where the last `fraction` of a text begins: after the paragraph that the exact place is in, if it ends soon, else after the
/// line, else after the word.
std::size_t validation_cut(std::string_view text, double fraction);

}  // namespace temper
