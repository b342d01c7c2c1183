// What someone probably meant by a key that does not exist.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "config/fields.h"

namespace temper {

/// 'unknown key "optimizer.lr"; did you mean "optimizer.learning_rate"?' by names other trainers use, by the same key in another
/// section, or by edit distance; where nothing is near, with the keys of the section.
std::string unknown_key(std::string_view path, const FieldTable& table = config_table(), std::string_view what = "key");

/// 'did you mean "adamw"?'; empty where none of the names is near.
std::string nearest_name(std::string_view unknown, const std::vector<std::string_view>& names);

/// Edits (insert, delete, replace, swap neighbours) that turn one name into the other.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace temper
