// Stands in for distributed/nccl in builds without NCCL.
#include "distributed/communicator.h"
#include "io/error.h"

namespace temper {

bool nccl_is_built() { return false; }

std::unique_ptr<Communicator> make_nccl_communicator(const Launch& /*launch*/, const std::string& /*key*/,
                                                     const CommunicatorSettings& /*settings*/, Ops& /*ops*/) {
  throw Error(ExitCode::usage,
              "this build of temper has no NCCL, which ranks on GPUs talk through: build where the CUDA toolkit and NCCL are "
              "installed (libnccl-dev, or pip install nvidia-nccl-cu13), with -DTEMPER_NCCL=ON");
}

}  // namespace temper
