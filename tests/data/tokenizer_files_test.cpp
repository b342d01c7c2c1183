#include "data/vocabulary.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "data/tokenizer.h"
#include "io/error.h"
#include "io/file.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class TokenizerFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("temper-tokenizer-" + std::to_string(getpid()));
    fs::remove_all(folder_);
    tokenizer_.save(folder_ / "saved", 128);
  }
  void TearDown() override { fs::remove_all(folder_); }

  json saved(const std::string& name) const { return json::parse(read_file(folder_ / "saved" / name)); }

  /// A folder with these files alone.
  fs::path folder_of(const std::vector<std::pair<std::string, std::string>>& files) const {
    const fs::path folder = folder_ / "other";
    fs::remove_all(folder);
    fs::create_directories(folder);
    for (const auto& [name, contents] : files) write_file_atomically(folder / name, contents);
    return folder;
  }

  static void expect_refused(const fs::path& path, const std::string& part) {
    try {
      Tokenizer::load(path);
      ADD_FAILURE() << "accepted; expected: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::data);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }

  void expect_json_refused(const std::string& part, const std::function<void(json&)>& spoil) const {
    json document = saved("tokenizer.json");
    spoil(document);
    expect_refused(folder_of({{"tokenizer.json", document.dump()}}), part);
  }

  void expect_vocab_refused(const std::string& part, const std::function<void(json&)>& spoil) const {
    json tokens = saved("vocab.json");
    spoil(tokens);
    expect_refused(folder_of({{"vocab.json", tokens.dump()}, {"merges.txt", read_file(folder_ / "saved/merges.txt")}}), part);
  }

  void expect_merges_refused(const std::string& part, const std::string& merges) const {
    expect_refused(folder_of({{"vocab.json", saved("vocab.json").dump()}, {"merges.txt", merges}}), part);
  }

  Tokenizer tokenizer_ = Tokenizer::train(
      "the cat's hat \"that\" \\ then\n\n  there \u4e16\u754c \u4e16\u754c caf\u00e9 the the quick brown foxes jump over lazy dogs",
      300, {});
  fs::path folder_;
};

TEST_F(TokenizerFiles, AllFormsGiveTheSameTokenizer) {
  const std::string vocab = read_file(folder_ / "saved/vocab.json"), merges = read_file(folder_ / "saved/merges.txt");
  json arrays = saved("tokenizer.json");
  for (json& merge : arrays["model"]["merges"]) {
    const std::string text = merge;
    merge = {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
  }
  json added_only = saved("tokenizer.json");
  added_only["model"]["vocab"].erase("<|endoftext|>");
  json older = saved("tokenizer.json");
  older["model"].erase("type");
  older["post_processor"] = {{"type", "TemplateProcessing"}, {"single", {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}}};

  std::vector<Tokenizer> loaded;
  loaded.push_back(Tokenizer::load(folder_ / "saved"));
  loaded.push_back(Tokenizer::load(folder_ / "saved/tokenizer.json"));
  loaded.push_back(Tokenizer::load(folder_ / "saved/vocab.json"));
  loaded.push_back(Tokenizer::load(folder_ / "saved/merges.txt"));
  loaded.push_back(Tokenizer::load(folder_of({{"vocab.json", vocab}, {"merges.txt", merges}})));
  loaded.push_back(Tokenizer::load(folder_of({{"encoder.json", vocab}, {"vocab.bpe", merges}})));
  loaded.push_back(Tokenizer::load(folder_of({{"encoder.json", vocab}, {"vocab.bpe", merges}}) / "vocab.bpe"));
  for (const json& document : {arrays, added_only, older}) {
    loaded.push_back(Tokenizer::load(folder_of({{"my-tokenizer.json", document.dump()}}) / "my-tokenizer.json"));
  }
  const std::string text = "the cat's \"that\" hat\\ \u4e16\u754c\n\n  there";
  EXPECT_EQ(tokenizer_.hash().size(), 32u);
  for (const Tokenizer& tokenizer : loaded) {
    EXPECT_EQ(tokenizer.hash(), tokenizer_.hash());
    EXPECT_EQ(tokenizer.vocab_size(), tokenizer_.vocab_size());
    EXPECT_EQ(tokenizer.end_of_text(), tokenizer_.end_of_text());
    EXPECT_EQ(tokenizer.encode(text), tokenizer_.encode(text));
  }
}

TEST_F(TokenizerFiles, HashTellsVocabulariesApart) {
  json document = saved("tokenizer.json");
  std::swap(document["model"]["merges"][0], document["model"]["merges"][1]);
  EXPECT_NE(Tokenizer::load(folder_of({{"tokenizer.json", document.dump()}})).hash(), tokenizer_.hash());
  document = saved("tokenizer.json");
  std::swap(document["model"]["vocab"]["a"], document["model"]["vocab"]["b"]);
  EXPECT_NE(Tokenizer::load(folder_of({{"tokenizer.json", document.dump()}})).hash(), tokenizer_.hash());
}

TEST_F(TokenizerFiles, AcceptsLineEndsOfWindowsAndNoVersionLine) {
  std::string merges = read_file(folder_ / "saved/merges.txt");
  merges.erase(0, merges.find('\n') + 1);
  for (std::size_t at = 0; (at = merges.find('\n', at)) != std::string::npos; at += 2) merges.insert(at, 1, '\r');
  const Tokenizer tokenizer = Tokenizer::load(folder_of({{"vocab.json", saved("vocab.json").dump()}, {"merges.txt", merges}}));
  EXPECT_EQ(tokenizer.hash(), tokenizer_.hash());
}

TEST_F(TokenizerFiles, KeepsOtherSpecialTokens) {
  json document = saved("tokenizer.json");
  json pad = document["added_tokens"][0];
  pad["id"] = 300;
  pad["content"] = "<pad \u00e9>";
  document["added_tokens"].push_back(pad);
  const Tokenizer tokenizer = Tokenizer::load(folder_of({{"tokenizer.json", document.dump()}}));
  EXPECT_EQ(tokenizer.vocab_size(), 301);
  EXPECT_EQ(tokenizer.token_bytes(300), "<pad \u00e9>");
  tokenizer.save(folder_ / "again", 128);
  EXPECT_EQ(Tokenizer::load(folder_ / "again").hash(), tokenizer.hash());
}

TEST_F(TokenizerFiles, WritesTheContextLengthWhereThereIsOne) {
  EXPECT_EQ(saved("tokenizer_config.json")["model_max_length"], 128);
  tokenizer_.save(folder_ / "none", 0);
  EXPECT_FALSE(json::parse(read_file(folder_ / "none/tokenizer_config.json")).contains("model_max_length"));
}

TEST_F(TokenizerFiles, RefusesWhatIsNoTokenizer) {
  expect_refused(folder_ / "absent", "no such file or folder");
  expect_refused(folder_, "no tokenizer in this folder");
  expect_refused(folder_of({{"vocab.json", "{}"}}), "merges.txt: no such file");
  expect_refused(folder_of({{"notes.txt", "hello"}}) / "notes.txt", "not a tokenizer's file");
  expect_refused(folder_of({{"tokenizer.json", ""}}), "not valid JSON");
  expect_refused(folder_of({{"tokenizer.json", "{\"model\": "}}), "not valid JSON");
  expect_refused(folder_of({{"tokenizer.json", "\xFF\xFE"}}), "not valid JSON");
  expect_refused(folder_of({{"tokenizer.json", "[]"}}), "no object \"model\"");
  expect_refused(folder_of({{"config.json", "{\"model\": 3}"}}) / "config.json", "no object \"model\"");
  expect_refused(folder_of({{"tokenizer.json", std::string(100000, '[')}}), "not valid JSON");
  expect_refused(folder_of({{"tokenizer.json", "{\"model\": {}, \"model\": {}}"}}), "the key \"model\" stands twice in one object");
}

TEST_F(TokenizerFiles, RefusesFilesThatAreTooLarge) {
  const fs::path path = folder_of({{"tokenizer.json", "{}"}}) / "tokenizer.json";
  fs::resize_file(path, (256u << 20) + 1);  // a hole; takes no space
  expect_refused(path, "268435457 bytes");
}

TEST_F(TokenizerFiles, RefusesOtherPipelinesByName) {
  expect_json_refused("the model is of type \"WordPiece\"", [](json& d) { d["model"]["type"] = "WordPiece"; });
  expect_json_refused("a normalizer of type \"NFC\"", [](json& d) { d["normalizer"] = {{"type", "NFC"}}; });
  expect_json_refused("the pre_tokenizer is of type \"Whitespace\"", [](json& d) {
    d["pre_tokenizer"] = {{"type", "Whitespace"}};
  });
  expect_json_refused("the pre_tokenizer is of type null", [](json& d) { d["pre_tokenizer"] = nullptr; });
  expect_json_refused("add_prefix_space", [](json& d) { d["pre_tokenizer"]["add_prefix_space"] = true; });
  expect_json_refused("use_regex false", [](json& d) { d["pre_tokenizer"]["use_regex"] = false; });
  expect_json_refused("the decoder is of type \"WordPiece\"", [](json& d) { d["decoder"] = {{"type", "WordPiece"}}; });
  expect_json_refused("the post_processor of type \"BertProcessing\" adds tokens", [](json& d) {
    d["post_processor"] = {{"type", "BertProcessing"}};
  });
  expect_json_refused("the post_processor of type \"TemplateProcessing\" adds tokens", [](json& d) {
    d["post_processor"] = {{"type", "TemplateProcessing"},
                           {"single", {{{"SpecialToken", {{"id", "<|endoftext|>"}, {"type_id", 0}}}}}}};
  });
  expect_json_refused("the model has dropout 0.1", [](json& d) { d["model"]["dropout"] = 0.1; });
  expect_json_refused("end_of_word_suffix \"</w>\"", [](json& d) { d["model"]["end_of_word_suffix"] = "</w>"; });
  expect_json_refused("byte_fallback true", [](json& d) { d["model"]["byte_fallback"] = true; });
  expect_json_refused("ignore_merges true", [](json& d) { d["model"]["ignore_merges"] = true; });
  expect_json_refused("\"added_tokens\" has the wrong JSON type object", [](json& d) { d["added_tokens"] = json::object(); });
  expect_json_refused("\"decoder\" has the wrong JSON type string", [](json& d) { d["decoder"] = "ByteLevel"; });
  expect_json_refused("is not special", [](json& d) { d["added_tokens"][0]["special"] = false; });
  expect_json_refused("has the ids 299 and 5", [](json& d) { d["added_tokens"][0]["id"] = 5; });
  expect_json_refused("an added token has no \"content\"", [](json& d) { d["added_tokens"][0].erase("content"); });
  expect_json_refused("\"merges\" must be a JSON array", [](json& d) { d["model"].erase("merges"); });
  expect_json_refused("merge 3: expected", [](json& d) { d["model"]["merges"][3] = {"a", "b", "c"}; });
  expect_json_refused("merge 3: expected", [](json& d) { d["model"]["merges"][3] = 17; });
}

TEST_F(TokenizerFiles, RefusesDamagedVocabularies) {
  expect_vocab_refused("must be a JSON object", [](json& tokens) { tokens = json::array(); });
  expect_refused(folder_of({{"vocab.json", "{\"<|endoftext|>\": 0}"}, {"merges.txt", ""}}),
                 "1 tokens; a byte-level vocabulary has 257");
  expect_vocab_refused("no token <|endoftext|>", [](json& tokens) {
    tokens.erase("<|endoftext|>");
    tokens["other"] = 299;
  });
  expect_vocab_refused("no token for byte 126", [](json& tokens) {
    tokens["xyz"] = tokens["~"];
    tokens.erase("~");
  });
  expect_vocab_refused("is taken or beyond the end", [](json& tokens) { tokens["a"] = tokens["b"]; });
  expect_vocab_refused("is taken or beyond the end", [](json& tokens) { tokens["a"] = 300; });
  expect_vocab_refused("must be an integer", [](json& tokens) { tokens["a"] = -1; });
  expect_vocab_refused("must be an integer", [](json& tokens) { tokens["a"] = 1.5; });
  expect_vocab_refused("must be an integer", [](json& tokens) { tokens["a"] = "64"; });
  expect_vocab_refused("must be an integer", [](json& tokens) { tokens["a"] = 18446744073709551615u; });
  expect_vocab_refused("not written in GPT-2's byte alphabet", [](json& tokens) { tokens["\u2581the"] = 300; });
  expect_vocab_refused("token 300 is empty", [](json& tokens) { tokens[""] = 300; });
  std::string twice = saved("vocab.json").dump();
  twice.insert(1, "\"a\":64,");
  expect_refused(folder_of({{"vocab.json", twice}, {"merges.txt", ""}}), "the key \"a\" stands twice in one object");
}

TEST_F(TokenizerFiles, RefusesDamagedMerges) {
  expect_merges_refused("merges.txt:2: \"th\" is no merge", "#version: 0.2\nth\n");
  expect_merges_refused("merges.txt:1: \"t h e\" is no merge", "t h e\n");
  expect_merges_refused("merges.txt:1: \" h\" is no merge", " h\n");
  expect_merges_refused("merges.txt:1: \"t \" is no merge", "t \n");
  expect_merges_refused("merge 0: \"qq\" is not in the vocabulary", "qq a\n");
  expect_merges_refused("merge 0: \"qz\" is not in the vocabulary", "q z\n");
  const std::string first = saved("tokenizer.json")["model"]["merges"][0];
  expect_merges_refused("merge 1 repeats", first + "\n" + first + "\n");
}

}  // namespace
}  // namespace temper
