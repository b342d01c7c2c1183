// Attention of the CPU backend against double precision, on every instruction set, and the same bits for any thread count.
#include "kernels/cpu/attention.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/philox.h"

namespace temper::cpu {
namespace {

struct Case {
  Isa isa;
  DType dtype;
  std::int64_t batch, positions, heads, width;
  std::int64_t channels() const { return heads * width; }
};

void PrintTo(const Case& c, std::ostream* os) {
  *os << name_of(c.isa) << ' ' << name_of(c.dtype) << " B=" << c.batch << " T=" << c.positions << " H=" << c.heads
      << " D=" << c.width;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (isa > best_isa()) continue;
    for (DType dtype : {DType::f32, DType::bf16}) {
      // One position; odd widths; ends of blocks (96 positions) and of tiles; several blocks.
      for (const auto& s : {Shape{1, 1, 1, 1}, Shape{2, 5, 3, 7}, Shape{1, 96, 2, 16}, Shape{1, 97, 1, 33}, Shape{2, 200, 2, 64},
                            Shape{1, 289, 1, 80}})
        all.push_back({isa, dtype, s[0], s[1], s[2], s[3]});
    }
  }
  return all;
}

// Values as the kernels hold them, and the same in double.
class Values {
 public:
  Values(DType dtype, Shape shape, std::uint64_t seed, float scale)
      : memory_(static_cast<std::size_t>(shape.numel()) * size_of(dtype)) {
    view_ = {memory_.data(), dtype, shape};
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      const std::uint32_t word = random_block(seed, RandomPurpose::benchmark, 0, static_cast<std::uint64_t>(i)).word[0];
      const float value = seed == 0 ? std::numeric_limits<float>::quiet_NaN() : scale * (2 * uniform_open(word) - 1);
      if (dtype == DType::f32) {
        view_.as<float>()[i] = value;
      } else {
        view_.as<bfloat16>()[i] = to_bfloat16(value);
      }
    }
  }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;
  /// Memory that a kernel has to fill.
  Values(DType dtype, Shape shape) : Values(dtype, shape, 0, 0) {}

  TensorView view() const { return view_; }
  double at(std::int64_t i) const { return view_.dtype == DType::f32 ? view_.as<float>()[i] : to_float(view_.as<bfloat16>()[i]); }
  const std::vector<char>& bytes() const { return memory_; }

 private:
  std::vector<char> memory_;
  TensorView view_;
};

