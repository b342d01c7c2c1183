// From texts to token shards, in parallel and in order: the shards are the same for any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/shard_sidecar.h"
#include "data/text_source.h"
#include "data/tokenizer.h"

namespace temper {

struct TokenizeSettings {
  /// Paths and globs. Names ending in .jsonl or .ndjson hold a document a line, all others are text.
  std::vector<std::string> inputs;
  /// Files whose documents are the validation split; then validation_fraction must be 0.
  std::vector<std::string> validation_inputs;
  /// 0 to 0.5. With at least n = round(1 / fraction) documents every n-th one is validation; with fewer, the last part of each,
  /// cut after a paragraph, line or word.
  double validation_fraction = 0.0;
  std::string separator;            ///< splits a text file into documents; empty: it is one
  std::string json_field = "text";  ///< of JSON lines

  std::filesystem::path output;  ///< folder; made if missing
  std::string name;              ///< of the shards: NAME_train_000000.bin
  bool overwrite = false;        ///< replace shards and sidecar of this name, once the new ones are whole; else they are an error
  std::int64_t shard_tokens = 100'000'000;
  int threads = 0;  ///< 0: one for each processor
};

/// Told the bytes of input done and in all, from the calling thread. May throw to give up.
using TokenizeProgress = std::function<void(std::int64_t, std::int64_t)>;

/// Writes the shards and, last, their sidecar, which is returned. <|endoftext|> stands before each document, as in llm.c's
/// scripts; blank documents are left out. Memory does not grow with the input, but for a document without a single space or
/// line feed, and a line of JSON, which are held whole.
/// Errors: a vocabulary above 65,536, damaged input, a split without a document: ExitCode::data; settings, or output that exists:
/// ExitCode::usage. After an error or a throwing `progress` no file of the run is left, and old shards are as they were
/// (io/staging.h).
Sidecar tokenize_files(const TokenizeSettings& settings, const Tokenizer& tokenizer, const TokenizeProgress& progress);

// Reads a corpus as a sequence of jobs for encoders: about equal amounts of text, cut where tokens cannot change.

struct CorpusFile {
  std::filesystem::path path;
  Split split = Split::train;
};

/// A document, or a part of one.
struct TextPiece {
  std::shared_ptr<const TextFile> file;  ///< holds the bytes
  RawDocument document;
  bool starts_document = true;
  std::optional<Split> split;  ///< none (JSON lines only): both, cut by whoever decodes the line
};

struct TextJob {
  std::vector<TextPiece> pieces;
  std::int64_t input_bytes = 0;  ///< read up to its end, from the first file on
};

class CorpusReader {
 public:
  /// `validation_fraction` as in TokenizeSettings; with 0 each file's own split holds.
  CorpusReader(std::vector<CorpusFile> files, std::string separator, double validation_fraction);

  /// Sum of the files' sizes.
  std::int64_t total_bytes() const { return total_bytes_; }
  /// False at the end.
  bool next(TextJob& job);
  /// The files read to their end so far.
  const std::vector<SourceRecord>& sources() const { return sources_; }

 private:
  bool next_document();
  std::optional<Split> split_of_next();
  void finish_file();

  std::vector<CorpusFile> files_;
  std::string separator_;
  double validation_fraction_;
  std::int64_t every_ = 0;      // this many documents make one for validation; 0: files' own splits
  bool cut_documents_ = false;  // fewer than that: all are cut
  std::int64_t documents_ = 0;
  std::int64_t total_bytes_ = 0;
  std::int64_t finished_bytes_ = 0;
  std::size_t next_file_ = 0;
  std::shared_ptr<TextFile> file_;
  std::vector<TextPiece> pending_;  // what is left of the current document, last part first
  std::vector<SourceRecord> sources_;
};

}  // namespace temper
