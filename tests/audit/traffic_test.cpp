// The kernels of a training step ask for no more sectors of global memory and wavefronts of shared memory than the bytes that they
// want take, but where a line below says why.
#include <gtest/gtest.h>

#include "audited_case.h"
#include "kernels/support/backends.h"

namespace temper {
namespace {

constexpr double most_sectors = 1.05, most_wavefronts = 1.1;

struct Exception {
  std::string kernel;
  bool shared;
  unsigned size;  // of a lane's access; 0: any
  double most;
  const char* reason;
};
constexpr const char* eight_floats =
    "a lane has eight f32 where another tensor has eight bf16: two accesses, each of half a sector";
constexpr const char* structs = "a struct for each of a few rows, tensors or warps, member by member";
constexpr const char* by_data = "where to depends on the data";
const std::vector<Exception> exceptions = {
    {"cast", false, 16, 2, eight_floats},
    {"normalize", false, 16, 2, eight_floats},
    {"embedding_windows", false, 16, 2, eight_floats},
    {"embedding_long_runs", false, 16, 2, eight_floats},
    {"position_gradient", false, 16, 2, eight_floats},
    {"bias_partials", true, 16, 2, eight_floats},
    {"layernorm_backward", true, 16, 2, eight_floats},
    {"attention_cached", true, 16, 2, eight_floats},
    {"attention_cached", false, 0, 1.25, "two numbers precede each row of partial results"},
    {"attention_cached join", false, 0, 1.25, "the same rows"},
    {"attention_forward", false, 4, 4, "f32, without tensor cores: threads with four columns each store one column at a time"},
    {"attention_backward dQ", false, 4, 4, "the same"},
    {"attention_backward dK dV", false, 4, 4, "the same"},
    {"controlled_step", false, 0, 6, structs},
    {"tensor_moments", false, 0, 4, structs},
    {"update_statistics", false, 0, 5, structs},
    {"count_digits", true, 0, 32, by_data},
    {"scatter_tokens", true, 0, 32, by_data},
    {"scatter_tokens", false, 0, 8, by_data},
    {"histogram", true, 0, 4.2, by_data},
};

double allowed(const emulated::audit::Traffic& traffic) {
  for (const Exception& each : exceptions)
    if (traffic.kernel == each.kernel && traffic.shared == each.shared && (each.size == 0 || each.size == traffic.size))
      return each.most;
  return traffic.shared ? most_wavefronts : most_sectors;
}

// A line for each kernel and kind of memory, as a profiler has it.
void print_kernels(const emulated::audit::Report& report) {
  std::map<std::pair<std::string, bool>, emulated::audit::Traffic> sums;
  for (const emulated::audit::Traffic& each : report.traffic) {
    emulated::audit::Traffic& sum = sums[{each.kernel, each.shared}];
    sum.requests += each.requests;
    sum.lanes += each.lanes;
    sum.cost += each.cost;
    sum.least += each.least;
  }
  for (const auto& [key, sum] : sums)
    std::printf("  %-28s %-6s memory: %8llu requests of %4.1f lanes, %9llu %s, %.2f of the least\n", key.first.c_str(),
                key.second ? "shared" : "global", static_cast<unsigned long long>(sum.requests),
                static_cast<double>(sum.lanes) / static_cast<double>(sum.requests), static_cast<unsigned long long>(sum.cost),
                key.second ? "wavefronts" : "sectors", sum.excess());
}

class StepCase : public testing::TestWithParam<OpCase> {};

TEST_P(StepCase, AsksForLittleMoreThanItNeeds) {
  for (const DType activation : activations_of(GetParam())) {
    SCOPED_TRACE(name_of(activation));
    const emulated::audit::Report report = audited(GetParam(), activation, most_sectors);
    EXPECT_EQ(report.faults(), "");
    for (const emulated::audit::Traffic& each : report.traffic)
      EXPECT_LE(each.excess(), allowed(each))
          << each.kernel << " at " << each.place << (each.write ? " writes " : " reads ") << each.size << " bytes a lane of "
          << (each.shared ? "shared" : "global") << " memory, " << each.requests << " requests of " << each.lanes << " lanes";
    std::printf("%s %s: %.2f times the bytes that must be moved\n", GetParam().name().c_str(), name_of(activation),
                static_cast<double>(report.bytes_moved()) / GetParam().bytes(activation));
    print_kernels(report);
  }
}

const Dimensions small_step = {.batch = 2, .length = 128, .n_embd = 128, .n_head = 2, .vocab_size = 500, .n_ctx = 128, .layers = 1};
INSTANTIATE_TEST_SUITE_P(Small, StepCase, testing::ValuesIn(all_cases(Size::benchmark, small_step)), test_name);

// Few pairs of sequence and head beside multiprocessors, where attention's backward pass takes two passes.
std::vector<OpCase> of_one_pair() {
  std::vector<OpCase> cases = all_cases(
      Size::benchmark, {.batch = 1, .length = 192, .n_embd = 64, .n_head = 1, .vocab_size = 500, .n_ctx = 192, .layers = 1});
  std::erase_if(cases, [](const OpCase& each) { return each.op != "attention_backward"; });
  return cases;
}
INSTANTIATE_TEST_SUITE_P(OnePair, StepCase, testing::ValuesIn(of_one_pair()), test_name);

const Dimensions large_step = {
    .batch = 2, .length = 256, .n_embd = 256, .n_head = 4, .vocab_size = 2000, .n_ctx = 256, .layers = 1};
INSTANTIATE_TEST_SUITE_P(DISABLED_Long, StepCase, testing::ValuesIn(all_cases(Size::benchmark, large_step)), test_name);

}  // namespace
}  // namespace temper
