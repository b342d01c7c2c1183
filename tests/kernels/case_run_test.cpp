// What tensors hold before a case runs: number i % period of their stream, rounded to what they can hold, element by element.
#include "kernels/cases/case_run.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>

#include "kernels/support/backends.h"

namespace temper {
namespace {

template <typename T>
void append(std::vector<std::byte>& bytes, T value) {
  const auto* from = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), from, from + sizeof(T));
}

/// Element by element, the plain way.
std::vector<std::byte> expected_bytes(const TensorSpec& spec, DType activation, std::vector<double> numbers) {
  const auto count = static_cast<std::size_t>(spec.shape.numel());
  if (spec.fill.kind == Fill::Kind::values) numbers.resize(spec.fill.values.size());
  numbers.resize(std::min(numbers.size(), static_cast<std::size_t>(CaseRun::period)));
  std::vector<double> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = numbers[i % numbers.size()];
  for (const Fill::Range& range : spec.fill.zeros)
    for (std::int64_t i = range.first; i < range.last; ++i) all[static_cast<std::size_t>(i)] = 0;
  std::vector<std::byte> bytes;
  if (spec.content == Content::segments) {
    static_assert(offsetof(ParameterSegment, per_row) + sizeof(ParameterSegment::per_row) ==
                  sizeof(ParameterSegment));  // no padding
    for (std::size_t i = 0; i < count; i += 9) {
      ParameterSegment segment{};
      segment.offset = static_cast<std::int64_t>(all[i]);
      segment.rows = static_cast<std::int64_t>(all[i + 1]);
      segment.columns = static_cast<std::int64_t>(all[i + 2]);
      segment.first_row = static_cast<std::int64_t>(all[i + 3]);
      segment.learning_rate_scale = static_cast<float>(all[i + 4]);
      segment.gain_rate_scale = static_cast<float>(all[i + 5]);
      segment.weight_decay = static_cast<float>(all[i + 6]);
      segment.control = static_cast<NormControl>(static_cast<std::int16_t>(all[i + 7]));
      segment.per_row = static_cast<std::int16_t>(all[i + 8]);
      append(bytes, segment);
    }
    return bytes;
  }
  const bool low = spec.content == Content::bf16 || spec.content == Content::low_precision ||
                   (spec.content == Content::activation && activation == DType::bf16);
  for (std::size_t i = 0; i < count; ++i) {
    if (spec.content == Content::f64)
      append(bytes, all[i]);
    else if (spec.content == Content::i32 || (spec.content == Content::step_scalars && i == 18))
      append(bytes, static_cast<std::int32_t>(all[i]));
    else if (low)
      append(bytes, to_bfloat16(static_cast<float>(all[i])));
    else
      append(bytes, static_cast<float>(all[i]));
  }
  return bytes;
}

std::vector<double> counted(int count) {
  std::vector<double> all;
  for (int i = 0; i < count; ++i) all.push_back(i % 9 == 7 ? 1 : i + 0.5 * (i % 2));
  return all;
}

class CaseFilling : public testing::TestWithParam<BackendChoice> {};

TEST_P(CaseFilling, IsElementByElement) {
  constexpr std::int64_t period = CaseRun::period;
  OpCase c;
  const auto add = [&](Content content, std::int64_t count, const Fill& fill, std::vector<Fill::Range> zeros = {}) {
    c.tensors.push_back(input("t" + std::to_string(c.tensors.size()), content, {count}, fill));
    c.tensors.back().fill.zeros = std::move(zeros);
  };
  for (const Content content :
       {Content::activation, Content::low_precision, Content::f32, Content::bf16, Content::i32, Content::f64}) {
    const Fill fill = content == Content::i32 ? integers(-5, 60000) : normal(1, 3);
    for (const std::int64_t count : {std::int64_t{1}, std::int64_t{777}, period + 1})
      add(content, count, fill, {{count / 3, count / 2}, {count - 1, count}});
  }
  add(Content::activation, period, normal(1, 3));
  add(Content::activation, 5 * period / 2, normal(1, 3), {{period - 10, period + 10}});
  add(Content::f32, 100, values({0.25, -2, 3}));
  add(Content::f32, 2 * period, values({0.25, -2, 3}), {{0, 1}, {period - 1, period + 1}});
  add(Content::bf16, 3 * period, values({0}));
  add(Content::step_scalars, 19, values(counted(19)));
  add(Content::segments, 27, values(counted(27)));

  Backend backend(GetParam());
  for (const DType activation : {DType::f32, DType::bf16}) {
    CaseRun run(backend.ops(), c, activation);
    Numbers numbers = exact_numbers(c);
    for (const bool again : {false, true}) {
      for (const TensorSpec& spec : c.tensors) {
        SCOPED_TRACE(spec.name + ", " + std::to_string(spec.shape.numel()) + " elements, " + name_of(activation));
        if (!run.views()[spec.name].present()) {
          EXPECT_EQ(spec.content, Content::low_precision);
          continue;
        }
        const std::vector<std::byte> expected = expected_bytes(spec, activation, numbers[spec.name]);
        // Not EXPECT_EQ, which would print millions of bytes.
        EXPECT_TRUE(run.read_bytes(spec.name) == expected) << "on the device";
        EXPECT_TRUE(run.filled_bytes(spec.name) == expected) << "as the host knows it";
        backend.ops().zero(run.views()[spec.name].data, expected.size());
      }
      EXPECT_TRUE(run.guards_intact());
      if (!again) run.reset();
    }
  }
}

TEST_P(CaseFilling, PoisonsOutputsAndDerivesFromRoundedInputs) {
  constexpr std::int64_t count = CaseRun::period + 5;
  OpCase c;
  c.tensors = {input("x", Content::bf16, {count}, normal(0, 1)), input("twice", Content::f32, {count}, normal(0, 1)),
               output("y", Content::activation, {count}), output("small", Content::f32, {3})};
  c.tensors[0].fill.zeros = c.tensors[1].fill.zeros = {{7, 9}};
  c.derive = [](Numbers& n) {
    for (std::size_t i = 0; i < n["x"].size(); ++i) n["twice"][i] = 2 * n["x"][i] + 1;
  };
  Backend backend(GetParam());
  CaseRun run(backend.ops(), c, DType::f32);
  const std::vector<double> x = run.read("x"), twice = run.read("twice");
  EXPECT_EQ(x[7], 0);
  EXPECT_EQ(twice[7], 1);
  std::size_t different = 0;
  for (std::size_t i = 0; i < x.size(); ++i) different += twice[i] != static_cast<double>(static_cast<float>(2 * x[i] + 1)) ? 1 : 0;
  EXPECT_EQ(different, 0u);
  for (const char* name : {"y", "small"})
    for (const std::byte each : run.read_bytes(name)) different += each != std::byte{0xFF} ? 1 : 0;
  EXPECT_EQ(different, 0u) << "bytes of an output that are not poison";
  EXPECT_TRUE(run.guards_intact());
  const std::byte written{1};
  backend.ops().copy_to_device(run.views()["small"].as<char>() + 3 * sizeof(float), &written, 1);
  EXPECT_FALSE(run.guards_intact());
}

INSTANTIATE_TEST_SUITE_P(Backends, CaseFilling, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace temper
