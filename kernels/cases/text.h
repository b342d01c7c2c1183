// Joins its arguments into the text that describes a case's shape.
#pragma once

#include <sstream>
#include <string>

namespace temper {

template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream all;
  (all << ... << parts);
  return all.str();
}

}  // namespace temper
