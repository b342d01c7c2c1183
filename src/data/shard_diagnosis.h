// What a file is that was taken for a token shard: common mistakes, recognised so that the message can say what to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace temper {

inline constexpr std::int32_t shard_magic = 20240520;

/// Why `file`, which has not the magic of a shard, is none, and the remedy; to follow "NAME: ".
std::string diagnose_foreign_file(std::span<const std::byte> file);

/// The tool that unpacks a gzip, bzip2, xz or zstd file, by its first bytes.
std::optional<std::string> decompressor(std::span<const std::byte> file);

/// Whether the first 512 bytes (or all, if fewer) are bytes of UTF-8 text: no control characters but white space, no byte that
/// UTF-8 never has. 256 tokens in a row that look so do not happen; a few may.
bool looks_like_text(std::span<const std::byte> file);

}  // namespace temper
