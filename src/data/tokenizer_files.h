// A vocabulary's file forms: OpenAI's (encoder.json, vocab.bpe), Hugging Face's older one (vocab.json, merges.txt) and newer
// one (tokenizer.json).
#pragma once

#include <cstdint>
#include <filesystem>

#include "data/bpe.h"

namespace temper {

/// Reads and checks a vocabulary. A folder: tokenizer.json if it has one (it alone knows added tokens), else encoder.json and
/// vocab.bpe, else vocab.json and merges.txt. A file: that form, its partner beside it. All else: Error(ExitCode::data).
/// tokenizer.json must be what GPT-2's is: a BPE model without dropout, prefix or suffix; no normalizer; the ByteLevel
/// pre-tokenizer without a prefix space; nothing that adds tokens. Limits: 256 MiB a file, kMaxTokens tokens.
Vocabulary load_vocabulary(const std::filesystem::path& path);

/// As Tokenizer::save.
void save_vocabulary(const Vocabulary& vocabulary, const std::filesystem::path& folder, std::int64_t n_ctx);

}  // namespace temper
