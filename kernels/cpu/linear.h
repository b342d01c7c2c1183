// Linear layers of the CPU backend: the three matmuls through packed panels (gemm_kernels.h), their epilogues, and the packed
// weights behind register_weight.
//
// Bits do not depend on the number of threads, nor those of a row on how many rows there are: the terms of an element are
// added in an order that depends on the reduction axis alone, by one thread; threads only share out blocks of elements.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "kernels/cpu/buffer.h"
#include "kernels/cpu/gemm_kernels.h"
#include "kernels/ops.h"

namespace temper::cpu {

/// A matrix [vectors, depth] as a product reads it: row-major, or its transpose row-major (depth_contiguous false).
struct Operand {
  ConstTensorView matrix;
  bool depth_contiguous = true;

  std::int64_t vectors() const { return depth_contiguous ? matrix.shape.rows() : matrix.shape.back(); }
  std::int64_t depth() const { return depth_contiguous ? matrix.shape.back() : matrix.shape.rows(); }
  /// Vectors [first, first + count), count <= the width of a panel.
  Strip strip(std::int64_t first, int count) const;
};

class Linear {
 public:
  /// What the products run on, for doctor.
  std::string description() const;

  /// See Ops.
  std::size_t register_weight(ConstTensorView weight);
  std::size_t packed_bytes(DType dtype, Shape weight) const;
  /// Bytes of panels that products pack for a moment.
  struct Scratch {
    std::size_t a = 0, b = 0;
  };
  Scratch scratch(DType dtype, Shape weight, std::int64_t rows) const;
  void reserve(const Scratch& scratch);
  /// Panels of weights and scratch.
  std::size_t taken_bytes() const;
  /// Memory [begin, begin + bytes) was written: packed copies of weights that overlap it are stale.
  void written(const void* begin, std::size_t bytes);

  void run(const op::LinearForward& args);
  void run(const op::LinearBackwardInput& args);
  void run(const op::LinearBackwardWeight& args);

 private:
  struct PackedWeight {
    ConstTensorView weight;
    const GemmKernels* kernels = nullptr;  ///< whose panels these are; null when they are stale
    Buffer panels{};
  };

  /// Where the sums over the depth of each vector of A go, if anywhere; A must not be depth_contiguous then.
  struct Sums {
    float* to = nullptr;
    bool accumulate = false;
  };

  /// The kept panels of a weight for one direction; null when this direction of this weight is not kept.
  PackedWeight* kept(std::map<const void*, PackedWeight>& packed, ConstTensorView weight);
  /// finish(a b^T); b is packed into `kept_b` where that is given and stale.
  void product(const Operand& a, const Operand& b, PackedWeight* kept_b, const Finish& finish, const Sums& sums_of_a);

  std::map<const void*, PackedWeight> forward_;
  std::map<const void*, PackedWeight> backward_;
  Buffer a_panels_;
  Buffer b_panels_;
  Buffer sums_;
};

}  // namespace temper::cpu
