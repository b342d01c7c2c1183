// Tables as text: aligned columns for a terminal, Markdown, CSV. Cells may hold anything: each form makes them harmless for whoever
// reads it, with shown() of io/text.h.
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
/// As RFC 4180 has it, with line feeds. Text that a spreadsheet would take for a formula stands behind an apostrophe.
std::string csv_table(const TextRows& rows);

/// The text behind as many spaces as make it that wide.
std::string pad_left(std::string_view text, std::size_t width);
/// Text from a file as a table for a terminal has it: shown(), and not too long for a column.
std::string terminal_text(std::string_view text);

}  // namespace temper
