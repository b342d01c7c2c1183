#include "data/batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <future>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "io/error.h"
#include "kernels/philox.h"

namespace temper {

namespace {

// Four rounds make a permutation that cannot be told from a random one when the halves are wide (Luby and Rackoff); small data
// sets have halves of a few bits, for which more rounds are the remedy.
constexpr std::uint64_t rounds = 8;

}  // namespace

Permutation::Permutation(std::uint64_t size, std::uint64_t seed, std::uint32_t epoch)
    : size_(size), seed_(seed), epoch_(epoch), half_bits_(static_cast<int>((std::bit_width(size - 1) + 1) / 2)) {
  if (size == 0) throw std::invalid_argument("Permutation: size 0");
}

std::uint64_t Permutation::operator()(std::uint64_t index) const {
  if (index >= size_) throw std::out_of_range("Permutation: index not below the size");
  // The network permutes a range of at most 4 * size values; following it from a value below `size` must come back below it.
  std::uint64_t value = encrypt(index);
  while (value >= size_) value = encrypt(value);
  return value;
}

std::uint64_t Permutation::encrypt(std::uint64_t value) const {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t left = value >> half_bits_;
  std::uint64_t right = value & mask;
  for (std::uint64_t round = 0; round < rounds; ++round) {
    // half_bits_ is at most 32, so round and half do not meet.
    const PhiloxBlock block = random_block(seed_, RandomPurpose::shuffle, epoch_, round << 32 | right);
    const std::uint64_t next = left ^ (block.word[0] & mask);
    left = right;
    right = next;
  }
  return left << half_bits_ | right;
}

namespace {

void check_settings(const BatchSettings& settings) {
  if (settings.n_ctx < 1) throw Error(ExitCode::usage, "n_ctx is {}; allowed is 1 or more", settings.n_ctx);
  if (settings.vocab_size < 1) throw Error(ExitCode::usage, "vocab_size is {}; allowed is 1 or more", settings.vocab_size);
  if (settings.files.empty())
    throw Error(ExitCode::usage, "no token shards are named; set data.train (and data.val) to shard files");
}

}  // namespace

struct BatchSource::State {
  BatchSettings settings;
  std::deque<Shard> shards;
  std::vector<std::int64_t> starts;  // of each shard in the stream
  std::int64_t tokens = 0;
  std::int64_t windows = 0;
  std::string fingerprint;
  ShardOrigins origins;

  explicit State(const BatchSettings& given) : settings(given) {
    check_settings(settings);
    std::string sampled;
    for (const std::filesystem::path& path : expand_globs(settings.files)) {
      shards.emplace_back(path, settings.format,
                          [&](std::int64_t position, std::span<const std::uint16_t> part) { check(path, position, part); });
      origins.add(shards.back());
      sampled += shards.back().sampled() + "\n";
      starts.push_back(tokens);
      tokens += shards.back().tokens();
    }
    fingerprint = hash_bytes(sampled);
    windows = tokens > 0 ? (tokens - 1) / settings.n_ctx : 0;
    if (windows < 1) {
      throw Error(ExitCode::data,
                  "{} {} {} tokens, and one window of n_ctx = {} takes {} + 1; add data or make model.n_ctx smaller",
                  shards.front().path().string(), shards.size() > 1 ? "and the shards after it hold" : "holds", tokens,
                  settings.n_ctx, settings.n_ctx);
    }
  }

  // Throws for the first token of `part`, which starts at `position` of the shard, that the vocabulary does not have.
  void check(const std::filesystem::path& shard, std::int64_t position, std::span<const std::uint16_t> part) const {
    std::uint16_t largest = 0;
    for (const std::uint16_t token : part) largest = std::max(largest, token);
    if (largest < settings.vocab_size) return;
    const auto bad = std::find_if(part.begin(), part.end(), [&](std::uint16_t token) { return token >= settings.vocab_size; });
    throw Error(ExitCode::data,
                "{}: token {} at position {} is outside the vocabulary of {}; set model.vocab_size to that of the tokenizer the "
                "shard was made with, or make the shard again",
                shard.string(), *bad, position + (bad - part.begin()), settings.vocab_size);
  }

