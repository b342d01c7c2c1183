// The family of register-tile products behind linear layers and attention.
//
// C[M,N] = A[M,depth] B[N,depth]^T, where both operands are first laid into panels: tile_rows rows of A, tile_columns rows of B,
// all of the depth, in the order in which the inner loop reads them. Sums run over the depth in a fixed order that depends on
// the depth alone, so an element of C has the same bits wherever in a matrix or a batch it is computed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/isa_table.h"
#include "kernels/host_device.h"
#include "kernels/tensor.h"

namespace temper::cpu {

/// A strip of up to tile_rows (A) or tile_columns (B) vectors of length `depth` inside a row-major matrix.
struct Strip {
  const void* data = nullptr;
  DType dtype = DType::f32;
  std::int64_t stride = 0;       ///< elements from one row of the matrix to the next
  bool depth_contiguous = true;  ///< true: vector i is row i of the matrix; false: vector i is column i
  int count = 0;                 ///< vectors; missing ones, up to the panel's width, are packed as zeros
  std::int64_t depth = 0;
};

/// Where a tile of a product finds its vectors: unit k of the depth (depth_unit elements) of vector i is at
/// data + i * vector_bytes + k * unit_bytes. In a packed panel the vectors lie side by side.
struct Panel {
  const char* data = nullptr;
  std::int64_t vector_bytes = 0;
  std::int64_t unit_bytes = 0;
};

/// What happens to a finished block of a product on its way to memory. Pointers are at the block's first element.
struct Finish {
  enum class Kind : std::uint8_t {
    store,       ///< out = c (+ bias) (+ added)
    gelu,        ///< pre = c (+ bias), out = gelu(pre before rounding)
    gelu_slope,  ///< out = c * gelu'(pre)
  };
  Kind kind = Kind::store;
  DType dtype = DType::f32;     ///< of out, bias, added and pre
  const void* bias = nullptr;   ///< one element per column, or null
  const void* added = nullptr;  ///< by store, or null; may be out
  void* out = nullptr;
  void* pre = nullptr;      ///< written by gelu, read by gelu_slope
  std::int64_t stride = 0;  ///< elements between rows of out, added and pre

  Finish at(std::int64_t row, std::int64_t column) const {
    Finish moved = *this;
    const std::size_t offset = static_cast<std::size_t>(row * stride + column) * size_of(dtype);
    moved.out = static_cast<char*>(out) + offset;
    if (added != nullptr) moved.added = static_cast<const char*>(added) + offset;
    if (pre != nullptr) moved.pre = static_cast<char*>(pre) + offset;
    if (bias != nullptr) moved.bias = static_cast<const char*>(bias) + static_cast<std::size_t>(column) * size_of(dtype);
    return moved;
  }
};

struct GemmKernels {
  const char* name;
  int tile_rows;
  int tile_columns;
  std::int64_t depth_unit;   ///< panels are padded with zeros to a multiple of this depth
  std::int64_t depth_block;  ///< depth of one pass that keeps the cache happy; a multiple of depth_unit
  std::size_t packed_size;   ///< bytes of one packed element
  bool packs_bf16;           ///< packed elements are bf16 (else f32)
  void (*enter)();           ///< to be called by each thread before multiply ...
  void (*leave)();           ///< ... and after the last one
  void (*pack_a)(const Strip& strip, void* panel);
  void (*pack_b)(const Strip& strip, void* panel);
  /// What tile() reads where it lies, in a matrix whose elements have the packed type: rows as vectors of A, and columns as vectors of
  /// A and of B.
  bool rows_in_place;
  bool columns_in_place;
  int row_unit;     ///< a tile may have fewer rows than tile_rows, a multiple of this ...
  bool single_row;  ///< ... or one
  /// c[height][c_stride] = or += the product of `depth` (a multiple of depth_unit) steps of two panels. With `finish`, whose kind is
  /// store, the sums go there and not to c, a whole tile.
  void (*tile)(std::int64_t depth, const Panel& a, const Panel& b, int height, float* c, std::int64_t c_stride, bool accumulate,
               const Finish* finish);

  /// The height of the tile that has these rows, 1 to tile_rows.
  std::int64_t height(std::int64_t rows) const { return rows == 1 && single_row ? 1 : ceil_div(rows, row_unit) * row_unit; }
  Panel packed_a(const void* panel) const { return packed(panel, tile_rows); }
  Panel packed_b(const void* panel) const { return packed(panel, tile_columns); }
  void multiply(std::int64_t depth, const void* a, const void* b, float* c, std::int64_t c_stride, bool accumulate) const {
    tile(depth, packed_a(a), packed_b(b), tile_rows, c, c_stride, accumulate, nullptr);
  }
  std::int64_t padded(std::int64_t depth) const { return ceil_div(depth, depth_unit) * depth_unit; }
  std::size_t panel_a_bytes(std::int64_t depth) const { return static_cast<std::size_t>(padded(depth) * tile_rows) * packed_size; }
  std::size_t panel_b_bytes(std::int64_t depth) const {
    return static_cast<std::size_t>(padded(depth) * tile_columns) * packed_size;
  }

 private:
  Panel packed(const void* panel, std::int64_t width) const {
    const std::int64_t vector_bytes = depth_unit * static_cast<std::int64_t>(packed_size);
    return {static_cast<const char*>(panel), vector_bytes, width * vector_bytes};
  }
};

struct FinishKernels {
  /// `c` is scratch afterwards.
  void (*finish)(const Finish& finish, float* c, std::int64_t c_stride, int rows, int columns);
  /// sums[j] = or += sum over rows of x[row * stride + j], in blocks of 64 rows.
  void (*column_sums)(const void* x, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t columns, float* sums,
                      bool accumulate);
};

TEMPER_ISA_TABLE(GemmKernels, vector_gemm_kernels)
TEMPER_ISA_TABLE(FinishKernels, finish_kernels)

/// For bf16 operands AMX tiles or AVX512-BF16, where there are any; otherwise vector_gemm_kernels(), where bf16 becomes f32 while it
/// is packed.
const GemmKernels& gemm_kernels(DType operands);

}  // namespace temper::cpu
