#include "io/text_table.h"

#include <fmt/format.h>

#include <algorithm>

namespace temper {
namespace {

/// `text` with `instead` in place of each `character`.
std::string replaced(std::string_view text, char character, std::string_view instead) {
  std::string result;
  for (const char c : text) c == character ? result += instead : result += c;
  return result;
}

std::string csv_cell(const std::string& text) {
  return text.find_first_of(",\"\n\r") == std::string::npos ? text : fmt::format("\"{}\"", replaced(text, '"', "\"\""));
}

bool continues_character(char c) { return (c & 0xC0) == 0x80; }

}  // namespace

std::string aligned_table(const TextRows& rows, std::string_view alignment, bool underlined) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], text_width(row[i]));
  }
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
    for (const std::string& cell : row) text += fmt::format(" {} |", replaced(cell, '|', "\\|"));
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

std::size_t text_width(std::string_view text) {
  return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), continues_character));
}

std::string pad_left(std::string_view text, std::size_t width) {
  return std::string(width - std::min(width, text_width(text)), ' ') + std::string(text);
}

std::string terminal_text(std::string_view text) {
  constexpr std::size_t longest = 32;
  std::string result;
  for (const char c : text) {
    if (!continues_character(c) && text_width(result) == longest) return result + "…";
    result += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  }
  return result;
}

}  // namespace temper
