#include "data/tokenize.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <thread>

#include "shard_support.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

// Prose of a few hundred words in lines and paragraphs, with a sprinkling of what pre-tokenizers stumble over.
std::string prose(std::size_t bytes, std::uint32_t seed) {
  static const std::vector<std::string> words = {"the",
                                                 "kiln",
                                                 "cools",
                                                 "slowly,",
                                                 "it's",
                                                 "we'll",
                                                 "42",
                                                 "--",
                                                 "caf\xc3\xa9",
                                                 "\xe4\xbd\xa0\xe5\xa5\xbd\xe3\x80\x82",
                                                 "end.",
                                                 "A",
                                                 "\xf0\x9f\x94\xa5",
                                                 "x_1"};
  static const std::vector<std::string> gaps = {" ", " ", " ", " ", "  ", "\n", "\n\n", " \n", "\t", "\xc2\xa0"};
  std::mt19937 random(seed);
  std::string text;
  // A broken character now and then, as in any large corpus: not so many that they tell of another encoding.
  const auto word = [&] { return random() % 2000 == 0 ? "\xe2\x80" : words[random() % words.size()]; };
  while (text.size() < bytes) text += word() + gaps[random() % gaps.size()];
  return text;
}

const Tokenizer& tokenizer() {
  static const Tokenizer trained = Tokenizer::train(prose(20000, 99), 300, {});
  return trained;
}

Tokens narrow(const std::vector<std::uint32_t>& tokens) { return {tokens.begin(), tokens.end()}; }

void add_document(Tokens& tokens, const std::string& text) {
  tokens.push_back(static_cast<std::uint16_t>(tokenizer().end_of_text()));
  for (const std::uint32_t token : tokenizer().encode(text)) tokens.push_back(static_cast<std::uint16_t>(token));
}

class TokenizeFiles : public testing::Test {
 protected:
  TokenizeSettings settings(const std::vector<std::string>& inputs) {
    TokenizeSettings made;
    made.inputs = inputs;
    made.output = folder_ / "out";
    made.name = "x";
    made.overwrite = true;
    made.threads = 2;
    return made;
  }

  std::string put(const std::string& name, const std::string& contents) { return put_file(folder_ / name, contents); }

  Tokens read(const Sidecar& sidecar, Split split) {
    Tokens all;
    for (const ShardRecord& record : sidecar.split(split).shards) {
      const Shard shard(folder_ / "out" / record.file, ShardFormat::automatic);
      EXPECT_EQ(shard.tokens(), record.tokens);
      EXPECT_EQ(hash_file(shard.path()), record.hash);
      Tokens tokens(static_cast<std::size_t>(shard.tokens()));
      shard.read(0, tokens);
      all.insert(all.end(), tokens.begin(), tokens.end());
    }
    EXPECT_EQ(static_cast<std::int64_t>(all.size()), sidecar.split(split).tokens);
    return all;
  }

  std::vector<std::string> output_files() {
    std::vector<std::string> files;
    if (!std::filesystem::exists(folder_ / "out")) return files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "out")) files.push_back(entry.path().filename());
    std::sort(files.begin(), files.end());
    return files;
  }

  TemporaryFolder folder_;
};

using Strings = std::vector<std::string>;

