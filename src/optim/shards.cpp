#include "optim/shards.h"

#include <algorithm>

#include "config/run_config.h"
#include "kernels/check.h"

namespace temper {

namespace {

constexpr std::int64_t alignment = 4;  // ParameterSegment::offset is a multiple of it

/// Whether the update of each of the segment's rows depends on the row and the step's scalars alone.
bool rows_stand_alone(const Pipeline& pipeline, const ParameterSegment& segment) {
  if (pipeline.scales_tensors || segment.control == NormControl::direction) return false;
  return !holds_norm(segment.control) || segment.per_row != 0;
}

/// How many of the segment's rows lie before this place of the flat buffers.
std::int64_t rows_before(const Pipeline& pipeline, const ParameterSegment& segment, std::int64_t place) {
  const std::int64_t before = std::clamp<std::int64_t>(place - segment.offset, 0, segment.rows * segment.columns);
  const bool inside = before > 0 && before < segment.rows * segment.columns;
  require(!inside || (before % segment.columns == 0 && rows_stand_alone(pipeline, segment)),
          "cut_pipeline: a shard begins or ends within what is updated together; optimizer_shards says where it may");
  return before / segment.columns;
}

}  // namespace

std::vector<std::int64_t> optimizer_shards(const OptimizerConfig& config, const std::vector<OptimizedTensor>& tensors,
                                           std::int64_t flat_size, std::int64_t ranks) {
  const Pipeline pipeline = make_pipeline(resolved_optimizer(config), tensors);
  std::vector<std::int64_t> cuts = {0, flat_size};
  for (std::int64_t i = 0; i < pipeline.with_gradient; ++i) {
    const ParameterSegment& segment = pipeline.segments[static_cast<std::size_t>(i)];
    const std::int64_t rows_together = rows_stand_alone(pipeline, segment) ? 1 : segment.rows;
    for (std::int64_t row = 0; row <= segment.rows; row += rows_together) {
      const std::int64_t place = segment.offset + row * segment.columns;
      if (place % alignment == 0) cuts.push_back(place);
    }
  }
  std::sort(cuts.begin(), cuts.end());

  std::vector<std::int64_t> begins = {0};
  for (std::int64_t rank = 1; rank < ranks; ++rank) {
    const std::int64_t even = rank * flat_size / ranks;
    const auto above = std::lower_bound(cuts.begin(), cuts.end(), even);
    const bool below_is_nearer = above != cuts.begin() && even - above[-1] < above[0] - even;
    begins.push_back(below_is_nearer ? above[-1] : above[0]);
  }
  begins.push_back(flat_size);
  return begins;
}

Pipeline cut_pipeline(const Pipeline& whole, std::int64_t begin, std::int64_t end) {
  Pipeline cut;
  cut.scales_tensors = whole.scales_tensors;
  std::vector<std::int64_t> kept_before = {0};  // segment i of the whole
  for (std::size_t i = 0; i < whole.segments.size(); ++i) {
    ParameterSegment segment = whole.segments[i];
    const std::int64_t first = rows_before(whole, segment, begin), last = rows_before(whole, segment, end);
    if (first < last) {
      segment.offset += first * segment.columns - begin;
      segment.rows = last - first;
      if (holds_norm(segment.control)) {
        segment.first_row = cut.controlled_rows;
        cut.controlled_rows += segment.rows;
      }
      cut.segments.push_back(segment);
      cut.tensor_of.push_back(whole.tensor_of[i]);
    }
    kept_before.push_back(static_cast<std::int64_t>(cut.segments.size()));
  }
  const auto kept = [&](std::int64_t segment) { return kept_before[static_cast<std::size_t>(segment)]; };
  cut.with_gradient = kept(whole.with_gradient);
  for (const UpdatePart& part : whole.parts) {
    cut.parts.push_back(part);
    cut.parts.back().first = kept(part.first);
    cut.parts.back().count = kept(part.first + part.count) - kept(part.first);
  }
  return cut;
}

}  // namespace temper
