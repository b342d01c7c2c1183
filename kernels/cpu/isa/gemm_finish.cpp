// What happens to a block of a product while it is still in cache: bias, GELU, GELU's slope, conversion, sums with what is in memory.
#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/isa/gelu.h"
#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

// Calls body(offset in the tile, offset in memory, column, lanes there) for every register of a block.
template <typename Body>
TEMPER_INLINE void for_block(std::int64_t c_stride, std::int64_t stride, int rows, int columns, const Body& body) {
  for (int i = 0; i < rows; ++i) {
    int j = 0;
    for (; j + lanes <= columns; j += lanes) body(i * c_stride + j, i * stride + j, j, AllLanes{});
    if (j < columns) body(i * c_stride + j, i * stride + j, j, FirstLanes{columns - j});
  }
}

// Everything that reads memory goes over the tile first, and only then are results written: rows of a large matrix are often a
// multiple of 4096 bytes apart, where a load that follows a store to the same offset in a page waits for it.
template <typename T>
void finish_block(const Finish& finish, float* c, std::int64_t c_stride, int rows, int columns) {
  T* const out = static_cast<T*>(finish.out);
  T* const pre = static_cast<T*>(finish.pre);
  const auto change = [&](const auto& changed) {
    for_block(c_stride, finish.stride, rows, columns, [&](std::int64_t from, std::int64_t at, int column, auto there) {
      store(c + from, changed(load(c + from, AllLanes{}), at, column, there), AllLanes{});  // tiles are whole registers wide
    });
  };
  const T* const bias = static_cast<const T*>(finish.bias);
  const T* const added = static_cast<const T*>(finish.added);
  const auto plus_bias = [bias](Floats v, int column, auto there) { return bias == nullptr ? v : v + load(bias + column, there); };
  switch (finish.kind) {
    case Finish::Kind::store:
      if (added == nullptr) {
        for_block(c_stride, finish.stride, rows, columns, [&](std::int64_t from, std::int64_t at, int column, auto there) {
          store(out + at, plus_bias(load(c + from, AllLanes{}), column, there), there);
        });
        return;
      }
      change(
          [&](Floats v, std::int64_t at, int column, auto there) { return plus_bias(v, column, there) + load(added + at, there); });
      break;
    case Finish::Kind::gelu:
      change([&](Floats v, std::int64_t at, int column, auto there) {
        const Floats z = plus_bias(v, column, there);
        store(pre + at, z, there);
        return gelu(z);
      });
      break;
    case Finish::Kind::gelu_slope:
      // The long arithmetic of one register leaves the processor no room to start on the next ones' cache misses.
      for_block(c_stride, finish.stride, rows, columns,
                [&](std::int64_t, std::int64_t at, int, auto) { __builtin_prefetch(pre + at); });
      change([&](Floats v, std::int64_t at, int, auto there) { return v * gelu_slope(load(pre + at, there)); });
      break;
  }
  for_block(c_stride, finish.stride, rows, columns,
            [&](std::int64_t from, std::int64_t at, int, auto there) { store(out + at, load(c + from, AllLanes{}), there); });
}

void finish_any(const Finish& finish, float* c, std::int64_t c_stride, int rows, int columns) {
  with_type(finish.dtype, [&]<typename T>(T) { finish_block<T>(finish, c, c_stride, rows, columns); });
}

// Blocks of rows keep the error of a long sum down; `registers` next to each other read whole cache lines.
template <int registers, typename T, typename Lanes>
void sum_strip(const T* x, std::int64_t stride, std::int64_t rows, Lanes there, float* sums, bool accumulate) {
  constexpr std::int64_t block = 64;
  Floats total[registers]{};
  for (std::int64_t first = 0; first < rows; first += block) {
    const std::int64_t end = first + block < rows ? first + block : rows;
    Floats partial[registers]{};
    for (std::int64_t row = first; row < end; ++row)
      for (int i = 0; i < registers; ++i) partial[i] += load(x + row * stride + i * lanes, there);
    for (int i = 0; i < registers; ++i) total[i] += partial[i];
  }
  for (int i = 0; i < registers; ++i) {
    if (accumulate) total[i] += load(sums + i * lanes, there);
    store(sums + i * lanes, total[i], there);
  }
}

template <typename T>
void sum_columns(const T* x, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* sums, bool accumulate) {
  constexpr int wide = 4;
  std::int64_t j = 0;
  for (; j + wide * lanes <= columns; j += wide * lanes) sum_strip<wide>(x + j, stride, rows, AllLanes{}, sums + j, accumulate);
  for (; j + lanes <= columns; j += lanes) sum_strip<1>(x + j, stride, rows, AllLanes{}, sums + j, accumulate);
  if (j < columns) sum_strip<1>(x + j, stride, rows, FirstLanes{static_cast<int>(columns - j)}, sums + j, accumulate);
}

void column_sums(const void* x, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* sums,
                 bool accumulate) {
  with_type(dtype, [&]<typename T>(T) { sum_columns(static_cast<const T*>(x), stride, rows, columns, sums, accumulate); });
}

}  // namespace

extern const FinishKernels finish_kernels = {finish_any, column_sums};

}  // namespace temper::cpu::TEMPER_ISA
