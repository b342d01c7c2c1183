// JSON that is read and written: one bounded reader for whatever comes from outside, one writer that no text can stop. A run's own
// configuration, whose every value has a position, is config/json_tree.h.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "io/error.h"

namespace temper {

using Json = nlohmann::ordered_json;

inline constexpr int most_json_depth = 100;
inline constexpr std::size_t most_json_keys = 10'000;  ///< of an object of Json, which looks through all before it takes another

/// `Value` is Json, or nlohmann::json where an object may have any number of keys.
/// Error(code) "LABEL:LINE:COLUMN: ..." for what is no JSON, lies deeper than most_json_depth, has more keys than most_json_keys or
/// one twice in an object, or a number that no double holds.
template <typename Value = Json>
Value parse_json(std::string_view text, const std::string& label, ExitCode code);
extern template Json parse_json<Json>(std::string_view, const std::string&, ExitCode);
extern template nlohmann::json parse_json<nlohmann::json>(std::string_view, const std::string&, ExitCode);

/// The same from a file, as read_file() reads it.
Json read_json(const std::filesystem::path& path, ExitCode code);

/// For lines of a log, of which the last may be torn: nothing where `text` is not one JSON value within those bounds.
std::optional<Json> parse_json_if_whole(std::string_view text);

/// The same for a file that may be missing, a pipe, too large or damaged: null then.
Json read_json_if_whole(const std::filesystem::path& path);

/// Every whole line of a log that holds `mentioning` and is JSON; none where `path` is no regular file.
void for_json_lines(const std::filesystem::path& path, const std::function<void(const Json&)>& look,
                    std::string_view mentioning = "");

/// One line, or with `indent` many. Text that is not UTF-8 (a path, for instance) is written with U+FFFD in place of what is wrong.
std::string json_text(const Json& json, int indent = -1);

/// A number without the last digits, in which libraries differ; null where it is not finite.
Json json_number(double value, int digits = 9);

}  // namespace temper
