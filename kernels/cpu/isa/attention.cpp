#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

float largest(const float* row, int count) {
  Accumulator best{broadcast(row[0]), broadcast(row[0]), broadcast(row[0]), broadcast(row[0])};
  for_registers(count, [&](std::int64_t c, auto there, int turn) {
    best.part[turn] = maximum(best.part[turn], keep(load(row + c, there), there, row[0]));
  });
  return best.largest();
}

// Scores of a row become exp(scale s - shift); returns their sum.
float exponentials(float* row, int count, float scale, float shift) {
  Accumulator sum{};
  for_registers(count, [&](std::int64_t c, auto there, int turn) {
    const Floats p = keep(exp(load(row + c, there) * scale - shift), there);
    store(row + c, p, there);
    sum.part[turn] += p;
  });
  return sum.sum();
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

float dot(const void* a, const void* b, DType dtype, std::int64_t count) {
  return dtype == DType::bf16 ? dot_of(static_cast<const bfloat16*>(a), static_cast<const bfloat16*>(b), count)
                              : dot_of(static_cast<const float*>(a), static_cast<const float*>(b), count);
}

template <typename T>
void attend_of(const T* query, const T* keys, const T* values, std::int64_t stride, int count, std::int64_t width, float scale,
               float* weights, T* out) {
  for (int t = 0; t < count; ++t) weights[t] = dot_of(query, keys + t * stride, width);
  const float total = exponentials(weights, count, scale, scale * largest(weights, count));
  const auto body = [&](std::int64_t d, auto there) {
    Floats sum{};
    for (int t = 0; t < count; ++t) sum += weights[t] * load(values + t * stride + d, there);
    store(out + d, sum / total, there);
  };
  std::int64_t d = 0;
  for (; d + lanes <= width; d += lanes) body(d, AllLanes{});
  if (d < width) body(d, FirstLanes{static_cast<int>(width - d)});
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

extern const AttentionKernels attention_kernels = {softmax, scale_rows, scores_gradient, dot, attend};

}  // namespace temper::cpu::TEMPER_ISA
