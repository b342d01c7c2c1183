// How large the numbers are that a model works with, and how far training has moved them: the coordinate check of Yang et al.,
// arXiv 2203.03466, appendix D.1. Under muP a few steps move them by as much at any width.
#pragma once

#include <string>
#include <vector>

#include "kernels/ops.h"
#include "model/gpt2.h"

namespace temper {

struct CoordinateSize {
  std::string name;     ///< "h.0.mlp.c_proj.weight": of what goes into that linear layer; "logits"
  double size, change;  ///< root mean squares over tokens and coordinates: of these, and of their difference to `before`'s
};

/// Of both on the same `tokens` (i32 [B,T]), in f32. The models have the sizes of `config`. Waits.
std::vector<CoordinateSize> coordinate_sizes(const ModelConfig& config, Gpt2& model, Gpt2& before, ConstTensorView tokens,
                                             Ops& ops);

}  // namespace temper
