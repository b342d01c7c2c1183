// From texts to token shards, in parallel and in order: the shards are the same for any number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/shard_sidecar.h"
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

}  // namespace temper
