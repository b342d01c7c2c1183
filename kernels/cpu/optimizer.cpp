#include "kernels/cpu/isa_kernels.h"

#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"

namespace temper::cpu {

namespace {

bool makes_controlled_step(const ParameterSegment& segment) {
  return segment.control == NormControl::rotational || segment.control == NormControl::relative;
}

/// Whether the step waits for sums over the whole matrix.
bool steps_as_matrix(const ParameterSegment& segment) { return makes_controlled_step(segment) && segment.per_row == 0; }

TensorScale scale_of(const UpdateBuffers& buffers, std::size_t segment) {
  return buffers.scales == nullptr ? TensorScale{} : buffers.scales[segment];
}

// What is the same for all rules of a controlled segment's step.
class ControlledSteps {
 public:
  ControlledSteps(const UpdateSettings& settings, const UpdateBuffers& buffers, std::span<const ParameterSegment> segments,
                  const StepScalars& scalars)
      : settings_(settings), buffers_(buffers), segments_(segments), scalars_(scalars) {}

  /// What trained gains want of a row before its directions take the gradients' place.
  template <typename Rule>
  double gradient_product(const ElementUpdate<Rule>& element, std::int64_t offset, std::int64_t count) const {
    if (!settings_.gains.trained) return 0.0;
    return kernels_.clipped_product(buffers_.master + offset, buffers_.gradient + offset, element.gradient_scale, element.limit,
                                    count);
  }

  /// A row whose directions were just written, and are in cache: its step or, where the matrix makes one, its sums.
  void row(std::size_t index, std::int64_t row, double gradient_product) const {
    const ParameterSegment& segment = segments_[index];
    const std::int64_t offset = segment.offset + row * segment.columns;
    RowSums sums = kernels_.row_sums(buffers_.master + offset, buffers_.gradient + offset, segment.columns);
    sums.gradient_product = gradient_product;
    if (segment.per_row != 0)
      apply(step(index, row, sums), offset, segment.columns);
    else
      buffers_.row_work[segment.first_row + row].sums = sums;
  }

  /// A matrix, from the sums of its rows.
  void matrix(std::size_t index) const {
    const ParameterSegment& segment = segments_[index];
    if (segment.rows == 0) return;
    const RowWork* work = buffers_.row_work + segment.first_row;
    RowSums sums;
    for (std::int64_t row = 0; row < segment.rows; ++row) sums.add(work[row].sums);
    const LinearStep of_all = step(index, 0, sums);
    std::vector<Piece> pieces;
    cut_elements(pieces, segments_, index);
    for_pieces(pieces, [&](const Piece& piece, std::size_t) { apply(of_all, segment.offset + piece.first, piece.count); });
  }

 private:
  LinearStep step(std::size_t index, std::int64_t row, const RowSums& sums) const {
    return controlled_step(segments_[index], sums, scale_of(buffers_, index).rate, settings_, scalars_,
                           buffers_.row_state(segments_[index].first_row + row));
  }

  void apply(const LinearStep& step, std::int64_t offset, std::int64_t count) const {
    bfloat16* low_precision = buffers_.low_precision == nullptr ? nullptr : buffers_.low_precision + offset;
    kernels_.step(step, buffers_.master + offset, buffers_.gradient + offset, low_precision, count);
  }

  const OptimizerKernels& kernels_ = optimizer_kernels();
  const UpdateSettings& settings_;
  const UpdateBuffers& buffers_;
  std::span<const ParameterSegment> segments_;
  const StepScalars& scalars_;
};

}  // namespace

void CpuOps::run(const op::OptimizerUpdate& args) {
  const std::span<const ParameterSegment> segments = args.segments.on_host();
  const StepScalars& scalars = *args.scalars;
  if (scalars.finite == 0) return;
  const ControlledSteps controlled(args.settings, args.buffers, segments, scalars);
  const auto update =
      [&](const std::vector<Piece>& pieces) {  // rows of segments that make controlled steps, elements of all others
        std::visit(
            [&]<typename Rule>(const Rule& named) {
              const RuleKernel<Rule>& kernel = optimizer_kernels();
              for_pieces(pieces, [&](const Piece& piece, std::size_t) {
                const ParameterSegment& segment = segments[piece.segment];
                ElementUpdate<Rule> element(named, args.settings, scalars);
                element.select(segment, scale_of(args.buffers, piece.segment));
                if (segment.control == NormControl::none) {
                  kernel.update(element, args.buffers, segment.offset + piece.first, piece.count);
                } else if (segment.control == NormControl::direction) {
                  kernel.direct(element, args.buffers, segment.offset + piece.first, piece.count);
                } else {
                  for (std::int64_t row = piece.first; row < piece.first + piece.count; ++row) {
                    const std::int64_t offset = segment.offset + row * segment.columns;
                    const double gradient_product = controlled.gradient_product(element, offset, segment.columns);
                    kernel.direct(element, args.buffers, offset, segment.columns);
                    controlled.row(piece.segment, row, gradient_product);
                  }
                }
              });
            },
            args.rule);
      };

  std::vector<Piece> pieces;
  for (std::size_t index = 0; index < segments.size(); ++index) {
    if (steps_as_matrix(segments[index])) continue;
    makes_controlled_step(segments[index]) ? cut_rows(pieces, segments, index) : cut_elements(pieces, segments, index);
  }
  update(pieces);
  // One matrix after the other, so that its directions are still in cache when its step is known.
  for (std::size_t index = 0; index < segments.size(); ++index) {
    if (!steps_as_matrix(segments[index])) continue;
    pieces.clear();
    cut_rows(pieces, segments, index);
    update(pieces);
    controlled.matrix(index);
  }
  for (const ParameterSegment& segment : segments) {
    if (segment.control == NormControl::direction) continue;  // whoever makes the step writes the weight
    const auto elements = static_cast<std::size_t>(segment.rows * segment.columns);
    linear_->written(args.buffers.master + segment.offset, elements * sizeof(float));
    if (args.buffers.low_precision != nullptr)
      linear_->written(args.buffers.low_precision + segment.offset, elements * sizeof(bfloat16));
  }
}

void CpuOps::run(const op::AddDecayGradient& args) {
  const std::span<const ParameterSegment> segments = args.segments.on_host();
  const StepScalars& scalars = *args.scalars;
  std::vector<Piece> pieces;
  for (std::size_t index = 0; index < segments.size(); ++index)
    if (segments[index].weight_decay != 0.0f) cut_elements(pieces, segments, index);
  const OptimizerKernels& kernels = optimizer_kernels();
  for_pieces(pieces, [&](const Piece& piece, std::size_t) {
    const ParameterSegment& segment = segments[piece.segment];
    const std::int64_t offset = segment.offset + piece.first;
    kernels.add_scaled(scalars.decay * segment.weight_decay, args.buffers.master + offset, args.buffers.gradient + offset,
                       piece.count);
  });
}

}  // namespace temper::cpu
