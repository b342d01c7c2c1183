// Builds file images by hand and says how the reader took them.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/safetensors.h"

namespace temper {

inline std::string image_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string image(sizeof(length), '\0');
  std::memcpy(image.data(), &length, sizeof(length));
  return image + header + data;
}

inline std::vector<TensorEntry> parse_image(const std::string& image, std::map<std::string, std::string>* metadata = nullptr) {
  return parse_safetensors(std::as_bytes(std::span(image)), "test.safetensors", metadata);
}

// "" when the image is accepted, else the message. Anything but Error(ExitCode::checkpoint) escapes and fails the test.
inline std::string refusal(const std::string& image) {
  try {
    parse_image(image);
    return "";
  } catch (const Error& error) {
    if (error.code() != ExitCode::checkpoint) throw;
    return error.what();
  }
}

}  // namespace temper
