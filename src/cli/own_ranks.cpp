#include "cli/own_ranks.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>

#include "cli/commands.h"
#include "io/descriptor.h"
#include "io/file.h"
#include "kernels/machine.h"
#include "train/signals.h"

namespace temper {

namespace {

/// The command line without `--ranks N`, which begins with the program's path.
std::vector<std::string> own_words() {
  std::vector<std::string> words;
  std::istringstream line(read_file("/proc/self/cmdline"));
  for (std::string word; std::getline(line, word, '\0');) words.push_back(word);
  words.at(0) = std::filesystem::read_symlink("/proc/self/exe").string();
  for (auto word = words.begin(); word != words.end();)
    if (*word == "--ranks")
      word = words.erase(word, word + std::min<std::ptrdiff_t>(2, words.end() - word));
    else
      word = word->starts_with("--ranks=") ? words.erase(word) : word + 1;
  return words;
}

/// Without a number of threads that this process was given for itself: ranks share the processors.
std::vector<std::string> environment_of_ranks() {
  std::vector<std::string> all = environment();
  std::erase(all, "OMP_NUM_THREADS=" + std::to_string(usable_processors()));
  return all;
}

int free_port() {
  const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (!listener || ::bind(listener.get(), any, length) != 0 || ::getsockname(listener.get(), any, &length) != 0)
    throw Error(ExitCode::distributed, "--ranks: there is no port of 127.0.0.1 to be had: {}", std::strerror(errno));
  return ntohs(address.sin_port);
}

std::string new_secret() {
  std::array<unsigned char, 16> random;
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    throw Error(ExitCode::distributed, "--ranks: the system gives no random numbers: {}", std::strerror(errno));
  std::string text;
  for (const unsigned char byte : random) text += fmt::format("{:02x}", byte);
  return text;
}

[[noreturn]] void become_mpirun(std::int64_t ranks) {
  const char* path = std::getenv("PATH");
  const std::filesystem::path mpirun = find_program("mpirun", path == nullptr ? "" : path);
  if (mpirun.empty())
    throw Error(ExitCode::usage,
                "--ranks {}: ranks on CPUs talk through MPI, and there is no mpirun on the PATH; install Open MPI (Debian: "
                "openmpi-bin), or leave --ranks out: one process uses all processors",
                ranks);
  // Ranks share processors as temper divides them, and there may be more of them than mpirun would start by itself.
  std::vector<std::string> words = {mpirun.string(), "--bind-to", "none", "--oversubscribe", "-n", std::to_string(ranks)};
  for (const std::string& word : own_words()) words.push_back(word);
  std::vector<std::string> variables = environment_of_ranks();
  const auto pointers = [](std::vector<std::string>& all) {
    std::vector<char*> each(all.size() + 1);  // the last stays null
    std::transform(all.begin(), all.end(), each.begin(), [](std::string& one) { return one.data(); });
    return each;
  };
  std::fflush(nullptr);
  ::execve(mpirun.c_str(), pointers(words).data(), pointers(variables).data());
  throw Error(ExitCode::io, "--ranks {}: {} does not start: {}", ranks, mpirun.string(), std::strerror(errno));
}

}  // namespace

Command rank_command(const std::vector<std::string>& words, const std::vector<std::string>& environment, std::int64_t rank,
                     std::int64_t ranks, int port, const std::string& secret) {
  const std::vector<std::string> own = {fmt::format("RANK={}", rank),
                                        fmt::format("WORLD_SIZE={}", ranks),
                                        fmt::format("LOCAL_RANK={}", rank),
                                        fmt::format("LOCAL_WORLD_SIZE={}", ranks),
                                        "MASTER_ADDR=127.0.0.1",
                                        fmt::format("MASTER_PORT={}", port),
                                        "TORCHELASTIC_USE_AGENT_STORE=False",
                                        "TEMPER_SECRET=" + secret};
  Command command;
  command.words = words;
  command.environment = own;
  for (const std::string& variable : environment) {
    const auto is_same = [&](const std::string& one) { return variable.starts_with(one.substr(0, one.find('=') + 1)); };
    if (std::none_of(own.begin(), own.end(), is_same)) command.environment.push_back(variable);
  }
  command.input = rank == 0 ? STDIN_FILENO : -1;
  command.output = STDOUT_FILENO;
  command.errors = STDERR_FILENO;
  command.own_group = command.ends_with_us = true;
  command.called = "temper";
  return command;
}

int exit_code_of(const std::vector<ProcessEnd>& ranks) {
  constexpr int lost = static_cast<int>(ExitCode::distributed), saved = static_cast<int>(ExitCode::saved);
  const auto has = [&](int code) {
    return std::any_of(ranks.begin(), ranks.end(), [&](const ProcessEnd& end) { return end.signal == 0 && end.exit_code == code; });
  };
  for (const ProcessEnd& end : ranks)
    if (end.signal == 0 && end.exit_code != 0 && end.exit_code != lost && end.exit_code != saved) return end.exit_code;
  if (has(lost) || std::any_of(ranks.begin(), ranks.end(), [](const ProcessEnd& end) { return end.signal != 0; })) return lost;
  return has(saved) ? saved : 0;
}

int run_own_ranks(std::int64_t ranks, bool on_gpus) {
  if (!on_gpus) become_mpirun(ranks);
  const std::vector<std::string> words = own_words(), variables = environment_of_ranks();
  const int port = free_port();
  const std::string secret = new_secret();
  std::vector<pid_t> processes;
  std::vector<std::optional<ProcessEnd>> ends(static_cast<std::size_t>(ranks));
  const auto tell_all = [&](int signal) {
    for (std::size_t rank = 0; rank < processes.size(); ++rank)
      if (!ends[rank]) ::kill(processes[rank], signal);
  };
  try {
    for (std::int64_t rank = 0; rank < ranks; ++rank)
      processes.push_back(start_program(rank_command(words, variables, rank, ranks, port, secret)));
  } catch (...) {
    tell_all(SIGKILL);
    throw;
  }
  for (bool told = false; std::any_of(ends.begin(), ends.end(), [](const auto& end) { return !end; });) {
    if (StopSignals::requested() && !told) {
      told = true;
      tell_all(SIGTERM);  // on which they save
    }
    for (std::size_t rank = 0; rank < ends.size(); ++rank)
      if (!ends[rank]) ends[rank] = process_end(processes[rank]);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  std::vector<ProcessEnd> all(ends.size());
  std::transform(ends.begin(), ends.end(), all.begin(), [](const std::optional<ProcessEnd>& end) { return end.value(); });
  return exit_code_of(all);
}

}  // namespace temper
