#include "emulated_nccl.h"

#include "distributed/nccl/nccl_communicator.h"
#include "kernels/cuda/cuda_ops.h"

namespace temper {

std::unique_ptr<Communicator> make_emulated_communicator(const Launch& launch, const std::string& key,
                                                         const CommunicatorSettings& settings, Ops& ops) {
  return emulated::make_communicator(launch, key, settings, dynamic_cast<emulated::CudaOps&>(ops).stream().get());
}

}  // namespace temper
