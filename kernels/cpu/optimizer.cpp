#include "kernels/cpu/optimizer.h"

#include <algorithm>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace temper::cpu {

namespace {

// A piece of a segment small enough that threads stay evenly loaded, cut by the segment alone.
struct Piece {
  const ParameterSegment* segment;
  std::int64_t first;
  std::int64_t count;
};

std::vector<Piece> cut(std::span<const ParameterSegment> segments) {
  std::vector<Piece> pieces;
  for (const ParameterSegment& segment : segments) {
    const std::int64_t elements = segment.rows * segment.columns;
    for (std::int64_t first = 0; first < elements; first += block_elements)
      pieces.push_back({&segment, first, std::min(block_elements, elements - first)});
  }
  return pieces;
}

}  // namespace

void optimizer_update(const UpdateRule& rule, const UpdateBuffers& buffers, std::span<const ParameterSegment> segments,
                      const StepScalars& scalars) {
  const std::vector<Piece> pieces = cut(segments);
  const OptimizerKernels& kernels = optimizer_kernels();
  std::visit(
      [&]<typename Rule>(const Rule& named) {
        const RuleKernel<Rule>& kernel = kernels;
        parallel_blocks(static_cast<std::int64_t>(pieces.size()), 1, [&](std::int64_t first, std::int64_t) {
          const Piece& piece = pieces[static_cast<std::size_t>(first)];
          kernel.update(named, {buffers, piece.segment->offset + piece.first, piece.count,
                                scalars.learning_rate * piece.segment->learning_rate_scale, piece.segment->weight_decay, scalars});
        });
      },
      rule);
}

}  // namespace temper::cpu
