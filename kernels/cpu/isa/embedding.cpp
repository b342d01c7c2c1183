#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

template <typename T>
void forward_rows(const EmbeddingRows& a, std::int64_t first, std::int64_t last) {
  constexpr std::int64_t ahead = 2;  // rows of wte lie anywhere, and their cache lines would come one after the other
  for (std::int64_t row = first; row < last; ++row) {
    const T* token = static_cast<const T*>(a.wte) + a.tokens[row] * a.columns;
    const T* position = static_cast<const T*>(a.wpe) + (a.first_position + row % a.sequence_length) * a.columns;
    const T* soon = static_cast<const T*>(a.wte) + a.tokens[row + ahead < last ? row + ahead : row] * a.columns;
    T* out = static_cast<T*>(a.out) + row * a.columns;
    for_registers(a.columns, [&](std::int64_t i, auto part, int) {
      __builtin_prefetch(soon + i);
      store(out + i, load(token + i, part) + load(position + i, part), part);
    });
  }
}

template <typename T>
void backward_columns(const EmbeddingColumns& a, std::int64_t first, std::int64_t last) {
  const std::int64_t width = last - first;
  for (std::int64_t b = 0; b < a.batch; ++b) {
    for (std::int64_t t = 0; t < a.sequence_length; ++t) {
      const std::int64_t row = b * a.sequence_length + t;
      const T* dout = static_cast<const T*>(a.dout) + row * a.columns + first;
      float* dwte = a.dwte + a.tokens[row] * a.columns + first;
      float* dwpe = a.dwpe + t * a.columns + first;
      const bool start = b == 0 && a.overwrite_wpe;
      for_registers(width, [&](std::int64_t i, auto part, int) {
        const Floats gradient = load(dout + i, part);
        store(dwte + i, load(dwte + i, part) + gradient, part);
        store(dwpe + i, start ? gradient : load(dwpe + i, part) + gradient, part);
      });
    }
  }
  if (!a.overwrite_wpe) return;
  for (std::int64_t t = a.sequence_length; t < a.context_length; ++t) {
    float* dwpe = a.dwpe + t * a.columns + first;
    for_registers(width, [&](std::int64_t i, auto part, int) { store(dwpe + i, Floats{}, part); });
  }
}

void forward(const EmbeddingRows& arguments, std::int64_t first, std::int64_t last) {
  if (arguments.type == DType::bf16)
    forward_rows<bfloat16>(arguments, first, last);
  else
    forward_rows<float>(arguments, first, last);
}

void backward(const EmbeddingColumns& arguments, std::int64_t first, std::int64_t last) {
  if (arguments.type == DType::bf16)
    backward_columns<bfloat16>(arguments, first, last);
  else
    backward_columns<float>(arguments, first, last);
}

}  // namespace

const EmbeddingKernels embedding_kernels = {forward, backward};

}  // namespace temper::cpu::TEMPER_ISA
