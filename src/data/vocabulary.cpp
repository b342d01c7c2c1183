#include "data/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "data/utf8.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/staging.h"

namespace temper {

void check_vocabulary(const Vocabulary& vocabulary, const std::string& label) {
  const auto fail = [&](const std::string& what) { throw Error(ExitCode::data, label + ": " + what); };
  const std::size_t size = vocabulary.tokens.size();
  if (size < 257 || size > static_cast<std::size_t>(kMaxTokens))
    fail(fmt::format("{} tokens; a byte-level vocabulary has 257 (256 bytes and <|endoftext|>) to {}", size, kMaxTokens));
  std::unordered_set<std::string_view> seen;
  seen.reserve(size);
  for (std::size_t id = 0; id < size; ++id) {
    if (vocabulary.tokens[id].empty()) fail(fmt::format("token {} is empty", id));
    if (!seen.insert(vocabulary.tokens[id]).second) fail(fmt::format("token {} has the same bytes as an earlier one", id));
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    if (!seen.contains(std::string_view(&text, 1)))
      fail(fmt::format("no token for byte {}; byte-level BPE needs one for each of the 256 bytes", byte));
  }
  if (vocabulary.end_of_text >= size || vocabulary.tokens[vocabulary.end_of_text] != kEndOfText)
    fail(fmt::format("no token {}; documents are separated by it, so the vocabulary must have it", kEndOfText));
  const auto is_special = [&](std::uint32_t id) {
    return std::binary_search(vocabulary.special.begin(), vocabulary.special.end(), id);
  };
  std::unordered_set<std::uint64_t> pairs;
  pairs.reserve(vocabulary.merges.size());
  for (std::size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const Merge& merge = vocabulary.merges[rank];
    const std::string name = fmt::format("merge {}", rank);
    if (merge.left >= size || merge.right >= size || merge.result >= size) fail(name + " names an id outside the vocabulary");
    if (is_special(merge.left) || is_special(merge.right) || is_special(merge.result))
      fail(name + " has a special token in it; ordinary text would then be able to yield that token");
    if (vocabulary.tokens[merge.left] + vocabulary.tokens[merge.right] != vocabulary.tokens[merge.result])
      fail(name + ": its result is not its two parts joined");
    if (!pairs.insert(std::uint64_t{merge.left} << 32 | merge.right).second) fail(name + " repeats an earlier pair");
  }
}

// --- Reading ---

namespace {

using nlohmann::json;
using nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::uintmax_t kMaxFileBytes = 256u << 20;

// A vocabulary as files spell it.
struct Spelled {
  std::vector<std::pair<std::string, std::int64_t>> tokens;  // in GPT-2's alphabet, and ids
  std::vector<std::pair<std::string, std::string>> merges;   // in the alphabet
  std::vector<std::pair<std::string, std::int64_t>> added;   // special tokens as plain text, and ids
};

[[noreturn]] void fail(const std::string& label, const std::string& what) { throw Error(ExitCode::data, label + ": " + what); }

// A string from a file, fit to be shown in one line.
std::string quoted(const std::string& text) {
  constexpr std::size_t kShown = 60;
  return json(text.substr(0, kShown)).dump(-1, ' ', true, json::error_handler_t::replace) + (text.size() > kShown ? "..." : "");
}

std::string read_limited(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) fail(path.string(), "no such file; a tokenizer needs it");
  const std::uintmax_t size = fs::file_size(path, error);
  if (!error && size > kMaxFileBytes)
    fail(path.string(), fmt::format("{} bytes; a tokenizer's files have at most {}", size, kMaxFileBytes));
  return read_file(path, kMaxFileBytes);
}

std::int64_t token_id(const json& value, const std::string& token, const std::string& label) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= static_cast<std::uint64_t>(kMaxTokens))
    fail(label, fmt::format("the id of {} must be an integer from 0 to {}", quoted(token), kMaxTokens - 1));
  return value.get<std::int64_t>();
}

void read_tokens(const json& object, const std::string& label, Spelled& spelled) {
  if (!object.is_object()) fail(label, "the vocabulary must be a JSON object from tokens to ids");
  for (const auto& [token, id] : object.items()) spelled.tokens.emplace_back(token, token_id(id, token, label));
}

