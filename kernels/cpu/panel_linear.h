// Linear layers through temper's own packed panels (gemm_kernels.h): the three products, their epilogues, the packed weights.
#pragma once

#include <map>

#include "kernels/cpu/buffer.h"
#include "kernels/cpu/gemm_kernels.h"
#include "kernels/cpu/linear.h"

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

class PanelLinear : public Linear {
 public:
  std::string description() const override;
  std::size_t register_weight(ConstTensorView weight) override;
  void written(const void* begin, std::size_t bytes) override;
  void forward(ConstTensorView x, ConstTensorView weight, ConstTensorView bias, Epilogue epilogue, TensorView y,
               TensorView pre) override;
  void backward_input(ConstTensorView dy, ConstTensorView weight, ConstTensorView pre, TensorView dx) override;
  void backward_weight(ConstTensorView dy, ConstTensorView x, TensorView dw, TensorView dbias, Write write) override;

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
