#include "data/batches.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <thread>

#include "data/permutation.h"
#include "io/error.h"

namespace temper {
namespace {

std::string_view as_bytes(std::span<const std::uint16_t> tokens) {
  return {reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()};
}

void check_settings(const BatchSettings& settings) {
  if (settings.n_ctx < 1) throw Error(ExitCode::usage, "n_ctx is " + std::to_string(settings.n_ctx) + "; allowed is 1 or more");
  if (settings.vocab_size < 1) {
    throw Error(ExitCode::usage, "vocab_size is " + std::to_string(settings.vocab_size) + "; allowed is 1 or more");
  }
  if (settings.files.empty())
    throw Error(ExitCode::usage, "no token shards are named; set data.train (and data.val) to shard files");
}

}  // namespace

struct BatchSource::State {
  BatchSettings settings;
  std::vector<Shard> shards;
  std::vector<std::int64_t> starts;  // of each shard in the stream
  std::int64_t tokens = 0;
  std::int64_t windows = 0;
  std::string fingerprint;

  explicit State(const BatchSettings& given) : settings(given) {
    check_settings(settings);
    for (const std::filesystem::path& path : expand_globs(settings.files)) {
      shards.emplace_back(path, settings.format);
      starts.push_back(tokens);
      tokens += static_cast<std::int64_t>(shards.back().tokens().size());
    }
    windows = tokens > 0 ? (tokens - 1) / settings.n_ctx : 0;
    if (windows < 1) {
      throw Error(ExitCode::data, shards.front().path().string() +
                                      (shards.size() > 1 ? " and the shards after it hold " : " holds ") + std::to_string(tokens) +
                                      " tokens, and one window of n_ctx = " + std::to_string(settings.n_ctx) + " takes " +
                                      std::to_string(settings.n_ctx) + " + 1; add data or make model.n_ctx smaller");
    }
    take_fingerprint();
  }

  // Throws for the first token of `part`, which starts at `position` of `shard`, that the vocabulary does not have.
  void check(const Shard& shard, std::int64_t position, std::span<const std::uint16_t> part) const {
    std::uint16_t largest = 0;
    for (const std::uint16_t token : part) largest = std::max(largest, token);
    if (largest < settings.vocab_size) return;
    const auto bad = std::find_if(part.begin(), part.end(), [&](std::uint16_t token) { return token >= settings.vocab_size; });
    throw Error(ExitCode::data,
                shard.path().string() + ": token " + std::to_string(*bad) + " at position " +
                    std::to_string(position + (bad - part.begin())) + " is outside the vocabulary of " +
                    std::to_string(settings.vocab_size) +
                    "; set model.vocab_size to that of the tokenizer the shard was made with, or make the shard again");
  }

  void take_fingerprint() {
    constexpr std::int64_t end_tokens = (1 << 20) / 2;
    constexpr std::int64_t sample_tokens = 4096 / 2;
    constexpr std::int64_t samples = 16;
    std::string text;
    for (const Shard& shard : shards) {
      const auto all = shard.tokens();
      const auto size = static_cast<std::int64_t>(all.size());
      text += std::to_string(size);
      const auto add = [&](std::int64_t begin, std::int64_t end) {
        const auto part = all.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
        check(shard, begin, part);
        text += ' ' + hash_bytes(as_bytes(part));
      };
      if (size <= 2 * end_tokens + samples * sample_tokens) {
        add(0, size);
      } else {
        const std::int64_t between = size - 2 * end_tokens - sample_tokens;
        add(0, end_tokens);
        for (std::int64_t sample = 0; sample < samples; ++sample) {
          const std::int64_t begin = end_tokens + between / (samples - 1) * sample;
          add(begin, begin + sample_tokens);
        }
        add(size - end_tokens, size);
      }
      text += '\n';
    }
    fingerprint = hash_bytes(text);
  }

