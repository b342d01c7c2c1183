#include "distributed/launch.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "io/error.h"

namespace temper {
namespace {

constexpr std::int64_t max_processes = 1'000'000;
constexpr std::int64_t max_identifier = 4'294'967'295;  // Slurm counts jobs and steps in 32 bits

/// The environment as typed values. Whatever is wrong is an Error(ExitCode::usage) that names variable and value.
class Environment {
 public:
  explicit Environment(const std::function<const char*(const char*)>& variable) : variable_(variable) {}

  bool has(const char* name) const { return variable_(name) != nullptr; }

  std::string text(const char* name) const {
    const char* value = variable_(name);
    if (value == nullptr) fail(std::string(name) + " is not set");
    if (*value == '\0') fail(std::string(name) + " is empty");
    return value;
  }

  std::int64_t number(const char* name, std::int64_t least, std::int64_t most) const {
    const std::string value = text(name);
    std::int64_t number = 0;
    const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (problem != std::errc() || end != value.data() + value.size() || number < least || number > most)
      fail(std::string(name) + "=" + value + " is no whole number from " + std::to_string(least) + " to " + std::to_string(most));
    return number;
  }

  /// `rank_name` and `size_name` hold a rank and the number there is of them.
  void ranks(const char* rank_name, const char* size_name, std::int64_t& rank, std::int64_t& size) const {
    for (const auto& [one, other] : {std::pair(rank_name, size_name), std::pair(size_name, rank_name)})
      if (!has(one)) fail(std::string(other) + "=" + text(other) + " is set without " + one);
    size = number(size_name, 1, max_processes);
    rank = number(rank_name, 0, max_processes);
    if (rank >= size)
      fail(std::string(rank_name) + "=" + std::to_string(rank) + " must be below " + size_name + "=" + std::to_string(size));
  }

  [[noreturn]] static void fail(const std::string& what) {
    throw Error(ExitCode::usage,
                "the launcher's environment: " + what +
                    "; start all ranks with one mpirun, srun or torchrun, or unset what is left over from another");
  }

