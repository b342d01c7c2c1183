// Every operation in every small shape: no race, and no access that is misaligned, out of bounds or of what nobody wrote.
#include <gtest/gtest.h>

#include <limits>

#include "audited_case.h"
#include "kernels/support/backends.h"

namespace temper {
namespace {

class AuditedCase : public testing::TestWithParam<OpCase> {};

TEST_P(AuditedCase, HasNoFault) {
  for (const DType activation : activations_of(GetParam())) {
    SCOPED_TRACE(name_of(activation));
    EXPECT_EQ(audited(GetParam(), activation, std::numeric_limits<double>::infinity()).faults(), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Small, AuditedCase, testing::ValuesIn(all_cases(Size::small_odd)), test_name);

}  // namespace
}  // namespace temper
