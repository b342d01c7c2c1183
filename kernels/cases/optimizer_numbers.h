// StepScalars and ParameterSegments as the numbers of a case, and the segments that cases are made of.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/cases/op_case.h"

namespace temper {

/// A member of a struct as a number.
template <typename Struct>
struct Member {
  double (*get)(const Struct&);
  void (*set)(Struct&, double);
};

template <typename Struct, auto member>
constexpr Member<Struct> member_row() {
  using Value = std::remove_cvref_t<decltype(std::declval<Struct&>().*member)>;
  return {[](const Struct& of) { return static_cast<double>(of.*member); },
          [](Struct& of, double value) {
            if constexpr (std::is_enum_v<Value>)
              of.*member = static_cast<Value>(static_cast<std::underlying_type_t<Value>>(value));
            else
              of.*member = static_cast<Value>(value);
          }};
}

/// In the order of the structs: the numbers of a case's tensors of Content::step_scalars and Content::segments.
template <typename Struct, auto... members>
constexpr std::array<Member<Struct>, sizeof...(members)> members_of = {member_row<Struct, members>()...};

inline constexpr auto step_members =
    members_of<StepScalars, &StepScalars::learning_rate, &StepScalars::decay, &StepScalars::rotation,
               &StepScalars::rotation_correction, &StepScalars::gain_rate, &StepScalars::gain_correction1,
               &StepScalars::gain_correction2, &StepScalars::beta1, &StepScalars::gradient_weight, &StepScalars::bias_correction1,
               &StepScalars::bias_correction2, &StepScalars::previous_correction2, &StepScalars::slow_beta,
               &StepScalars::slow_weight, &StepScalars::average_weight, &StepScalars::loss, &StepScalars::gradient_norm,
               &StepScalars::clip_factor, &StepScalars::finite>;
inline constexpr auto segment_members =
    members_of<ParameterSegment, &ParameterSegment::offset, &ParameterSegment::rows, &ParameterSegment::columns,
               &ParameterSegment::first_row, &ParameterSegment::learning_rate_scale, &ParameterSegment::gain_rate_scale,
               &ParameterSegment::weight_decay, &ParameterSegment::control, &ParameterSegment::per_row>;

/// The numbers of StepScalars by name.
enum Scalar : std::uint8_t {
  learning_rate,
  decay,
  rotation,
  rotation_correction,
  gain_rate,
  gain_correction1,
  gain_correction2,
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
static_assert(step_members.size() == finite + 1 && sizeof(StepScalars) == sizeof(float) * step_members.size());

/// The numbers of step 7: every one is different, gradients are clipped to a third, and gradient_weight is not 1 - beta1.
inline std::vector<double> step_seven() {
  return {0.01,       0.05,  0.1,        0.52,       0.02, 0.79028480, 0.67942291,  // the last two are corrections of 0.8 and 0.85
          0.9,        0.2,   0.52170310, 0.30166270,                                // and these of 0.9 and 0.95
          0.26490811, 0.999, 8,          0.25,       4,    3,          1.0 / 3,    1};
}

/// A case's "scalars".
inline TensorSpec step_scalars(Role role, std::vector<double> numbers) {
  const auto count = static_cast<std::int64_t>(numbers.size());
  TensorSpec spec = input("scalars", Content::step_scalars, {count}, values(std::move(numbers)));
  spec.role = role;
  return spec;
}

struct Segment {
  std::int64_t rows, columns;
  double learning_rate_scale = 1, weight_decay = 0.1;
  NormControl control = NormControl::none;
  bool per_row = false;
  double gain_rate_scale = 0.75;

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
  double learning_rate_scale, gain_rate_scale, weight_decay;
  NormControl control;
  bool per_row;

  std::size_t elements() const { return rows * columns; }
};
std::vector<SegmentNumbers> segments_of(Numbers& numbers);

/// GPT-2's parameter tensors: embeddings and matrices decay and are controlled as said, vectors neither.
std::vector<Segment> gpt2_segments(const Dimensions& dimensions, NormControl control = NormControl::none, bool per_row = false);

}  // namespace temper
