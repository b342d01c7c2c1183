// Text generation with a key/value cache: one sequence, token after token.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "model/layers.h"
#include "model/weights.h"

namespace temper {

struct SamplingSettings {
  std::int64_t tokens = 100;  ///< how many to generate
  double temperature = 1.0;   ///< 0: always the likeliest token
  std::int64_t top_k = 0;     ///< 0: off; keep the k likeliest
  double top_p = 1.0;  ///< keep the likeliest tokens until their probabilities reach this (Holtzman et al., arXiv 1904.09751)
  std::uint64_t seed = 0;
};

/// Draws one token from logits [vocab]; `draw` counts the draws of a generation, so that (seed, draw) fixes the number used.
/// Logits that are not finite: Error(ExitCode::numeric).
std::uint32_t sample_token(std::span<const float> logits, const SamplingSettings& settings, std::uint32_t draw);

class Generator {
 public:
  Generator(const Weights& weights, Ops& ops, DeviceMemory& memory);

  /// Continues `prompt` (not empty), telling `emit` each new token; stops early when `emit` returns false. When the context
  /// is full, its older half is dropped and the newer half read again.
  void generate(std::span<const std::uint32_t> prompt, const SamplingSettings& settings,
                const std::function<bool(std::uint32_t)>& emit);

  /// Reads `tokens` at positions start, start+1, ... and returns the logits [vocab] after the last one. A token outside the
  /// vocabulary: Error(ExitCode::data).
  std::span<const float> advance(std::span<const std::uint32_t> tokens, std::int64_t start);

 private:
  const Weights& weights_;
  Gpt2Layers layers_;
  Ops& ops_;
  std::vector<TensorView> key_cache_, value_cache_;  // per layer [1,n_ctx,C]
  TensorView tokens_;                                // i32 [1,n_ctx]
  TensorView residual_, residual_middle_, norm_;     // [n_ctx,C]
  TensorView wide_, wide_pre_;                       // [n_ctx,4C]
  TensorView statistics_;                            // f32 [2,n_ctx]
  TensorView logits_;                                // act [1,Vp]
  TensorView logits_f32_;                            // f32 [1,Vp]
  std::vector<float> host_logits_;
};

}  // namespace temper
