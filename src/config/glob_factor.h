// "GLOB=FACTOR": what tensors of a name are multiplied with (optimizer.decay_factors, optimizer.rate_factors).
#pragma once

#include <optional>
#include <string>

namespace temper {

struct GlobFactor {
  std::string glob;  ///< as fnmatch(3) takes it
  double factor;     ///< finite, at least 0
};

/// What stands before and behind the last '='; nothing where the text is not of that form.
std::optional<GlobFactor> parse_glob_factor(const std::string& text);

}  // namespace temper