double distance(const Values& result, const std::vector<double>& reference) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double d = result.at(static_cast<std::int64_t>(i)) - reference[i];
    difference += d * d;
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
Reference reference(const Case& c, const Values& qkv, const Values& dout) {
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
        return qkv.at(static_cast<std::int64_t>(place(t, part)) + d);
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
        const std::int64_t row = (b * c.positions + i) * channels + h * c.width;
        for (std::size_t j = 0; j < p.size(); ++j) {
          const std::int64_t key = static_cast<std::int64_t>(j);
          p[j] /= total;
          for (std::int64_t d = 0; d < c.width; ++d) {
            r.out[static_cast<std::size_t>(row + d)] += p[j] * in(key, 2, d);
            dp[j] += dout.at(row + d) * in(key, 2, d);
            r.dqkv[place(key, 2) + static_cast<std::size_t>(d)] += p[j] * dout.at(row + d);
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

class AttentionTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { set_isa(GetParam().isa); }
  void TearDown() override {
    set_isa(best_isa());
    omp_set_num_threads(threads_);
  }
  int threads_ = omp_get_max_threads();
};

TEST_P(AttentionTest, AgreesWithDoublePrecisionBothWays) {
  const Case& c = GetParam();
  const std::int64_t channels = c.channels();
  // Scores of a few units: a softmax that is neither flat nor one-hot.
  const Values qkv(c.dtype, {c.batch, c.positions, 3 * channels}, 1, 2), dout(c.dtype, {c.batch, c.positions, channels}, 2, 1);
  Values out(c.dtype, {c.batch, c.positions, channels}), lse(DType::f32, {c.batch, c.heads, c.positions});
  Values dqkv(c.dtype, {c.batch, c.positions, 3 * channels});
  attention_forward(qkv.view(), c.heads, out.view(), lse.view());
  attention_backward(dout.view(), qkv.view(), out.view(), lse.view(), c.heads, dqkv.view());

  const Reference expected = reference(c, qkv, dout);
  EXPECT_LT(distance(out, expected.out), tolerance(c.dtype));
  EXPECT_LT(distance(lse, expected.lse), 2e-6);
  // With bf16 the backward pass starts from a rounded `out`, whose error the difference dp - delta magnifies.
  EXPECT_LT(distance(dqkv, expected.dqkv), 2 * tolerance(c.dtype));
}

TEST_P(AttentionTest, SameBitsForAnyNumberOfThreads) {
  const Case& c = GetParam();
  const std::int64_t channels = c.channels();
  const Values qkv(c.dtype, {c.batch, c.positions, 3 * channels}, 3, 1), dout(c.dtype, {c.batch, c.positions, channels}, 4, 1);
  std::vector<std::vector<char>> first;
  for (int threads : {1, 2, 3}) {
    omp_set_num_threads(threads);
    Values out(c.dtype, {c.batch, c.positions, channels}), lse(DType::f32, {c.batch, c.heads, c.positions});
    Values dqkv(c.dtype, {c.batch, c.positions, 3 * channels});
    attention_forward(qkv.view(), c.heads, out.view(), lse.view());
    attention_backward(dout.view(), qkv.view(), out.view(), lse.view(), c.heads, dqkv.view());
    const std::vector<std::vector<char>> bytes = {out.bytes(), lse.bytes(), dqkv.bytes()};
    if (threads == 1) first = bytes;
    EXPECT_EQ(bytes, first) << threads << " threads";
  }
}

// A prompt in one call, then one position at a time, gives what the whole sequence gives at once.
TEST_P(AttentionTest, CachedPositionsAgreeWithTheWholeSequence) {
  const Case& c = GetParam();
  const std::int64_t channels = c.channels(), context = c.positions + 3, prompt = std::max<std::int64_t>(1, c.positions - 3);
  const Values qkv(c.dtype, {c.batch, c.positions, 3 * channels}, 5, 2);
  Values out(c.dtype, {c.batch, c.positions, channels}), lse(DType::f32, {c.batch, c.heads, c.positions});
  attention_forward(qkv.view(), c.heads, out.view(), lse.view());
  std::vector<double> expected;
  for (std::int64_t i = 0; i < out.view().numel(); ++i) expected.push_back(out.at(i));

  Values keys(c.dtype, {c.batch, context, channels}), values(c.dtype, {c.batch, context, channels});
  Values gathered(c.dtype, {c.batch, c.positions, channels});
  for (std::int64_t start = 0; start < c.positions; start = std::max(prompt, start + 1)) {
    const std::int64_t steps = start == 0 ? prompt : 1;
    Values piece(c.dtype, {c.batch, steps, 3 * channels}), result(c.dtype, {c.batch, steps, channels});
    const std::size_t row = static_cast<std::size_t>(channels) * size_of(c.dtype);
    for (std::int64_t b = 0; b < c.batch; ++b)
      std::memcpy(piece.view().as<char>() + static_cast<std::size_t>(b * steps) * 3 * row,
                  qkv.view().as<char>() + static_cast<std::size_t>(b * c.positions + start) * 3 * row,
                  static_cast<std::size_t>(steps) * 3 * row);
    attention_cached(piece.view(), c.heads, start, keys.view(), values.view(), result.view());
    for (std::int64_t b = 0; b < c.batch; ++b)
      std::memcpy(gathered.view().as<char>() + static_cast<std::size_t>(b * c.positions + start) * row,
                  result.view().as<char>() + static_cast<std::size_t>(b * steps) * row, static_cast<std::size_t>(steps) * row);
  }
  EXPECT_LT(distance(gathered, expected), tolerance(c.dtype));
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest, testing::ValuesIn(cases()));

// exp must not overflow, and equal scores must share evenly, however large they are.
TEST(Attention, LargeScoresStayFinite) {
  constexpr std::int64_t positions = 130, width = 16;
  Values qkv(DType::f32, {1, positions, 3 * width}, 6, 1), out(DType::f32, {1, positions, width}),
      lse(DType::f32, {1, 1, positions});
  for (std::int64_t t = 0; t < positions; ++t)
    for (std::int64_t d = 0; d < 2 * width; ++d) qkv.view().as<float>()[t * 3 * width + d] = 100;
  attention_forward(qkv.view(), 1, out.view(), lse.view());
  double mean = 0;
  for (std::int64_t t = 0; t < positions; ++t) mean += qkv.at(t * 3 * width + 2 * width) / positions;
  EXPECT_NEAR(out.at((positions - 1) * width), mean, 1e-5);
  EXPECT_NEAR(lse.at(positions - 1), 100.0 * 100 * width / 4 + std::log(positions), 1e-2);
}

}  // namespace
}  // namespace temper::cpu