  // Copies the stream's tokens [begin, begin + count) to `to`, once they are known to be in the vocabulary.
  void copy(std::int64_t begin, std::int64_t count, std::int32_t* to) const {
    auto index = static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), begin) - starts.begin() - 1);
    for (; count > 0; ++index) {
      const Shard& shard = shards[index];
      const std::int64_t position = begin - starts[index];
      const std::int64_t here = std::min(count, static_cast<std::int64_t>(shard.tokens().size()) - position);
      const auto part = shard.tokens().subspan(static_cast<std::size_t>(position), static_cast<std::size_t>(here));
      check(shard, position, part);
      to = std::copy(part.begin(), part.end(), to);
      begin += here;
      count -= here;
    }
  }

  void read(std::int64_t first, std::int64_t count, Batch& batch) const {
    const std::int64_t n_ctx = settings.n_ctx;
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
    if (first < 0 || count < 0 || count > most - first || count > most / 4 / n_ctx) {
      throw std::invalid_argument("BatchSource: windows " + std::to_string(first) + " + " + std::to_string(count) +
                                  " out of range");
    }
    batch.inputs.resize(static_cast<std::size_t>(count * n_ctx));
    batch.targets.resize(batch.inputs.size());
    std::optional<Permutation> order;
    std::int64_t order_epoch = -1;
    for (std::int64_t row = 0; row < count; ++row) {
      const std::int64_t epoch = (first + row) / windows;
      std::int64_t window = (first + row) % windows;
      if (settings.shuffle) {
        if (epoch != order_epoch) {
          if (epoch > std::numeric_limits<std::uint32_t>::max()) {
            throw Error(ExitCode::data,
                        "epoch " + std::to_string(epoch) + " of shuffled data: at most 2^32 are possible; add data");
          }
          order.emplace(static_cast<std::uint64_t>(windows), settings.seed, static_cast<std::uint32_t>(epoch));
          order_epoch = epoch;
        }
        window = static_cast<std::int64_t>((*order)(static_cast<std::uint64_t>(window)));
      }
      std::int32_t* const inputs = batch.inputs.data() + row * n_ctx;
      std::int32_t* const targets = batch.targets.data() + row * n_ctx;
      copy(window * n_ctx, n_ctx, inputs);
      std::copy(inputs + 1, inputs + n_ctx, targets);
      copy(window * n_ctx + n_ctx, 1, targets + n_ctx - 1);
    }
  }
};

// One thread that reads one batch ahead. The slot belongs to the thread while `busy`, to the caller otherwise.
class BatchSource::Prefetcher {
 public:
  explicit Prefetcher(const State& source) : source_(source), thread_([this] { run(); }) {}

  ~Prefetcher() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void read(std::int64_t first, std::int64_t count, std::int64_t next, Batch& batch) {
    wait();
    const bool fetched = first == first_ && count == count_;
    if (fetched && error_) std::rethrow_exception(error_);
    if (fetched) {
      // The caller's old vectors come back with their memory, so that a steady run allocates nothing.
      std::swap(batch, slot_);
    } else {
      source_.read(first, count, batch);
    }
    first_ = next;
    count_ = count;
    start();
  }

 private:
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !busy_; });
  }

  void start() {
    {
      const std::lock_guard lock(mutex_);
      busy_ = true;
    }
    changed_.notify_all();
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return busy_ || stop_; });
      if (stop_) return;
      lock.unlock();
      std::exception_ptr error;
      try {
        source_.read(first_, count_, slot_);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      error_ = error;
      busy_ = false;
      changed_.notify_all();
    }
  }

  const State& source_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false;
  bool stop_ = false;
  std::int64_t first_ = -1;  // what the slot holds, or will
  std::int64_t count_ = 0;
  Batch slot_;
  std::exception_ptr error_;
  std::thread thread_;  // last: it starts when all above is there
};

BatchSource::BatchSource(const BatchSettings& settings) : state_(std::make_unique<State>(settings)) {}
BatchSource::~BatchSource() = default;

std::int64_t BatchSource::tokens() const { return state_->tokens; }
std::int64_t BatchSource::windows_per_epoch() const { return state_->windows; }
const std::string& BatchSource::fingerprint() const { return state_->fingerprint; }

std::vector<std::filesystem::path> BatchSource::files() const {
  std::vector<std::filesystem::path> files;
  for (const Shard& shard : state_->shards) files.push_back(shard.path());
  return files;
}

void BatchSource::read(std::int64_t first, std::int64_t count, Batch& batch) const { state_->read(first, count, batch); }

void BatchSource::read_prefetched(std::int64_t first, std::int64_t count, std::int64_t next, Batch& batch) {
  if (!prefetcher_) prefetcher_ = std::make_unique<Prefetcher>(*state_);
  prefetcher_->read(first, count, next, batch);
}

}  // namespace temper
