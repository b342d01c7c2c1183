#include "kernels/cpu/isa_kernels.h"

#include "kernels/cpu/isa/vector.h"

namespace temper::cpu::TEMPER_ISA {

namespace {

template <typename T>
void forward_rows(const op::EmbeddingForward& args, std::int64_t first, std::int64_t last) {
  constexpr std::int64_t ahead = 2;  // rows of wte lie anywhere, and their cache lines would come one after the other
  const std::int64_t sequence_length = args.tokens.shape[1], columns = args.out.shape.back();
  const auto* const tokens = args.tokens.as<std::int32_t>();
  const T* const wte = args.wte.as<T>();
  const T* const wpe = args.wpe.as<T>() + args.first_position * columns;
  for (std::int64_t row = first; row < last; ++row) {
    const T* token = wte + tokens[row] * columns;
    const T* position = wpe + row % sequence_length * columns;
    const T* soon = wte + tokens[row + ahead < last ? row + ahead : row] * columns;
    T* out = args.out.as<T>() + row * columns;
    for_registers(columns, [&](std::int64_t i, auto part, int) {
      __builtin_prefetch(soon + i);
      store(out + i, load(token + i, part) + load(position + i, part), part);
    });
  }
}

template <typename T>
void backward_columns(const op::EmbeddingBackward& args, std::int64_t first, std::int64_t last) {
  const std::int64_t batch = args.tokens.shape[0], sequence_length = args.tokens.shape[1], columns = args.dout.shape.back();
  const std::int64_t width = last - first;
  const auto* const tokens = args.tokens.as<std::int32_t>();
  const bool overwrite_wpe = args.write_wpe == Write::overwrite;
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t t = 0; t < sequence_length; ++t) {
      const std::int64_t row = b * sequence_length + t;
      const T* dout = args.dout.as<T>() + row * columns + first;
      float* dwte = args.dwte.as<float>() + tokens[row] * columns + first;
      float* dwpe = args.dwpe.as<float>() + t * columns + first;
      const bool start = b == 0 && overwrite_wpe;
      for_registers(width, [&](std::int64_t i, auto part, int) {
        const Floats gradient = load(dout + i, part);
        store(dwte + i, load(dwte + i, part) + gradient, part);
        store(dwpe + i, start ? gradient : load(dwpe + i, part) + gradient, part);
      });
    }
  }
  if (!overwrite_wpe) return;
  for (std::int64_t t = sequence_length; t < args.dwpe.shape[0]; ++t) {
    float* dwpe = args.dwpe.as<float>() + t * columns + first;
    for_registers(width, [&](std::int64_t i, auto part, int) { store(dwpe + i, Floats{}, part); });
  }
}

void forward(const op::EmbeddingForward& args, std::int64_t first, std::int64_t last) {
  with_type(args.out.dtype, [&]<typename T>(T) { forward_rows<T>(args, first, last); });
}

void backward(const op::EmbeddingBackward& args, std::int64_t first, std::int64_t last) {
  with_type(args.dout.dtype, [&]<typename T>(T) { backward_columns<T>(args, first, last); });
}

}  // namespace

const EmbeddingKernels embedding_kernels = {forward, backward};

}  // namespace temper::cpu::TEMPER_ISA
