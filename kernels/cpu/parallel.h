// How the CPU backend shares work among OpenMP threads. Results never depend on the number of threads: either the blocks are
// cut by sizes that the shape alone decides, or every element is computed on its own.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/host_device.h"
#include "kernels/update_rules.h"

namespace temper::cpu {

/// Elements that one block should hold at least, so that starting threads is small beside the work.
inline constexpr std::int64_t block_elements = 16384;

/// Rows of `columns` elements that make up a block.
inline std::int64_t rows_per_block(std::int64_t columns) { return std::max<std::int64_t>(1, block_elements / columns); }

/// Cuts [0, count) into blocks of `block` (the last may be shorter) and calls body(first, last) for each. The blocks do not
/// depend on the number of threads, so `body` may reduce over one.
template <typename Body>
void parallel_blocks(std::int64_t count, std::int64_t block, const Body& body) {
  const std::int64_t blocks = ceil_div(count, block);
#pragma omp parallel for schedule(static) if (blocks > 1)
  for (std::int64_t i = 0; i < blocks; ++i) body(i * block, std::min(count, (i + 1) * block));
}

/// Cuts [0, count) into one contiguous range per thread, at multiples of `unit`, and calls body(first, last) for each; `work`
/// is the number of elements touched in all. For bodies whose elements do not depend on each other.
template <typename Body>
void parallel_ranges(std::int64_t count, std::int64_t unit, std::int64_t work, const Body& body) {
  const std::int64_t units = ceil_div(count, unit);
  const std::int64_t ranges = std::max<std::int64_t>(
      1, std::min({units, ceil_div(work, block_elements), static_cast<std::int64_t>(omp_get_max_threads())}));
#pragma omp parallel for schedule(static) if (ranges > 1)
  for (std::int64_t i = 0; i < ranges; ++i)
    body(std::min(count, units * i / ranges * unit), std::min(count, units * (i + 1) / ranges * unit));
}

// ---- parameter segments: pieces of about a block's elements, cut by the segments alone, so that a piece may be reduced over

/// Elements or rows [first, first + count) of a segment.
struct Piece {
  std::size_t segment;
  std::int64_t first;
  std::int64_t count;
};

inline void cut(std::vector<Piece>& pieces, std::size_t segment, std::int64_t count, std::int64_t most) {
  for (std::int64_t first = 0; first < count; first += most) pieces.push_back({segment, first, std::min(most, count - first)});
}

inline void cut_elements(std::vector<Piece>& pieces, std::span<const ParameterSegment> segments, std::size_t segment) {
  cut(pieces, segment, segments[segment].rows * segments[segment].columns, block_elements);
}

inline void cut_rows(std::vector<Piece>& pieces, std::span<const ParameterSegment> segments, std::size_t segment) {
  if (segments[segment].columns > 0) cut(pieces, segment, segments[segment].rows, rows_per_block(segments[segment].columns));
}

/// Calls body(piece, number) for every piece, in any order.
template <typename Body>
void for_pieces(const std::vector<Piece>& pieces, const Body& body) {
  parallel_blocks(static_cast<std::int64_t>(pieces.size()), 1, [&](std::int64_t number, std::int64_t) {
    body(pieces[static_cast<std::size_t>(number)], static_cast<std::size_t>(number));
  });
}

}  // namespace temper::cpu
