// Stands in for distributed/mpi in builds without MPI.
#include "distributed/communicator.h"
#include "io/error.h"

namespace temper {

bool mpi_is_built() { return false; }

std::unique_ptr<Communicator> make_mpi_communicator(const Launch& /*launch*/, const std::string& /*key*/,
                                                    const CommunicatorSettings& /*settings*/) {
  throw Error(ExitCode::usage,
              "this build of temper has no MPI, which ranks on CPUs talk through: install libopenmpi-dev (scripts/setup.sh does) "
              "and configure again with -DTEMPER_MPI=ON");
}

}  // namespace temper
