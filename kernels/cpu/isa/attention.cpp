#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

inline int visible(const ScoreBlock& block, int row) { return block.causal && row + 1 < block.columns ? row + 1 : block.columns; }

void clear(float* row, int first, int end) {
  for (int c = first; c < end; ++c) row[c] = 0.0f;
}

// Largest scaled score of a row.
float largest(const float* row, int count, float scale) {
  Floats best = broadcast(row[0]);
  int c = 0;
  for (; c + lanes <= count; c += lanes) best = maximum(best, load(row + c, AllLanes{}));
  float result = maximum_of_lanes(best);
  for (; c < count; ++c) result = row[c] > result ? row[c] : result;
  return result * scale;
}

// Scores of a row become exp(scale s - shift); returns their sum.
float exponentials(float* row, int count, float scale, float shift) {
  Floats sum{};
  int c = 0;
  for (; c + lanes <= count; c += lanes) {
    const Floats p = exp(load(row + c, AllLanes{}) * scale - shift);
    store(row + c, p, AllLanes{});
    sum += p;
  }
  if (c < count) {
    const FirstLanes part{count - c};
    const Floats p = keep(exp(load(row + c, part) * scale - shift), part);
    store(row + c, p, part);
    sum += p;
  }
  return sum_of_lanes(sum);
}

void scale_row(float* row, float factor, int width) {
  for (int d = 0; d < width; ++d) row[d] *= factor;
}

void softmax_step(const ScoreBlock& block, float* maximum_so_far, float* total, float* out, int width) {
  for (int r = 0; r < block.rows; ++r) {
    float* row = block.scores + r * block.stride;
    const int count = visible(block, r);
    const float before = maximum_so_far[r];
    const float here = largest(row, count, block.scale);
    const float now = here > before ? here : before;
    const float sum = exponentials(row, count, block.scale, now);
    clear(row, count, block.columns);
    if (now != before) {
      const float factor = exp(broadcast(before - now))[0];
      total[r] *= factor;
      scale_row(out + static_cast<std::int64_t>(r) * width, factor, width);
      maximum_so_far[r] = now;
    }
    total[r] += sum;
  }
}

void scale_rows(float* out, const float* factors, int rows, int width) {
  for (int r = 0; r < rows; ++r) scale_row(out + static_cast<std::int64_t>(r) * width, factors[r], width);
}

void scores_gradient(const ScoreBlock& block, float* gradients, const float* lse, const float* delta) {
  for (int r = 0; r < block.rows; ++r) {
    float* score = block.scores + r * block.stride;
    float* gradient = gradients + r * block.stride;
    const int count = visible(block, r);
    const auto body = [&](int c, auto there) {
      const Floats p = exp(load(score + c, there) * block.scale - lse[r]);
      store(score + c, p, there);
      store(gradient + c, p * (load(gradient + c, there) - delta[r]) * block.scale, there);
    };
    int c = 0;
    for (; c + lanes <= count; c += lanes) body(c, AllLanes{});
    if (c < count) body(c, FirstLanes{count - c});
    clear(score, count, block.columns);
    clear(gradient, count, block.columns);
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
  const float total = exponentials(weights, count, scale, largest(weights, count, scale));
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

extern const AttentionKernels attention_kernels = {softmax_step, scale_rows, scores_gradient, dot, attend};

}  // namespace temper::cpu::TEMPER_ISA
