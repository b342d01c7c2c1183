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
  for (const TensorSpec& spec : op_case.tensors)
    if (spec.role != Role::input && run.views()[spec.name].present()) all.push_back(run.read_bytes(spec.name));
  return all;
}

TEST_P(Determinism, SameBitsForAnyNumberOfThreads) {
  for (const DType activation : activations_of(GetParam())) {
    SCOPED_TRACE(name_of(activation));
    omp_set_num_threads(1);
    CpuBackend backend(cpu::best_isa());
    CaseRun run(backend.ops(), GetParam(), activation);
    const auto expected = results(GetParam(), run);
    EXPECT_EQ(results(GetParam(), run), expected) << "run twice";
    for (const int threads : {2, 3}) {
      omp_set_num_threads(threads);
      CpuBackend other(cpu::best_isa());
      CaseRun other_run(other.ops(), GetParam(), activation);
      EXPECT_EQ(results(GetParam(), other_run), expected) << threads << " threads";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllCases, Determinism, testing::ValuesIn(all_cases(Size::small_odd)), test_name);

}  // namespace
}  // namespace temper
