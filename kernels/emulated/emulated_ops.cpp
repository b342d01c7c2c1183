#include "kernels/emulated/emulated_ops.h"

#include "kernels/cuda/cuda_ops.h"

namespace temper {

std::unique_ptr<Ops> make_emulated_ops(const emulated::Execution& execution) {
  return std::make_unique<emulated::CudaOps>(std::make_unique<emulated::Device>(execution));
}

}  // namespace temper
