#include "bench/device_check.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/cases/case_check.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

OpCase small_case(const std::string& operation) {
  const std::vector<OpCase> cases = all_cases(Size::small_odd);
  return *std::ranges::find(cases, operation, &OpCase::op);
}

TEST(HoldAgainstReference, TellsTheErrorAndItsBound) {
  const std::unique_ptr<Ops> cpu = make_cpu_ops();
  OpCase c = small_case("normalize");
  const CaseFinding fine = hold_against_reference(c, DType::f32, *cpu);
  EXPECT_EQ(fine.wrong, "");
  EXPECT_LE(fine.error, fine.bound);
  EXPECT_EQ(fine.bound, 2e-7);

  c.reference = [before = c.reference](Numbers& n) {
    before(n);
    for (double& value : n["out"]) value *= 1.01;
  };
  const CaseFinding off = hold_against_reference(c, DType::f32, *cpu);
  EXPECT_TRUE(off.wrong.starts_with("out: error 0.0099") && off.wrong.ends_with(", at most 2e-07")) << off.wrong;
  EXPECT_NEAR(off.error, 0.01 / 1.01, 1e-6);
}

TEST(HoldAgainstReference, TellsWhatWasNotWrittenAndWhatWas) {
  const std::unique_ptr<Ops> cpu = make_cpu_ops();
  OpCase c = small_case("copy");
  c.run = [](Ops&, const Views&) {};
  EXPECT_EQ(hold_against_reference(c, DType::f32, *cpu).wrong, c.tensors[1].name + ": element 0 is NaN or was not written");
  c.run = [](Ops& ops, const Views& v) {
    ops.copy(v["to"].data, v["from"].data, v["from"].bytes());
    ops.zero(const_cast<void*>(static_cast<const void*>(v["from"].data)), v["from"].bytes());
  };
  EXPECT_EQ(hold_against_reference(c, DType::f32, *cpu).wrong, "the input from was changed");
  c.run = [](Ops& ops, const Views& v) {
    ops.copy(v["to"].data, v["from"].data, v["from"].bytes());
    ops.zero(static_cast<std::byte*>(v["to"].data) + v["to"].bytes(), 1);
  };
  EXPECT_EQ(hold_against_reference(c, DType::f32, *cpu).wrong, "written behind the end of a tensor");
}

TEST(CheckOperation, EveryOperationIsRightOnTheCpu) {
  const std::unique_ptr<Ops> cpu = make_cpu_ops();
  for (const DeviceUse use : {DeviceUse::training, DeviceUse::inference}) {
    for (const std::string& each : operations_of(use)) {
      const OperationFinding finding = check_operation(each, Precision::fp32, *cpu);
      EXPECT_EQ(finding.wrong, "") << each;
      EXPECT_GT(finding.seconds, 0) << each;
    }
  }
}

TEST(CheckOperation, ReachesEveryFastWay) {
  std::vector<std::string> operations = operations_of(DeviceUse::training);
  for (const FastWay& way : fast_ways) EXPECT_TRUE(std::ranges::count(operations, way.operation) == 1) << way.operation;
}

/// As a GPU that is wrong in an operation unless it is without one of these.
CheckOperations faulty(const std::string& operation, std::vector<Fast> remedies, int* calls = nullptr) {
  return [=](const std::vector<std::string>& operations, const std::vector<Fast>& without) {
    if (calls != nullptr) ++*calls;
    std::vector<OperationFinding> findings;
    for (const std::string& each : operations) {
      const bool helped = std::ranges::all_of(remedies, [&](Fast way) { return std::ranges::count(without, way) == 1; });
      findings.push_back({each, each == operation && (!helped || remedies.empty()) ? "off" : ""});
    }
    return findings;
  };
}

TEST(CheckDevice, FindsTheWayThatIsBad) {
  const std::vector<std::string> operations = {"cast", "linear_forward", "attention_backward"};
  DeviceFindings found = check_device(operations, faulty("nothing", {}));
  EXPECT_TRUE(found.without().empty());
  EXPECT_EQ(found.wrong(), nullptr);
  EXPECT_EQ(found.operations.size(), 3u);

  found = check_device(operations, faulty("attention_backward", {Fast::attention_gradient}));
  EXPECT_EQ(found.without(), std::vector{Fast::attention_gradient});
  EXPECT_EQ(found.bad_ways.front().second, "off");
  EXPECT_EQ(found.wrong(), nullptr);

  EXPECT_EQ(check_device(operations, faulty("linear_forward", {Fast::residual})).without(), std::vector{Fast::residual});
  const std::vector<Fast> both = {Fast::gelu, Fast::residual};
  EXPECT_EQ(check_device(operations, faulty("linear_forward", both)).without(), both);
}

TEST(CheckDevice, NamesWhatIsWrongInEveryWay) {
  int calls = 0;
  for (const char* operation : {"cast", "linear_forward"}) {
    const DeviceFindings found = check_device({"cast", "linear_forward"}, faulty(operation, {}, &calls));
    EXPECT_TRUE(found.without().empty());
    ASSERT_NE(found.wrong(), nullptr);
    EXPECT_EQ(found.wrong()->operation, operation);
    EXPECT_EQ(found.wrong()->wrong, "off");
  }
  EXPECT_EQ(calls, 2 + 3) << "a product's two ways, and both";
}

class CheckRecord : public testing::Test {
 protected:
  TemporaryFolder folder;
  ChoiceCache open(const std::string& machine = "GPU; driver; temper") { return {folder / "gpu_choices", machine}; }
};

TEST_F(CheckRecord, HoldsForItsMachineAndPrecision) {
  DeviceFindings found;
  found.operations = {{"cast"}, {"attention_backward"}, {"sum", "off"}};
  found.bad_ways = {{Fast::attention_gradient, "B=1, dqkv: error 1, at most 0.008"}};
  ChoiceCache record = open();
  record_findings(record, Precision::bf16, found);

  const std::vector<std::string> names = {"sum", "gelu", "attention_backward", "cast"};
  record = open();
  const DeviceFindings again = recorded_findings(record, Precision::bf16, names);
  EXPECT_EQ(again.missing, std::vector<std::string>{"gelu"});
  EXPECT_EQ(again.bad_ways, found.bad_ways);
  ASSERT_NE(again.wrong(), nullptr);
  EXPECT_EQ(again.wrong()->operation, "sum");
  EXPECT_EQ(again.wrong()->wrong, "off");

  EXPECT_EQ(recorded_findings(record, Precision::fp32, names).missing, names);
  record = open("GPU; another driver; temper");
  EXPECT_EQ(recorded_findings(record, Precision::bf16, names).missing, names);
}

TEST_F(CheckRecord, ALaterCheckCounts) {
  DeviceFindings found;
  found.operations = {{"attention_backward"}};
  found.bad_ways = {{Fast::attention_gradient, "off"}};
  ChoiceCache record = open();
  record_findings(record, Precision::bf16, found);
  found.bad_ways.clear();
  record_findings(record, Precision::bf16, found);
  record = open();
  EXPECT_TRUE(recorded_findings(record, Precision::bf16, {"attention_backward"}).bad_ways.empty());
}

}  // namespace
}  // namespace temper
