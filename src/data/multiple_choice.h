// Multiple-choice items, as HellaSwag has them (Zellers et al., ACL 2019): a context and four endings, one of them right.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace temper {

struct MultipleChoiceItem {
  std::string context;
  std::array<std::string, 4> endings;
  std::int64_t label = 0;  ///< index of the right ending
};

/// Reads HellaSwag's original JSONL (one object a line; fields ctx, endings and label are used) or the plain form of six lines an
/// item: context, index of the right ending, four endings. A file whose first character is { is JSONL. Anything else, an empty
/// field, a label out of range, an item without label, or no item at all: Error(ExitCode::data) naming the line.
std::vector<MultipleChoiceItem> read_multiple_choice(const std::filesystem::path& path);

/// As read_multiple_choice(), from the file's contents; `label` names them in errors.
std::vector<MultipleChoiceItem> parse_multiple_choice(std::string_view contents, const std::string& label);

}  // namespace temper
