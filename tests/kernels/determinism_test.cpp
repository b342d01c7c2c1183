// The same inputs give the same bits: twice in a row, and for any number of threads.
#include <gtest/gtest.h>
#include <omp.h>

#include "kernels/cases/case_run.h"
#include "kernels/support/backends.h"

namespace temper {
namespace {

class Determinism : public testing::TestWithParam<OpCase> {
 protected:
  ~Determinism() override { omp_set_num_threads(threads_before_); }

 private:
  int threads_before_ = omp_get_max_threads();
};

std::vector<std::vector<std::byte>> results(const OpCase& op_case, CaseRun& run) {
  run.reset();
  run();
  std::vector<std::vector<std::byte>> all;
  for (const TensorSpec& spec : op_case.tensors) {
    const bool written = spec.role == Role::output || spec.role == Role::in_out;
    if (written && run.views()[spec.name].present()) all.push_back(run.read_bytes(spec.name));
  }
  return all;
}

TEST_P(Determinism, SameBitsForAnyNumberOfThreads) {
  for (const DType activation : activations_of(GetParam())) {
    SCOPED_TRACE(name_of(activation));
    omp_set_num_threads(1);
    Backend backend(best_cpu());
    CaseRun run(backend.ops(), GetParam(), activation);
    const auto expected = results(GetParam(), run);
    EXPECT_EQ(results(GetParam(), run), expected) << "run twice";
    for (const int threads : {2, 3}) {
      omp_set_num_threads(threads);
      Backend other(best_cpu());
      CaseRun other_run(other.ops(), GetParam(), activation);
      EXPECT_EQ(results(GetParam(), other_run), expected) << threads << " threads";
    }
  }
}

// A missing barrier, or a sum whose order depends on who comes first, changes the result under some order of threads.
TEST_P(Determinism, SameBitsForAnyOrderOfCudaThreads) {
  for (const DType activation : activations_of(GetParam())) {
    SCOPED_TRACE(name_of(activation));
    std::vector<std::vector<std::byte>> expected;
    for (const std::uint64_t seed : {0, 1, 3, 4}) {
      const bool lazy_copies = seed % 2 == 0;
      Backend backend(
          {BackendChoice::Kind::emulated, "emulated", cpu::best_isa(), {seed, lazy_copies, 1 + static_cast<int>(seed % 2)}});
      CaseRun run(backend.ops(), GetParam(), activation);
      if (expected.empty()) expected = results(GetParam(), run);
      EXPECT_EQ(results(GetParam(), run), expected) << "seed " << seed;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllCases, Determinism, testing::ValuesIn(all_cases(Size::small_odd)), test_name);

}  // namespace
}  // namespace temper
