// Tables as text: aligned columns for a terminal, Markdown, CSV.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace temper {

/// Cells by row; the first row names the columns.
using TextRows = std::vector<std::vector<std::string>>;

/// Columns two spaces apart, each as wide as its widest cell. `alignment` has an 'l' or 'r' for each column; its last letter holds
/// for all further ones. A row may have fewer cells than the first.
std::string aligned_table(const TextRows& rows, std::string_view alignment, bool underlined = false);
std::string markdown_table(const TextRows& rows);
/// As RFC 4180 has it, with line feeds.
std::string csv_table(const TextRows& rows);

/// Characters of UTF-8 text.
std::size_t text_width(std::string_view text);
/// The text behind as many spaces as make it that wide.
std::string pad_left(std::string_view text, std::size_t width);
/// Text from a file for a terminal: without control characters, which could do anything to it, and not too long for a table.
std::string terminal_text(std::string_view text);

}  // namespace temper
