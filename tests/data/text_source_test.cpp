#include "data/text_source.h"

#include <random>

#include "data/tokenizer.h"
#include "shard_support.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

std::vector<std::string> documents(const std::filesystem::path& path, const std::string& separator) {
  TextFile file(path, {separator, "text", BadText::few}, ::testing::TempDir());
  std::vector<std::string> found;
  for (RawDocument document; file.next(document);) found.emplace_back(document.bytes);
  return found;
}

using Strings = std::vector<std::string>;

TEST(TextFile, TextIsOneDocumentUnlessSeparated) {
  const TemporaryFolder folder;
  const std::string path = put_file(folder / "a.txt", "one\n\n<eot>two<eot><eot>\n<eot>three");
  EXPECT_EQ(documents(path, ""), Strings({"one\n\n<eot>two<eot><eot>\n<eot>three"}));
  EXPECT_EQ(documents(path, "<eot>"), Strings({"one\n\n", "two", "three"}));
  EXPECT_EQ(documents(put_file(folder / "b.txt", "<eot>one<eot>"), "<eot>"), Strings({"one"}));
  EXPECT_EQ(documents(put_file(folder / "c.txt", "one<eo"), "<eot>"), Strings({"one<eo"}));
  EXPECT_EQ(documents(put_file(folder / "d.txt", " \n"), ""), Strings());
  EXPECT_EQ(documents(put_file(folder / "e.txt", ""), ""), Strings());
}

TEST(TextFile, JsonLinesHaveADocumentALine) {
  const TemporaryFolder folder;
  TextFile file(put_file(folder / "a.jsonl", "{\"text\": \"a\"}\r\n\n{\"text\": \"b\\n<eot>\"}"), {"<eot>", "text", BadText::few},
                folder.path());
  RawDocument document;
  TextFindings found;
  ASSERT_TRUE(file.next(document));
  EXPECT_EQ(document.line, 1);
  EXPECT_EQ(file.json_text(document, found), "a");
  ASSERT_TRUE(file.next(document));
  EXPECT_EQ(document.line, 3);
  EXPECT_EQ(file.json_text(document, found), "b\n<eot>");
  EXPECT_FALSE(file.next(document));
}

TEST(TextFile, RefusesWhatIsNoText) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& contents, const std::string& part) {
    const std::string path = put_file(folder / "a.txt", contents);
    expect_error(ExitCode::data, {"a.txt", part}, [&] { TextFile file(path, {}, folder.path()); });
  };
  refused("\x1f\x8b\x08", "gzip that is cut short");
  refused("BZh9", "bunzip2");
  refused(shard_image({1, 2}), "token shard");
  refused("PAR1\x15\x04", "Parquet");
  refused("ARROW1" + std::string(2, '\0'), "Arrow");
  refused("SQLite format 3" + std::string(1, '\0'), "SQLite");
  refused(
      "\x7f"
      "ELF\x02",
      "program");
  refused("\x89PNG\r\n\x1a\n", "PNG");
  refused("PK\x03\x04", "zip");
  refused("\xff\xfe" + std::string(2, '\0'), "UTF-32");
  refused(std::string("h\0i\0", 4), "NUL byte at offset 1");
  std::string latin1;
  while (latin1.size() < 5000) latin1 += "L\xe0-bas, pr\xe8s du th\xe9\xe2tre.\n";
  refused(latin1, "the first at offset 1");
  refused(latin1, "LATIN1");
  expect_error(ExitCode::io, {"missing.txt"}, [&] { TextFile file(folder / "missing.txt", {}, folder.path()); });
}

TEST(TextFile, AFewBrokenCharactersAreCounted) {
  const TemporaryFolder folder;
  const auto invalid_bytes = [&](const std::string& broken, std::size_t size) {
    return TextFile(put_file(folder / "a.txt", broken + std::string(size - broken.size(), 'a')), {}, folder.path())
        .record()
        .found.invalid_bytes;
  };
  EXPECT_EQ(invalid_bytes("caf\xc3\xa9", 4000), 0);
  EXPECT_EQ(invalid_bytes("\xff b \xe2\x80 c", 3000), 3) << "one in a thousand";
  expect_error(ExitCode::data, {"a.txt, line 1", "3 of the file's 2999 bytes", "offset 0", "--on-bad-text"},
               [&] { invalid_bytes("\xff b \xe2\x80 c", 2999); });
}

class BadLines : public testing::Test {
 protected:
  // What a file with this line after six good ones gives for it.
  std::optional<std::string> seventh(const std::string& line, BadText bad_text = BadText::skip, const std::string& field = "text") {
    std::string lines;
    for (int count = 0; count < 6; ++count) lines += "{\"" + field + "\": \"good\"}\n";
    TextFile file(put_file(folder_ / "c.jsonl", lines + line), {"", field, bad_text}, folder_.path());
    RawDocument document;
    for (int count = 0; count < 7; ++count) EXPECT_TRUE(file.next(document));
    found_ = {};
    std::optional<std::string> text = file.json_text(document, found_);
    file.check(found_);
    return text;
  }

