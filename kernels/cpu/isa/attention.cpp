#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

// Both read and write whole registers: a row of scores has room for them.
float largest(const float* row, int count) {
  Floats best = broadcast(row[0]);
  for (int c = 0; c < count; c += lanes) best = maximum(best, keep(load(row + c, AllLanes{}), FirstLanes{count - c}, row[0]));
  return maximum_of_lanes(best);
}

// Scores of a row become exp(scale s - shift), those after the first `count` of the last register 0; returns their sum.
float exponentials(float* row, int count, float scale, float shift) {
  Floats sum{};
  for (int c = 0; c < count; c += lanes) {
    const Floats p = keep(exp(load(row + c, AllLanes{}) * scale - shift), FirstLanes{count - c});
    store(row + c, p, AllLanes{});
    sum += p;
  }
  return sum_of_lanes(sum);
}

void scale_row(float* row, float factor, int width) {
  for (int d = 0; d < width; ++d) row[d] *= factor;
}

void softmax(const ScoreStrip& strip, float* largest_score, float* total) {
  // All largest scores first, so that no row's exponentials wait for their own.
  for (int r = 0; r < strip.rows; ++r)
    largest_score[r] = strip.scale * largest(strip.scores + r * strip.stride, strip.diagonal + r + 1);
  for (int r = 0; r < strip.rows; ++r) {
    float* row = strip.scores + r * strip.stride;
    total[r] = exponentials(row, strip.diagonal + r + 1, strip.scale, largest_score[r]);
    for (int c = strip.diagonal + r + 1; c < strip.diagonal + strip.rows; ++c) row[c] = 0.0f;
  }
}

void scale_rows(float* out, const float* factors, int rows, int width) {
  for (int r = 0; r < rows; ++r) scale_row(out + static_cast<std::int64_t>(r) * width, factors[r], width);
}

void scores_gradient(const ScoreStrip& strip, float* gradients, int columns, const float* lse, const float* delta) {
  for (int r = 0; r < strip.rows; ++r) {
    float* score = strip.scores + r * strip.stride;
    float* gradient = gradients + r * strip.stride;
    const int first = strip.diagonal + r;
    for_registers(columns, [&](std::int64_t c, auto there, int) {
      const Floats all = exp(load(score + c, there) * strip.scale - load(lse + c, there));
      const Floats p = lane_numbers() + static_cast<int>(c) < first ? Floats{} : all;
      store(score + c, p, there);
      store(gradient + c, p * (load(gradient + c, there) - load(delta + c, there)) * strip.scale, there);
    });
  }
}

template <typename T>
float dot_of(const T* a, const T* b, std::int64_t count) {
  Floats sum{};
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) sum += load(a + i, AllLanes{}) * load(b + i, AllLanes{});
  if (i < count) {
    const FirstLanes part{static_cast<int>(count - i)};
    sum += load(a + i, part) * load(b + i, part);
  }
  return sum_of_lanes(sum);
}

// Rows lie in different pages, where the processor does not prefetch by itself. Into the second-level cache: there is room for more
// lines on their way than to the first.
template <typename T>
void prefetch_row(const T* row, std::int64_t width) {
  for (std::int64_t d = 0; d < width; d += 64 / static_cast<std::int64_t>(sizeof(T))) __builtin_prefetch(row + d, 0, 2);
}

template <typename T>
void row_dots_of(const T* a, const T* b, std::int64_t stride, std::int64_t rows, std::int64_t width, float* to) {
  constexpr std::int64_t rows_ahead = 16;
  for (std::int64_t row = 0; row < rows; ++row, a += stride, b += stride) {
    prefetch_row(b + rows_ahead * stride, width);
    to[row] = dot_of(a, b, width);
  }
}

void row_dots(const void* a, const void* b, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t width, float* to) {
  with_type(dtype,
            [&]<typename T>(T) { row_dots_of(static_cast<const T*>(a), static_cast<const T*>(b), stride, rows, width, to); });
}

// sums[d] += sum over rows of weights[row] values[row][d], for `registers` of d.
template <int registers, typename T, typename Lanes>
TEMPER_INLINE void weigh(const float* weights, const T* values, std::int64_t stride, int rows, Lanes there, float* sums) {
  Floats sum[registers];
  for (int i = 0; i < registers; ++i) sum[i] = load(sums + i * lanes, there);
  for (int t = 0; t < rows; ++t, values += stride)
    for (int i = 0; i < registers; ++i) sum[i] += weights[t] * load(values + i * lanes, there);
  for (int i = 0; i < registers; ++i) store(sums + i * lanes, sum[i], there);
}

template <typename T>
void attend_of(const CachedHeads& a) {
  const T* const query = static_cast<const T*>(a.query);
  for (int first = 0; first < a.count; first += a.pass) {
    const int end = first + a.pass < a.count ? first + a.pass : a.count;
    for (int h = 0; h < a.heads; ++h) {
      const T* key = static_cast<const T*>(a.keys) + first * a.stride + h * a.width;
      for (int t = first; t < end; ++t, key += a.stride) {
        if (end < a.count) prefetch_row(key + a.pass * a.stride, a.width);
        a.weights[h * a.room + t] = dot_of(query + h * a.width, key, a.width);
      }
    }
  }
  for (int h = 0; h < a.heads; ++h) {
    float* const weights = a.weights + h * a.room;
    a.totals[h] = exponentials(weights, a.count, a.scale, a.scale * largest(weights, a.count));
  }
  for (std::int64_t d = 0; d < a.heads * a.width; ++d) a.sums[d] = 0.0f;
  for (int first = 0; first < a.count; first += a.pass) {
    const int rows = a.count - first < a.pass ? a.count - first : a.pass;
    for (int h = 0; h < a.heads; ++h) {
      const float* const weights = a.weights + h * a.room + first;
      const T* const values = static_cast<const T*>(a.values) + first * a.stride + h * a.width;
      for (int t = 0; first + rows < a.count && t < rows; ++t) prefetch_row(values + (t + a.pass) * a.stride, a.width);
      float* const sums = a.sums + h * a.width;
      constexpr int wide = 4;
      std::int64_t d = 0;
      for (; d + wide * lanes <= a.width; d += wide * lanes) weigh<wide>(weights, values + d, a.stride, rows, AllLanes{}, sums + d);
      for (; d + lanes <= a.width; d += lanes) weigh<1>(weights, values + d, a.stride, rows, AllLanes{}, sums + d);
      if (d < a.width) weigh<1>(weights, values + d, a.stride, rows, FirstLanes{static_cast<int>(a.width - d)}, sums + d);
    }
  }
  for (int h = 0; h < a.heads; ++h) {
    const float* const sums = a.sums + h * a.width;
    T* const out = static_cast<T*>(a.out) + h * a.width;
    for_registers(a.width, [&](std::int64_t d, auto there, int) { store(out + d, load(sums + d, there) / a.totals[h], there); });
  }
}

void attend(const CachedHeads& arguments) {
  with_type(arguments.dtype, [&]<typename T>(T) { attend_of<T>(arguments); });
}

}  // namespace

extern const AttentionKernels attention_kernels = {softmax, scale_rows, scores_gradient, row_dots, attend};

}  // namespace temper::cpu::TEMPER_ISA
