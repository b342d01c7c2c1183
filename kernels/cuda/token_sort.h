// Which positions hold which token: what a gradient of the token embedding needs in order to sum without atomics.
#pragma once

#include <device/runtime.h>
#include "kernels/cuda/workspace.h"
#include "kernels/ops.h"

namespace temper::TEMPER_BACKEND {

/// Pairs in order of token, those of one token in order of position. In device memory.
struct SortedTokens {
  const std::int32_t* tokens;
  const std::int32_t* positions;
};

/// Sorts tokens[0 .. count), all of them in [0, vocab_size); `scratch` holds the result and must be
/// token_sort_scratch_bytes(count).
SortedTokens sort_tokens(const std::int32_t* tokens, std::int64_t count, std::int64_t vocab_size, void* scratch, Stream& stream);

std::size_t token_sort_scratch_bytes(std::int64_t count);

}  // namespace temper::TEMPER_BACKEND
