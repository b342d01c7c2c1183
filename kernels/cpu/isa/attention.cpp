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
  // All largest scores first: the next row need not wait for a sum over lanes.
  for (int r = 0; r < strip.rows; ++r) largest_score[r] = strip.scale * largest(strip.scores + r * strip.stride, strip.diagonal + r + 1);
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

// Rows of one head lie in different pages, where the processor does not prefetch by itself.
constexpr std::int64_t rows_ahead = 16;

template <typename T>
void prefetch_row(const T* row, std::int64_t width) {
  for (std::int64_t d = 0; d < width; d += 64 / static_cast<std::int64_t>(sizeof(T))) __builtin_prefetch(row + d);
}

template <typename T>
void row_dots_of(const T* a, const T* b, std::int64_t stride, std::int64_t rows, std::int64_t width, float* to) {
  for (std::int64_t row = 0; row < rows; ++row, a += stride, b += stride) {
    prefetch_row(b + rows_ahead * stride, width);
    to[row] = dot_of(a, b, width);
  }
}

void row_dots(const void* a, const void* b, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t width, float* to) {
  if (dtype == DType::bf16)
    row_dots_of(static_cast<const bfloat16*>(a), static_cast<const bfloat16*>(b), stride, rows, width, to);
  else
    row_dots_of(static_cast<const float*>(a), static_cast<const float*>(b), stride, rows, width, to);
}

// to[d] = sum over rows of weights[row] values[row][d] / total, for `registers` of d.
template <int registers, typename T, typename Lanes>
void weigh(const float* weights, const T* values, std::int64_t stride, int count, float total, Lanes there, T* to) {
  Floats sum[registers]{};
  for (int t = 0; t < count; ++t, values += stride) {
    for (int i = 0; i < registers; ++i) {
      if (i * lanes * sizeof(T) % 64 == 0) __builtin_prefetch(values + rows_ahead * stride + i * lanes);
      sum[i] += weights[t] * load(values + i * lanes, there);
    }
  }
  for (int i = 0; i < registers; ++i) store(to + i * lanes, sum[i] / total, there);
}

template <typename T>
void attend_of(const T* query, const T* keys, const T* values, std::int64_t stride, int count, std::int64_t width, float scale,
               float* weights, T* out) {
  for (int t = 0; t < count; ++t) {
    const std::int64_t ahead = t + rows_ahead;
    prefetch_row(ahead < count ? keys + ahead * stride : values + (ahead - count) * stride, width);
    weights[t] = dot_of(query, keys + t * stride, width);
  }
  const float total = exponentials(weights, count, scale, scale * largest(weights, count));
  constexpr int wide = 4;
  std::int64_t d = 0;
  for (; d + wide * lanes <= width; d += wide * lanes) weigh<wide>(weights, values + d, stride, count, total, AllLanes{}, out + d);
  for (; d + lanes <= width; d += lanes) weigh<1>(weights, values + d, stride, count, total, AllLanes{}, out + d);
  if (d < width) weigh<1>(weights, values + d, stride, count, total, FirstLanes{static_cast<int>(width - d)}, out + d);
}

void attend(const void* query, const void* keys, const void* values, DType dtype, std::int64_t stride, std::int64_t count,
            std::int64_t width, float scale, float* weights, void* out) {
  if (dtype == DType::bf16) {
    attend_of(static_cast<const bfloat16*>(query), static_cast<const bfloat16*>(keys), static_cast<const bfloat16*>(values), stride,
              static_cast<int>(count), width, scale, weights, static_cast<bfloat16*>(out));
  } else {
    attend_of(static_cast<const float*>(query), static_cast<const float*>(keys), static_cast<const float*>(values), stride,
              static_cast<int>(count), width, scale, weights, static_cast<float*>(out));
  }
}

}  // namespace

extern const AttentionKernels attention_kernels = {softmax, scale_rows, scores_gradient, row_dots, attend};

}  // namespace temper::cpu::TEMPER_ISA
