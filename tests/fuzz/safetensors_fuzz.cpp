// Whatever bytes come, parse_safetensors refuses them with Error(ExitCode::checkpoint) or returns tensors that tile the data.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <span>
#include <string>

#include "io/error.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::map<std::string, std::string> metadata;
  try {
    std::uint64_t position = 0;
    std::set<std::string> names;
    for (const temper::TensorEntry& entry : temper::parse_safetensors(std::as_bytes(std::span(data, size)), "input", &metadata)) {
      const auto bytes = static_cast<std::uint64_t>(entry.numel() * temper::safetensors_dtype_size(entry.dtype));
      if (entry.begin != position || entry.end - entry.begin != bytes || !names.insert(entry.name).second) std::abort();
      position = entry.end;
    }
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, data, sizeof(header_bytes));
    if (sizeof(header_bytes) + header_bytes + position != size) std::abort();
  } catch (const temper::Error& error) {
    if (error.code() != temper::ExitCode::checkpoint) std::abort();
  }
  return 0;
}
