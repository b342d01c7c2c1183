// Attention on every backend: both passes in a row, a whole sequence against its positions one by one, large scores; and on the CPU
// backend the same bits for any number of threads.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/philox.h"
#include "kernels/support/backends.h"
#include "kernels/support/on_device.h"

namespace temper {
namespace {

struct Case {
  BackendChoice backend;
  DType dtype;
  std::int64_t batch, positions, heads, width;
  std::int64_t channels() const { return heads * width; }
};

void PrintTo(const Case& c, std::ostream* os) {
  *os << c.backend.name << ' ' << name_of(c.dtype) << " B=" << c.batch << " T=" << c.positions << " H=" << c.heads
      << " D=" << c.width;
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return std::string(name_of(c.dtype)) + "_B_" + std::to_string(c.batch) + "_T_" + std::to_string(c.positions) + "_H_" +
         std::to_string(c.heads) + "_D_" + std::to_string(c.width) + "_on_" + c.backend.name;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const BackendChoice& backend : all_backends()) {
    for (DType dtype : {DType::f32, DType::bf16}) {
      // One position; odd widths; ends of tiles and of the CPU's blocks (288 positions); several blocks, more than one pass of a sum.
      for (const auto& s : {Shape{1, 1, 1, 1}, Shape{2, 5, 3, 7}, Shape{1, 96, 2, 16}, Shape{1, 97, 1, 33}, Shape{2, 200, 2, 64},
                            Shape{1, 289, 1, 80}, Shape{1, 577, 1, 16}})
        all.push_back({backend, dtype, s[0], s[1], s[2], s[3]});
    }
  }
  return all;
}

// Values as the kernels hold them, and the same in double.
class Values {
 public:
  Values(Ops& ops, DType dtype, Shape shape, std::uint64_t seed, float scale)
      : memory_(ops, drawn(dtype, shape, seed, scale)), view_{memory_.data(), dtype, shape} {}
  /// Memory that a kernel has to fill.
  Values(Ops& ops, DType dtype, Shape shape) : Values(ops, dtype, shape, 0, 0) {}

  TensorView view() const { return view_; }
  std::vector<char> bytes() { return memory_.read(); }
  std::vector<double> numbers() {
    const std::vector<char> raw = bytes();
    std::vector<double> all(static_cast<std::size_t>(view_.numel()));
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (view_.dtype == DType::f32) {
        float value;
        std::memcpy(&value, &raw[i * sizeof(value)], sizeof(value));
        all[i] = value;
      } else {
        bfloat16 value;
        std::memcpy(&value, &raw[i * sizeof(value)], sizeof(value));
        all[i] = to_float(value);
      }
    }
    return all;
  }

 private:
  static std::vector<char> drawn(DType dtype, const Shape& shape, std::uint64_t seed, float scale) {
    std::vector<char> raw(static_cast<std::size_t>(shape.numel()) * size_of(dtype));
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      const std::uint32_t word = random_block(seed, RandomPurpose::benchmark, 0, static_cast<std::uint64_t>(i)).word[0];
      const float value = seed == 0 ? std::numeric_limits<float>::quiet_NaN() : scale * (2 * uniform_open(word) - 1);
      const bfloat16 rounded = to_bfloat16(value);
      const std::size_t size = size_of(dtype);
      std::memcpy(&raw[static_cast<std::size_t>(i) * size],
                  dtype == DType::f32 ? static_cast<const void*>(&value) : static_cast<const void*>(&rounded), size);
    }
    return raw;
  }

  OnDevice<char> memory_;
  TensorView view_;
};

double distance(Values& values, const std::vector<double>& reference) {
  const std::vector<double> result = values.numbers();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    difference += (result[i] - reference[i]) * (result[i] - reference[i]);
    size += reference[i] * reference[i];
  }
  return size == 0 ? difference : std::sqrt(difference / size);
}

// f32: sums of a few hundred terms. bf16: probabilities and results are each rounded to 8 bits.
double tolerance(DType dtype) { return dtype == DType::bf16 ? 6e-3 : 3e-6; }

struct Reference {
  std::vector<double> out, lse, dqkv;
};