  // Reads the stream's tokens from `begin` on, and throws where they are not in the vocabulary.
  void read_tokens(std::int64_t begin, std::span<std::uint16_t> to) const {
    auto index = static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), begin) - starts.begin() - 1);
    for (; !to.empty(); ++index) {
      const Shard& shard = shards[index];
      const std::int64_t position = begin - starts[index];
      const auto part = to.first(std::min(to.size(), static_cast<std::size_t>(shard.tokens() - position)));
      if (part.empty()) continue;
      shard.read(position, part);
      check(shard.path(), position, part);
      begin += static_cast<std::int64_t>(part.size());
      to = to.subspan(part.size());
    }
  }

  void read(std::int64_t first, std::int64_t count, Batch& batch) const {
    const std::int64_t n_ctx = settings.n_ctx;
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    if (first < 0 || count < 0 || count > most - first || count > most / 4 / n_ctx)
      throw std::invalid_argument(fmt::format("BatchSource: windows {} + {} out of range", first, count));
    batch.inputs.resize(static_cast<std::size_t>(count * n_ctx));
    batch.targets.resize(batch.inputs.size());
    std::vector<std::uint16_t> tokens_of_window(static_cast<std::size_t>(n_ctx) + 1);
    std::optional<Permutation> order;
    std::int64_t order_epoch = -1;
    for (std::int64_t row = 0; row < count; ++row) {
      const std::int64_t epoch = (first + row) / windows;
      std::int64_t window = (first + row) % windows;
      if (settings.shuffle) {
        if (epoch != order_epoch) {
          if (epoch > std::numeric_limits<std::uint32_t>::max())
            throw Error(ExitCode::data, "epoch {} of shuffled data: at most 2^32 are possible; add data", epoch);
          order.emplace(static_cast<std::uint64_t>(windows), settings.seed, static_cast<std::uint32_t>(epoch));
          order_epoch = epoch;
        }
        window = static_cast<std::int64_t>((*order)(static_cast<std::uint64_t>(window)));
      }
      std::int32_t* const inputs = batch.inputs.data() + row * n_ctx;
      std::int32_t* const targets = batch.targets.data() + row * n_ctx;
      read_tokens(window * n_ctx, tokens_of_window);
      std::copy(tokens_of_window.begin(), tokens_of_window.end() - 1, inputs);
      std::copy(tokens_of_window.begin() + 1, tokens_of_window.end(), targets);
    }
  }

  std::vector<Batch> read(const BatchPlan& plan, std::vector<Batch> batches) const {
    batches.resize(static_cast<std::size_t>(plan.batches));
    for (std::int64_t number = 0; number < plan.batches; ++number)
      read(plan.first + number * plan.stride, plan.count, batches[static_cast<std::size_t>(number)]);
    return batches;
  }

  // What is read ahead; last, so that it ends before what it reads from.
  BatchPlan ahead_plan;
  std::future<std::vector<Batch>> ahead;
};

BatchSource::BatchSource(const BatchSettings& settings) : state_(std::make_unique<State>(settings)) {}
BatchSource::~BatchSource() = default;

std::int64_t BatchSource::tokens() const { return state_->tokens; }
std::int64_t BatchSource::windows_per_epoch() const { return state_->windows; }
const std::string& BatchSource::fingerprint() const { return state_->fingerprint; }

const ShardOrigins& BatchSource::origins() const { return state_->origins; }

void BatchSource::read(std::int64_t first, std::int64_t count, Batch& batch) const { state_->read(first, count, batch); }

void BatchSource::read_prefetched(const BatchPlan& wanted, const BatchPlan& next, std::vector<Batch>& batches) {
  // The caller's old vectors go ahead with their memory, so that a steady run allocates nothing.
  std::vector<Batch> room = std::move(batches);
  const bool fetched = state_->ahead.valid() && wanted == state_->ahead_plan;
  if (state_->ahead.valid()) state_->ahead.wait();
  std::future<std::vector<Batch>> ahead = std::move(state_->ahead);
  batches = fetched ? ahead.get() : state_->read(wanted, {});
  state_->ahead_plan = next;
  // Without a thread to be had it is read when it is wanted.
  state_->ahead =
      std::async(std::launch::async | std::launch::deferred,
                 [state = state_.get(), next, room = std::move(room)]() mutable { return state->read(next, std::move(room)); });
}

}  // namespace temper
