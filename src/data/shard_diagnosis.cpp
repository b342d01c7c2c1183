#include "data/shard_diagnosis.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>

namespace temper {
namespace {

using namespace std::string_view_literals;

bool starts_with(std::span<const std::byte> file, std::string_view prefix) {
  return file.size() >= prefix.size() && std::memcmp(file.data(), prefix.data(), prefix.size()) == 0;
}

struct KnownMagic {
  std::uint32_t magic;
  std::string_view meaning;
};

// Magics of llm.c's other files (llmc/dataloader.h, train_gpt2.cu, llmc/tokenizer.h there).
constexpr std::array<KnownMagic, 6> llmc_files = {{
    {20240801,
     "is a Llama-3 shard of llm.c (uint32 tokens), which temper does not read; tokenize the text with a GPT-2 vocabulary"},
    {20240522, "is a multiple-choice shard of llm.c; give a token shard here, and HellaSwag as text or JSONL to eval.hellaswag"},
    {20240326, "is a model of llm.c, not a token shard; `temper import` reads it"},
    {20240527, "is a training state of llm.c, not a token shard"},
    {20240328, "is a tokenizer of llm.c, not a token shard"},
    {20240327, "is a debug state of llm.c, not a token shard"},
}};

struct KnownPrefix {
  std::string_view prefix;
  std::string_view meaning;
};

constexpr auto other_files = std::to_array<KnownPrefix>({
    {"\x1f\x8b"sv, "is compressed; run gunzip on it and name the result"},
    {"BZh"sv, "is compressed; run bunzip2 on it and name the result"},
    {"\xfd\x37zXZ\0"sv, "is compressed; run unxz on it and name the result"},
    {"\x28\xb5\x2f\xfd"sv, "is compressed; run unzstd on it and name the result"},
    {"PK\x03\x04"sv, "is a zip archive; unpack it first"},
    {"BIN.TOK\n"sv,
     "is a shard of llmq (32-bit tokens), which temper does not read; tokenize the text with `temper data tokenize`"},
    {"\x93NUMPY"sv,
     "is a NumPy array file; write the bare uint16 tokens (array.astype('<u2').tofile(name)) and set data.format to raw_u16"},
    {"version https://git-lfs"sv, "is a pointer of Git LFS, not the file itself; run `git lfs pull`"},
    {"PAR1"sv, "is a Parquet file; export its text as JSONL and run `temper data tokenize` on that"},
    {"ARROW1\0\0"sv, "is an Arrow file; export its text as JSONL and run `temper data tokenize` on that"},
    {"SQLite format 3\0"sv, "is an SQLite database; export its text as JSONL and run `temper data tokenize` on that"},
    {"\x80\x04\x95"sv, "is a Python pickle, which temper never reads"},
    {"\x89PNG\r\n"sv, "is a picture (PNG)"},
    {"%PDF-"sv, "is a PDF; extract its text first, for instance with pdftotext"},
    {"\x7f\x45LF"sv, "is a program (ELF)"},
    {"\xff\xfe\0\0"sv, "is UTF-32; run iconv -f UTF-32 -t UTF-8 on it and name the result"},
    {"\0\0\xfe\xff"sv, "is UTF-32; run iconv -f UTF-32 -t UTF-8 on it and name the result"},
    {"\xff\xfe"sv, "is UTF-16; run iconv -f UTF-16 -t UTF-8 on it and name the result"},
    {"\xfe\xff"sv, "is UTF-16; run iconv -f UTF-16 -t UTF-8 on it and name the result"},
});

}  // namespace

std::optional<std::string> known_format(std::span<const std::byte> file) {
  for (const KnownPrefix& known : other_files) {
    if (starts_with(file, known.prefix)) return std::string(known.meaning);
  }
  return std::nullopt;
}

bool looks_like_text(std::span<const std::byte> file) {
  const auto start = file.first(std::min<std::size_t>(file.size(), 512));
  return !start.empty() && std::all_of(start.begin(), start.end(), [](std::byte value) {
    const auto byte = static_cast<unsigned char>(value);
    return (byte >= 0x20 && byte != 0x7f && byte != 0xc0 && byte != 0xc1 && byte <= 0xf4) || byte == '\n' || byte == '\t' ||
           byte == '\r';
  });
}

std::string diagnose_foreign_file(std::span<const std::byte> start, std::int64_t file_bytes) {
  if (start.empty()) return "is empty; a shard has at least its header of 1024 bytes";
  if (const auto known = known_format(start)) return *known;
  std::uint32_t magic = 0;
  if (start.size() >= sizeof magic) {
    std::memcpy(&magic, start.data(), sizeof magic);
    for (const KnownMagic& known : llmc_files) {
      if (magic == known.magic) return std::string(known.meaning);
    }
    if (__builtin_bswap32(magic) == static_cast<std::uint32_t>(shard_magic)) {
      return "is a shard in big-endian byte order; write it again on a little-endian machine";
    }
  }
  if (looks_like_text(start)) return "is a text, not tokens; make shards of it with `temper data tokenize`";
  std::string message = "is not an llm.c shard: the magic number at offset 0 is " + std::to_string(magic) + ", expected " +
                        std::to_string(shard_magic);
  if (file_bytes % 2 == 0) {
    message += "; if these are uint16 tokens without a header, as nanoGPT writes them, set data.format to raw_u16";
  }
  return message;
}

}  // namespace temper
