// Other programs: found by their names where nobody but the user puts one, started, and waited for.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace temper {

/// The program `name` in the first folder of `path`, the value of PATH, that has it; empty: none has. Folders that are not
/// absolute, such as "." and "", are passed over: in the current folder lies what came with somebody's data.
std::filesystem::path find_program(std::string_view name, std::string_view path);

/// `text` as one word of a shell, on one line and printable, so that it may stand in a comment and on a page: what is not goes into
/// $'...', which bash and zsh read.
std::string shell_word(std::string_view text);

struct Command {
  std::vector<std::string> words;             ///< the program's absolute path, then its arguments
  std::vector<std::string> environment = {};  ///< NAME=VALUE
  int input = -1;                             ///< descriptors; -1: /dev/null
  int output = -1;
  int errors = -1;
  bool own_group = false;                               ///< Ctrl-C at the terminal does not reach it
  bool in_root = false;                                 ///< works in / and not in the current folder
  std::chrono::minutes limit = std::chrono::hours(24);  ///< after which run_to_end() kills it
  std::string called = {};                              ///< what it finds as its own name; empty: its path
  bool ends_with_us = false;  ///< gets SIGTERM when the thread that started it ends, and ignores no signal that asks to stop
};

struct ProcessEnd {
  int exit_code = 0;
  int signal = 0;  ///< that ended it; 0: it ended by itself
};

/// Returns when the program runs. One that cannot be started: Error(ExitCode::io).
pid_t start_program(const Command& command);
/// How a process that start_program() returned has ended; none while it runs. To be asked no more once it was told.
std::optional<ProcessEnd> process_end(pid_t process);

/// Runs a program and returns its exit code, or 128 and the signal that ended it, as shells do. One that cannot be started:
/// Error(ExitCode::io).
int run_to_end(const Command& command);

}  // namespace temper
