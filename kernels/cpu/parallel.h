// How the CPU backend shares work among OpenMP threads. Results never depend on the number of threads: either the blocks are
// cut by sizes that the shape alone decides, or every element is computed on its own.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace temper::cpu {

/// Elements that one block should hold at least, so that starting threads is small beside the work.
inline constexpr std::int64_t block_elements = 16384;

/// Rows of `columns` elements that make up a block.
inline std::int64_t rows_per_block(std::int64_t columns) { return std::max<std::int64_t>(1, block_elements / columns); }

inline std::int64_t block_count(std::int64_t count, std::int64_t block) { return (count + block - 1) / block; }

/// Cuts [0, count) into blocks of `block` (the last may be shorter) and calls body(first, last) for each. The blocks do not
/// depend on the number of threads, so `body` may reduce over one.
template <typename Body>
void parallel_blocks(std::int64_t count, std::int64_t block, const Body& body) {
  const std::int64_t blocks = block_count(count, block);
#pragma omp parallel for schedule(static) if (blocks > 1)
  for (std::int64_t i = 0; i < blocks; ++i) body(i * block, std::min(count, (i + 1) * block));
}

/// Cuts [0, count) into one contiguous range per thread, at multiples of `unit`, and calls body(first, last) for each; `work`
/// is the number of elements touched in all. For bodies whose elements do not depend on each other.
template <typename Body>
void parallel_ranges(std::int64_t count, std::int64_t unit, std::int64_t work, const Body& body) {
  const std::int64_t units = block_count(count, unit);
  const std::int64_t ranges = std::max<std::int64_t>(
      1, std::min({units, block_count(work, block_elements), static_cast<std::int64_t>(omp_get_max_threads())}));
#pragma omp parallel for schedule(static) if (ranges > 1)
  for (std::int64_t i = 0; i < ranges; ++i)
    body(std::min(count, units * i / ranges * unit), std::min(count, units * (i + 1) / ranges * unit));
}

}  // namespace temper::cpu
