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

constexpr std::array<KnownPrefix, 6> other_files = {{
    {"BIN.TOK\n"sv,
     "is a shard of llmq (32-bit tokens), which temper does not read; tokenize the text with `temper data tokenize`"},
    {"\x93NUMPY"sv,
     "is a NumPy array file; write the bare uint16 tokens (array.astype('<u2').tofile(name)) and set data.format to raw_u16"},
    {"version https://git-lfs"sv, "is a pointer of Git LFS, not the file itself; run `git lfs pull`"},
    {"PK\x03\x04"sv, "is a zip archive; unpack it first"},
    {"PAR1"sv, "is a Parquet file; export its text as JSONL and run `temper data tokenize`"},
    {"\x80\x04\x95"sv, "is a Python pickle, which temper never reads"},
}};

}  // namespace

std::optional<std::string> decompressor(std::span<const std::byte> file) {
  if (starts_with(file, "\x1f\x8b"sv)) return "gunzip";
  if (starts_with(file, "BZh"sv)) return "bunzip2";
  if (starts_with(file,
                  "\xfd"
                  "7zXZ\0"sv))
    return "unxz";
  if (starts_with(file, "\x28\xb5\x2f\xfd"sv)) return "unzstd";
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

std::string diagnose_foreign_file(std::span<const std::byte> file) {
  if (file.empty()) return "is empty; a shard has at least its header of 1024 bytes";
  if (const auto tool = decompressor(file)) return "is compressed; run " + *tool + " on it first";
  for (const KnownPrefix& known : other_files) {
    if (starts_with(file, known.prefix)) return std::string(known.meaning);
  }
  std::uint32_t magic = 0;
  if (file.size() >= sizeof magic) {
    std::memcpy(&magic, file.data(), sizeof magic);
    for (const KnownMagic& known : llmc_files) {
      if (magic == known.magic) return std::string(known.meaning);
    }
    if (__builtin_bswap32(magic) == static_cast<std::uint32_t>(shard_magic)) {
      return "is a shard in big-endian byte order; write it again on a little-endian machine";
    }
  }
  if (looks_like_text(file)) return "is a text, not tokens; make shards of it with `temper data tokenize`";
  std::string message = "is not an llm.c shard: the magic number at offset 0 is " + std::to_string(magic) + ", expected " +
                        std::to_string(shard_magic);
  if (file.size() % 2 == 0) {
    message += "; if these are uint16 tokens without a header, as nanoGPT writes them, set data.format to raw_u16";
  }
  return message;
}

}  // namespace temper
