// Who this process is among those that train together, from what its launcher put into the environment. The one place beside cli
// that reads the environment.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace temper {

struct Launch {
  std::int64_t rank = 0, size = 1;              ///< of all processes
  std::int64_t local_rank = 0, local_size = 1;  ///< of those on this machine
  /// Where rank 0 is met before there is a communicator: a name or an address, or several with commas between them, best first.
  /// Empty and 0 where the launcher names no place and MPI must tell.
  std::string address;
  int port = 0;
  std::string launcher;  ///< "Open MPI", "Slurm", "torchrun", or "none" for a process by itself
  /// What all ranks of the run know and no stranger; empty where nobody told them. Nothing may print or store it.
  std::string secret = {};
};

/// Reads, in this order: torchrun's RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT; mpirun's
/// OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE; srun's SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID,
/// SLURM_STEP_TASKS_PER_NODE at SLURM_NODEID, with rank 0 on the first of SLURM_STEP_NODELIST and a port made from SLURM_JOB_ID and
/// SLURM_STEP_ID. MASTER_ADDR and MASTER_PORT win over what a launcher implies. Where torchrun keeps a server of its own at
/// MASTER_PORT (TORCHELASTIC_USE_AGENT_STORE=True), rank 0 is at the port after it. A process of a batch script that srun did not
/// start is by itself (Slurm sets SLURM_PROCID=0 there as well, but no SLURM_STEP_NODELIST).
/// The secret is TEMPER_SECRET, of 16 characters at least, or what mpirun made up for its processes
/// (OMPI_MCA_orte_precondition_transports). Ranks that are all on one machine meet on its loopback interface.
/// Contradictions (a rank not below the size, text that is no number, a size without a rank): Error(ExitCode::usage) naming
/// variable and value. `variable` returns a variable's value or null.
Launch read_launch(const std::function<const char*(const char*)>& variable);
Launch read_launch();

}  // namespace temper
