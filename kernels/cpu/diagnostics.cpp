#include "kernels/cpu/isa_kernels.h"

#include <cmath>
#include <vector>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/parallel.h"
#include "kernels/host_device.h"

namespace temper::cpu {

void CpuOps::run(const op::TensorMoments& args) {
  const std::span<const ParameterSegment> segments = args.segments.on_host();
  std::vector<Piece> pieces;
  for (std::size_t index = 0; index < segments.size(); ++index) cut_elements(pieces, segments, index);
  std::vector<TensorMoments> sums(pieces.size());
  for_pieces(pieces, [&](const Piece& piece, std::size_t number) {
    const std::int64_t offset = segments[piece.segment].offset + piece.first;
    if (args.moment == nullptr)
      sums[number].gradient_squares = reduce_kernels().sum_of_squares(args.gradient + offset, piece.count);
    else
      sums[number] = diagnostic_kernels().moments(args.gradient + offset, args.moment + offset, piece.count);
  });
  std::fill(args.out, args.out + segments.size(), TensorMoments{});
  for (std::size_t number = 0; number < pieces.size(); ++number) args.out[pieces[number].segment].add(sums[number]);
}

void CpuOps::run(const op::TensorScales& args) {
  const std::span<const ParameterSegment> segments = args.segments.on_host();
  const StepScalars& scalars = *args.scalars;
  if (scalars.finite == 0) return;
  for (std::size_t index = 0; index < segments.size(); ++index) {
    const double squares = args.moments == nullptr ? 0.0 : args.moments[index].gradient_squares;
    const TensorMoments halves = args.halves == nullptr ? TensorMoments{} : args.halves[index];
    float* both = args.smoothed == nullptr ? nullptr : args.smoothed + 2 * index;
    args.scales[index] = tensor_scale(args.settings, squares, halves, segments[index].rows > 1, scalars, both);
  }
}

void CpuOps::run(const op::UpdateStatistics& args) {
  const std::span<const ParameterSegment> segments = args.segments.on_host();
  const StepScalars& scalars = *args.scalars;
  std::vector<Piece> pieces;
  for (std::size_t index = 0; index < segments.size(); ++index) cut_rows(pieces, segments, index);
  std::vector<UpdateStatistics> sums(pieces.size());
  const DiagnosticKernels& kernels = diagnostic_kernels();
  for_pieces(pieces, [&](const Piece& piece, std::size_t number) {
    const ParameterSegment& segment = segments[piece.segment];
    const double share = args.decay.share(segment, scalars);
    const bool by_gradient = args.decay.cautious && args.decay.averaged;
    UpdateStatistics total{};
    for (std::int64_t row = piece.first; row < piece.first + piece.count; ++row) {
      const std::int64_t offset = segment.offset + row * segment.columns;
      const ChangeSums one = kernels.change(
          args.before + offset, args.after + offset,
          {share, args.decay.cautious, by_gradient ? args.gradient + offset : nullptr, args.step ? args.step + offset : nullptr},
          segment.columns);
      const double angle = angle_turned(one.weight_squares, one.product, one.update_squares);
      const double step_angle = angle_turned(one.weight_squares, one.step_product, one.step_squares);
      total.add({one.weight_squares, one.product, one.update_squares, one.step_product, one.step_squares, angle * angle,
                 step_angle * step_angle, one.fourth_powers, one.largest});
    }
    sums[number] = total;
  });
  std::fill(args.out, args.out + segments.size(), UpdateStatistics{});
  for (std::size_t number = 0; number < pieces.size(); ++number) args.out[pieces[number].segment].add(sums[number]);
  if (args.step != nullptr)
    for (const ParameterSegment& segment : segments)
      linear_->written(args.step + segment.offset, static_cast<std::size_t>(segment.rows * segment.columns) * sizeof(float));
}

void CpuOps::run(const op::Precondition& args) {
  constexpr std::int64_t cache_line = 16;  // elements: threads share none
  const DiagnosticKernels& kernels = diagnostic_kernels();
  parallel_ranges(args.out.numel(), cache_line, args.out.numel(), [&](std::int64_t first, std::int64_t last) {
    kernels.precondition(args.scale, args.x.as<float>() + first, args.second_moment.as<float>() + first,
                         args.out.as<float>() + first, last - first);
  });
  linear_->written(args.out.data, args.out.bytes());
}

void CpuOps::run(const op::Histogram& args) {
  constexpr std::int64_t most_blocks = 64;
  const std::int64_t count = args.x.numel(), bins = args.counts.numel();
  const std::int64_t block = std::max(block_elements, ceil_div(count, most_blocks));
  const std::int64_t blocks = ceil_div(count, block);
  const std::int64_t of_block = histogram_tables * bins;
  std::vector<std::int32_t> parts(static_cast<std::size_t>(blocks * of_block));
  const DiagnosticKernels& kernels = diagnostic_kernels();
  parallel_blocks(count, block, [&](std::int64_t first, std::int64_t last) {
    kernels.histogram(args.x.as<float>() + first, last - first, args.scale, bins, parts.data() + first / block * of_block);
  });
  auto* total = args.counts.as<std::int32_t>();
  std::fill(total, total + bins, 0);
  for (std::int64_t i = 0; i < blocks * of_block; ++i) total[i % bins] += parts[static_cast<std::size_t>(i)];
}

}  // namespace temper::cpu
