// Reads a corpus as a sequence of jobs for encoders: about equal amounts of text, cut where tokens cannot change.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/shard_sidecar.h"
#include "data/text_source.h"

namespace temper {

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
