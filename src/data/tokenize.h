// From texts to token shards, in parallel and in order: the shards are the same for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/shard_sidecar.h"
#include "data/text_source.h"
#include "data/tokenizer.h"

namespace temper {

struct TokenizeSettings {
  std::vector<std::string> inputs;  ///< as text_inputs() takes them
  /// Files whose documents are the validation split; then validation_fraction must be 0.
  std::vector<std::string> validation_inputs;
  /// 0 to 0.5. Of n documents floor(n * fraction) are validation, evenly spread; where that is none, the last part of each, cut
  /// after a paragraph, line or word. Documents count whether they turn out to be bad or not.
  double validation_fraction = 0.0;
  TextOptions text;

  std::filesystem::path output;  ///< folder; made if missing
  std::string name;              ///< of the shards: NAME_train_000000.bin
  bool overwrite = false;        ///< replace shards and sidecar of this name, once the new ones are whole; else they are an error
  std::int64_t shard_tokens = 100'000'000;
  int threads = 0;  ///< 0: one for each processor
};

/// Writes the shards and, last, their sidecar, which is returned. <|endoftext|> stands before each document, as in llm.c's
/// scripts; blank documents are left out. Memory does not grow with the input, but for a document without a single space or
/// line feed, and a line of JSON, which are held whole, up to 64 MiB. What comes packed or through a pipe is on disk meanwhile, in
/// the output folder, unpacked. Errors: a vocabulary above 65,536, damaged input, a split without a document: ExitCode::data;
/// settings, or output that exists: ExitCode::usage. After an error or a throwing `progress` no file of the run is left, and old
/// shards are as they were (io/staging.h).
Sidecar tokenize_files(const TokenizeSettings& settings, const Tokenizer& tokenizer, const BytesDone& progress);

// Reads a corpus as a sequence of jobs for encoders: about equal amounts of text, cut where tokens cannot change.

struct CorpusFile {
  std::filesystem::path path;
  Split split = Split::train;
};

/// A document, or a part of one.
struct TextPiece {
  std::shared_ptr<const TextFile> file;  ///< holds the bytes
  RawDocument document;
  std::size_t source = 0;  ///< its place in CorpusReader::sources()
  bool starts_document = true;
  std::optional<Split> split;  ///< none (JSON lines only): both, cut by whoever decodes the line
};

struct TextJob {
  std::vector<TextPiece> pieces;
  std::int64_t input_bytes = 0;  ///< read up to its end, from the first file on
};

class CorpusReader {
 public:
  /// `validation_fraction` as in TokenizeSettings; with 0 each file's own split holds. `scratch`: a folder for what is decoded.
  CorpusReader(std::vector<CorpusFile> files, TextOptions options, double validation_fraction, std::filesystem::path scratch);

  /// Sum of the files' sizes, those of pipes as soon as they are read.
  std::int64_t total_bytes() const { return total_bytes_; }
  /// False at the end.
  bool next(TextJob& job);
  /// The files read to their end so far.
  const std::vector<SourceRecord>& sources() const { return sources_; }

 private:
  std::shared_ptr<TextFile> open(std::size_t index);
  bool has_documents(std::int64_t wanted);
  bool next_document();
  std::optional<Split> split_of_next();
  void finish_file();

  std::vector<CorpusFile> files_;
  TextOptions options_;
  double validation_fraction_;
  std::filesystem::path scratch_;
  bool cut_documents_ = false;  // too few for one of them to be validation: all are cut
  std::int64_t documents_ = 0;
  std::int64_t total_bytes_ = 0;
  std::int64_t finished_bytes_ = 0;
  std::size_t next_file_ = 0;
  std::map<std::size_t, std::shared_ptr<TextFile>> pipes_;  // that were read to count documents
  std::shared_ptr<TextFile> file_;
  std::vector<TextPiece> pending_;  // what is left of the current document, last part first
  std::vector<SourceRecord> sources_;
};

}  // namespace temper
