#include "data/shard_series.h"

#include <algorithm>
#include <utility>

#include "io/error.h"

namespace temper {

ShardSeries::ShardSeries(std::filesystem::path folder, std::string name, Split split, std::int64_t shard_tokens)
    : folder_(std::move(folder)), name_(std::move(name)), split_(split), shard_tokens_(shard_tokens) {
  if (shard_tokens < 1 || shard_tokens > max_shard_tokens) {
    throw Error(ExitCode::usage, "the shard size is " + std::to_string(shard_tokens) + " tokens; allowed is 1 to " +
                                     std::to_string(max_shard_tokens));
  }
}

void ShardSeries::append(std::span<const std::uint16_t> tokens) {
  while (!tokens.empty()) {
    if (!writer_) {
      writer_ = std::make_unique<ShardWriter>(shard_path(folder_, name_, split_, static_cast<std::int64_t>(shards_.size())));
    }
    const auto room = static_cast<std::size_t>(shard_tokens_ - writer_->token_count());
    const auto part = tokens.first(std::min(tokens.size(), room));
    writer_->append(part);
    tokens = tokens.subspan(part.size());
    if (writer_->token_count() == shard_tokens_) finish_shard();
  }
}

void ShardSeries::close() {
  if (writer_) finish_shard();
}

void ShardSeries::finish_shard() {
  const std::filesystem::path path = shard_path(folder_, name_, split_, static_cast<std::int64_t>(shards_.size()));
  writer_->close();
  writer_.reset();
  shards_.push_back(describe_shard(path));
}

}  // namespace temper
