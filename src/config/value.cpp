#include "config/value.h"

#include <nlohmann/json.hpp>
#include <type_traits>

namespace temper {

std::string to_text(const Value& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::vector<Value>>) {
          std::string text = "[";
          for (const Value& element : held) text += (text.size() > 1 ? ", " : "") + to_text(element);
          return text + "]";
        } else {
          return nlohmann::json(held).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
        }
      },
      value.data);
}

bool is_utf8(const std::string& text) {
  try {
    nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

}  // namespace temper
