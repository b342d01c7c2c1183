// Learns byte-pair merges from text: repeatedly joins the pair of neighbouring symbols that is most frequent within pieces.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "data/bpe.h"

namespace temper {

/// As Tokenizer::train. Ids: 256 bytes in GPT-2's order, then a token for each merge, then <|endoftext|>. A pair whose bytes
/// together are a token already is passed over, so every merge makes a new token. The result is the same for any number of
/// threads. vocab_size outside 257..kMaxTokens, or more than the text can give: Error(ExitCode::data).
Vocabulary train_bpe(std::string_view text, std::int64_t vocab_size,
                     const std::function<void(std::int64_t, std::int64_t)>& progress);

}  // namespace temper
