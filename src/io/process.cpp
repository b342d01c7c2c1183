#include "io/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "io/error.h"

namespace temper {

namespace fs = std::filesystem;

fs::path find_program(std::string_view name, std::string_view path) {
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find(':', begin), path.size());
    fs::path program = fs::path(path.substr(begin, end - begin)) / name;
    std::error_code absent;
    if (program.is_absolute() && fs::is_regular_file(program, absent) && ::access(program.c_str(), X_OK) == 0) return program;
    begin = end + 1;
  }
  return {};
}

std::vector<char*> exec_pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

int run_to_end(const Command& command) {
  const std::string& program = command.words.front();
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  const int streams[] = {command.input, command.output, command.errors};
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    if (streams[stream] >= 0) {
      ::posix_spawn_file_actions_adddup2(&files, streams[stream], stream);
    } else {
      ::posix_spawn_file_actions_addopen(&files, stream, "/dev/null", stream == STDIN_FILENO ? O_RDONLY : O_WRONLY, 0);
    }
  }
  if (command.in_root) ::posix_spawn_file_actions_addchdir_np(&files, "/");
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t defaults;
  ::sigemptyset(&defaults);
  ::sigaddset(&defaults, SIGPIPE);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  const int group = command.own_group ? POSIX_SPAWN_SETPGROUP : 0;
  ::posix_spawnattr_setflags(&attributes, static_cast<short>(group | POSIX_SPAWN_SETSIGDEF));

  pid_t process = 0;
  const int failed = ::posix_spawn(&process, program.c_str(), &files, &attributes, exec_pointers(command.words).data(),
                                   exec_pointers(command.environment).data());
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (failed != 0) throw Error(ExitCode::io, program + " could not be started: " + std::strerror(failed));
  const auto begin = std::chrono::steady_clock::now();
  int status = 0;
  for (pid_t ended = 0; ended != process; ended = ::waitpid(process, &status, WNOHANG)) {
    if (ended < 0 && errno != EINTR) throw Error(ExitCode::io, "the end of " + program + " got lost: " + std::strerror(errno));
    if (std::chrono::steady_clock::now() - begin > command.limit) ::kill(process, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace temper
