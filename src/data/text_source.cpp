#include "data/text_source.h"

#include <algorithm>
#include <span>
#include <utility>

#include "data/shard.h"
#include "data/utf8.h"
#include "io/error.h"
#include "io/json.h"

namespace temper {
namespace {

using namespace std::string_view_literals;
using nlohmann::json;

constexpr std::string_view white_space = " \t\r\n";

std::string_view as_text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// One byte in a thousand: files with a broken character here and there pass, Latin-1 and other encodings do not.
constexpr std::int64_t bytes_for_each_invalid = 1000;

// Refuses what is no text, and returns how many bytes of it are not UTF-8.
std::int64_t check_is_text(std::string_view contents, const std::filesystem::path& path) {
  const auto refuse = [&](const std::string& what) { throw Error(ExitCode::data, path.string() + ": " + what); };
  if (const auto known = known_format(std::as_bytes(std::span(contents)))) refuse(*known);
  if (contents.starts_with("\x88\xd8\x34\x01"sv))
    refuse("is a token shard already, not a text");  // shard_magic as it lies in the file
  if (const std::size_t nul = contents.find('\0'); nul != std::string_view::npos) {
    refuse("is no text: it has a NUL byte at offset " + std::to_string(nul) +
           "; name text files (UTF-16 without a mark at its start looks so too: iconv -f UTF-16LE -t UTF-8)");
  }
  std::int64_t invalid = 0;
  std::size_t first = 0;
  for (std::size_t at = valid_utf8_prefix(contents); at < contents.size(); at += valid_utf8_prefix(contents.substr(at))) {
    if (invalid == 0) first = at;
    const std::size_t length = invalid_utf8_prefix(contents.substr(at));
    invalid += static_cast<std::int64_t>(length);
    at += length;
  }
  const auto size = static_cast<std::int64_t>(contents.size());
  if (invalid > size / bytes_for_each_invalid) {
    refuse(std::to_string(invalid) + " of its " + std::to_string(size) + " bytes are not UTF-8, the first at offset " +
           std::to_string(first) + "; more than one in " + std::to_string(bytes_for_each_invalid) +
           " is another encoding, or no text: convert it, for instance with iconv -f LATIN1 -t UTF-8");
  }
  return invalid;
}

// Whether the last character of `text`, which is not empty, may be white space. Outside ASCII these are Unicode's White_Space and
// U+180E, which was one; comparing their bytes can only err towards "may be".
bool may_end_in_space(std::string_view text) {
  const auto last = static_cast<unsigned char>(text.back());
  if (last <= 0x20 || last == 0x7f) return true;
  if (last < 0x80) return false;
  const std::string_view two = text.substr(text.size() - std::min<std::size_t>(text.size(), 2));
  const std::string_view three = text.substr(text.size() - std::min<std::size_t>(text.size(), 3));
  if (two == "\xc2\x85"sv || two == "\xc2\xa0"sv) return true;
  if (three == "\xe1\x9a\x80"sv || three == "\xe1\xa0\x8e"sv || three == "\xe2\x81\x9f"sv || three == "\xe3\x80\x80"sv) return true;
  // U+2000 to U+200A, U+2028, U+2029, U+202F
  return three.starts_with("\xe2\x80"sv) && (last <= 0x8a || last == 0xa8 || last == 0xa9 || last == 0xaf);
}

}  // namespace

bool is_blank(std::string_view text) { return text.find_first_not_of(white_space) == std::string_view::npos; }

TextFile::TextFile(const std::filesystem::path& path, std::string separator)
    : path_(path), separator_(std::move(separator)), file_(path), contents_(as_text(file_.bytes())) {
  const std::string extension = path.extension().string();
  json_lines_ = extension == ".jsonl" || extension == ".ndjson";
  invalid_bytes_ = check_is_text(contents_, path_);
}

bool TextFile::next(RawDocument& document) {
  const std::string_view separator = json_lines_ ? "\n"sv : std::string_view(separator_);
  while (position_ < contents_.size()) {
    const std::string_view rest = contents_.substr(position_);
    const std::size_t length = separator.empty() ? rest.size() : std::min(rest.find(separator), rest.size());
    document.bytes = rest.substr(0, length);
    position_ += std::min(length + separator.size(), rest.size());
    if (json_lines_) document.line = ++line_;
    if (!is_blank(document.bytes)) return true;
  }
  return false;
}

std::string json_text(const RawDocument& document, const std::string& field, const std::filesystem::path& path) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ExitCode::data, "{}, line {}: {}", path.string(), document.line, what);
  };
  json object = parse_json<json>(document.bytes, fmt::format("{}, line {}", path.string(), document.line), ExitCode::data);
  if (!object.is_object()) refuse("is not a JSON object; a .jsonl file has one object a line, {\"" + field + "\": \"...\"}");
  const auto found = object.find(field);
  if (found == object.end()) {
    std::string names;
    for (const auto& [name, value] : object.items()) names += (names.empty() ? "" : ", ") + name;
    refuse("has no field \"" + field + "\"; it has " + (names.empty() ? "none" : names) + "; name the one that holds the text");
  }
  if (!found->is_string()) refuse("field \"" + field + "\" is " + found->type_name() + ", not a string");
  return std::move(found->get_ref<std::string&>());
}

// Why such a place is safe. GPT-2's pre-tokenizer is
//     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// and BPE joins nothing across its matches. Take a place after a character that is not white space and before a space or a line
// feed. No alternative has white space after something else, so a match ends there. It is the match that the left part alone
// has: the letters, digits or signs before the place run out there just as at the end of a text, and the only look-ahead, (?!\S),
// is tried after white space, where what follows is within the left part. The right part alone is matched as in the whole, since
// the expression never looks back. The place is also a border between characters, and one that ends an incomplete sequence of UTF-8
// just as the end of a text does, so replacing invalid bytes comes to the same. After a line feed, on the other hand, a cut would
// not be safe: "\n\nx" is \n, \n, x, but "\n\n" alone is one match.
std::size_t token_border(std::string_view text, std::size_t target) {
  std::size_t place = std::max<std::size_t>(target, 1);
  while (place < text.size()) {
    place = std::min(text.find_first_of(" \n", place), text.size());
    if (place == text.size() || !may_end_in_space(text.substr(0, place))) return place;
    ++place;
  }
  return text.size();
}

std::size_t validation_cut(std::string_view text, double fraction) {
  const auto size = static_cast<double>(text.size());
  const auto target = std::min(text.size(), static_cast<std::size_t>(size * (1.0 - fraction)));
  // "Soon" is a tenth of the validation part, so that its size stays near what was asked for.
  const std::size_t limit = target + static_cast<std::size_t>(size * fraction / 10.0);
  const auto after = [&](std::string_view end, std::size_t furthest) {
    // The end may begin before the target, so that a target just after a line is already a cut.
    const std::size_t from = target >= end.size() ? target - end.size() : 0;
    const std::size_t found = text.substr(0, furthest).find(end, from);
    return found == std::string_view::npos ? std::string_view::npos : found + end.size();
  };
  for (const std::string_view end : {"\n\n"sv, "\n"sv}) {
    if (const std::size_t cut = after(end, std::min(limit, text.size())); cut != std::string_view::npos) return cut;
  }
  if (const std::size_t cut = after("\n"sv, text.size()); cut < text.size()) return cut;
  return token_border(text, target);
}

}  // namespace temper
