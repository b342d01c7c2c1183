#include <nlohmann/json.hpp>
#include <string>

#include "data/bpe_alphabet.h"
#include "data/tokenizer.h"
#include "data/tokenizer_files.h"
#include "io/file.h"

namespace temper {

namespace {

using json = nlohmann::ordered_json;
namespace fs = std::filesystem;

json byte_level(bool add_prefix_space) {
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
  json added = json::array();
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
  json tokens = json::object();
  // operator[] of the library's ordered object looks at every key before it inserts; these are known to differ.
  for (std::size_t id = 0; id < names.size(); ++id) tokens.get_ref<json::object_t&>().emplace_back(names[id], id);

  std::string merge_lines = "#version: 0.2\n";
  json merges = json::array();
  for (const Merge& merge : vocabulary.merges) {
    // The older of the two forms, which every version of the tokenizers library reads.
    const std::string line = names[merge.left] + " " + names[merge.right];
    merge_lines += line + "\n";
    merges.push_back(line);
  }
  const json document = {{"version", "1.0"},
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
  json config = {{"tokenizer_class", "GPT2Tokenizer"},
                 {"add_prefix_space", false},
                 {"clean_up_tokenization_spaces", false},
                 {"errors", "replace"},
                 {"bos_token", kEndOfText},
                 {"eos_token", kEndOfText},
                 {"unk_token", kEndOfText}};
  if (n_ctx > 0) config["model_max_length"] = n_ctx;

  write_file_atomically(folder / "vocab.json", tokens.dump());
  write_file_atomically(folder / "merges.txt", merge_lines);
  write_file_atomically(folder / "tokenizer.json", document.dump(1));
  write_file_atomically(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

}  // namespace temper
