// Whatever bytes come, check_shard refuses them with Error(ExitCode::data) or finds tokens that fill the file to its end.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "data/shard.h"
#include "io/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of exactly this size: the sanitizer sees a read one byte too far.
  const std::vector<std::uint8_t> copy(data, data + size);
  const std::span<const std::byte> image = std::as_bytes(std::span(copy));
  for (const temper::ShardFormat format : {temper::ShardFormat::automatic, temper::ShardFormat::raw_u16}) {
    try {
      const auto bytes = static_cast<std::int64_t>(size);
      const auto start = image.first(std::min(image.size(), static_cast<std::size_t>(temper::shard_header_bytes)));
      const temper::ShardLayout layout = temper::check_shard(start, bytes, format, "input");
      if (layout.tokens < 0 || layout.first_byte + 2 * layout.tokens != bytes) std::abort();
    } catch (const temper::Error& error) {
      if (error.code() != temper::ExitCode::data) std::abort();
    }
  }
  return 0;
}
