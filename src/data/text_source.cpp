#include "data/text_source.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <system_error>
#include <utility>

#include "data/shard.h"
#include "data/utf8.h"
#include "data/vocabulary.h"
#include "io/error.h"
#include "io/json.h"
#include "io/text.h"

namespace temper {
namespace {

using namespace std::string_view_literals;
using nlohmann::json;

constexpr std::string_view white_space = " \t\r\n";

// Files with a broken character or line here and there pass; those in Latin-1 or of another layout do not.
constexpr std::int64_t for_each_bad = 1000;

// Json's own reader knows neither NaN nor Infinity, which Python writes; as null they do not cost the line that has them in
// another field. With `replace`, so do surrogates that are half of no pair.
std::string mended_json(std::string_view line, bool replace) {
  const auto unit = [&](std::size_t at) -> unsigned {  // of \uXXXX; 0 where there is none
    unsigned value = 0;
    if (at + 6 > line.size() || line.substr(at, 2) != "\\u") return 0;
    const std::string_view digits = line.substr(at + 2, 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    return error == std::errc() && end == digits.data() + 4 ? value : 0;
  };
  std::string mended;
  bool in_string = false;
  for (std::size_t at = 0; at < line.size();) {
    std::string_view take = line.substr(at, 1), put = take;
    if (take == "\"") {
      in_string = !in_string;
    } else if (!in_string) {
      for (const std::string_view word : {"NaN"sv, "-Infinity"sv, "Infinity"sv}) {
        if (!line.substr(at).starts_with(word)) continue;
        take = word;
        put = "null";
        break;
      }
    } else if (take == "\\") {
      const unsigned high = unit(at) & 0xfc00, low = unit(at + 6) & 0xfc00;
      take = put = line.substr(at, high == 0xd800 && low == 0xdc00 ? 12 : 2);
      if (replace && take.size() == 2 && (high == 0xd800 || high == 0xdc00)) {
        take = line.substr(at, 6);
        put = "\\ufffd";
      }
    }
    mended += put;
    at += take.size();
  }
  return mended;
}

nlohmann::json parse_line(std::string_view line, const std::string& label, bool replace) {
  if (line.size() > most_file_bytes)
    throw Error(ExitCode::data, "{}: has {} bytes; at most {} are read of a line", label, line.size(), most_file_bytes);
  try {
    return parse_json<json>(line, label, ExitCode::data);
  } catch (const Error&) {
    const std::string mended = mended_json(replace ? replace_invalid_utf8(line) : std::string(line), replace);
    if (mended == line) throw;
    return parse_json<json>(mended, label, ExitCode::data);
  }
}

// The string in `field` of a line of JSON, or an Error that begins with `label`.
std::string text_in_json(std::string_view line, const std::string& label, const std::string& field, bool replace) {
  const auto refuse = [&](const std::string& what) { throw Error(ExitCode::data, "{}: {}", label, what); };
  json object = parse_line(line, label, replace);
  if (!object.is_object()) refuse(fmt::format("is not a JSON object; JSON lines have one a line, {{\"{}\": \"...\"}}", field));
  const auto found = object.find(field);
  if (found == object.end()) {
    std::vector<std::string> names;
    for (const auto& [name, value] : object.items()) names.push_back(name);
    refuse(fmt::format("has no field \"{}\"; it has {}; name the one that holds the text with --json-field", field,
                       names.empty() ? "none" : joined(names)));
  }
  if (!found->is_string()) refuse(fmt::format("field \"{}\" is {}, not a string", field, found->type_name()));
  return std::move(found->get_ref<std::string&>());
}

// The extension that says what is inside, in lower case: ".jsonl" of a.JSONL.gz.
std::string inner_extension(std::filesystem::path path) {
  const auto lower = [&] {
    std::string text = path.extension().string();
    for (char& letter : text) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    return text;
  };
  std::string extension = lower();
  if (extension == ".gz" || extension == ".zst" || extension == ".zstd") {
    path.replace_extension();
    extension = lower();
  }
  return extension;
}

// Whether its first two lines, or its only one, are JSON objects.
bool begins_with_objects(std::string_view contents) {
  int objects = 0;
  while (objects < 2) {
    contents.remove_prefix(std::min(contents.find_first_not_of(white_space), contents.size()));
    if (contents.empty()) break;
    const std::string_view line = contents.substr(0, contents.find('\n'));
    try {
      if (!line.starts_with('{') || !parse_line(line, "", true).is_object()) return false;
    } catch (const Error&) {
      return false;
    }
    contents.remove_prefix(line.size());
    ++objects;
  }
  return objects > 0;
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

/// Of what is no regular file, always the same.
std::filesystem::file_time_type last_write(const std::filesystem::path& path) {
  std::error_code absent;
  return std::filesystem::is_regular_file(path, absent) ? std::filesystem::last_write_time(path, absent)
                                                        : std::filesystem::file_time_type();
}

}  // namespace

bool is_blank(std::string_view text) { return text.find_first_not_of(white_space) == std::string_view::npos; }

TextFile::TextFile(const std::filesystem::path& path, const TextOptions& options, const std::filesystem::path& scratch)
    : path_(path), written_at_(last_write(path)), options_(options), bytes_(path, scratch, options.decoding) {
  const std::string extension = inner_extension(path);
  const bool objects = begins_with_objects(contents());
  json_lines_ = extension == ".jsonl" || extension == ".ndjson" || (objects && extension != ".txt");
  kind_ = (json_lines_ ? "JSON lines" : "text") + bytes_.forms();
  if (objects && !json_lines_) kind_ += " (its lines look like JSON; name it .jsonl to take the text out of them)";
  if (json_lines_) {
    lines_ = std::count(contents().begin(), contents().end(), '\n') + (contents().ends_with('\n') ? 0 : 1);
    return;
  }
  const std::size_t start = contents().find_first_not_of(white_space);
  if (extension == ".json" && start != std::string_view::npos && (contents()[start] == '{' || contents()[start] == '[')) {
    throw Error(
        ExitCode::data,
        "{}: is JSON, but not an object a line, which would be JSON lines; write it so (`jq -c '.[]'` does of an array), or "
        "name it .txt to take all of it as text",
        path.string());
  }
  check_invalid(contents());
}

void TextFile::check_invalid(std::string_view contents) {
  std::size_t first = 0;
  for (std::size_t at = valid_utf8_prefix(contents); at < contents.size(); at += valid_utf8_prefix(contents.substr(at))) {
    if (invalid_bytes_ == 0) first = at;
    const std::size_t length = invalid_utf8_prefix(contents.substr(at));
    invalid_bytes_ += static_cast<std::int64_t>(length);
    at += length;
  }
  if (invalid_bytes_ == 0) return;
  const auto size = static_cast<std::int64_t>(contents.size());
  const std::string_view before = contents.substr(0, first);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  found_.first_bad = fmt::format("line {}: byte {:02x} at offset {}", line, static_cast<unsigned char>(contents[first]), first);
  if (options_.bad_text == BadText::refuse || (options_.bad_text == BadText::few && invalid_bytes_ > size / for_each_bad)) {
    throw Error(ExitCode::data,
                "{}, line {}: {} of the file's {} bytes are not UTF-8, the first at offset {}; more than one in {} is another "
                "encoding, or no text: convert it, for instance with iconv -f LATIN1 -t UTF-8, or see --on-bad-text (replace puts "
                "U+FFFD in their place)",
                path_.string(), line, invalid_bytes_, size, first, for_each_bad);
  }
  if (options_.bad_text != BadText::skip) found_.invalid_bytes = invalid_bytes_;
}

bool TextFile::next(RawDocument& document) {
  const std::string_view separator = json_lines_ ? "\n"sv : std::string_view(options_.separator);
  while (position_ < contents().size()) {
    const std::string_view rest = contents().substr(position_);
    const std::size_t length = separator.empty() ? rest.size() : std::min(rest.find(separator), rest.size());
    document.bytes = rest.substr(0, length);
    position_ += std::min(length + separator.size(), rest.size());
    if (json_lines_) document.line = ++line_;
    if (is_blank(document.bytes)) continue;
    if (json_lines_) return true;
    if (options_.bad_text == BadText::skip && invalid_bytes_ > 0 && valid_utf8_prefix(document.bytes) < document.bytes.size()) {
      ++found_.skipped;
      continue;
    }
    ++found_.documents;
    return true;
  }
  return false;
}

void TextFile::rewind() {
  position_ = 0;
  line_ = 0;
  found_.documents = 0;
  found_.skipped = 0;
}

std::optional<std::string> TextFile::json_text(const RawDocument& document, TextFindings& found) const {
  const std::string label = fmt::format("line {}", document.line);
  try {
    std::string text = text_in_json(document.bytes, label, options_.json_field, options_.bad_text == BadText::replace);
    if (is_blank(text)) return std::nullopt;
    ++found.documents;
    return text;
  } catch (const Error& bad) {
    constexpr std::size_t most_quoted = 300;  // nlohmann's words may have all of the line in them
    if (found.first_bad.empty()) found.first_bad = bad.what();
    if (const std::string place = label + ":1:"; found.first_bad.starts_with(place))  // of the only line that was parsed
      found.first_bad.replace(0, place.size(), label + ", column ");
    if (found.first_bad.size() > most_quoted) found.first_bad = found.first_bad.substr(0, most_quoted - 10) + " ...";
    ++found.skipped;
    if (options_.bad_text == BadText::refuse) check(found);
    return std::nullopt;
  }
}

void TextFile::check(const TextFindings& found) const {
  if (!json_lines_ || found.skipped == 0) return;
  if (options_.bad_text == BadText::refuse)
    throw Error(ExitCode::data, "{}, {} (see --on-bad-text: skip leaves such lines out)", path_.string(), found.first_bad);
  if (options_.bad_text != BadText::few || found.skipped <= lines_ / for_each_bad) return;
  throw Error(
      ExitCode::data,
      "{}, {}; the file has {} lines, and more than one in {} is bad: mend it, or see --on-bad-text (skip leaves such lines "
      "out)",
      path_.string(), found.first_bad, lines_, for_each_bad);
}

SourceRecord TextFile::record() const {
  if (last_write(path_) != written_at_)
    throw Error(ExitCode::data, "{}: was written to while it was read; run again when it is whole", path_.string());
  return {path_.filename().string(), input_bytes(), hash_bytes(bytes_.raw()), kind_, found_};
}

std::vector<std::filesystem::path> text_inputs(std::vector<std::string> patterns) {
  for (std::string& pattern : patterns)
    if (pattern == "-") pattern = "/dev/stdin";
  return expand_globs(patterns);
}

std::int64_t count_marks(std::string_view text) {
  std::int64_t count = 0;
  for (std::size_t at = text.find(kEndOfText); at != std::string_view::npos; at = text.find(kEndOfText, at + kEndOfText.size()))
    ++count;
  return count;
}

SourceRecord read_text(const std::filesystem::path& path, const TextOptions& options, const std::filesystem::path& scratch,
                       const ByteSink& sink) {
  TextFile file(path, options, scratch);
  TextFindings found;
  for (RawDocument document; file.next(document);) {
    std::optional<std::string> decoded;
    if (file.json_lines()) {
      decoded = file.json_text(document, found);
      file.check(found);
      if (!decoded) continue;
      document.bytes = *decoded;
    }
    while (!document.bytes.empty()) {
      const std::string_view piece = document.bytes.substr(0, piece_length(document.bytes, std::size_t{1} << 20, path));
      found.marks += count_marks(piece);
      sink(valid_utf8_prefix(piece) < piece.size() ? replace_invalid_utf8(piece) : piece);
      document.bytes.remove_prefix(piece.size());
    }
    sink("\n");
  }
  SourceRecord record = file.record();
  record.found.add(found);
  return record;
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

std::size_t piece_length(std::string_view text, std::size_t target, const std::filesystem::path& label) {
  const std::size_t length = token_border(text, target);
  check_undivided(length - std::min(length, target), label.string());
  return length;
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
  for (const std::string_view end : {"\n\n"sv, "\n"sv})
    if (const std::size_t cut = after(end, std::min(limit, text.size())); cut != std::string_view::npos) return cut;
  if (const std::size_t cut = after("\n"sv, text.size()); cut < text.size()) return cut;
  return token_border(text, target);
}

}  // namespace temper