// The textbook formulas, position by position.
Reference reference(const Case& c, const std::vector<double>& qkv, const std::vector<double>& dout) {
  const std::int64_t channels = c.channels(), stride = 3 * channels;
  const double scale = 1 / std::sqrt(static_cast<double>(c.width));
  Reference r;
  r.out.resize(static_cast<std::size_t>(c.batch * c.positions * channels));
  r.lse.resize(static_cast<std::size_t>(c.batch * c.heads * c.positions));
  r.dqkv.resize(static_cast<std::size_t>(c.batch * c.positions * stride));
  for (std::int64_t b = 0; b < c.batch; ++b) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const auto place = [&](std::int64_t t, std::int64_t part) {
        return static_cast<std::size_t>((b * c.positions + t) * stride + part * channels + h * c.width);
      };
      const auto in = [&](std::int64_t t, std::int64_t part, std::int64_t d) {
        return qkv[place(t, part) + static_cast<std::size_t>(d)];
      };
      for (std::int64_t i = 0; i < c.positions; ++i) {
        std::vector<double> p(static_cast<std::size_t>(i + 1)), dp(p.size());
        double total = 0, delta = 0;
        for (std::size_t j = 0; j < p.size(); ++j) {
          double score = 0;
          for (std::int64_t d = 0; d < c.width; ++d) score += in(i, 0, d) * in(static_cast<std::int64_t>(j), 1, d);
          p[j] = std::exp(score * scale);
          total += p[j];
        }
        r.lse[static_cast<std::size_t>((b * c.heads + h) * c.positions + i)] = std::log(total);
        const auto row = static_cast<std::size_t>((b * c.positions + i) * channels + h * c.width);
        for (std::size_t j = 0; j < p.size(); ++j) {
          const std::int64_t key = static_cast<std::int64_t>(j);
          p[j] /= total;
          for (std::int64_t d = 0; d < c.width; ++d) {
            r.out[row + static_cast<std::size_t>(d)] += p[j] * in(key, 2, d);
            dp[j] += dout[row + static_cast<std::size_t>(d)] * in(key, 2, d);
            r.dqkv[place(key, 2) + static_cast<std::size_t>(d)] += p[j] * dout[row + static_cast<std::size_t>(d)];
          }
          delta += p[j] * dp[j];
        }
        for (std::size_t j = 0; j < p.size(); ++j) {
          const std::int64_t key = static_cast<std::int64_t>(j);
          const double ds = p[j] * (dp[j] - delta) * scale;
          for (std::int64_t d = 0; d < c.width; ++d) {
            r.dqkv[place(i, 0) + static_cast<std::size_t>(d)] += ds * in(key, 1, d);
            r.dqkv[place(key, 1) + static_cast<std::size_t>(d)] += ds * in(i, 0, d);
          }
        }
      }
    }
  }
  return r;
}

class AttentionTest : public testing::TestWithParam<Case> {};

TEST_P(AttentionTest, AgreesWithDoublePrecisionBothWays) {
  const Case& c = GetParam();
  Backend backend(c.backend);
  Ops& ops = backend.ops();
  const std::int64_t channels = c.channels();
  // Scores of a few units: a softmax that is neither flat nor one-hot.
  Values qkv(ops, c.dtype, {c.batch, c.positions, 3 * channels}, 1, 2), dout(ops, c.dtype, {c.batch, c.positions, channels}, 2, 1);
  Values out(ops, c.dtype, {c.batch, c.positions, channels}), lse(ops, DType::f32, {c.batch, c.heads, c.positions});
  Values dqkv(ops, c.dtype, {c.batch, c.positions, 3 * channels});
  ops.attention_forward({.qkv = qkv.view(), .n_head = c.heads, .out = out.view(), .lse = lse.view()});
  ops.attention_backward(
      {.dout = dout.view(), .qkv = qkv.view(), .out = out.view(), .lse = lse.view(), .n_head = c.heads, .dqkv = dqkv.view()});

  const Reference expected = reference(c, qkv.numbers(), dout.numbers());
  EXPECT_LT(distance(out, expected.out), tolerance(c.dtype));
  EXPECT_LT(distance(lse, expected.lse), 2e-6);
  // With bf16 the backward pass starts from a rounded `out`, whose error the difference dp - delta magnifies.
  EXPECT_LT(distance(dqkv, expected.dqkv), 2 * tolerance(c.dtype));
}

// A prompt in one call, then one position at a time, gives what the whole sequence gives at once.
TEST_P(AttentionTest, CachedPositionsAgreeWithTheWholeSequence) {
  const Case& c = GetParam();
  Backend backend(c.backend);
  Ops& ops = backend.ops();
  const std::int64_t channels = c.channels(), context = c.positions + 3, prompt = std::max<std::int64_t>(1, c.positions - 3);
  Values qkv(ops, c.dtype, {c.batch, c.positions, 3 * channels}, 5, 2);
  Values out(ops, c.dtype, {c.batch, c.positions, channels}), lse(ops, DType::f32, {c.batch, c.heads, c.positions});
  ops.attention_forward({.qkv = qkv.view(), .n_head = c.heads, .out = out.view(), .lse = lse.view()});

  Values keys(ops, c.dtype, {c.batch, context, channels}), values(ops, c.dtype, {c.batch, context, channels});
  Values gathered(ops, c.dtype, {c.batch, c.positions, channels});
  const std::size_t row = static_cast<std::size_t>(channels) * size_of(c.dtype);
  for (std::int64_t start = 0; start < c.positions; start = std::max(prompt, start + 1)) {
    const std::int64_t steps = start == 0 ? prompt : 1;
    Values piece(ops, c.dtype, {c.batch, steps, 3 * channels}), result(ops, c.dtype, {c.batch, steps, channels});
    for (std::int64_t b = 0; b < c.batch; ++b)
      ops.copy(piece.view().as<char>() + static_cast<std::size_t>(b * steps) * 3 * row,
               qkv.view().as<char>() + static_cast<std::size_t>(b * c.positions + start) * 3 * row,
               static_cast<std::size_t>(steps) * 3 * row);
    ops.attention_cached({.qkv = piece.view(),
                          .n_head = c.heads,
                          .start = start,
                          .key_cache = keys.view(),
                          .value_cache = values.view(),
                          .out = result.view()});
    for (std::int64_t b = 0; b < c.batch; ++b)
      ops.copy(gathered.view().as<char>() + static_cast<std::size_t>(b * c.positions + start) * row,
               result.view().as<char>() + static_cast<std::size_t>(b * steps) * row, static_cast<std::size_t>(steps) * row);
    ops.synchronize();  // before `piece` and `result` go
  }
  EXPECT_LT(distance(gathered, out.numbers()), tolerance(c.dtype));
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest, testing::ValuesIn(cases()), case_name);

