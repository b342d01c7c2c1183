#include "data/multiple_choice.h"

#include <algorithm>
#include <span>

#include "data/shard.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json.h"

namespace temper {
namespace {

constexpr std::size_t lines_per_item = 6;

[[noreturn]] void refuse(const std::string& label, std::size_t line, const std::string& what) {
  throw Error(ExitCode::data, "{}, line {}: {}", label, line, what);
}

// Without their ends (\n or \r\n); an end after the last line makes no further line.
std::vector<std::string_view> split_lines(std::string_view contents) {
  std::vector<std::string_view> lines;
  while (!contents.empty()) {
    const std::size_t end = std::min(contents.find('\n'), contents.size());
    std::string_view line = contents.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    contents.remove_prefix(std::min(end + 1, contents.size()));
  }
  return lines;
}

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

std::int64_t parse_label(std::string_view text, const std::string& label, std::size_t line) {
  if (text.size() != 1 || text[0] < '0' || text[0] > '3')
    refuse(label, line, "the right ending is \"" + std::string(text.substr(0, 40)) + "\"; allowed is 0, 1, 2 or 3");
  return text[0] - '0';
}

std::vector<MultipleChoiceItem> parse_six_lines(std::string_view contents, const std::string& label) {
  const std::vector<std::string_view> lines = split_lines(contents);
  if (lines.size() % lines_per_item != 0) {
    throw Error(ExitCode::data,
                "{}: has {} lines, not a multiple of six (context, index of the right ending, four endings); the file is cut short "
                "or not a HellaSwag text",
                label, lines.size());
  }
  std::vector<MultipleChoiceItem> items;
  for (std::size_t first = 0; first < lines.size(); first += lines_per_item) {
    MultipleChoiceItem& item = items.emplace_back();
    for (std::size_t offset = 0; offset < lines_per_item; ++offset)
      if (is_blank(lines[first + offset])) refuse(label, first + offset + 1, "is empty");
    item.context = lines[first];
    item.label = parse_label(lines[first + 1], label, first + 2);
    for (std::size_t ending = 0; ending < item.endings.size(); ++ending) item.endings[ending] = lines[first + 2 + ending];
  }
  return items;
}

std::string text_field(const Json& value, const std::string& name, const std::string& label, std::size_t line) {
  if (!value.is_string()) refuse(label, line, name + " is not a string");
  std::string text = value.get<std::string>();
  if (is_blank(text)) refuse(label, line, name + " is empty");
  return text;
}

const Json& field(const Json& object, const char* name, const std::string& label, std::size_t line) {
  const auto found = object.find(name);
  if (found == object.end()) refuse(label, line, std::string("has no field \"") + name + "\"; needed are ctx, endings and label");
  return *found;
}

MultipleChoiceItem parse_object(std::string_view text, const std::string& label, std::size_t line) {
  const Json object = parse_json_if_whole(text).value_or(Json());
  if (!object.is_object()) refuse(label, line, "is not a JSON object");
  MultipleChoiceItem item;
  item.context = text_field(field(object, "ctx", label, line), "ctx", label, line);
  const Json& endings = field(object, "endings", label, line);
  if (!endings.is_array() || endings.size() != item.endings.size()) refuse(label, line, "endings is not a list of four strings");
  for (std::size_t index = 0; index < item.endings.size(); ++index)
    item.endings[index] = text_field(endings[index], "endings[" + std::to_string(index) + "]", label, line);
  if (!object.contains("label")) refuse(label, line, "has no label, as in HellaSwag's test set; use the validation set");
  const Json& right = object["label"];
  item.label = parse_label(right.is_string() ? right.get<std::string>() : right.dump(-1, ' ', true), label, line);
  return item;
}

std::vector<MultipleChoiceItem> parse_json_lines(std::string_view contents, const std::string& label) {
  std::vector<MultipleChoiceItem> items;
  std::size_t number = 0;
  for (const std::string_view line : split_lines(contents)) {
    ++number;
    if (!is_blank(line)) items.push_back(parse_object(line, label, number));
  }
  return items;
}

}  // namespace

std::vector<MultipleChoiceItem> parse_multiple_choice(std::string_view contents, const std::string& label) {
  if (const auto known = known_format(std::as_bytes(std::span(contents)))) throw Error(ExitCode::data, label + ": " + *known);
  const std::size_t start = contents.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) throw Error(ExitCode::data, label + ": holds no item");
  return contents[start] == '{' ? parse_json_lines(contents, label) : parse_six_lines(contents, label);
}

std::vector<MultipleChoiceItem> read_multiple_choice(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return parse_multiple_choice({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

}  // namespace temper
