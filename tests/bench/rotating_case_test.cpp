#include "bench/kernel_bench.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>

namespace temper {
namespace {

constexpr std::int64_t elements = 1024;
constexpr std::size_t bytes = elements * sizeof(float);

// What each run of a case saw.
struct Seen {
  std::vector<const void*> inputs;
  std::vector<float> first;  // of the tensor that is changed in place, before the change
};

// y += x, or y = x where `changed` holds nothing of its own; both tensors have `elements` elements.
OpCase recording_case(Seen& seen, Content changed) {
  OpCase c;
  c.op = "record";
  c.tensors = {input("x", Content::f32, {elements}, normal(0, 1)), in_out("y", changed, {elements}, normal(3, 1))};
  c.run = [&seen](Ops&, const Views& v) {
    seen.inputs.push_back(v["x"].data);
    seen.first.push_back(v["y"].as<float>()[0]);
    for (std::int64_t i = 0; i < elements; ++i) v["y"].as<float>()[i] += v["x"].as<float>()[i];
  };
  return c;
}

TEST(RotatingCase, TakesEnoughCopiesAndUsesThemInTurn) {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Seen seen;
  const OpCase op_case = recording_case(seen, Content::f32);
  EXPECT_EQ(touched_bytes(op_case, DType::f32), 2.0 * bytes);
  RotatingCase rotating(*ops, op_case, DType::f32, 9 * bytes, 1 << 30);
  ASSERT_EQ(rotating.copies(), 5);
  rotating.run(3);
  rotating.run(7);
  const std::set<const void*> different(seen.inputs.begin(), seen.inputs.begin() + 5);
  EXPECT_EQ(different.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(seen.inputs[i], seen.inputs[i + 5]);
}

TEST(RotatingCase, CopiesHoldTheSameRandomNumbers) {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  std::vector<std::vector<float>> found;
  OpCase op_case;
  op_case.tensors = {input("x", Content::f32, {elements}, normal(0, 1))};
  op_case.run = [&](Ops&, const Views& v) { found.emplace_back(v["x"].as<float>(), v["x"].as<float>() + elements); };
  RotatingCase rotating(*ops, op_case, DType::f32, 3 * bytes, 1 << 30);
  rotating.run(3);
  EXPECT_EQ(found[0], found[1]);
  EXPECT_EQ(found[0], found[2]);
  EXPECT_EQ(std::count(found[2].begin(), found[2].end(), 0.0f), 0);
}

TEST(RotatingCase, KeepsToItsMemory) {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  Seen seen;
  const OpCase op_case = recording_case(seen, Content::f32);
  EXPECT_EQ(RotatingCase(*ops, op_case, DType::f32, 1 << 30, 4 * bytes).copies(), 3);
  EXPECT_EQ(RotatingCase(*ops, op_case, DType::f32, 1 << 30, 0).copies(), 1);
  EXPECT_EQ(RotatingCase(*ops, op_case, DType::f32, 0, 1 << 30).copies(), 1);
}

TEST(RotatingCase, PutsActivationsBackAndLetsAccumulatorsGoOn) {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  for (const Content changed : {Content::activation, Content::f32}) {
    Seen seen;
    RotatingCase rotating(*ops, recording_case(seen, changed), DType::f32, 6 * bytes, 1 << 30);
    ASSERT_EQ(rotating.copies(), 3);
    EXPECT_EQ(rotating.most_runs(), changed == Content::activation ? 3 : INT64_MAX);
    for (const std::int64_t count : {1, 3, 2, 1, 3}) {
      rotating.run(count);
      rotating.restore();
    }
    for (std::size_t i = 3; i < seen.first.size(); ++i)
      EXPECT_EQ(seen.first[i] == seen.first[i - 3], changed == Content::activation) << i;
  }
}

TEST(RotatingCase, PreparesEveryCopy) {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  std::set<const void*> prepared;
  OpCase op_case;
  op_case.tensors = {input("x", Content::f32, {elements}, normal(0, 1))};
  op_case.prepare = [&](Ops&, const Views& v) { prepared.insert(v["x"].data); };
  op_case.run = [&](Ops&, const Views& v) { EXPECT_EQ(prepared.count(v["x"].data), 1u); };
  RotatingCase rotating(*ops, op_case, DType::f32, 4 * bytes, 1 << 30);
  rotating.run(4);
  EXPECT_EQ(prepared.size(), 4u);
}

}  // namespace
}  // namespace temper