void read_merge(std::string_view text, const std::string& place, Spelled& spelled) {
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == text.size() ||
      text.find(' ', space + 1) != std::string_view::npos)
    fail(place, quoted(std::string(text)) + " is no merge; expected two tokens with one space between them");
  spelled.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
}

void read_merge_lines(std::string_view text, const std::string& label, Spelled& spelled) {
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view merge = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (merge.ends_with('\r')) merge.remove_suffix(1);
    if (merge.empty() || (line == 1 && merge.starts_with("#version"))) continue;
    read_merge(merge, fmt::format("{}:{}", label, line), spelled);
  }
}

// --- tokenizer.json ---

const json& member(const json& object, const char* key) {
  static const json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

bool is_absent(const json& value) { return value.is_null() || value == false || value == json("") || value == 0; }

// GPT-2's tokenizer.json in Hugging Face's tokenizers says ByteLevel or, since transformers 5, a template without tokens.
bool adds_tokens(const json& post_processor) {
  if (post_processor.is_null()) return false;
  const json& type = member(post_processor, "type");
  if (type == "ByteLevel") return false;
  return type != "TemplateProcessing" || post_processor.dump(-1, ' ', true).find("\"SpecialToken\"") != std::string::npos;
}

void check_pipeline(const json& document, const json& model, const std::string& label) {
  const auto refuse = [&](const std::string& what) {
    fail(label, what + "; temper reads byte-level BPE as GPT-2's, and nothing else");
  };
  const auto type_of = [](const json& value) { return member(value, "type").is_string() ? quoted(member(value, "type")) : "null"; };
  if (!member(model, "type").is_null() && member(model, "type") != "BPE") refuse("the model is of type " + type_of(model));
  if (!document["normalizer"].is_null()) refuse("it has a normalizer of type " + type_of(document["normalizer"]));
  const json& pre_tokenizer = document["pre_tokenizer"];
  if (member(pre_tokenizer, "type") != "ByteLevel") refuse("the pre_tokenizer is of type " + type_of(pre_tokenizer));
  if (!is_absent(member(pre_tokenizer, "add_prefix_space"))) refuse("the pre_tokenizer has add_prefix_space");
  if (member(pre_tokenizer, "use_regex") == false) refuse("the pre_tokenizer has use_regex false");
  const json& decoder = document["decoder"];
  if (!decoder.is_null() && member(decoder, "type") != "ByteLevel") refuse("the decoder is of type " + type_of(decoder));
  if (adds_tokens(document["post_processor"]))
    refuse("the post_processor of type " + type_of(document["post_processor"]) + " adds tokens");
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"})
    if (!is_absent(member(model, key))) refuse(fmt::format("the model has {} {}", key, member(model, key).dump()));
}

Spelled read_tokenizer_json(const fs::path& path) {
  const std::string label = path.string();
  json document = parse_json<json>(read_limited(path), label, ExitCode::data);
  if (!document.is_object() || !member(document, "model").is_object())
    fail(label, "no object \"model\" in it; expected Hugging Face's tokenizer.json");
  for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"}) {
    const json& part = document[key];
    const bool fits = std::string_view(key) == "added_tokens" ? part.is_array() : part.is_object();
    if (!part.is_null() && !fits) fail(label, fmt::format("\"{}\" has the wrong JSON type {}", key, part.type_name()));
  }
  const json& model = document["model"];
  check_pipeline(document, model, label);
  Spelled spelled;
  read_tokens(member(model, "vocab"), label, spelled);
  const json& merges = member(model, "merges");
  if (!merges.is_array()) fail(label, "\"merges\" must be a JSON array");
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const json& merge = merges[i];
    const std::string place = fmt::format("{}: merge {}", label, i);
    if (merge.is_string())
      read_merge(merge.get_ref<const std::string&>(), place, spelled);
    else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
      spelled.merges.emplace_back(merge[0], merge[1]);
    else
      fail(place, "expected \"left right\" or [\"left\", \"right\"]");
  }
  for (const json& added : document["added_tokens"]) {
    if (!added.is_object() || !member(added, "content").is_string()) fail(label, "an added token has no \"content\"");
    const std::string content = added["content"];
    if (member(added, "special") != true) {
      fail(label,
           fmt::format("the added token {} is not special: it would change how text is split, which GPT-2's tokenizer does not do",
                       quoted(content)));
    }
    spelled.added.emplace_back(content, token_id(member(added, "id"), content, label));
  }
  return spelled;
}

