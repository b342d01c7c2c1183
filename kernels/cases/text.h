// Joins its arguments into the text that describes a case's shape.
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>

namespace temper {

/// One argument; numbers with up to six digits, as streams write them.
struct TextPart {
  TextPart(const char* part) : text(part) {}
  TextPart(const std::string& part) : text(part) {}
  TextPart(std::integral auto number) : text(std::to_string(number)) {}
  TextPart(double number);
  std::string text;
};
std::string joined(std::initializer_list<TextPart> parts);

std::string text(const auto&... parts) { return joined({TextPart(parts)...}); }

}  // namespace temper