  TemporaryFolder folder_;
  TextFindings found_;
};

TEST_F(BadLines, AreSkippedWithTheirPlaceAndReason) {
  const auto skipped = [&](const std::string& line, const std::vector<std::string>& parts) {
    EXPECT_EQ(seventh(line), std::nullopt) << line;
    EXPECT_EQ(found_.skipped, 1);
    EXPECT_TRUE(found_.first_bad.starts_with("line 7")) << found_.first_bad;
    for (const std::string& part : parts) EXPECT_NE(found_.first_bad.find(part), std::string::npos) << found_.first_bad;
    EXPECT_LT(found_.first_bad.size(), 400u);
    std::vector<std::string> all = parts;
    all.insert(all.end(), {"c.jsonl, line 7", "--on-bad-text"});
    for (const BadText refusing : {BadText::few, BadText::refuse})
      expect_error(ExitCode::data, all, [&] { seventh(line, refusing); });
  };
  skipped("{\"text\": \"a", {"line 7, column 12: ", "syntax error"});
  skipped("[1, 2]", {"not a JSON object"});
  skipped("{\"content\": \"a\", \"id\": 1}", {"no field \"text\"", "content, id", "--json-field"});
  skipped("{\"text\": 3}", {"is number, not a string"});
  skipped("{\"text\": null}", {"is null"});
  skipped("{\"text\": NaN}", {"is null"});
  skipped("{\"text\": \"\xff\"}", {"ill-formed"});
  skipped("{\"text\": \"\\ud800\"}", {"surrogate"});
  skipped("{\"text\": \"" + std::string(5000, 'x') + "\xff\"}", {"ill-formed"});
  skipped(std::string(100000, '['), {"deep"});
}

TEST_F(BadLines, AreMendedWhereTheTextIsThere) {
  EXPECT_EQ(seventh("{\"body\": \"\\u00e9\\ud83d\\ude00\"}", BadText::few, "body"), "\xc3\xa9\xf0\x9f\x98\x80");
  EXPECT_EQ(seventh(R"({"score": NaN, "text": "NaN \" Infinity", "more": [-Infinity, Infinity]})", BadText::refuse),
            "NaN \" Infinity");
  EXPECT_EQ(seventh("{\"text\": \"a\\ud83d b\\udc00\\u0041 \\\\ud83d \xff\"}", BadText::replace),
            "a\xef\xbf\xbd b\xef\xbf\xbd"
            "A \\ud83d \xef\xbf\xbd");
  EXPECT_EQ(seventh("{\"text\": \"\\ud83d\\ude00 \\ud83d\"}", BadText::replace), "\xf0\x9f\x98\x80 \xef\xbf\xbd");
  EXPECT_EQ(found_.skipped, 0);
  EXPECT_EQ(seventh("{\"text\": \"\\ud8", BadText::replace), std::nullopt);
  EXPECT_EQ(seventh("{\"text\": 3}", BadText::replace), std::nullopt) << "there is nothing to replace";
}

TEST_F(BadLines, OneInAThousandIsAllowed) {
  std::string lines;
  for (int count = 0; count < 1998; ++count) lines += "{\"text\": \"good\"}\n";
  const auto read = [&](const std::string& bad) {
    std::string text;
    const TextOptions options;
    found_ = read_text(put_file(folder_ / "c.jsonl", bad + lines + bad), options, folder_.path(), [&](std::string_view piece) {
               text += piece;
             }).found;
  };
  read("{}\n");
  EXPECT_EQ(found_.skipped, 2);
  EXPECT_EQ(found_.documents, 1998);
  EXPECT_TRUE(found_.first_bad.starts_with("line 1: has no field")) << found_.first_bad;
  expect_error(ExitCode::data, {"c.jsonl, line 1: ", "2002 lines", "--on-bad-text"}, [&] { read("{}\n{}\n"); });
}