// --- all forms ---

Vocabulary resolve(const Spelled& spelled, const std::string& label) {
  Vocabulary vocabulary;
  std::unordered_map<std::string_view, std::uint32_t> ids;
  ids.reserve(spelled.tokens.size());
  for (const auto& [token, id] : spelled.tokens) ids.emplace(token, static_cast<std::uint32_t>(id));
  std::vector<std::pair<std::string_view, std::int64_t>> added_only;
  for (const auto& [content, id] : spelled.added) {
    const auto [found, is_new] = ids.emplace(content, static_cast<std::uint32_t>(id));
    if (is_new)
      added_only.emplace_back(content, id);
    else if (found->second != id)
      fail(label, fmt::format("the added token {} has the ids {} and {}", quoted(content), found->second, id));
    vocabulary.special.push_back(static_cast<std::uint32_t>(id));
  }
  vocabulary.tokens.resize(ids.size());
  std::vector<bool> filled(ids.size());
  const auto place = [&](std::string_view token, std::int64_t id, std::string bytes) {
    if (static_cast<std::size_t>(id) >= filled.size() || filled[static_cast<std::size_t>(id)])
      fail(label, fmt::format("the id {} of {} is taken or beyond the end; {} tokens must have the ids 0 to {}, each once", id,
                              quoted(std::string(token)), filled.size(), filled.size() - 1));
    filled[static_cast<std::size_t>(id)] = true;
    vocabulary.tokens[static_cast<std::size_t>(id)] = std::move(bytes);
  };
  for (const auto& [content, id] : added_only) place(content, id, std::string(content));
  std::unordered_set<std::string_view> added_contents;
  for (const auto& [content, id] : spelled.added) added_contents.insert(content);
  for (const auto& [token, id] : spelled.tokens) {
    // An added token is plain text, any other is written in the alphabet.
    std::optional<std::string> bytes = added_contents.contains(token) ? token : from_alphabet(token);
    if (!bytes)
      fail(label, fmt::format("the token {} is not written in GPT-2's byte alphabet, so this is no byte-level BPE", quoted(token)));
    place(token, id, std::move(*bytes));
  }
  const auto end_of_text = ids.find(kEndOfText);
  if (end_of_text == ids.end())
    fail(label, fmt::format("no token {}; documents are separated by it, so the vocabulary must have it", kEndOfText));
  vocabulary.end_of_text = end_of_text->second;
  vocabulary.special.push_back(vocabulary.end_of_text);
  std::sort(vocabulary.special.begin(), vocabulary.special.end());
  vocabulary.special.erase(std::unique(vocabulary.special.begin(), vocabulary.special.end()), vocabulary.special.end());

  const auto id_of = [&](const std::string& token, std::size_t rank) {
    const auto found = ids.find(token);
    if (found == ids.end()) fail(label, fmt::format("merge {}: {} is not in the vocabulary", rank, quoted(token)));
    return found->second;
  };
  vocabulary.merges.reserve(spelled.merges.size());
  for (std::size_t rank = 0; rank < spelled.merges.size(); ++rank) {
    const auto& [left, right] = spelled.merges[rank];
    vocabulary.merges.push_back({id_of(left, rank), id_of(right, rank), id_of(left + right, rank)});
  }
  check_vocabulary(vocabulary, label);
  return vocabulary;
}

Vocabulary load_pair(const fs::path& tokens, const fs::path& merges) {
  Spelled spelled;
  read_tokens(parse_json<json>(read_limited(tokens), tokens.string(), ExitCode::data), tokens.string(), spelled);
  read_merge_lines(read_limited(merges), merges.string(), spelled);
  return resolve(spelled, tokens.string());
}

}  // namespace

