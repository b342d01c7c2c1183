// Texts that come packed (gzip, zstd, UTF-16) or through a pipe, as plain bytes on disk: memory holds the buffers of a decoder,
// whatever a file expands to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "io/descriptor.h"
#include "io/file.h"

namespace temper {

enum class TextForm { plain, gzip, zstd, utf16_le, utf16_be };

/// By the bytes at its start.
TextForm text_form(std::string_view bytes);
/// "gzip", "zstd", "UTF-16"
const char* form_name(TextForm form);

/// Error(ExitCode::data) for more bytes without a border between words than any text has: the tokenizer takes them all at once.
void check_undivided(std::size_t bytes, const std::string& label);

/// Takes a piece of a text, and how many bytes were read for it and all before it.
using DecodedSink = std::function<void(std::string_view piece, std::size_t read)>;
/// Told the bytes of input done and in all, from the calling thread. May throw to give up.
using BytesDone = std::function<void(std::int64_t done, std::int64_t all)>;

/// Hands the decoded text to `sink` piece by piece. In UTF-16 each unit that is half of no pair becomes the byte FF, which UTF-8
/// has nowhere, to be treated as broken characters of UTF-8 are. Damaged, cut short: Error(ExitCode::data), which names `label`.
void decode_text(TextForm form, std::string_view bytes, const std::string& label, const DecodedSink& sink);

/// A file without a name in a folder, gone with its descriptor and its maps, however the process ends.
class UnnamedFile {
 public:
  explicit UnnamedFile(const std::filesystem::path& folder);
  void write(std::string_view bytes);
  /// Of all that was written.
  MappedFile map();

 private:
  void flush();

  std::filesystem::path path_;
  Descriptor file_;
  std::string waiting_;  // texts come in documents, some of a few bytes
};

/// The bytes of a text: a map of the file itself, or of what an UnnamedFile in `scratch` took from it or from a pipe.
class TextBytes {
 public:
  /// Another known format, a NUL byte: Error(ExitCode::data), before the rest is decoded. `decoding` is told how far that is.
  TextBytes(const std::filesystem::path& path, const std::filesystem::path& scratch, const BytesDone& decoding = {});

  /// As it was read.
  std::string_view raw() const;
  /// As text without a byte order mark.
  std::string_view text() const { return text_; }
  /// What it was besides: "", " in gzip", " in UTF-16 in gzip".
  const std::string& forms() const { return forms_; }
  /// From a pipe, which can be read only once.
  bool piped() const { return piped_; }

 private:
  MappedFile raw_;
  MappedFile decoded_;
  std::string_view text_;
  std::string forms_;
  bool piped_ = false;
};

}  // namespace temper
