// StepScalars and ParameterSegments as the numbers of a case, and the segments that cases are made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cases/op_case.h"

namespace temper {

/// Places in StepScalars.
enum Scalar : std::uint8_t {
  learning_rate,
  decay,
  rotation,
  rotation_correction,
  beta1,
  gradient_weight,
  bias_correction1,
  bias_correction2,
  previous_correction2,
  slow_beta,
  slow_weight,
  average_weight,
  loss,
  gradient_norm,
  clip_factor,
  finite
};

/// The numbers of step 7: every one is different, gradients are clipped to a third, and gradient_weight is not 1 - beta1.
inline std::vector<double> step_seven() {
  return {0.01,       0.05,  0.1, 0.52, 0.9, 0.2, 0.52170310, 0.30166270,  // bias corrections of 0.9 and 0.95
          0.26490811, 0.999, 8,   0.25, 4,   3,   1.0 / 3,    1};
}

struct Segment {
  std::int64_t rows, columns;
  double learning_rate_scale = 1, weight_decay = 0.1;
  NormControl control = NormControl::none;
  bool per_row = false;

  std::int64_t elements() const { return rows * columns; }
  bool makes_controlled_step() const { return control == NormControl::rotational || control == NormControl::relative; }
};

/// Segments one after another, each from a multiple of 4 as the contract asks.
struct Layout {
  std::vector<double> table;          ///< the segments as the tensor of their members
  std::vector<std::int64_t> offsets;  ///< of each
  std::int64_t elements = 0;          ///< of the flat buffers
  std::int64_t updated = 0;           ///< of them, those in segments
  std::int64_t rows = 0;              ///< of segments that make controlled steps

  explicit Layout(const std::vector<Segment>& segments);
  std::int64_t count() const { return static_cast<std::int64_t>(offsets.size()); }
  TensorSpec spec() const;
};

/// A row of that table.
struct SegmentNumbers {
  std::size_t offset, rows, columns, first_row;
  double learning_rate_scale, weight_decay;
  NormControl control;
  bool per_row;

  std::size_t elements() const { return rows * columns; }
};
std::vector<SegmentNumbers> segments_of(Numbers& numbers);

/// GPT-2's parameter tensors: embeddings and matrices decay and are controlled as said, vectors neither.
std::vector<Segment> gpt2_segments(const Dimensions& dimensions, NormControl control = NormControl::none, bool per_row = false);

}  // namespace temper
