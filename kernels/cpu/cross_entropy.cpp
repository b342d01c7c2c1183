#include "kernels/cpu/cross_entropy.h"

#include "kernels/cpu/parallel.h"

namespace temper::cpu {

void cross_entropy(TensorView logits, ConstTensorView targets, std::int64_t vocab_size, float gradient_scale, TensorView losses) {
  const std::int64_t padded = logits.shape.back();
  const CrossEntropy arguments = {logits.dtype,      vocab_size, padded, gradient_scale, logits.data, targets.as<std::int32_t>(),
                                  losses.as<float>()};
  const CrossEntropyKernels& kernels = cross_entropy_kernels();
  parallel_blocks(logits.shape.rows(), rows_per_block(padded),
                  [&](std::int64_t first, std::int64_t last) { kernels.rows(arguments, first, last); });
}

}  // namespace temper::cpu
