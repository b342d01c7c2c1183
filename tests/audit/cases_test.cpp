// Every operation in every small shape: no race, and no access that is misaligned, out of bounds or of what nobody wrote.
#include <gtest/gtest.h>

#include <limits>

#include "audited_case.h"
#include "kernels/support/backends.h"

namespace temper {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

class AuditedCase : public testing::TestWithParam<OpCase> {};

TEST_P(AuditedCase, HasNoFault) {
  for (const DType activation : activations_of(GetParam())) {
    SCOPED_TRACE(name_of(activation));
    EXPECT_EQ(audited(GetParam(), activation, infinity).faults(), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Small, AuditedCase, testing::ValuesIn(all_cases(Size::small_odd)), test_name);

// What is ordered does not depend on the order in which threads run, but what they ask for may.
class AuditedInOtherOrders : public testing::TestWithParam<OpCase> {};

TEST_P(AuditedInOtherOrders, HasNoFault) {
  for (const DType activation : activations_of(GetParam()))
    for (const bool lazy : {true, false})
      EXPECT_EQ(audited(GetParam(), activation, infinity, {.seed = lazy ? 0u : 2u, .lazy_copies = lazy, .os_threads = 1}).faults(),
                "")
          << name_of(activation) << (lazy ? ", ascending" : ", shuffled");
}

INSTANTIATE_TEST_SUITE_P(DISABLED_Long, AuditedInOtherOrders, testing::ValuesIn(all_cases(Size::small_odd)), test_name);

}  // namespace
}  // namespace temper
