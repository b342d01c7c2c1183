// From a configuration and a list of tensors to rules and segments: what Ops is asked to do at each update. Also the one place that
// says which tensors decay, at what rate each learns, and whose norm is held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/parameter_kind.h"
#include "config/run_config.h"
#include "kernels/tensor.h"
#include "kernels/update_rules.h"

namespace temper {

/// One parameter tensor as the optimizer sees it; the caller (who knows the model) describes it.
struct OptimizedTensor {
  std::string name;
  Shape shape;
  std::int64_t offset;  ///< in the flat buffers; rises from tensor to tensor
  ParameterKind kind = ParameterKind::matrix;
  std::int64_t layer = -1;   ///< 0, 1, ...; -1 outside the blocks
  std::int64_t stacked = 1;  ///< matrices that lie one above the other in it: 3 in a qkv weight
  double width_ratio = 1.0;  ///< of the model, ModelConfig::width_ratio()
  double fold = 1.0;         ///< Parameter::fold
};

/// Segments that one rule updates together.
struct UpdatePart {
  UpdateRule rule;
  UpdateSettings settings;
  std::int64_t first, count;  ///< among Pipeline::segments
  bool beside_muon = false;   ///< its betas are AdamW's, not Muon's momentum
};

/// Muon has three parts: directions of the block matrices, steps along the orthogonalised directions, AdamW for the rest. All else
/// is a single part.
struct Pipeline {
  std::vector<ParameterSegment> segments;  ///< first all that see gradients, then Muon's steps
  std::vector<std::size_t> tensor_of;      ///< of segment i, among the tensors
  std::vector<UpdatePart> parts;           ///< in the order in which they run
  std::int64_t with_gradient = 0;          ///< segments that see gradients
  std::int64_t controlled_rows = 0;        ///< of segments whose norm is held
  bool scales_tensors = false;             ///< a segment's gradient or rate has a factor that follows from all of the segment
};

/// Whether steps leave the norm of rows or matrix as it was.
inline bool holds_norm(NormControl control) { return control == NormControl::rotational || control == NormControl::relative; }

/// `config` as resolved_optimizer gives it. Throws Error(ExitCode::usage) for a pattern that no tensor matches.
Pipeline make_pipeline(const OptimizerConfig& config, const std::vector<OptimizedTensor>& tensors);

/// Adam of the rows' gains: an Adam's own numbers, else 0.9, 0.95 and 1e-8. Its beta1 stays where a momentum moves.
GainSettings gains_of(const OptimizerConfig& config);

/// LionA's scale: what multiplies signs.
double sign_scale(const OptimizerConfig& config);

}  // namespace temper
