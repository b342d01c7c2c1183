// What a file is that was taken for a token shard or a text: common mistakes, recognised so that the message can say what to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace temper {

inline constexpr std::int32_t shard_magic = 20240520;

/// Why a file of `file_bytes` bytes, which starts with `start` and not with the magic of a shard, is none, and the remedy; to
/// follow "NAME: ".
std::string diagnose_foreign_file(std::span<const std::byte> start, std::int64_t file_bytes);

/// What a file is that begins like one of a known format, neither text nor tokens, and the remedy; to follow "NAME: ".
std::optional<std::string> known_format(std::span<const std::byte> file);

/// Whether the first 512 bytes (or all, if fewer) are bytes of UTF-8 text: no control characters but white space, no byte that
/// UTF-8 never has. 256 tokens in a row that look so do not happen; a few may.
bool looks_like_text(std::span<const std::byte> file);

}  // namespace temper
