#include "kernels/cpu/isa_kernels.h"

#include <cmath>

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

// Part of a row that stays in the first-level cache between finding its maximum and summing its exponentials.
constexpr std::int64_t block = 2048;

// The softmax denominator of a row is total * exp(maximum).
struct Softmax {
  float maximum;
  double total;
};

// One pass over memory: the sum so far is rescaled whenever a block brings a new maximum (Milakov & Gimelshein,
// "Online normalizer calculation for softmax", arXiv 1805.02867). NaN never becomes the maximum, but stays in the sum. Where they are
// to be `kept`, exponentials are of differences to the maximum so far, and maxima[b] is that of block b.
template <typename T>
Softmax softmax_of(const T* logits, std::int64_t count, float* kept, float* maxima) {
  const float lowest = -__builtin_inff();
  Softmax softmax = {lowest, 0.0};
  for (std::int64_t start = 0; start < count; start += block) {
    const T* x = logits + start;
    const std::int64_t width = count - start < block ? count - start : block;

    Accumulator largest;
    for (Floats& part : largest.part) part = broadcast(softmax.maximum);
    for_registers(width, [&](std::int64_t i, auto part, int turn) {
      largest.part[turn] = maximum(keep(load(x + i, part), part, lowest), largest.part[turn]);
    });
    const float new_maximum = largest.largest();
    softmax.total *= static_cast<double>(exp(softmax.maximum - new_maximum));
    softmax.maximum = new_maximum;

    Accumulator sum{};
    const auto add = [&](const auto& keep_it) {
      for_registers(width, [&](std::int64_t i, auto part, int turn) {
        __builtin_prefetch(x + block + i);  // the next block comes while this one is computed
        const Floats value = keep(exp(load(x + i, part) - new_maximum), part);
        keep_it(i, value, part);
        sum.part[turn] += value;
      });
    };
    if (kept == nullptr) {
      add([](std::int64_t, Floats, auto) {});
    } else {
      maxima[start / block] = new_maximum;
      add([to = kept + start](std::int64_t i, Floats value, auto part) { store(to + i, value, part); });
    }
    softmax.total += static_cast<double>(sum.sum());
  }
  return softmax;
}

template <typename T>
void zero(T* values, std::int64_t count) {
  for_registers(count, [&](std::int64_t i, auto part, int) { store(values + i, Floats{}, part); });
}

// Where a row's exponentials are kept until their sum is known: in place where that rounds nothing.
float* place_of(float* logits, float*) { return logits; }
float* place_of(bfloat16*, float* scratch) { return scratch; }

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
  float* const kept = scale == 0.0f ? nullptr : place_of(logits, scratch);
  float* const maxima = scratch + vocab_size;
  const Softmax softmax = softmax_of(logits, vocab_size, kept, maxima);
  const double loss = static_cast<double>(softmax.maximum - target_logit) + std::log(softmax.total);
  if (scale == 0.0f) return static_cast<float>(loss);

  const float factor = static_cast<float>(static_cast<double>(scale) / softmax.total);
  for (std::int64_t start = 0; start < vocab_size; start += block) {
    const std::int64_t width = vocab_size - start < block ? vocab_size - start : block;
    const float of_block = exp(maxima[start / block] - softmax.maximum) * factor;
    for_registers(
        width, [&](std::int64_t i, auto part, int) { store(logits + start + i, load(kept + start + i, part) * of_block, part); });
  }
  const float at_target = exp(target_logit - softmax.maximum) * factor - scale;
  store(logits + target, broadcast(at_target), FirstLanes{1});
  zero(logits + vocab_size, padded_vocab_size - vocab_size);
  return static_cast<float>(loss);
}

template <typename T>
void loss_of_rows(const CrossEntropyRows& a, std::int64_t first, std::int64_t last, float* scratch) {
  for (std::int64_t row = first; row < last; ++row) {
    T* logits = static_cast<T*>(a.logits) + row * a.padded_vocab_size;
    a.losses[row] = row_loss(logits, a.targets[row], a.gradient_scale, a.vocab_size, a.padded_vocab_size, scratch);
  }
}

void rows(const CrossEntropyRows& arguments, std::int64_t first, std::int64_t last, float* scratch) {
  if (arguments.type == DType::bf16)
    loss_of_rows<bfloat16>(arguments, first, last, scratch);
  else
    loss_of_rows<float>(arguments, first, last, scratch);
}

}  // namespace

const CrossEntropyKernels cross_entropy_kernels = {rows, block};

}  // namespace temper::cpu::TEMPER_ISA