TEST_F(TokenizeFiles, ParallelEqualsWholeTextEncoding) {
  const std::string text = prose(3'000'000, 1);  // about a dozen jobs
  const std::string path = put("a.txt", text);
  Tokens expected;
  add_document(expected, text);
  std::string sidecar_text;
  for (const int threads : {1, 2, 3, 8}) {
    TokenizeSettings made = settings({path});
    made.threads = threads;
    made.shard_tokens = 300'000;
    const Sidecar sidecar = tokenize_files(made, tokenizer(), {});
    ASSERT_EQ(read(sidecar, Split::train), expected) << threads;
    EXPECT_EQ(sidecar.split(Split::train).bytes, static_cast<std::int64_t>(text.size()));
    EXPECT_EQ(sidecar.split(Split::train).documents, 1);
    for (std::size_t shard = 0; shard + 1 < sidecar.split(Split::train).shards.size(); ++shard) {
      EXPECT_EQ(sidecar.split(Split::train).shards[shard].tokens, 300'000);
    }
    EXPECT_GT(sidecar.split(Split::train).shards.size(), 2u);
    const std::string written = read_file(folder_ / "out/x.json");
    if (threads == 1) sidecar_text = written;
    EXPECT_EQ(written, sidecar_text);
  }
}

TEST_F(TokenizeFiles, DocumentsOfAllKindsInOrder) {
  const std::string text = put("b.txt", "one<|endoftext|>two\n<|endoftext|>\n");
  const std::string lines = put("a.jsonl", "{\"text\": \"three\"}\n\n{\"text\": \" \"}\n{\"id\": 1, \"text\": \"f\\u00fcnf\"}\n");
  TokenizeSettings made = settings({text, lines});
  made.text.separator = "<|endoftext|>";
  const Sidecar sidecar = tokenize_files(made, tokenizer(), {});
  Tokens expected;
  for (const char* document : {"one", "two\n", "three", "f\xc3\xbcnf"}) add_document(expected, document);
  EXPECT_EQ(read(sidecar, Split::train), expected);
  EXPECT_EQ(sidecar.split(Split::train).documents, 4);
  EXPECT_EQ(sidecar.split(Split::train).bytes, 3 + 4 + 5 + 5);
  EXPECT_EQ(output_files(), Strings({"x.json", "x_train_000000.bin"}));
  ASSERT_EQ(sidecar.sources.size(), 2u);
  EXPECT_EQ(sidecar.sources[0].file, "b.txt");
  EXPECT_EQ(sidecar.sources[0].bytes, 34);
  EXPECT_EQ(sidecar.sources[0].hash, hash_file(text));
  EXPECT_EQ(sidecar.tokenizer_hash, tokenizer().hash());
  EXPECT_EQ(sidecar.vocab_size, 300);
  ShardOrigins origins;
  origins.add(Shard(folder_ / "out/x_train_000000.bin", ShardFormat::automatic));
  EXPECT_DOUBLE_EQ(origins.bytes_per_token().value(), 17.0 / static_cast<double>(expected.size()));
}

TEST_F(TokenizeFiles, WithoutASeparatorTheMarkIsText) {
  const Sidecar sidecar = tokenize_files(settings({put("a.txt", "one<|endoftext|>two")}), tokenizer(), {});
  Tokens expected;
  add_document(expected, "one<|endoftext|>two");
  EXPECT_EQ(read(sidecar, Split::train), expected);
}

TEST_F(TokenizeFiles, JsonField) {
  TokenizeSettings made = settings({put("a.ndjson", "{\"body\": \"b\", \"text\": \"t\"}")});
  made.text.json_field = "body";
  Tokens expected;
  add_document(expected, "b");
  EXPECT_EQ(read(tokenize_files(made, tokenizer(), {}), Split::train), expected);
}

TEST_F(TokenizeFiles, ManyDocumentsGiveEveryNthToValidation) {
  std::string lines;
  Tokens train, validation;
  for (int number = 0; number < 45; ++number) {
    const std::string text = "document " + std::to_string(number);
    lines += "{\"text\": \"" + text + "\"}\n";
    add_document(number % 10 == 9 ? validation : train, text);
  }
  TokenizeSettings made = settings({put("a.jsonl", lines)});
  made.validation_fraction = 0.1;
  const Sidecar sidecar = tokenize_files(made, tokenizer(), {});
  EXPECT_EQ(read(sidecar, Split::train), train);
  EXPECT_EQ(read(sidecar, Split::validation), validation);
  EXPECT_EQ(sidecar.split(Split::validation).documents, 4);
  EXPECT_EQ(output_files(), Strings({"x.json", "x_train_000000.bin", "x_val_000000.bin"}));
}

TEST_F(TokenizeFiles, TheFractionIsTheOneThatWasAsked) {
  std::string lines;
  for (int number = 0; number < 1000; ++number) lines += "{\"text\": \"document " + std::to_string(number) + "\"}\n";
  TokenizeSettings made = settings({put("a.jsonl", lines)});
  for (const double fraction : {0.45, 0.3, 0.07, 0.333, 0.29, 0.001, 0.5}) {
    made.validation_fraction = fraction;
    const Sidecar sidecar = tokenize_files(made, tokenizer(), {});
    EXPECT_EQ(sidecar.split(Split::validation).documents, std::llround(1000 * fraction)) << fraction;
    EXPECT_EQ(sidecar.split(Split::train).documents, 1000 - std::llround(1000 * fraction)) << fraction;
  }
}

TEST_F(TokenizeFiles, FractionsOfOneInNTakeEveryNth) {
  std::string text;
  for (int number = 0; number < 3000; ++number) text += "|" + std::to_string(number);
  const std::string path = put("a.txt", text);
  for (const int n : {2, 3, 5, 7, 10, 20, 49, 50, 100, 1000}) {
    CorpusReader reader({{path, Split::train}}, {"|", "text", BadText::few}, 1.0 / n, folder_.path());
    int number = 0;
    for (TextJob job; reader.next(job);) {
      for (const TextPiece& piece : job.pieces) {
        ASSERT_EQ(piece.split, number % n == n - 1 ? Split::validation : Split::train) << number << " of every " << n;
        ++number;
      }
    }
    EXPECT_EQ(number, 3000);
  }
}

TEST_F(TokenizeFiles, PackedTextsAndPipesGiveTheSameShards) {
  std::string lines;
  for (int number = 0; number < 30; ++number) {
    lines += "{\"text\": \"document " + std::to_string(number);
    for (int line = 0; line < 300; ++line) lines += "\\na line";
    lines += "\"}\n";
  }
  const std::string plain = put("a.jsonl", lines);
  std::string wide = "\xff\xfe";
  for (const char letter : lines) wide += {letter, '\0'};
  const std::string utf16 = put("a.json", wide);
  const std::string pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const double fraction : {0.0, 0.1, 0.01}) {  // no split, documents of it, the last part of each
    TokenizeSettings made = settings({plain});
    made.validation_fraction = fraction;
    const Sidecar expected = tokenize_files(made, tokenizer(), {});
    const Tokens train = read(expected, Split::train), validation = read(expected, Split::validation);
    for (const std::string& input : {utf16, pipe}) {
      std::thread writer([&] {
        if (input == pipe) std::ofstream(pipe, std::ios::binary) << lines;
      });
      made.inputs = {input};
      std::int64_t done = 0, all = 0;
      const Sidecar sidecar = tokenize_files(made, tokenizer(), [&](std::int64_t bytes, std::int64_t total) {
        EXPECT_GE(bytes, done);
        done = bytes;
        all = total;
      });
      writer.join();
      EXPECT_EQ(read(sidecar, Split::train), train) << input << ' ' << fraction;
      EXPECT_EQ(read(sidecar, Split::validation), validation) << input << ' ' << fraction;
      EXPECT_EQ(all, static_cast<std::int64_t>(input == pipe ? lines.size() : wide.size()));
      EXPECT_EQ(done, all);
      EXPECT_EQ(sidecar.sources[0].kind, input == pipe ? "JSON lines" : "JSON lines in UTF-16");
    }
  }
}

