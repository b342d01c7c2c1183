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

// A row of GPT-2's logits is read from memory once where a block may have 99 KiB, as on processors of 8.6, 8.9 and 12.0, and more.
TEST(CrossEntropy, KeepsARowOfGpt2InTheLeastSharedMemory) {
  const Dimensions one_row = {.batch = 1, .length = 1, .n_embd = 64, .n_head = 1, .vocab_size = 50257, .n_ctx = 1, .layers = 1};
  for (const OpCase& op_case : all_cases(Size::benchmark, one_row)) {
    if (op_case.op != "cross_entropy" || op_case.name().find("gradient") == std::string::npos) continue;
    for (const std::size_t kib : {98, 99, 163, 227}) {
      const emulated::audit::Report report =
          audited(op_case, DType::bf16, infinity, {.seed = 1, .lazy_copies = true, .os_threads = 1, .shared_bytes = kib * 1024});
      EXPECT_EQ(report.faults(), "");
      ASSERT_EQ(report.launches.size(), 1u);
      EXPECT_EQ(report.launches[0].dynamic_shared_bytes, kib == 98 ? 0u : 100528u) << kib << " KiB";
    }
    return;
  }
  FAIL() << "no case of cross-entropy with a gradient";
}

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
