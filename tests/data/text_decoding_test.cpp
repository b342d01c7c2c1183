#include "data/text_decoding.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <fstream>
#include <thread>

#include "data/text_source.h"
#include "shard_support.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

std::string gzip(const std::string& text) {
  z_stream stream = {};
  deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

std::string zstd(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 1));
  return packed;
}

std::string utf16(const std::u16string& text, bool big_endian) {
  std::string bytes;
  for (const char16_t unit : u'\xfeff' + text) {
    const char high = static_cast<char>(unit >> 8), low = static_cast<char>(unit & 0xff);
    bytes += big_endian ? std::string{high, low} : std::string{low, high};
  }
  return bytes;
}

class Packed : public testing::Test {
 protected:
  std::string text_of(const std::string& contents) {
    const TextBytes bytes(put_file(folder_ / "a.txt", contents), folder_.path());
    forms_ = bytes.forms();
    EXPECT_EQ(bytes.raw(), contents);
    return std::string(bytes.text());
  }
  void refused(const std::string& contents, const std::string& part) {
    expect_error(ExitCode::data, {"a.txt", part}, [&] { text_of(contents); });
  }
  std::ptrdiff_t files() {
    return std::distance(std::filesystem::directory_iterator(folder_.path()), std::filesystem::directory_iterator());
  }

  TemporaryFolder folder_;
  std::string forms_;
};

TEST_F(Packed, EachFormGivesItsText) {
  std::string text = "caf\xc3\xa9 \xf0\x9f\x98\x80\n";
  while (text.size() < 1'000'000) text += text;
  EXPECT_EQ(text_of(text), text);
  EXPECT_EQ(forms_, "");
  EXPECT_EQ(text_of("\xef\xbb\xbf" + text), text) << "a byte order mark is no text";
  EXPECT_EQ(text_of(gzip(text)), text);
  EXPECT_EQ(forms_, " in gzip");
  EXPECT_EQ(text_of(zstd(text)), text);
  EXPECT_EQ(forms_, " in zstd");
  EXPECT_EQ(text_of(gzip("one\n") + gzip(text) + std::string(512, '\0')), "one\n" + text);
  EXPECT_EQ(text_of(zstd("one\n") + zstd(text)), "one\n" + text);
  EXPECT_EQ(text_of(std::string("\x50\x2a\x4d\x18\x02\0\0\0xy", 10) + zstd(text)), text) << "a frame without data";
  EXPECT_EQ(text_of(gzip("")), "");
  for (const bool big_endian : {false, true}) {
    EXPECT_EQ(text_of(utf16(u"caf\u00e9 \U0001F600\u4f60", big_endian)), "caf\xc3\xa9 \xf0\x9f\x98\x80\xe4\xbd\xa0");
    EXPECT_EQ(forms_, " in UTF-16");
  }
  EXPECT_EQ(text_of(gzip(utf16(u"text", false))), "text");
  EXPECT_EQ(forms_, " in UTF-16 in gzip");
  std::u16string pages;
  while (pages.size() < 500'000) pages += u"a page of text\n";
  EXPECT_EQ(text_of(gzip(utf16(pages, true))), std::string(pages.begin(), pages.end()));
  EXPECT_EQ(files(), 1) << "what was decoded leaves nothing";
}

TEST_F(Packed, HalvesOfPairsAreBrokenCharacters) {
  std::u16string halves = u"a_b_c";
  halves[1] = 0xD83D;
  halves[3] = 0xDE00;
  EXPECT_EQ(text_of(utf16(halves, false)),
            "a\xff"
            "b\xff"
            "c");
  EXPECT_EQ(text_of(utf16(u"a", false) + "b"), "a\xff") << "half a unit";
}

TEST_F(Packed, DamageAndOtherThingsAreRefused) {
  std::string text;
  for (int line = 0; line < 9000; ++line) text += "line " + std::to_string(line * line) + "\n";
  for (const std::string& packed : {gzip(text), zstd(text)}) {
    for (const std::size_t length : {packed.size() - 1, packed.size() / 2, std::size_t{6}})
      refused(packed.substr(0, length), "cut short");
    std::string flipped = packed;
    flipped[packed.size() / 2] ^= 0x10;
    refused(flipped, "cannot be decoded");
    refused(packed + "more", "cannot be decoded");
  }
  refused(gzip(gzip(text)), "gunzip");
  refused(gzip("PAR1" + text), "Parquet");
  refused(gzip(shard_image({1, 2})), "token shard");
  std::string tar(1024, '\0');
  tar.replace(0, 5, "a.txt").replace(257, 5, "ustar");
  refused(gzip(tar), "tar archive");
  refused(tar, "tar archive");
}

TEST_F(Packed, ABombIsRefusedAtItsFirstPiece) {
  std::string bomb;
  const std::string zeros(std::size_t{64} << 20, '\0');
  for (int count = 0; count < 4; ++count) bomb += zstd(zeros);
  ASSERT_LT(bomb.size(), 100'000u);
  std::size_t largest = 0, all = 0;
  EXPECT_THROW(decode_text(TextForm::zstd, bomb, "a.zst",
                           [&](std::string_view piece, std::size_t /*read*/) {
                             largest = std::max(largest, piece.size());
                             all += piece.size();
                             if (all > 10'000'000) throw Error(ExitCode::data, "enough");
                           }),
               Error);
  EXPECT_LE(largest, std::size_t{256} << 10);
  refused(bomb, "NUL byte at offset 0");
  refused(zstd(std::string(std::size_t{40} << 20, 'a')), "without a space");
}

TEST_F(Packed, HowFarDecodingIsIsTold) {
  std::string text;
  std::u16string wide;
  for (unsigned line = 0; line < 300'000; ++line) {
    text += "line " + std::to_string(line * 2654435761u) + "\n";
    wide += u"wide ";
  }
  for (const std::string& packed : {gzip(text), zstd(text), utf16(wide, true)}) {
    std::vector<std::int64_t> told = {0};
    TextOptions options;
    options.decoding = [&, size = static_cast<std::int64_t>(packed.size())](std::int64_t done, std::int64_t all) {
      EXPECT_EQ(all, size);
      told.push_back(done);
    };
    const TextFile file(put_file(folder_ / "a.txt", packed), options, folder_.path());
    EXPECT_GT(told.size(), 5u);
    EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
    EXPECT_GT(told.back(), static_cast<std::int64_t>(packed.size() - 16));
    EXPECT_LE(told.back(), static_cast<std::int64_t>(packed.size()));
    EXPECT_GT(told[told.size() / 2], static_cast<std::int64_t>(packed.size() / 3));
  }
}

TEST_F(Packed, PipesAreReadOnceAndKept) {
  const std::filesystem::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  for (const bool pack : {false, true}) {
    std::string lines;
    for (int line = 0; line < 50'000; ++line) lines += "{\"text\": \"document " + std::to_string(line) + "\"}\n";
    const std::string sent = pack ? gzip(lines) : lines;
    std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << sent; });
    TextFile file(pipe, {}, folder_.path());
    writer.join();
    EXPECT_TRUE(file.piped());
    EXPECT_EQ(file.contents(), lines);
    EXPECT_EQ(file.record().kind, pack ? "JSON lines in gzip" : "JSON lines");
    EXPECT_EQ(file.record().bytes, static_cast<std::int64_t>(sent.size()));
  }
  EXPECT_EQ(files(), 1);
  expect_error(ExitCode::io, {"/dev/zero", "device"}, [&] { TextBytes("/dev/zero", folder_.path()); });
}

}  // namespace
}  // namespace temper
