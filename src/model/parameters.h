// GPT-2's parameters: names, shapes and places in one flat buffer, the same for weights, gradients and optimizer states.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/parameter_kind.h"
#include "config/run_config.h"
#include "kernels/tensor.h"

namespace temper {

struct Parameter {
  std::string name;  ///< Hugging Face's name, e.g. "transformer.h.0.attn.c_attn.weight"
  ParameterKind kind;
  Shape shape;          ///< ours: matrices are [out, in], embeddings are padded
  std::int64_t offset;  ///< elements from the start of the flat buffer, a multiple of 64
  std::int64_t layer;   ///< 0 .. n_layer-1; -1 outside the blocks
  /// Under model.mup_base_width the tensor holds that many times muP's own weights: with m = width_ratio(), the m-th part in the last
  /// norm stands for logits over m, and what c_attn has for scores over sqrt(m), with values that c_proj makes up for. So the model
  /// is a plain GPT-2. Multiplied, a tensor learns the same at a rate multiplied alike (Yang et al., arXiv 2203.03466, lemma J.1).
  double fold;

  std::int64_t numel() const { return shape.numel(); }
  /// Matrices that lie one above the other in it: queries, keys and values are matrices of their own.
  std::int64_t stacked() const { return name.ends_with(".c_attn.weight") ? 3 : 1; }
};

/// vocab_size rounded up to a multiple of 128, so that matmuls and vector loads are aligned.
std::int64_t padded_vocab_size(const ModelConfig& config);

class ParameterLayout {
 public:
  explicit ParameterLayout(const ModelConfig& config);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  /// Elements of the flat buffer, padding between tensors included.
  std::int64_t flat_size() const { return flat_size_; }
  /// Trained numbers: what people call the model's size (padded vocabulary rows not counted).
  std::int64_t parameter_count() const { return parameter_count_; }
  const Parameter* find(const std::string& name) const;

 private:
  std::vector<Parameter> parameters_;
  std::int64_t flat_size_ = 0;
  std::int64_t parameter_count_ = 0;
};

/// Refuses sizes that temper does not compute with (n_embd / n_head must be even and at most 256), or so large that products
/// of them would not fit in 64 bits. `label` names the file.
void check_model_sizes(const ModelConfig& config, const std::string& label);

/// Refuses the weights of a file for a model of other sizes, or with biases for one without or the other way round.
void check_same_model(const ModelConfig& file, const ModelConfig& model, const std::string& label);

/// Operations of one training step per token, forward and backward, as llm.c counts them: 6 N + 6 L C T with N the padded
/// parameters and attention counted causally in sequences of T = `length` tokens.
double training_flops_per_token(const ModelConfig& config, std::int64_t length);

}  // namespace temper
