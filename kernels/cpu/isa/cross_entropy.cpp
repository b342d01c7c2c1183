#include "kernels/cpu/isa_kernels.h"

#include <cmath>

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

// Part of a row whose exponentials are of differences to one reference.
constexpr std::int64_t block = 1024;

// The softmax denominator of a row is total * exp(reference).
struct Softmax {
  float reference;
  double total;
};

struct BlockSum {
  float largest;
  float sum;
};

// The largest of x[i], NaN never, and the sum of exp_at(i, x[i] - reference, lanes there).
template <typename T, typename Exp>
BlockSum sum_of_block(const T* x, std::int64_t width, float reference, const Exp& exp_at) {
  Accumulator largest, sum{};
  for (Floats& part : largest.part) part = broadcast(reference);
  for_registers(width, [&](std::int64_t i, auto part, int turn) {
    __builtin_prefetch(x + block + i);
    const Floats logit = load(x + i, part);
    largest.part[turn] = maximum(keep(logit, part, reference), largest.part[turn]);
    sum.part[turn] += keep(exp_at(i, logit - reference, part), part);
  });
  return {largest.largest(), sum.sum()};
}

// One pass over a row, whose reference is nearly the maximum so far (Milakov & Gimelshein, "Online normalizer calculation for softmax",
// arXiv 1805.02867): a block with a logit well above it, such as the first, is computed again with a new one. Differences stay small,
// and with them the errors of the largest exponentials. references[b] is the one of block b.
template <typename T, typename Exp>
Softmax softmax_of(const T* logits, std::int64_t count, float* references, const Exp& exp_at) {
  Softmax softmax = {-__builtin_inff(), 0.0};
  for (std::int64_t start = 0; start < count; start += block) {
    const auto sum_from = [&](float reference) {
      return sum_of_block(logits + start, count - start < block ? count - start : block, reference,
                          [&](std::int64_t i, Floats difference, auto part) { return exp_at(start + i, difference, part); });
    };
    BlockSum here = sum_from(softmax.reference);
    if (here.largest > softmax.reference + 1.0f) {
      softmax.total *= static_cast<double>(exp(softmax.reference - here.largest));
      softmax.reference = here.largest;
      here = sum_from(softmax.reference);
    }
    references[start / block] = softmax.reference;
    softmax.total += static_cast<double>(here.sum);
  }
  return softmax;
}

template <typename T>
void zero(T* values, std::int64_t count) {
  for_registers(count, [&](std::int64_t i, auto part, int) { store(values + i, Floats{}, part); });
}

// Returns the loss of one row and, when `scale` is not 0, replaces the row by its gradient.
template <typename T>
float row_loss(T* logits, std::int32_t target, float scale, std::int64_t vocab_size, std::int64_t padded_vocab_size,
               float* scratch) {
  const bool ignored = target < 0;
  if (ignored) {
    if (scale != 0.0f) zero(logits, padded_vocab_size);
    return 0.0f;
  }
  const float target_logit = load(logits + target, FirstLanes{1})[0];
  float* const kept = scratch;
  float* const references = scratch + vocab_size;
  const auto loss_of = [&](const Softmax& softmax) {
    return static_cast<float>(static_cast<double>(softmax.reference - target_logit) + std::log(softmax.total));
  };
  if (scale == 0.0f) {
    return loss_of(softmax_of(logits, vocab_size, references,
                              [](std::int64_t, Floats difference, auto) { return exp2(difference * log2_e); }));
  }
  const Softmax softmax = softmax_of(logits, vocab_size, references, [&](std::int64_t i, Floats difference, auto part) {
    const Floats value = exp(difference);
    store(kept + i, value, part);
    return value;
  });
  const float factor = static_cast<float>(static_cast<double>(scale) / softmax.total);
  for (std::int64_t start = 0; start < vocab_size; start += block) {
    const std::int64_t width = vocab_size - start < block ? vocab_size - start : block;
    const float of_block = exp(references[start / block] - softmax.reference) * factor;
    for_registers(
        width, [&](std::int64_t i, auto part, int) { store(logits + start + i, load(kept + start + i, part) * of_block, part); });
  }
  const float at_target = exp(target_logit - softmax.reference) * factor - scale;
  store(logits + target, broadcast(at_target), FirstLanes{1});
  zero(logits + vocab_size, padded_vocab_size - vocab_size);
  return loss_of(softmax);
}

template <typename T>
void loss_of_rows(const op::CrossEntropy& args, std::int64_t first, std::int64_t last, float* scratch) {
  const std::int64_t padded_vocab_size = args.logits.shape.back();
  const auto* const targets = args.targets.as<std::int32_t>();
  float* const losses = args.losses.as<float>();
  for (std::int64_t row = first; row < last; ++row) {
    T* logits = args.logits.as<T>() + row * padded_vocab_size;
    losses[row] = row_loss(logits, targets[row], args.gradient_scale, args.vocab_size, padded_vocab_size, scratch);
  }
}

void rows(const op::CrossEntropy& args, std::int64_t first, std::int64_t last, float* scratch) {
  with_type(args.logits.dtype, [&]<typename T>(T) { loss_of_rows<T>(args, first, last, scratch); });
}

}  // namespace

const CrossEntropyKernels cross_entropy_kernels = {rows, block};

}  // namespace temper::cpu::TEMPER_ISA
