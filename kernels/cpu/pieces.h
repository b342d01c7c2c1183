// How operations over all parameter segments share them among threads: pieces of about a block's elements, cut by the segments
// alone, so that a piece may be reduced over.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/ops.h"

namespace temper::cpu {

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
