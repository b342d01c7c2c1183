// How temper ends: one exit code per kind of failure, and the exception that carries it to main.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace temper {

enum class ExitCode : int {
  ok = 0,
  unexpected = 1,
  usage = 2,       ///< command line or configuration
  data = 3,        ///< texts, shards, tokenizers, tokens
  checkpoint = 4,  ///< missing, damaged, or does not fit the run
  memory = 5,      ///< memory or threads
  numeric = 6,     ///< a loss or gradient that is not finite
  distributed = 7,
  io = 8,      ///< disk full, permission, read error
  saved = 75,  ///< stopped by a signal after a committed checkpoint; run again to go on
};

/// A failure that a user can do something about. The message names the thing, the value, what is allowed and the remedy.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  /// The message as fmt::format makes it.
  template <typename First, typename... Others>
  Error(ExitCode code, fmt::format_string<First, Others...> message, First&& first, Others&&... others)
      : Error(code, fmt::format(message, std::forward<First>(first), std::forward<Others>(others)...)) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

}  // namespace temper
