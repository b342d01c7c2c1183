#include "io/json.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "io/file.h"
#include "io/text.h"

namespace temper {

namespace {

struct NotJson : std::runtime_error {
  NotJson(std::size_t place, const std::string& why) : std::runtime_error(why), at(place) {}
  std::size_t at;  // bytes from the beginning; npos where it is not known
};

/// nlohmann's own words for what is wrong, without its numbers: "[json.exception.parse_error.101] parse error at line 1, column 2:
/// syntax error ...". They quote what was read, at any length.
std::string reason_of(const nlohmann::detail::exception& error) {
  const std::string_view why = error.what();
  const std::size_t name = why.find("] "), place = why.find(": ");
  if (place != std::string::npos && why.find("line ") < place) return shown(why.substr(place + 2));
  return shown(name == std::string::npos ? why : why.substr(name + 2));
}

/// Looks at a text before anything is built of it. (The library's own callback would do, were its time not quadratic in the number
/// of objects.)
struct Bounds : nlohmann::detail::json_sax_acceptor<Json> {
  std::size_t most_keys = most_json_keys;
  std::vector<std::set<std::string>> keys;  // of the objects and lists that are open

  bool open() {
    if (keys.size() == most_json_depth)
      throw NotJson(std::string::npos, "its values lie more than " + std::to_string(most_json_depth) + " levels deep");
    keys.emplace_back();
    return true;
  }
  bool close() {
    keys.pop_back();
    return true;
  }

  bool start_object(std::size_t /*elements*/) { return open(); }
  bool start_array(std::size_t /*elements*/) { return open(); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    if (!keys.back().insert(name).second)
      throw NotJson(std::string::npos, "the key \"" + shown(name, 80) + "\" stands twice in one object");
    if (keys.back().size() > most_keys)
      throw NotJson(std::string::npos, "an object of it has more than " + std::to_string(most_keys) + " keys");
    return true;
  }
};

template <typename Value>
Value parse_within_bounds(std::string_view text) {
  // The library would take it for the end of the text, whatever follows.
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) throw NotJson(nul, "it holds a NUL byte");
  Bounds bounds;
  if (!std::is_same_v<Value, Json>) bounds.most_keys = text.size();
  Json::sax_parse(text, &bounds);  // stops where the text is no JSON, of which parse() has more to say
  try {
    return Value::parse(text);
  } catch (const typename Value::parse_error& error) {
    throw NotJson(error.byte > 0 ? error.byte - 1 : 0, reason_of(error));
  } catch (const typename Value::exception& error) {
    throw NotJson(std::string::npos, reason_of(error));
  }
}

}  // namespace

template <typename Value>
Value parse_json(std::string_view text, const std::string& label, ExitCode code) {
  try {
    return parse_within_bounds<Value>(text);
  } catch (const NotJson& problem) {
    std::string place = label;
    if (problem.at != std::string::npos) {
      const std::string_view before = text.substr(0, std::min(problem.at, text.size()));
      const std::size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
      place += ":" + std::to_string(1 + std::count(before.begin(), before.end(), '\n')) + ":" +
               std::to_string(before.size() - line_begin + 1);
    }
    throw Error(code, place + ": not valid JSON: " + problem.what());
  }
}

template Json parse_json<Json>(std::string_view, const std::string&, ExitCode);
template nlohmann::json parse_json<nlohmann::json>(std::string_view, const std::string&, ExitCode);

Json read_json(const std::filesystem::path& path, ExitCode code) { return parse_json(read_file(path), path.string(), code); }

std::optional<Json> parse_json_if_whole(std::string_view text) {
  if (text.size() > most_file_bytes) return std::nullopt;
  try {
    return parse_within_bounds<Json>(text);
  } catch (const NotJson&) {
    return std::nullopt;
  }
}

Json read_json_if_whole(const std::filesystem::path& path) {
  try {
    return parse_json_if_whole(read_file(path)).value_or(Json());
  } catch (const Error&) {
    return {};
  }
}

void for_json_lines(const std::filesystem::path& path, const std::function<void(const Json&)>& look, std::string_view mentioning) {
  for_lines(path, [&](const std::string& line) {
    if (line.find(mentioning) == std::string::npos) return;
    if (const std::optional<Json> json = parse_json_if_whole(line)) look(*json);
  });
}

Json json_number(double value, int digits) { return std::isfinite(value) ? Json(to_digits(value, digits)) : Json(); }

std::string json_text(const Json& json, int indent) { return json.dump(indent, ' ', false, Json::error_handler_t::replace); }

}  // namespace temper
