// Where a program without CUDA types gets NCCL.
#include "distributed/communicator.h"
#include "distributed/nccl/nccl_communicator.h"
#include "io/error.h"

namespace temper {

bool nccl_is_built() { return true; }

std::unique_ptr<Communicator> make_nccl_communicator(const Launch& launch, const std::string& key,
                                                     const CommunicatorSettings& settings, Ops& ops) {
  if (void* const stream = cuda_stream(ops)) return cuda::make_communicator(launch, key, settings, stream);
  std::string reason;
  throw Error(ExitCode::usage, "NCCL moves the memory of GPUs, and this run is on device " + ops.device().backend + " (" +
                                   (cuda_available(&reason) ? "there is a GPU: use device=cuda" : reason) +
                                   "); ranks on CPUs talk through MPI");
}

}  // namespace temper
