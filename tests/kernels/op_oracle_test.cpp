// Every operation on every backend against its reference in double precision.
#include <gtest/gtest.h>

#include "kernels/cases/case_check.h"
#include "kernels/support/backends.h"

namespace temper {
namespace {

class OpOracle : public testing::TestWithParam<CaseOnBackend> {};

TEST_P(OpOracle, MatchesDoublePrecision) {
  for (const DType activation : activations_of(GetParam().op_case)) {
    SCOPED_TRACE(name_of(activation));
    Backend backend(GetParam().backend);
    EXPECT_EQ(hold_against_reference(GetParam().op_case, activation, backend.ops()).wrong, "");
  }
}

INSTANTIATE_TEST_SUITE_P(AllCases, OpOracle, testing::ValuesIn(on_all_backends(all_cases(Size::small_odd))), test_name_on_backend);

}  // namespace
}  // namespace temper