TEST_F(TokenizeFiles, WhatWasFoundIsRecordedForAnyNumberOfThreads) {
  std::string lines;
  for (int number = 0; number < 30'000; ++number)
    lines += number % 2000 == 1234 ? "{\"text\": null}\n" : "{\"text\": \"a document<|endoftext|> of a few words\"}\n";
  const Strings inputs = {put("a.jsonl", lines), put("b.txt", prose(4000, 3) + "\xff<|endoftext|>")};
  std::string expected;
  for (const int threads : {1, 3}) {
    TokenizeSettings made = settings(inputs);
    made.threads = threads;
    const Sidecar sidecar = tokenize_files(made, tokenizer(), {});
    const TextFindings& found = sidecar.sources[0].found;
    EXPECT_EQ(found.documents, 30'000 - 15);
    EXPECT_EQ(found.skipped, 15);
    EXPECT_EQ(found.marks, 30'000 - 15);
    EXPECT_TRUE(found.first_bad.starts_with("line 1235: field \"text\" is null")) << found.first_bad;
    EXPECT_EQ(sidecar.sources[1].kind, "text");
    EXPECT_EQ(sidecar.sources[1].found.documents, 1);
    EXPECT_EQ(sidecar.sources[1].found.marks, 1);
    EXPECT_GE(sidecar.sources[1].found.invalid_bytes, 1);
    const std::string written = read_file(folder_ / "out/x.json");
    if (threads == 1) expected = written;
    EXPECT_EQ(written, expected);
  }
}

TEST_F(TokenizeFiles, FewDocumentsGiveTheirLastParts) {
  const std::string text = prose(900'000, 4);
  std::string json_prose;
  for (int line = 0; line < 50; ++line) json_prose += "a line of JSON\\n";
  TokenizeSettings made = settings({put("a.txt", text), put("b.jsonl", "{\"text\": \"" + json_prose + "\"}\n")});
  made.validation_fraction = 0.1;
  const Sidecar sidecar = tokenize_files(made, tokenizer(), {});
  const std::size_t cut = validation_cut(text, 0.1);
  EXPECT_EQ(text[cut - 1], '\n');
  Tokens train, validation;
  add_document(train, text.substr(0, cut));
  add_document(validation, text.substr(cut));
  std::string decoded;
  for (int line = 0; line < 50; ++line) decoded += "a line of JSON\n";
  add_document(train, decoded.substr(0, decoded.size() / 10 * 9));
  add_document(validation, decoded.substr(decoded.size() / 10 * 9));
  EXPECT_EQ(read(sidecar, Split::train), train);
  EXPECT_EQ(read(sidecar, Split::validation), validation);
  EXPECT_EQ(sidecar.split(Split::train).bytes + sidecar.split(Split::validation).bytes,
            static_cast<std::int64_t>(text.size() + decoded.size()));
}

TEST_F(TokenizeFiles, SeparateValidationFiles) {
  TokenizeSettings made = settings({put("a.txt", "for training")});
  made.validation_inputs = {put("b.txt", "for validation")};
  const Sidecar sidecar = tokenize_files(made, tokenizer(), {});
  Tokens train, validation;
  add_document(train, "for training");
  add_document(validation, "for validation");
  EXPECT_EQ(read(sidecar, Split::train), train);
  EXPECT_EQ(read(sidecar, Split::validation), validation);
  made.validation_fraction = 0.1;
  expect_error(ExitCode::usage, {"both"}, [&] { tokenize_files(made, tokenizer(), {}); });
  made.validation_fraction = 0.0;
  made.validation_inputs = made.inputs;
  expect_error(ExitCode::data, {"a.txt", "twice"}, [&] { tokenize_files(made, tokenizer(), {}); });
  made.validation_inputs = {put("empty.txt", " \n")};
  expect_error(ExitCode::data, {"validation split is empty"}, [&] { tokenize_files(made, tokenizer(), {}); });
  EXPECT_EQ(output_files(), Strings({"x.json", "x_train_000000.bin", "x_val_000000.bin"})) << "a run that failed changes nothing";
  EXPECT_EQ(hash_file(folder_ / "out/x_val_000000.bin"), sidecar.split(Split::validation).shards.front().hash);
}

TEST_F(TokenizeFiles, ProgressRisesToTheEndAndMayStopTheRun) {
  const std::string text = prose(2'000'000, 5);
  const std::string path = put("a.txt", text);
  const std::string other = put("b.txt", "more");
  std::int64_t last = -1;
  int calls = 0;
  tokenize_files(settings({path, other}), tokenizer(), [&](std::int64_t done, std::int64_t total) {
    EXPECT_EQ(total, static_cast<std::int64_t>(text.size() + 4));
    EXPECT_GE(done, last);
    EXPECT_LE(done, total);
    last = done;
    ++calls;
  });
  EXPECT_EQ(last, static_cast<std::int64_t>(text.size() + 4));
  EXPECT_GT(calls, 5);
  TokenizeSettings made = settings({path});
  made.shard_tokens = 100'000;
  const auto give_up = [](std::int64_t done, std::int64_t) {
    if (done > 1'000'000) throw Error(ExitCode::saved, "stop");
  };
  made.name = "y";
  expect_error(ExitCode::saved, {"stop"}, [&] { tokenize_files(made, tokenizer(), give_up); });
  EXPECT_EQ(output_files(), Strings({"x.json", "x_train_000000.bin"}));
}

TEST_F(TokenizeFiles, AnErrorInALineStopsTheRunAndLeavesNothing) {
  std::string lines;
  for (int number = 0; number < 20000; ++number)
    lines += "{\"text\": \"some words to fill the line " + std::to_string(number) + "\"}\n";
  std::string bad;
  for (int number = 0; number < 41; ++number) bad += "{\"text\": 5}\n";
  lines += bad + lines;
  expect_error(ExitCode::data, {"a.jsonl, line 20001", "number", "--on-bad-text"},
               [&] { tokenize_files(settings({put("a.jsonl", lines)}), tokenizer(), {}); });
  EXPECT_EQ(output_files(), Strings());
  const std::string first = put("a.txt", prose(500'000, 6));
  expect_error(ExitCode::data, {"b.txt", "cut short"}, [&] {
    tokenize_files(settings({first, put("b.txt", "\x1f\x8b")}), tokenizer(), {});
  });
  EXPECT_EQ(output_files(), Strings());
}

TEST_F(TokenizeFiles, OldOutputIsKeptOrReplacedWhole) {
  const std::string path = put("a.txt", prose(20'000, 7));
  TokenizeSettings made = settings({path});
  made.shard_tokens = 1000;
  tokenize_files(made, tokenizer(), {});
  const Strings many = output_files();
  ASSERT_GT(many.size(), 4u);
  put("out/x_train_extra.bin", "not of the series");
  made.shard_tokens = 1'000'000;
  made.overwrite = false;
  expect_error(ExitCode::usage, {"x.json", "exists already"}, [&] { tokenize_files(made, tokenizer(), {}); });
  EXPECT_EQ(output_files().size(), many.size() + 1);
  made.overwrite = true;
  TokenizeSettings bad = made;
  bad.inputs = {path, put("bad.jsonl", "not json")};
  const std::string sidecar = read_file(folder_ / "out/x.json");
  expect_error(ExitCode::data, {"bad.jsonl"}, [&] { tokenize_files(bad, tokenizer(), {}); });
  EXPECT_EQ(output_files().size(), many.size() + 1) << "the old shards stay until the new ones are whole";
  EXPECT_EQ(read_file(folder_ / "out/x.json"), sidecar);
  tokenize_files(made, tokenizer(), {});
  EXPECT_EQ(output_files(), Strings({"x.json", "x_train_000000.bin", "x_train_extra.bin"}));
  made.inputs = {(folder_ / "out/x.json").string()};
  expect_error(ExitCode::usage, {"x.json", "both an input"}, [&] { tokenize_files(made, tokenizer(), {}); });
  made.inputs = {path};
  put("out/x.json", "{\"a vocabulary\": 1}");
  expect_error(ExitCode::usage, {"x.json", "not a sidecar", "another name"}, [&] { tokenize_files(made, tokenizer(), {}); });
}

TEST_F(TokenizeFiles, BadSettings) {
  const TokenizeSettings good = settings({put("a.txt", "some text")});
  const auto refused = [&](ExitCode code, const std::string& part, const std::function<void(TokenizeSettings&)>& change) {
    TokenizeSettings made = good;
    change(made);
    expect_error(code, {part}, [&] { tokenize_files(made, tokenizer(), {}); });
  };
  refused(ExitCode::usage, "no input", [](auto& made) { made.inputs.clear(); });
  refused(ExitCode::data, "no file matches", [](auto& made) { made.inputs = {"/nowhere/*.txt"}; });
  for (const char* name : {"", "a/b", ".hidden"})
    refused(ExitCode::usage, "name of the shards", [&](auto& made) { made.name = name; });
  for (const double fraction : {-0.1, 0.51, std::nan("")}) {
    refused(ExitCode::usage, "0 to 0.5", [&](auto& made) { made.validation_fraction = fraction; });
  }
  for (const std::int64_t tokens : {std::int64_t{0}, max_shard_tokens + 1}) {
    refused(ExitCode::usage, "shard size", [&](auto& made) { made.shard_tokens = tokens; });
  }
  refused(ExitCode::data, "training split is empty", [&](auto& made) { made.inputs = {put("blank.txt", " \n\n")}; });
  for (const double fraction : {0.1, 1e-300}) {
    refused(ExitCode::data, "validation split is empty", [&](auto& made) {
      made.inputs = {put("word.txt", "word")};
      made.validation_fraction = fraction;
    });
  }
}

TEST_F(TokenizeFiles, VocabularyBeyond65536IsRefused) {
  std::string text;
  std::mt19937 random(8);
  const auto word = [&] {
    std::string made;
    for (int letter = 0; letter < 4; ++letter) made += static_cast<char>('a' + random() % 26);
    return made;
  };
  for (int count = 0; count < 90'000; ++count) text += word() + " ";
  const Tokenizer wide = Tokenizer::train(text, 65537, {});
  ASSERT_EQ(wide.vocab_size(), 65537);
  expect_error(ExitCode::data, {"65537 tokens", "65536"}, [&] { tokenize_files(settings({put("a.txt", "some text")}), wide, {}); });
}

TEST_F(TokenizeFiles, ShakespeareHas338025Tokens) {
  const std::string data = TEMPER_SOURCE_DIR "/../shared/data";
  if (!std::filesystem::exists(data + "/text/tinyshakespeare.txt")) GTEST_SKIP() << "text/tinyshakespeare.txt is absent";
  const Tokenizer gpt2 = Tokenizer::load(data + "/gpt2");
  const Sidecar sidecar = tokenize_files(settings({data + "/text/tinyshakespeare.txt"}), gpt2, {});
  EXPECT_EQ(sidecar.split(Split::train).tokens, 338'025 + 1) << "and <|endoftext|>";
  Tokens expected = {50256};
  const Tokens text = narrow(gpt2.encode(read_file(data + "/text/tinyshakespeare.txt")));
  expected.insert(expected.end(), text.begin(), text.end());
  EXPECT_EQ(read(sidecar, Split::train), expected);
}

TEST(CorpusReader, CutsAboutEqualJobsThatHoldTheWholeText) {
  const TemporaryFolder folder;
  const std::string text = prose(2'000'000, 9);
  CorpusReader reader({{put_file(folder / "a.txt", text), Split::train}}, {}, 0.0, folder.path());
  std::string whole;
  TextJob job;
  while (reader.next(job)) {
    std::size_t bytes = 0;
    for (const TextPiece& piece : job.pieces) {
      EXPECT_EQ(piece.starts_document, whole.empty());
      whole += piece.document.bytes;
      bytes += piece.document.bytes.size();
    }
    EXPECT_LT(bytes, 300'000u) << "memory is bounded";
    EXPECT_EQ(job.input_bytes, static_cast<std::int64_t>(whole.size()));
  }
  EXPECT_EQ(whole, text);
  ASSERT_EQ(reader.sources().size(), 1u);
}

}  // namespace
}  // namespace temper
