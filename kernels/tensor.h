// What a kernel sees of a tensor: where it lies, what it holds, how large it is. Views never own memory.
// Every tensor is dense and row-major; the last dimension is contiguous.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/bfloat16.h"

namespace temper {

enum class DType : std::uint8_t { f32, bf16, i32 };

/// Bytes of one element.
constexpr std::size_t size_of(DType dtype) { return dtype == DType::bf16 ? 2 : 4; }

constexpr const char* name_of(DType dtype) { return dtype == DType::f32 ? "f32" : dtype == DType::bf16 ? "bf16" : "i32"; }

constexpr DType dtype_of(float) { return DType::f32; }
constexpr DType dtype_of(bfloat16) { return DType::bf16; }
constexpr DType dtype_of(std::int32_t) { return DType::i32; }

/// Calls work(T{}) with the element type of activations, which are f32 or bf16.
template <typename Work>
void with_type(DType dtype, const Work& work) {
  if (dtype == DType::bf16)
    work(bfloat16{});
  else
    work(float{});
}

/// Up to five extents. Rank 0 is a scalar of one element.
class Shape {
 public:
  static constexpr int max_rank = 5;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::int64_t> extents) {
    for (std::int64_t extent : extents) extents_[rank_++] = extent;
  }

  constexpr int rank() const { return rank_; }
  constexpr std::int64_t operator[](int axis) const { return extents_[axis]; }
  constexpr std::int64_t back() const { return rank_ == 0 ? 1 : extents_[rank_ - 1]; }

  /// Number of elements.
  constexpr std::int64_t numel() const {
    std::int64_t count = 1;
    for (int axis = 0; axis < rank_; ++axis) count *= extents_[axis];
    return count;
  }

  /// Number of rows when every dimension but the last is flattened.
  constexpr std::int64_t rows() const { return back() == 0 ? 0 : numel() / back(); }

  friend constexpr bool operator==(const Shape& a, const Shape& b) = default;

  /// "[4, 256, 768]"
  std::string to_string() const;

 private:
  std::int64_t extents_[max_rank] = {};  // 0 from rank_ on; no std::array, whose functions cpu/isa must not use (kernels/cpu/isa.h)
  int rank_ = 0;
};

/// A tensor that a kernel only reads. A default-made view is "absent": an optional tensor that is not there.
struct ConstTensorView {
  const void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  bool present() const { return data != nullptr; }
  std::int64_t numel() const { return shape.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype); }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
};

/// A tensor that a kernel may write.
struct TensorView {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  bool present() const { return data != nullptr; }
  std::int64_t numel() const { return shape.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype); }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
  operator ConstTensorView() const { return {data, dtype, shape}; }  // NOLINT(google-explicit-constructor)

  /// The same memory under another shape of equal size.
  TensorView reshaped(Shape other) const { return {data, dtype, other}; }

  /// Rows [first, first + count) of the tensor flattened to [rows, back].
  TensorView row_range(std::int64_t first, std::int64_t count) const {
    char* base = static_cast<char*>(data) + static_cast<std::size_t>(first * shape.back()) * size_of(dtype);
    return {base, dtype, {count, shape.back()}};
  }
};

}  // namespace temper
