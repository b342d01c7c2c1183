#include "io/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "io/descriptor.h"
#include "io/error.h"
#include "io/text.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

/// Pointers as exec wants them, which writes to none of the texts.
std::vector<char*> exec_pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

/// The new process between fork and exec, where nothing may allocate or lock. Returns when a call has failed, with errno set.
void become(const Command& command, char* const* words, char* const* environment, int nothing, pid_t parent) {
  if (command.own_group) ::setpgid(0, 0);
  std::signal(SIGPIPE, SIG_DFL);
  if (command.ends_with_us) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) std::signal(signal, SIG_DFL);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(static_cast<int>(ExitCode::saved));  // it has ended already
  }
  const int streams[] = {command.input, command.output, command.errors};
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    const int from = streams[stream] >= 0 ? streams[stream] : nothing;
    if (::dup2(from, stream) < 0 || ::fcntl(stream, F_SETFD, 0) < 0) return;
  }
  if (command.in_root && ::chdir("/") != 0) return;
  ::execve(command.words.front().c_str(), words, environment);
}

}  // namespace

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

std::string shell_word(std::string_view text) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+:.,/%@";
  if (!text.empty() && text.find_first_not_of(plain) == std::string_view::npos) return std::string(text);
  std::string word = "'", printable = "$'";
  bool is_printable = true;
  while (!text.empty()) {
    const Character next = first_character(text);
    is_printable &= next.printable;
    word += next.bytes == "'" ? "'\\''" : next.bytes;
    for (const char c : next.bytes) {
      if (c == '\'' || c == '\\') printable += '\\';
      printable += next.printable ? std::string(1, c) : fmt::format("\\{:03o}", static_cast<unsigned char>(c));
    }
    text.remove_prefix(next.bytes.size());
  }
  return (is_printable ? word : printable) + "'";
}

pid_t start_program(const Command& command) {
  std::vector<char*> words = exec_pointers(command.words);
  const std::vector<char*> environment = exec_pointers(command.environment);
  if (!command.called.empty()) words.front() = const_cast<char*>(command.called.c_str());
  const Descriptor nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  int ends[2] = {-1, -1};
  int failed = nothing && ::pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno;
  const Descriptor told(ends[0]);
  Descriptor tell(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t process = failed == 0 ? ::fork() : -1;
  if (process == 0) {
    become(command, words.data(), environment.data(), nothing.get(), parent);
    failed = errno;
    ::_exit(::write(tell.get(), &failed, sizeof(failed)) == sizeof(failed) ? 127 : 126);
  }
  if (process < 0 && failed == 0) failed = errno;
  tell.reset();
  // The pipe closes when the program begins.
  while (process > 0 && ::read(told.get(), &failed, sizeof(failed)) < 0 && errno == EINTR) continue;
  if (failed == 0) return process;
  if (process > 0) ::waitpid(process, nullptr, 0);
  const bool too_many = process < 0 && failed == EAGAIN;
  throw Error(ExitCode::io, "{} could not be started: {}{}", command.words.front(), std::strerror(failed),
              too_many ? "; run fewer at once, or raise the limit on processes (ulimit -u)" : "");
}

std::optional<ProcessEnd> process_end(pid_t process) {
  int status = 0;
  const pid_t ended = ::waitpid(process, &status, WNOHANG);
  if (ended == 0 || (ended < 0 && errno == EINTR)) return std::nullopt;
  if (ended < 0) throw Error(ExitCode::io, "the end of process " + std::to_string(process) + " got lost: " + std::strerror(errno));
  return WIFSIGNALED(status) ? ProcessEnd{0, WTERMSIG(status)} : ProcessEnd{WEXITSTATUS(status), 0};
}

int run_to_end(const Command& command) {
  const pid_t process = start_program(command);
  const auto begin = std::chrono::steady_clock::now();
  while (true) {
    if (const std::optional<ProcessEnd> end = process_end(process)) return end->signal != 0 ? 128 + end->signal : end->exit_code;
    if (std::chrono::steady_clock::now() - begin > command.limit) ::kill(process, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace temper
