// Whatever bytes come, parse_shard refuses them with Error(ExitCode::data) or returns tokens that lie inside them.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "data/shard.h"
#include "io/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of exactly this size, aligned as a memory map is: the sanitizer sees a read one byte too far.
  const std::vector<std::uint8_t> copy(data, data + size);
  const std::span<const std::byte> image = std::as_bytes(std::span(copy));
  for (const temper::ShardFormat format : {temper::ShardFormat::automatic, temper::ShardFormat::raw_u16}) {
    try {
      const std::span<const std::uint16_t> tokens = temper::parse_shard(image, format, "input");
      if (tokens.size_bytes() > size) std::abort();
      std::uint64_t sum = 0;
      for (const std::uint16_t token : tokens) sum += token;
      if (sum > std::uint64_t{65535} * tokens.size()) std::abort();
    } catch (const temper::Error& error) {
      if (error.code() != temper::ExitCode::data) std::abort();
    }
  }
  return 0;
}
