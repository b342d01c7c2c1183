#include "io/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <system_error>

#include "io/text.h"

namespace temper {
namespace {

constexpr std::size_t whole = std::string::npos;  // nothing is left out

/// `text` with `before` in front of each of these characters.
std::string marked(std::string_view text, std::string_view characters, char before) {
  std::string result;
  for (const char c : text) {
    if (characters.find(c) != std::string_view::npos) result += before;
    result += c;
  }
  return result;
}

bool is_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double number = 0.0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
  return failed != std::errc::invalid_argument && end == text.data() + text.size();
}

std::string csv_cell(const std::string& cell) {
  std::string text = shown(cell, whole);
  const bool is_formula = !text.empty() && std::string_view("=+-@").find(text[0]) != std::string_view::npos && !is_number(text);
  if (is_formula) text = fmt::format("'{}", text);
  return text.find_first_of(",\"") == std::string::npos ? text : fmt::format("\"{}\"", marked(text, "\"", '"'));
}

}  // namespace

std::string aligned_table(const TextRows& cells, std::string_view alignment, bool underlined) {
  TextRows rows = cells;
  for (auto& row : rows) std::transform(row.begin(), row.end(), row.begin(), terminal_text);
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], text_width(row[i]));
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool left = alignment[std::min(i, alignment.size() - 1)] == 'l';
      line += i == 0 ? "" : "  ";
      line += left ? row[i] + std::string(widths[i] - text_width(row[i]), ' ') : pad_left(row[i], widths[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  add_line(rows.front());
  if (underlined) {
    std::vector<std::string> lines(widths.size());
    for (std::size_t i = 0; i < widths.size(); ++i) lines[i].assign(widths[i], '-');
    add_line(lines);
  }
  for (auto row = rows.begin() + 1; row != rows.end(); ++row) add_line(*row);
  return text;
}

std::string markdown_table(const TextRows& rows) {
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& row) {
    text += "|";
    for (const std::string& cell : row) text += fmt::format(" {} |", marked(shown(cell), "\\|`<&[*", '\\'));
    text += "\n";
  };
  add_line(rows.front());
  add_line(std::vector<std::string>(rows.front().size(), "---"));
  for (auto row = rows.begin() + 1; row != rows.end(); ++row) add_line(*row);
  return text;
}

std::string csv_table(const TextRows& rows) {
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) text += fmt::format("{}{}", i == 0 ? "" : ",", csv_cell(row[i]));
    text += "\n";
  }
  return text;
}

std::string pad_left(std::string_view text, std::size_t width) {
  return std::string(width - std::min(width, text_width(text)), ' ') + std::string(text);
}

std::string terminal_text(std::string_view text) {
  constexpr std::size_t longest = 40;
  return shown(text, longest);
}

}  // namespace temper
