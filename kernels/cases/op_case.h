// One declaration per operation of kernels/ops.h, and what follows from it:
// * the oracle test: run on a backend and compared with `reference` in double precision (tests/kernels/op_oracle_test.cpp);
// * the finite-difference test: `reference` of a backward operation against differences of its forward operation, both in
//   double (op_gradient_test.cpp). The two together say that a backend's gradients are right;
// * the determinism and contract tests;
// * the benchmark: the same call on large shapes, with operations and bytes counted.
//
// A backend is tested by handing its Ops to the same cases. A new operation is one function in one file of this folder.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops.h"

namespace temper {

enum class Role : std::uint8_t {
  input,    ///< must be unchanged afterwards
  output,   ///< poisoned with NaN before the call
  in_out,   ///< read and written: accumulated or changed in place
  scratch,  ///< poisoned as well; what it holds afterwards does not matter
};

/// What a tensor holds. `activation` is the type the case is run for, f32 or bf16.
enum class Content : std::uint8_t {
  activation,
  low_precision,  ///< bf16; absent when the case is run for f32
  f32,
  bf16,
  i32,
  f64,           ///< structs of doubles, as rows of their members; without a type at the interface
  step_scalars,  ///< one StepScalars as its members (step_members)
  segments,      ///< ParameterSegments as rows of their members (segment_members)
};

/// What a tensor holds before the call.
struct Fill {
  enum class Kind : std::uint8_t { nothing, normal, integers, values } kind = Kind::nothing;
  double mean = 0.0, deviation = 1.0;  ///< normal
  std::int64_t lowest = 0, end = 0;    ///< integers, uniform in [lowest, end)
  std::vector<double> values;          ///< values
  struct Range {
    std::int64_t first, last;
  };
  std::vector<Range> zeros;  ///< elements [first, last) that are 0 whatever the kind
};
Fill normal(double mean, double deviation);
Fill integers(std::int64_t lowest, std::int64_t end);
Fill values(std::vector<double> all);

struct TensorSpec {
  std::string name;  ///< the parameter's name in ops.h
  Role role = Role::input;
  Content content = Content::activation;
  Shape shape;
  Fill fill;

  bool optional = false;      ///< the operation also works without it
  bool any_shape = false;     ///< the operation takes any shape here
  bool any_columns = false;   ///< the operation takes any last extent here
  bool exact_zeros = false;   ///< where the reference is exactly 0, so must the result be
  std::int64_t touched = -1;  ///< elements that must be moved at least, for the benchmark; -1: all of them
};
TensorSpec input(std::string_view name, Content content, Shape shape, Fill fill);
TensorSpec output(std::string_view name, Content content, Shape shape);
TensorSpec in_out(std::string_view name, Content content, Shape shape, Fill fill);

/// Tensors in device memory by name. A name that the case does not list gives an absent view.
class Views {
 public:
  TensorView operator[](std::string_view name) const;
  TensorView& at(const std::string& name) { return views_[name]; }

 private:
  std::map<std::string, TensorView, std::less<>> views_;
};

/// The same tensors in double precision. A name that the case does not list gives an empty vector.
class Numbers {
 public:
  /// `activation` is what rounded() rounds to; without one nothing is rounded (the finite-difference test).
  Numbers() = default;
  explicit Numbers(DType activation) : rounds_(true), activation_(activation) {}

  std::vector<double>& operator[](std::string_view name);
  bool present(std::string_view name) const;
  /// `value` as an activation tensor would hold it, for operations that read back what they wrote.
  double rounded(double value) const;

 private:
  std::map<std::string, std::vector<double>, std::less<>> numbers_;
  bool rounds_ = false;
  DType activation_ = DType::f32;
};

/// Relative error by norm, ||out - ref|| / ||ref||, that a tensor may have; each number's own where they are of different kinds
/// (step_scalars, f64).
struct Tolerance {
  double f32;            ///< f32 tensors of an f32 run, and f64 ones
  double f32_from_bf16;  ///< f32 tensors of a bf16 run
  double bf16;           ///< bf16 tensors
};

/// How a backward operation belongs to its forward operation. With L = sum over `from` of <output, upstream gradient>, the
/// reference's `gradient` must be dL/d`input`.
struct Backward {
  struct From {
    std::string output;    ///< of the forward reference, or one of its inputs
    std::string gradient;  ///< upstream gradient; empty: `weight` everywhere
    double weight = 1.0;
  };
  struct To {
    std::string input;
    std::string gradient;
    bool accumulated = false;  ///< the gradient is added to what was there
  };
  std::function<void(Numbers&)> forward;  ///< null when the operation is no backward operation
  std::vector<From> from;
  std::vector<To> to;
};

struct OpCase {
  std::string op;     ///< method of Ops
  std::string shape;  ///< "R=150 C=259, accumulate"
  std::vector<TensorSpec> tensors;
  Tolerance tolerance{};
  double flops = 0;  ///< additions, multiplications and special functions, each one

  std::function<void(Ops&, const Views&)> run;
  std::function<void(Numbers&)> reference;
  /// Fills inputs that a forward pass would have left (statistics, outputs) from the others; null when there are none. Without
  /// it their Fill is plausible, which is enough for a benchmark.
  std::function<void(Numbers&)> derive;
  /// Once before the first run, e.g. to register a weight; may be null.
  std::function<void(Ops&, const Views&)> prepare;
  Backward backward;

  /// "layernorm_forward R=150 C=259"
  std::string name() const { return op + " " + shape; }
  /// Whether running it for bf16 differs from running it for f32.
  bool has_activations() const;
  /// Bytes that must cross the memory interface at least: inputs read once, outputs written once, in_out both.
  double bytes(DType activation) const;
};

// ---- the list of all cases -----------------------------------------------------------------------------------------

/// The sizes of a benchmark; GPT-2 124M unless changed. `layers` counts in the optimizer's cases only.
struct Dimensions {
  std::int64_t batch = 4;
  std::int64_t length = 256;
  std::int64_t n_embd = 768;
  std::int64_t n_head = 12;
  std::int64_t vocab_size = 50257;
  std::int64_t n_ctx = 1024;
  std::int64_t layers = 12;

  std::int64_t rows() const { return batch * length; }
  std::int64_t padded_vocab_size() const { return (vocab_size + 127) / 128 * 128; }
};

enum class Size : std::uint8_t {
  small_odd,  ///< for tests: odd sizes, one row, one position, one head; each option of an operation at least once
  benchmark,  ///< the shapes of one training step with `dimensions`
};

std::vector<OpCase> all_cases(Size size, const Dimensions& dimensions = {});

void add_embedding_cases(std::vector<OpCase>& cases, Size size, const Dimensions& dimensions);
void add_layernorm_cases(std::vector<OpCase>& cases, Size size, const Dimensions& dimensions);
void add_linear_cases(std::vector<OpCase>& cases, Size size, const Dimensions& dimensions);
void add_attention_cases(std::vector<OpCase>& cases, Size size, const Dimensions& dimensions);
void add_cross_entropy_cases(std::vector<OpCase>& cases, Size size, const Dimensions& dimensions);
void add_optimizer_cases(std::vector<OpCase>& cases, Size size, const Dimensions& dimensions);
void add_diagnostic_cases(std::vector<OpCase>& cases, Size size, const Dimensions& dimensions);
void add_memory_cases(std::vector<OpCase>& cases, Size size, const Dimensions& dimensions);

/// The tolerance of an operation and why it is what it is.
Tolerance tolerance_of(const std::string& op);

}  // namespace temper