Vocabulary load_vocabulary(const fs::path& path) {
  std::error_code error;
  constexpr std::pair<const char*, const char*> kPairs[] = {{"encoder.json", "vocab.bpe"}, {"vocab.json", "merges.txt"}};
  const fs::path key = (fs::is_directory(path, error) ? path : path.parent_path()) / "tokenizer.json";
  if (is_incomplete(key)) refuse_incomplete(read_file(key), key.string(), ExitCode::data);
  if (fs::is_directory(path, error)) {
    if (fs::exists(path / "tokenizer.json", error)) return load_vocabulary(path / "tokenizer.json");
    for (const auto& [tokens, merges] : kPairs)
      if (fs::exists(path / tokens, error)) return load_pair(path / tokens, path / merges);
    fail(path.string(),
         "no tokenizer in this folder; expected tokenizer.json, encoder.json and vocab.bpe, or vocab.json and merges.txt");
  }
  for (const auto& [tokens, merges] : kPairs)
    if (path.filename() == tokens || path.filename() == merges)
      return load_pair(path.parent_path() / tokens, path.parent_path() / merges);
  if (path.extension() == ".json") return resolve(read_tokenizer_json(path), path.string());
  fail(path.string(), fs::exists(path, error)
                          ? "not a tokenizer's file; expected a folder, encoder.json, vocab.bpe, vocab.json, merges.txt, or "
                            "Hugging Face's tokenizer.json"
                          : "no such file or folder; a tokenizer is a folder or one of its files: `temper data train-tokenizer` "
                            "makes one, scripts/corpora/fetch.py fetches GPT-2's");
}

// --- Writing ---

namespace {

ordered_json byte_level(bool add_prefix_space) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"trim_offsets", true}, {"use_regex", true}};
}

}  // namespace

bool is_vocabulary_file(const std::string& name) {
  return name == "vocab.json" || name == "merges.txt" || name == "tokenizer.json" || name == "tokenizer_config.json";
}

void save_vocabulary(const Vocabulary& vocabulary, const fs::path& folder, std::int64_t n_ctx) {
  make_folder(folder);
  std::vector<std::string> names;
  names.reserve(vocabulary.tokens.size());
  for (const std::string& token : vocabulary.tokens) names.push_back(to_alphabet(token));
  ordered_json added = ordered_json::array();
  for (const std::uint32_t id : vocabulary.special) {
    names[id] = vocabulary.tokens[id];
    added.push_back({{"id", id},
                     {"content", names[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  ordered_json tokens = ordered_json::object();
  // operator[] of the library's ordered object looks at every key before it inserts; these are known to differ.
  for (std::size_t id = 0; id < names.size(); ++id) tokens.get_ref<ordered_json::object_t&>().emplace_back(names[id], id);

  std::string merge_lines = "#version: 0.2\n";
  ordered_json merges = ordered_json::array();
  for (const Merge& merge : vocabulary.merges) {
    // The older of the two forms, which every version of the tokenizers library reads.
    const std::string line = names[merge.left] + " " + names[merge.right];
    merge_lines += line + "\n";
    merges.push_back(line);
  }
  const ordered_json document = {{"version", "1.0"},
                                 {"truncation", nullptr},
                                 {"padding", nullptr},
                                 {"added_tokens", added},
                                 {"normalizer", nullptr},
                                 {"pre_tokenizer", byte_level(false)},
                                 {"post_processor", byte_level(true)},
                                 {"decoder", byte_level(true)},
                                 {"model",
                                  {{"type", "BPE"},
                                   {"dropout", nullptr},
                                   {"unk_token", nullptr},
                                   {"continuing_subword_prefix", ""},
                                   {"end_of_word_suffix", ""},
                                   {"fuse_unk", false},
                                   {"byte_fallback", false},
                                   {"vocab", tokens},
                                   {"merges", merges}}}};
  ordered_json config = {{"tokenizer_class", "GPT2Tokenizer"},
                         {"add_prefix_space", false},
                         {"clean_up_tokenization_spaces", false},
                         {"errors", "replace"},
                         {"bos_token", kEndOfText},
                         {"eos_token", kEndOfText},
                         {"unk_token", kEndOfText}};
  if (n_ctx > 0) config["model_max_length"] = n_ctx;

  write_file_atomically(folder / "vocab.json", json_text(tokens));
  write_file_atomically(folder / "merges.txt", merge_lines);
  write_file_atomically(folder / "tokenizer.json", json_text(document, 1));
  write_file_atomically(folder / "tokenizer_config.json", json_text(config, 2) + "\n");
}

}  // namespace temper