 private:
  const std::function<const char*(const char*)>& variable_;
};

/// The first name of a Slurm list: "node[07-12,20],login" is node07, "rack[2-3]n[0-7]" is rack2n0.
std::string first_node(const std::string& list) {
  std::string name;
  for (std::size_t at = 0; at < list.size() && list[at] != ','; ++at) {
    if (list[at] != '[') {
      name += list[at];
      continue;
    }
    const std::size_t end = list.find(']', at);
    const std::size_t length = list.find_first_of("-,]", at) - at - 1;
    if (end == std::string::npos || length == 0) Environment::fail("SLURM_STEP_NODELIST=" + list + " is no list of nodes");
    name += list.substr(at + 1, length);
    at = end;
  }
  if (name.empty()) Environment::fail("SLURM_STEP_NODELIST=" + list + " is no list of nodes");
  return name;
}

/// Tasks of the node with this number, from the node on counted, in a list as "4(x2),3".
std::int64_t tasks_of_node(const std::string& list, std::int64_t node) {
  std::string_view rest = list;
  const auto number_and = [&](std::string_view ending) {
    std::int64_t number = 0;
    const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (problem != std::errc() || number < 1) Environment::fail("SLURM_STEP_TASKS_PER_NODE=" + list + " is no list of numbers");
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    if (!rest.starts_with(ending)) Environment::fail("SLURM_STEP_TASKS_PER_NODE=" + list + " is no list of numbers");
    rest.remove_prefix(ending.size());
    return number;
  };
  while (true) {
    const std::int64_t tasks = number_and("");
    std::int64_t nodes = 1;
    if (rest.starts_with("(x")) {
      rest.remove_prefix(2);
      nodes = number_and(")");
    }
    if (node < nodes) return tasks;
    node -= nodes;
    if (!rest.starts_with(","))
      Environment::fail("SLURM_STEP_TASKS_PER_NODE=" + list + " has no entry for SLURM_NODEID, or is no list of numbers");
    rest.remove_prefix(1);
  }
}

/// All ranks make the same port from what identifies the job step. Below the ports that Linux gives to outgoing connections.
int port_of_step(std::int64_t job, std::int64_t step) { return static_cast<int>(12000 + (job * 31 + step) % 20000); }

void read_place(const Environment& environment, Launch& launch) {
  if (environment.has("MASTER_ADDR")) launch.address = environment.text("MASTER_ADDR");
  if (environment.has("MASTER_PORT")) launch.port = static_cast<int>(environment.number("MASTER_PORT", 1, 65535));
  if (launch.address.empty() != (launch.port == 0))
    Environment::fail(launch.port == 0 ? "MASTER_ADDR is set without MASTER_PORT" : "MASTER_PORT is set without MASTER_ADDR");
}

void read_torchrun(const Environment& environment, Launch& launch) {
  launch.launcher = "torchrun";
  environment.ranks("RANK", "WORLD_SIZE", launch.rank, launch.size);
  if (environment.has("LOCAL_RANK") || environment.has("LOCAL_WORLD_SIZE"))
    environment.ranks("LOCAL_RANK", "LOCAL_WORLD_SIZE", launch.local_rank, launch.local_size);
  read_place(environment, launch);
  // torchrun's agent listens at MASTER_PORT itself then, for the store of torch.distributed.
  if (environment.has("TORCHELASTIC_USE_AGENT_STORE") && environment.text("TORCHELASTIC_USE_AGENT_STORE") == "True" &&
      launch.port > 0)
    launch.port = launch.port == 65535 ? 65534 : launch.port + 1;
}

void read_open_mpi(const Environment& environment, Launch& launch) {
  launch.launcher = "Open MPI";
  environment.ranks("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", launch.rank, launch.size);
  // 128 random bits of mpirun for each run: what networks of its own ask for before they take a process for one of this run.
  if (environment.has("OMPI_MCA_orte_precondition_transports"))
    launch.secret = environment.text("OMPI_MCA_orte_precondition_transports");
  environment.ranks("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", launch.local_rank, launch.local_size);
  read_place(environment, launch);
}

void read_slurm(const Environment& environment, Launch& launch) {
  launch.launcher = "Slurm";
  // SLURM_NTASKS can be the job's number in a step that has fewer tasks, as the shell of salloc.
  environment.ranks("SLURM_PROCID", environment.has("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS", launch.rank,
                    launch.size);
  launch.local_size =
      tasks_of_node(environment.text("SLURM_STEP_TASKS_PER_NODE"), environment.number("SLURM_NODEID", 0, max_processes));
  launch.local_rank = environment.number("SLURM_LOCALID", 0, launch.local_size - 1);
  launch.address = first_node(environment.text("SLURM_STEP_NODELIST"));
  launch.port =
      port_of_step(environment.number("SLURM_JOB_ID", 0, max_identifier), environment.number("SLURM_STEP_ID", 0, max_identifier));
  read_place(environment, launch);
}

}  // namespace

Launch read_launch(const std::function<const char*(const char*)>& variable) {
  const Environment environment(variable);
  Launch launch;
  if (environment.has("RANK") || environment.has("WORLD_SIZE"))
    read_torchrun(environment, launch);
  else if (environment.has("OMPI_COMM_WORLD_RANK") || environment.has("OMPI_COMM_WORLD_SIZE"))
    read_open_mpi(environment, launch);
  else if (environment.has("SLURM_STEP_NODELIST"))
    read_slurm(environment, launch);
  else
    launch.launcher = "none";
  if (environment.has("TEMPER_SECRET")) {
    launch.secret = environment.text("TEMPER_SECRET");
    // The value is no part of the message.
    if (launch.secret.size() < 16) Environment::fail("TEMPER_SECRET has fewer than 16 characters");
  }
  if (launch.size > 1 && launch.size == launch.local_size && !launch.address.empty()) launch.address = "127.0.0.1";
  if (launch.local_size > launch.size)
    Environment::fail(std::to_string(launch.local_size) + " processes on this machine, but only " + std::to_string(launch.size) +
                      " in all");
  return launch;
}

Launch read_launch() {
  return read_launch([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace temper