class AttentionThreads : public testing::TestWithParam<Case> {
 protected:
  ~AttentionThreads() override { omp_set_num_threads(threads_before_); }

 private:
  int threads_before_ = omp_get_max_threads();
};

TEST_P(AttentionThreads, SameBitsForAnyNumber) {
  const Case& c = GetParam();
  Backend backend(c.backend);
  Ops& ops = backend.ops();
  const std::int64_t channels = c.channels();
  Values qkv(ops, c.dtype, {c.batch, c.positions, 3 * channels}, 3, 1), dout(ops, c.dtype, {c.batch, c.positions, channels}, 4, 1);
  Values keys(ops, c.dtype, {c.batch, c.positions, channels}, 6, 1), values(ops, c.dtype, {c.batch, c.positions, channels}, 7, 1);
  Values next(ops, c.dtype, {c.batch, 1, 3 * channels}, 8, 1);
  std::vector<std::vector<char>> first;
  for (int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    Values out(ops, c.dtype, {c.batch, c.positions, channels}), lse(ops, DType::f32, {c.batch, c.heads, c.positions});
    Values dqkv(ops, c.dtype, {c.batch, c.positions, 3 * channels});
    ops.attention_forward({.qkv = qkv.view(), .n_head = c.heads, .out = out.view(), .lse = lse.view()});
    ops.attention_backward(
        {.dout = dout.view(), .qkv = qkv.view(), .out = out.view(), .lse = lse.view(), .n_head = c.heads, .dqkv = dqkv.view()});
    Values decoded(ops, c.dtype, {c.batch, 1, channels});
    ops.attention_cached({.qkv = next.view(),
                          .n_head = c.heads,
                          .start = c.positions - 1,
                          .key_cache = keys.view(),
                          .value_cache = values.view(),
                          .out = decoded.view()});
    const std::vector<std::vector<char>> bytes = {out.bytes(), lse.bytes(), dqkv.bytes(), decoded.bytes()};
    if (threads == 1) first = bytes;
    EXPECT_EQ(bytes, first) << threads << " threads";
  }
}

std::vector<Case> cpu_cases() {
  std::vector<Case> all = cases();
  std::erase_if(all, [](const Case& c) { return c.backend.kind != BackendChoice::Kind::cpu; });
  return all;
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionThreads, testing::ValuesIn(cpu_cases()), case_name);

class AttentionScores : public testing::TestWithParam<BackendChoice> {};

// exp must not overflow, and equal scores must share evenly, however large they are.
TEST_P(AttentionScores, LargeOnesStayFinite) {
  Backend backend(GetParam());
  Ops& ops = backend.ops();
  constexpr std::int64_t positions = 130;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t width : {16, 64}) {
      SCOPED_TRACE(std::string(name_of(dtype)) + " D=" + std::to_string(width));
      Values packed(ops, dtype, {1, positions, 3 * width}, 6, 1);
      Values out(ops, dtype, {1, positions, width}), lse(ops, DType::f32, {1, 1, positions});
      // Queries and keys of 100, values at random.
      std::vector<char> raw = packed.bytes();
      const float hundred = 100;
      const bfloat16 rounded = to_bfloat16(hundred);  // exact
      const std::size_t size = size_of(dtype);
      for (std::int64_t t = 0; t < positions; ++t)
        for (std::int64_t d = 0; d < 2 * width; ++d)
          std::memcpy(&raw[static_cast<std::size_t>(t * 3 * width + d) * size],
                      dtype == DType::f32 ? static_cast<const void*>(&hundred) : static_cast<const void*>(&rounded), size);
      ops.copy_to_device(packed.view().data, raw.data(), raw.size());
      ops.attention_forward({.qkv = packed.view(), .n_head = 1, .out = out.view(), .lse = lse.view()});
      const std::vector<double> qkv = packed.numbers(), result = out.numbers();
      double mean = 0;
      for (std::int64_t t = 0; t < positions; ++t) mean += qkv[static_cast<std::size_t>(t * 3 * width + 2 * width)] / positions;
      EXPECT_NEAR(result[static_cast<std::size_t>((positions - 1) * width)], mean,
                  dtype == DType::f32 ? 1e-5 : 4e-3 * std::abs(mean));
      const double score = 100.0 * 100 * std::sqrt(static_cast<double>(width));
      EXPECT_NEAR(lse.numbers()[positions - 1], score + std::log(positions), 1e-2);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllBackends, AttentionScores, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace temper
