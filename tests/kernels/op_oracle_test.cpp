// Every operation on every backend against its reference in double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/cases/case_run.h"
#include "kernels/check.h"
#include "kernels/support/backends.h"

namespace temper {
namespace {

double relative_error(const std::vector<double>& result, const std::vector<double>& reference) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    difference += (result[i] - reference[i]) * (result[i] - reference[i]);
    norm += reference[i] * reference[i];
  }
  if (difference == 0) return 0;
  return std::sqrt(difference / norm);
}

double tolerance_for(const OpCase& op_case, const TensorSpec& spec, DType activation) {
  const bool low = spec.content == Content::bf16 || spec.content == Content::low_precision ||
                   (spec.content == Content::activation && activation == DType::bf16);
  if (low) return op_case.tolerance.bf16;
  return activation == DType::bf16 ? op_case.tolerance.f32_from_bf16 : op_case.tolerance.f32;
}

void check_output(const OpCase& op_case, const TensorSpec& spec, DType activation, CaseRun& run,
                  const std::vector<double>& reference) {
  SCOPED_TRACE(spec.name);
  const std::vector<double> result = run.read(spec.name);
  const double tolerance = tolerance_for(op_case, spec, activation);
  ASSERT_EQ(result.size(), reference.size());
  std::size_t bad = 0;
  for (std::size_t i = 0; i < result.size(); ++i) {
    ASSERT_FALSE(std::isnan(result[i])) << "element " << i << " is NaN or was not written";
    if (spec.exact_zeros && reference[i] == 0 && result[i] != 0) ++bad;
  }
  EXPECT_EQ(bad, 0u) << "elements that must be exactly 0";
  if (spec.content == Content::step_scalars || spec.content == Content::f64) {  // numbers of different kinds: each on its own
    // Cases are made so that only what should be 0, and is but for rounding, is smaller than this.
    constexpr double smallest = 1e-6;
    for (std::size_t i = 0; i < result.size(); ++i)
      EXPECT_NEAR(result[i], reference[i], tolerance * std::max(std::abs(reference[i]), smallest)) << i;
    return;
  }
  EXPECT_LE(relative_error(result, reference), tolerance);
}

void check(const OpCase& op_case, DType activation, Ops& ops) {
  CaseRun run(ops, op_case, activation);
  Numbers numbers = run.filled();
  op_case.reference(numbers);
  run();
  ops.synchronize();

  for (const TensorSpec& spec : op_case.tensors) {
    if (!run.views()[spec.name].present() || spec.role == Role::scratch) continue;
    if (spec.role == Role::input)
      EXPECT_EQ(run.read_bytes(spec.name), run.filled_bytes(spec.name)) << "the input " << spec.name << " was changed";
    else
      check_output(op_case, spec, activation, run, numbers[spec.name]);
  }
  EXPECT_TRUE(run.guards_intact()) << "written behind the end of a tensor";
}

class OpOracle : public testing::TestWithParam<CaseOnBackend> {};

TEST_P(OpOracle, MatchesDoublePrecision) {
  for (const DType activation : activations_of(GetParam().op_case)) {
    SCOPED_TRACE(name_of(activation));
    Backend backend(GetParam().backend);
    check(GetParam().op_case, activation, backend.ops());
  }
}

INSTANTIATE_TEST_SUITE_P(AllCases, OpOracle, testing::ValuesIn(on_all_backends(all_cases(Size::small_odd))), test_name_on_backend);

}  // namespace
}  // namespace temper
