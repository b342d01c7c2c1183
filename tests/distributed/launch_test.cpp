// What each launcher's environment makes of a process. The values are those that the launchers set: torchrun 2.x, Open MPI 4.1,
// Slurm 22.05 and newer.
#include "distributed/launch.h"

#include <gtest/gtest.h>

#include <map>

#include "io/error.h"

namespace temper {
namespace {

using Variables = std::map<std::string, std::string>;

Launch launch_with(const Variables& variables) {
  return read_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

Variables with(Variables variables, const Variables& changes) {
  for (const auto& [name, value] : changes) variables[name] = value;
  return variables;
}

Variables without(Variables variables, const std::string& name) {
  variables.erase(name);
  return variables;
}

std::string refusal_of(const Variables& variables) {
  try {
    launch_with(variables);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    return error.what();
  }
  return "";
}

void expect_refused(const Variables& variables, const std::string& named) {
  EXPECT_NE(refusal_of(variables).find(named), std::string::npos) << "not refused for " << named << ": " << refusal_of(variables);
}

void expect_ranks(const Launch& launch, std::int64_t rank, std::int64_t size, std::int64_t local_rank, std::int64_t local_size) {
  EXPECT_EQ(launch.rank, rank);
  EXPECT_EQ(launch.size, size);
  EXPECT_EQ(launch.local_rank, local_rank);
  EXPECT_EQ(launch.local_size, local_size);
}

const Variables torchrun = {{"RANK", "5"},        {"WORLD_SIZE", "8"},     {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "4"},
                            {"MASTER_ADDR", "a"}, {"MASTER_PORT", "29500"}};
const Variables open_mpi = {{"OMPI_COMM_WORLD_RANK", "3"},
                            {"OMPI_COMM_WORLD_SIZE", "4"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
const Variables slurm = {{"SLURM_PROCID", "9"},
                         {"SLURM_NTASKS", "11"},
                         {"SLURM_STEP_NUM_TASKS", "11"},
                         {"SLURM_LOCALID", "1"},
                         {"SLURM_NODEID", "2"},
                         {"SLURM_STEP_TASKS_PER_NODE", "4(x2),3"},
                         {"SLURM_STEP_NODELIST", "node[07-08,20]"},
                         {"SLURM_JOB_ID", "123456"},
                         {"SLURM_STEP_ID", "2"}};

TEST(Launch, AProcessWithoutALauncherIsByItself) {
  const Launch launch = launch_with({{"MASTER_ADDR", "left over"}, {"HOME", "/root"}});
  expect_ranks(launch, 0, 1, 0, 1);
  EXPECT_EQ(launch.launcher, "none");
  EXPECT_EQ(launch.address, "");
  EXPECT_EQ(launch.port, 0);
}

TEST(Launch, Torchrun) {
  const Launch launch = launch_with(torchrun);
  expect_ranks(launch, 5, 8, 1, 4);
  EXPECT_EQ(launch.launcher, "torchrun");
  EXPECT_EQ(launch.address, "a");
  EXPECT_EQ(launch.port, 29500);
}

TEST(Launch, ThePortThatTorchrunTookForItselfIsLeftToIt) {
  EXPECT_EQ(launch_with(with(torchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "True"}})).port, 29501);
  EXPECT_EQ(launch_with(with(torchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "False"}})).port, 29500);
  EXPECT_EQ(launch_with(with(torchrun, {{"TORCHELASTIC_USE_AGENT_STORE", "True"}, {"MASTER_PORT", "65535"}})).port, 65534);
}

TEST(Launch, VariablesSetByHandNeedNoLocalOnes) {
  expect_ranks(launch_with(without(without(torchrun, "LOCAL_RANK"), "LOCAL_WORLD_SIZE")), 5, 8, 0, 1);
}

TEST(Launch, OpenMpi) {
  const Launch launch = launch_with(open_mpi);
  expect_ranks(launch, 3, 4, 1, 2);
  EXPECT_EQ(launch.launcher, "Open MPI");
  EXPECT_EQ(launch.address, "");
  EXPECT_EQ(launch.port, 0);
  const Launch placed = launch_with(with(open_mpi, {{"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "1234"}}));
  EXPECT_EQ(placed.address, "10.0.0.1");
  EXPECT_EQ(placed.port, 1234);
}

TEST(Launch, Slurm) {
  const Launch launch = launch_with(slurm);
  expect_ranks(launch, 9, 11, 1, 3);
  EXPECT_EQ(launch.launcher, "Slurm");
  EXPECT_EQ(launch.address, "node07");
  EXPECT_GE(launch.port, 12000);
  EXPECT_LT(launch.port, 32000);
  expect_ranks(launch_with(with(slurm, {{"SLURM_PROCID", "4"}, {"SLURM_NODEID", "1"}, {"SLURM_LOCALID", "0"}})), 4, 11, 0, 4);
}

TEST(Launch, StepsOfOneSlurmJobHavePortsOfTheirOwn) {
  EXPECT_NE(launch_with(slurm).port, launch_with(with(slurm, {{"SLURM_STEP_ID", "3"}})).port);
  EXPECT_NE(launch_with(slurm).port, launch_with(with(slurm, {{"SLURM_JOB_ID", "123457"}})).port);
  EXPECT_EQ(launch_with(slurm).port, launch_with(with(slurm, {{"SLURM_PROCID", "0"}})).port);
  const int last = launch_with(with(slurm, {{"SLURM_JOB_ID", "4294967295"}, {"SLURM_STEP_ID", "4294967295"}})).port;
  EXPECT_GE(last, 12000);
  EXPECT_LT(last, 32000);
}

TEST(Launch, TheFirstOfSlurmsNodes) {
  const auto first = [](const std::string& list) { return launch_with(with(slurm, {{"SLURM_STEP_NODELIST", list}})).address; };
  EXPECT_EQ(first("login"), "login");
  EXPECT_EQ(first("a-1,b[2-3]"), "a-1");
  EXPECT_EQ(first("gpu[012]"), "gpu012");
  EXPECT_EQ(first("gpu[3,5-9]"), "gpu3");
  EXPECT_EQ(first("rack[2-3]n[0-7].site,other"), "rack2n0.site");
  for (const char* list : {"", ",a", "a[1", "a[]", "a[,2]", "a[-2]"})
    expect_refused(with(slurm, {{"SLURM_STEP_NODELIST", list}}), "SLURM_STEP_NODELIST");
}

TEST(Launch, SlurmsListsOfTasksAreChecked) {
  for (const char* list :
       {"", "x", "4(x", "4(x2", "4(x0)", "0", "4,", "4(x2)3", "4;4;4", "4(x2)", "99999999999999999999(x9)", "-4(x3)"})
    expect_refused(with(slurm, {{"SLURM_STEP_TASKS_PER_NODE", list}}), "SLURM_STEP_TASKS_PER_NODE");
}

TEST(Launch, MasterVariablesWinOverSlurm) {
  const Launch launch = launch_with(with(slurm, {{"MASTER_ADDR", "10.1.1.1"}}));
  EXPECT_EQ(launch.address, "10.1.1.1");
  EXPECT_EQ(launch.port, launch_with(slurm).port);
  EXPECT_EQ(launch_with(with(slurm, {{"MASTER_PORT", "77"}})).port, 77);
}

TEST(Launch, TheSecretIsTempersOwnOrThatOfMpirun) {
  EXPECT_EQ(launch_with(torchrun).secret, "");
  EXPECT_EQ(launch_with(with(torchrun, {{"TEMPER_SECRET", "0123456789abcdef"}})).secret, "0123456789abcdef");
  const Variables mpirun = with(open_mpi, {{"OMPI_MCA_orte_precondition_transports", "0123-4567"}});
  EXPECT_EQ(launch_with(mpirun).secret, "0123-4567");
  EXPECT_EQ(launch_with(with(mpirun, {{"TEMPER_SECRET", "0123456789abcdef"}})).secret, "0123456789abcdef");
  // Left over from an mpirun around it, which not all of these ranks need have seen.
  EXPECT_EQ(launch_with(with(slurm, {{"OMPI_MCA_orte_precondition_transports", "0123-4567"}})).secret, "");
  expect_refused(with(torchrun, {{"TEMPER_SECRET", ""}}), "TEMPER_SECRET is empty");
  const std::string refusal = refusal_of(with(torchrun, {{"TEMPER_SECRET", "too short"}}));
  EXPECT_NE(refusal.find("TEMPER_SECRET has fewer than 16"), std::string::npos) << refusal;
  EXPECT_EQ(refusal.find("too short"), std::string::npos) << "a secret is never shown";
}

TEST(Launch, RanksOfOneMachineMeetOnItsLoopbackInterface) {
  EXPECT_EQ(launch_with(with(torchrun, {{"WORLD_SIZE", "8"}, {"LOCAL_WORLD_SIZE", "8"}})).address, "127.0.0.1");
  EXPECT_EQ(launch_with(with(open_mpi, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}})).address, "");  // MPI tells rank 0's place
}

TEST(Launch, ABatchScriptOfSlurmIsByItself) {
  Variables batch = slurm;
  for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_ID"})
    batch.erase(name);
  expect_ranks(launch_with(with(batch, {{"SLURM_PROCID", "0"}})), 0, 1, 0, 1);
}

TEST(Launch, AShellInAStepOfOneTaskIsByItself) {
  // salloc's shell is such a step; SLURM_NTASKS is the job's there.
  const Launch launch = launch_with(with(slurm, {{"SLURM_PROCID", "0"},
                                                 {"SLURM_STEP_NUM_TASKS", "1"},
                                                 {"SLURM_LOCALID", "0"},
                                                 {"SLURM_NODEID", "0"},
                                                 {"SLURM_STEP_TASKS_PER_NODE", "1"}}));
  expect_ranks(launch, 0, 1, 0, 1);
}

TEST(Launch, TheFirstLauncherInTheOrderCounts) {
  EXPECT_EQ(launch_with(with(with(open_mpi, torchrun), slurm)).launcher, "torchrun");
  EXPECT_EQ(launch_with(with(open_mpi, slurm)).launcher, "Open MPI");
}

TEST(Launch, ContradictionsNameVariableAndValue) {
  expect_refused(with(torchrun, {{"RANK", "8"}}), "RANK=8 must be below WORLD_SIZE=8");
  expect_refused(with(torchrun, {{"RANK", "-1"}}), "RANK=-1");
  expect_refused(with(torchrun, {{"RANK", "3x"}}), "RANK=3x");
  expect_refused(with(torchrun, {{"RANK", " 3"}}), "RANK= 3");
  expect_refused(with(torchrun, {{"RANK", ""}}), "RANK is empty");
  expect_refused(with(torchrun, {{"WORLD_SIZE", "0"}}), "WORLD_SIZE=0");
  expect_refused(with(torchrun, {{"WORLD_SIZE", "99999999999999999999"}}), "WORLD_SIZE=99999999999999999999");
  expect_refused(without(torchrun, "RANK"), "WORLD_SIZE=8 is set without RANK");
  expect_refused(without(torchrun, "WORLD_SIZE"), "RANK=5 is set without WORLD_SIZE");
  expect_refused(without(torchrun, "LOCAL_RANK"), "LOCAL_WORLD_SIZE=4 is set without LOCAL_RANK");
  expect_refused(with(torchrun, {{"LOCAL_RANK", "4"}}), "LOCAL_RANK=4 must be below LOCAL_WORLD_SIZE=4");
  expect_refused(with(torchrun, {{"LOCAL_WORLD_SIZE", "9"}}), "9 processes on this machine");
  expect_refused(without(torchrun, "MASTER_ADDR"), "MASTER_PORT is set without MASTER_ADDR");
  expect_refused(without(torchrun, "MASTER_PORT"), "MASTER_ADDR is set without MASTER_PORT");
  expect_refused(with(torchrun, {{"MASTER_PORT", "65536"}}), "MASTER_PORT=65536");
  expect_refused(with(torchrun, {{"MASTER_PORT", "0"}}), "MASTER_PORT=0");
  expect_refused(with(open_mpi, {{"OMPI_COMM_WORLD_RANK", "4"}}), "OMPI_COMM_WORLD_RANK=4");
  expect_refused(without(open_mpi, "OMPI_COMM_WORLD_LOCAL_SIZE"), "OMPI_COMM_WORLD_LOCAL_SIZE");
  expect_refused(with(slurm, {{"SLURM_PROCID", "11"}}), "SLURM_PROCID=11");
  expect_refused(with(slurm, {{"SLURM_LOCALID", "3"}}), "SLURM_LOCALID=3");
  expect_refused(with(slurm, {{"SLURM_NODEID", "3"}}), "SLURM_NODEID");
  expect_refused(without(slurm, "SLURM_JOB_ID"), "SLURM_JOB_ID is not set");
}

}  // namespace
}  // namespace temper