TEST(TextFile, BytesThatAreNotUtf8FollowThePolicy) {
  const TemporaryFolder folder;
  const std::string path = put_file(folder / "a.txt", "one\n--two \xff\n--three\n");
  const auto read = [&](BadText bad_text, const std::string& separator) {
    std::string text;
    const TextFindings found =
        read_text(path, {separator, "text", bad_text}, folder.path(), [&](std::string_view piece) { text += piece; }).found;
    return std::pair(text, found);
  };
  expect_error(ExitCode::data, {"a.txt, line 2", "--on-bad-text"}, [&] { read(BadText::few, "--"); });
  expect_error(ExitCode::data, {"a.txt, line 2", "--on-bad-text"}, [&] { read(BadText::refuse, "--"); });
  const auto [skipped, without] = read(BadText::skip, "--");
  EXPECT_EQ(skipped, "one\n\nthree\n\n");
  EXPECT_EQ(without.skipped, 1);
  EXPECT_EQ(without.invalid_bytes, 0);
  EXPECT_EQ(without.documents, 2);
  const auto [replaced, with] = read(BadText::replace, "--");
  EXPECT_EQ(replaced, "one\n\ntwo \xef\xbf\xbd\n\nthree\n\n");
  EXPECT_EQ(with.invalid_bytes, 1);
  EXPECT_TRUE(with.first_bad.starts_with("line 2: byte ff at offset 10")) << with.first_bad;
}

TEST(TextFile, AChangeWhileItIsReadIsFound) {
  const TemporaryFolder folder;
  const std::filesystem::path path = put_file(folder / "a.txt", "some text\n");
  const TextFile file(path, {}, folder.path());
  file.record();
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
  try {
    file.record();
    ADD_FAILURE() << "not found";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::data);
  }
}

TEST(TextFile, KindsAreKnownByContent) {
  const TemporaryFolder folder;
  const auto kind = [&](const std::string& name, const std::string& contents) {
    return TextFile(put_file(folder / name, contents), {}, folder.path()).record().kind;
  };
  const std::string lines = "{\"text\": \"a\", \"x\": NaN}\n\n{\"text\": \"b\"}\n";
  for (const char* name : {"a.jsonl", "a.JSONL", "a.NdJson", "a.json", "a", "a.jsonl.zst"})
    EXPECT_EQ(kind(name, lines), "JSON lines") << name;
  EXPECT_EQ(kind("b.json", "{\"text\": \"a\"}"), "JSON lines") << "one line";
  EXPECT_EQ(kind("b.jsonl", "\xef\xbb\xbf" + lines), "JSON lines");
  EXPECT_EQ(kind("b", "{\"text\": \"a\"}\nno more\n"), "text");
  EXPECT_EQ(kind("b", "{braces}\n"), "text");
  EXPECT_NE(kind("b.txt", lines).find("name it .jsonl"), std::string::npos);
  expect_error(ExitCode::data, {"c.json", "jq"}, [&] { kind("c.json", "[\n{\"text\": \"a\"}\n]"); });
  expect_error(ExitCode::data, {"c.json", "jq"}, [&] { kind("c.json", "{\n\"text\": \"a\"\n}"); });
}

TEST(TextFile, MarksAreCounted) {
  const TemporaryFolder folder;
  const auto marks = [&](const std::string& name, const std::string& contents) {
    return read_text(put_file(folder / name, contents), {}, folder.path(), [](std::string_view) {}).found.marks;
  };
  EXPECT_EQ(marks("a.txt", "a<|endoftext|><|endoftext|>\n<|endoftext|"), 2);
  EXPECT_EQ(marks("a.jsonl", "{\"text\": \"a<|endoftext|>b\"}\n{\"text\": \"b\"}\n"), 1);
}

TEST(TextFile, WhatHasNoBordersIsRefused) {
  EXPECT_EQ(piece_length(std::string(1000, 'a') + " b", 10, "a.txt"), 1000u);
  expect_error(ExitCode::data, {"a.txt", "without a space"},
               [&] { piece_length(std::string((std::size_t{16} << 20) + 11, 'a'), 10, "a.txt"); });
}

TEST(ValidationCut, PrefersParagraphThenLineThenWord) {
  const std::string line = "word word word word\n";
  std::string text;
  for (int paragraph = 0; paragraph < 100; ++paragraph) text += line + line + "\n";
  const std::size_t cut = validation_cut(text, 0.1);
  EXPECT_EQ(text.substr(cut - 2, 2), "\n\n");
  EXPECT_NEAR(static_cast<double>(cut) / static_cast<double>(text.size()), 0.9, 0.011);  // a tenth of the part, and a line
  std::string lines;
  for (int count = 0; count < 200; ++count) lines += line;
  const std::size_t line_cut = validation_cut(lines, 0.1);
  EXPECT_EQ(line_cut, 180 * line.size()) << "a line that ends at the very place is taken";
  std::string words;
  for (int count = 0; count < 200; ++count) words += "word ";
  const std::size_t word_cut = validation_cut(words, 0.1);
  EXPECT_EQ(words[word_cut], ' ');
  EXPECT_EQ(words[word_cut - 1], 'd');
  EXPECT_EQ(validation_cut("word", 0.1), 4u) << "nothing to cut";
  EXPECT_EQ(validation_cut("", 0.1), 0u);
  EXPECT_EQ(validation_cut("\n", 0.5), 1u);
}

