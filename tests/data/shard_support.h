// Shards and errors for the tests of this room.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "data/shard.h"
#include "io/error.h"

namespace temper {

using Tokens = std::vector<std::uint16_t>;

/// An llm.c shard byte by byte, independent of ShardWriter.
inline std::string shard_image(const Tokens& tokens) {
  std::string image(1024, '\0');
  const std::int32_t words[3] = {20240520, 1, static_cast<std::int32_t>(tokens.size())};
  std::memcpy(image.data(), words, sizeof words);
  image.append(reinterpret_cast<const char*>(tokens.data()), 2 * tokens.size());
  return image;
}

inline std::string raw_image(const Tokens& tokens) { return {reinterpret_cast<const char*>(tokens.data()), 2 * tokens.size()}; }

inline std::string put_file(const std::filesystem::path& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary) << contents;
  return path.string();
}

inline std::string put_shard(const std::filesystem::path& path, const Tokens& tokens) {
  return put_file(path, shard_image(tokens));
}

/// Expects that `action` throws Error with `code`, and a message that has every one of `parts`.
inline void expect_error(ExitCode code, const std::vector<std::string>& parts, const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    for (const std::string& part : parts)
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << " in: " << error.what();
  }
}

}  // namespace temper
