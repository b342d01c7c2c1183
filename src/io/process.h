// Other programs: found by their names where nobody but the user puts one, and run to their ends.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace temper {

/// The program `name` in the first folder of `path`, the value of PATH, that has it; empty: none has. Folders that are not
/// absolute, such as "." and "", are passed over: in the current folder lies what came with somebody's data.
std::filesystem::path find_program(std::string_view name, std::string_view path);

/// Pointers as exec and posix_spawn want them, which write to none of the texts.
std::vector<char*> exec_pointers(const std::vector<std::string>& texts);

struct Command {
  std::vector<std::string> words;        ///< the program's absolute path, then its arguments
  std::vector<std::string> environment;  ///< NAME=VALUE
  int input = -1;                        ///< descriptors; -1: /dev/null
  int output = -1;
  int errors = -1;
  bool own_group = false;                               ///< Ctrl-C at the terminal does not reach it
  bool in_root = false;                                 ///< works in / and not in the current folder
  std::chrono::minutes limit = std::chrono::hours(24);  ///< after which it is killed
};

/// Runs a program and returns its exit code, or 128 and the signal that ended it, as shells do. One that cannot be started:
/// Error(ExitCode::io).
int run_to_end(const Command& command);

}  // namespace temper