class TokenBorder : public testing::Test {
 protected:
  // The tokens of every prefix and suffix at a border must be those of the whole.
  void expect_safe(const Tokenizer& tokenizer, const std::string& text) {
    const std::vector<std::uint32_t> whole = tokenizer.encode(text);
    for (std::size_t place = token_border(text, 0); place < text.size(); place = token_border(text, place + 1)) {
      std::vector<std::uint32_t> parts = tokenizer.encode(text.substr(0, place));
      tokenizer.encode(std::string_view(text).substr(place), parts);
      ASSERT_EQ(parts, whole) << "cut at " << place << " of: " << text;
      ++cuts_;
    }
  }

  int cuts_ = 0;
};

// Everything that the pre-tokenizer treats specially, thrown together: all white space of Unicode, contractions, marks, digits of
// several scripts, broken UTF-8.
const Strings fragments = {"a",
                           "Zz",
                           "\xc3\xa9",
                           "\xe4\xbd\xa0",
                           "\xe3\x80\x82",
                           "1",
                           "\xd9\xa3",
                           "!",
                           "'",
                           "'s",
                           "'ll",
                           "\xcc\x81",
                           "_",
                           "\xf0\x9f\x98\x80",
                           "\xe2\x80\x8d",
                           "\xef\xbb\xbf",
                           " ",
                           " ",
                           "\n",
                           "\n",
                           "\t",
                           "\r",
                           "\x0b",
                           "\x0c",
                           "\x1c",
                           "\x7f",
                           "\xc2\x85",
                           "\xc2\xa0",
                           "\xe1\x9a\x80",
                           "\xe1\xa0\x8e",
                           "\xe2\x80\x80",
                           "\xe2\x80\x8a",
                           "\xe2\x80\x8b",
                           "\xe2\x80\xa8",
                           "\xe2\x80\xa9",
                           "\xe2\x80\xaf",
                           "\xe2\x81\x9f",
                           "\xe3\x80\x80",
                           "\xe2\x80",
                           "\xf0\x9f",
                           "\x80",
                           "\xff",
                           "\xed\xa0\x80",
                           "\xe2",
                           "\xc2",
                           std::string(1, '\0')};

TEST_F(TokenBorder, CutsNeverChangeTokens) {
  // Merges across every kind of character, so that a wrong cut shows.
  std::string training;
  std::mt19937 random(1);
  for (int count = 0; count < 20000; ++count) training += fragments[random() % fragments.size()];
  const Tokenizer tokenizer = Tokenizer::train(training, 600, {});
  for (int round = 0; round < 6000; ++round) {
    std::string text;
    for (auto length = 1 + random() % 24; length-- > 0;) text += fragments[random() % fragments.size()];
    expect_safe(tokenizer, text);
  }
  EXPECT_GT(cuts_, 2000) << "or the test tests nothing";
}

TEST_F(TokenBorder, CutsNeverChangeGpt2Tokens) {
  const std::string folder = TEMPER_SOURCE_DIR "/../shared/data/gpt2";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "gpt2/encoder.json is absent";
  const Tokenizer tokenizer = Tokenizer::load(folder);
  std::mt19937 random(2);
  for (int round = 0; round < 6000; ++round) {
    std::string text;
    for (auto length = 1 + random() % 24; length-- > 0;) text += fragments[random() % fragments.size()];
    expect_safe(tokenizer, text);
  }
  EXPECT_GT(cuts_, 2000);
}

TEST(TokenBorderPlaces, LieBeforeSpaceAfterNoSpace) {
  EXPECT_EQ(token_border("ab cd", 0), 2u);
  EXPECT_EQ(token_border("ab cd", 2), 2u);
  EXPECT_EQ(token_border("ab cd", 3), 5u);
  EXPECT_EQ(token_border(" ab\n\ncd", 0), 3u);
  EXPECT_EQ(token_border("a\t b", 0), 4u) << "after a tab is inside of white space";
  EXPECT_EQ(token_border("\xe3\x80\x82\n", 0), 3u) << "an ideographic full stop is no white space";
  EXPECT_EQ(token_border("\xe3\x80\x80\n", 0), 4u) << "an ideographic space is";
  for (const char* space : {"\t",           "\n",           "\x0b",         "\x0c",         "\r",           " ",
                            "\x1c",         "\x1f",         "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe1\xa0\x8e",
                            "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x8a", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf",
                            "\xe2\x81\x9f", "\xe3\x80\x80"}) {
    const std::string text = std::string(space) + "\n";
    EXPECT_EQ(token_border(text, 0), text.size())
        << "after white space " << std::hex << +static_cast<unsigned char>(text[text.size() - 2]);
  }
  EXPECT_EQ(token_border("", 5), 0u);
  EXPECT_EQ(token_border("ab", 5), 2u);
}

}  // namespace
}  // namespace temper
