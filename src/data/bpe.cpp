#include "data/bpe.h"

#include <algorithm>
#include <bit>
#include <exception>
#include <functional>
#include <limits>
#include <queue>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "data/pretokenizer.h"
#include "data/utf8.h"
#include "io/error.h"
#include "kernels/machine.h"

namespace temper {

namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kShort = 48;  // bytes up to which scanning all pairs again after each merge is fastest

std::uint64_t pair_key(std::uint32_t left, std::uint32_t right) { return static_cast<std::uint64_t>(left) << 32 | right; }

}  // namespace

BpeMerger::BpeMerger(const Vocabulary& vocabulary) {
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string& token = vocabulary.tokens[id];
    if (token.size() == 1) byte_tokens_[static_cast<unsigned char>(token[0])] = static_cast<std::uint32_t>(id);
  }
  const std::size_t slots = std::bit_ceil(std::max<std::size_t>(vocabulary.merges.size() * 2, 2));
  shift_ = 64 - std::countr_zero(slots);
  table_.assign(slots, Pair{kNone, kNone, kNone, kNone});
  for (std::size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const Merge& merge = vocabulary.merges[rank];
    std::size_t slot = pair_key(merge.left, merge.right) * 0x9E3779B97F4A7C15u >> shift_;
    while (table_[slot].rank != kNone) slot = (slot + 1) & (slots - 1);
    table_[slot] = {merge.left, merge.right, static_cast<std::uint32_t>(rank), merge.result};
  }
}

const BpeMerger::Pair* BpeMerger::find(std::uint32_t left, std::uint32_t right) const {
  std::size_t slot = pair_key(left, right) * 0x9E3779B97F4A7C15u >> shift_;
  while (true) {
    const Pair& pair = table_[slot];
    if (pair.rank == kNone) return nullptr;
    if (pair.left == left && pair.right == right) return &pair;
    slot = (slot + 1) & (table_.size() - 1);
  }
}

void BpeMerger::merge(std::string_view piece, std::vector<std::uint32_t>& tokens) const {
  piece.size() <= kShort ? merge_short(piece, tokens) : merge_long(piece, tokens);
}

void BpeMerger::merge_short(std::string_view piece, std::vector<std::uint32_t>& tokens) const {
  std::array<std::uint32_t, kShort> symbols;
  std::array<std::uint32_t, kShort> ranks;  // of the pair (i, i + 1); kNone where no merge joins it
  std::array<std::uint32_t, kShort> results;
  std::size_t count = piece.size();
  for (std::size_t i = 0; i < count; ++i) symbols[i] = byte_tokens_[static_cast<unsigned char>(piece[i])];
  const auto look_up = [&](std::size_t i) {
    const Pair* pair = find(symbols[i], symbols[i + 1]);
    ranks[i] = pair ? pair->rank : kNone;
    results[i] = pair ? pair->result : kNone;
  };
  for (std::size_t i = 0; i + 1 < count; ++i) look_up(i);
  while (count > 1) {
    const auto pairs_end = ranks.begin() + static_cast<std::ptrdiff_t>(count - 1);
    const auto best = std::min_element(ranks.begin(), pairs_end);  // the leftmost of equals
    if (*best == kNone) break;
    const auto i = static_cast<std::size_t>(best - ranks.begin());
    symbols[i] = results[i];
    for (std::size_t j = i + 1; j + 1 < count; ++j) {
      symbols[j] = symbols[j + 1];
      ranks[j] = ranks[j + 1];
      results[j] = results[j + 1];
    }
    --count;
    if (i > 0) look_up(i - 1);
    if (i + 1 < count) look_up(i);
  }
  tokens.insert(tokens.end(), symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(count));
}

void BpeMerger::merge_long(std::string_view piece, std::vector<std::uint32_t>& tokens) const {
  if (piece.size() >= kNone) {
    throw Error(ExitCode::data, "text: {} bytes without a place to split; the limit is 4294967294; is this file text?",
                piece.size());
  }
  struct Symbol {
    std::uint32_t token, previous, next;  // neighbours as indices; token is kNone once joined to its left neighbour
  };
  const auto count = static_cast<std::uint32_t>(piece.size());
  std::vector<Symbol> symbols(count);
  for (std::uint32_t i = 0; i < count; ++i)
    symbols[i] = {byte_tokens_[static_cast<unsigned char>(piece[i])], i > 0 ? i - 1 : kNone, i + 1 < count ? i + 1 : kNone};
  // Lowest rank first, then leftmost, as rank << 32 | place. Entries are never removed: one whose pair is gone is skipped.
  std::vector<std::uint64_t> start;
  start.reserve(count);
  for (std::uint32_t i = 0; i + 1 < count; ++i)
    if (const Pair* pair = find(symbols[i].token, symbols[i + 1].token)) start.push_back(pair_key(pair->rank, i));
  std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> queue(std::greater<>(), std::move(start));
  const auto push = [&](std::uint32_t i) {
    if (i == kNone || symbols[i].next == kNone) return;
    if (const Pair* pair = find(symbols[i].token, symbols[symbols[i].next].token)) queue.push(pair_key(pair->rank, i));
  };
  while (!queue.empty()) {
    const std::uint64_t top = queue.top();
    queue.pop();
    const auto i = static_cast<std::uint32_t>(top);
    Symbol& symbol = symbols[i];
    if (symbol.token == kNone || symbol.next == kNone) continue;
    const Pair* pair = find(symbol.token, symbols[symbol.next].token);
    if (pair == nullptr || pair->rank != top >> 32) continue;
    Symbol& right = symbols[symbol.next];
    symbol.token = pair->result;
    right.token = kNone;
    symbol.next = right.next;
    if (right.next != kNone) symbols[right.next].previous = i;
    push(symbol.previous);
    push(i);
  }
  for (std::uint32_t i = 0; i != kNone; i = symbols[i].next) tokens.push_back(symbols[i].token);
}

// --- Training ---

namespace {

using WordCounts = std::unordered_map<std::string_view, std::int64_t>;

WordCounts count_words(std::string_view text) {
  WordCounts counts;
  Pretokenizer pieces(text);
  for (std::string_view piece; pieces.next(piece);) ++counts[piece];
  return counts;
}

// Counts in equal parts of the text, one a thread. Sums do not depend on the order, so neither does the result.
WordCounts count_words_in_parallel(std::string_view text) {
  constexpr std::size_t kLeastBytes = 1 << 20;  // less is not worth a thread
  const std::size_t parts = std::clamp<std::size_t>(text.size() / kLeastBytes, 1, static_cast<std::size_t>(usable_threads()));
  std::vector<WordCounts> counts(parts);
  std::vector<std::exception_ptr> failures(parts);
  std::vector<std::jthread> threads;
  std::size_t begin = 0;
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t end = part + 1 == parts ? text.size() : std::max(begin, next_cut(text, text.size() / parts * (part + 1)));
    threads.emplace_back([&, part, piece = text.substr(begin, end - begin)] {
      try {
        counts[part] = count_words(piece);
      } catch (...) {
        failures[part] = std::current_exception();
      }
    });
    begin = end;
  }
  threads.clear();  // joins them
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  for (std::size_t part = 1; part < parts; ++part)
    for (const auto& [word, count] : counts[part]) counts[0][word] += count;
  return std::move(counts[0]);
}

/// The distinct words as one array of symbols, with every pair's count and places kept up to date as pairs are joined.
class PairTable {
 public:
  PairTable(const WordCounts& words, const std::array<std::uint32_t, 256>& byte_ids) {
    std::size_t size = 0;
    for (const auto& [word, count] : words) size += word.size();
    if (size >= kNone)
      throw Error(ExitCode::data, "text: its distinct words are longer than 4294967294 bytes together; train on a part of it");
    symbols_.reserve(size);
    counts_.reserve(words.size());
    for (const auto& [word, count] : words) {
      const auto begin = static_cast<std::uint32_t>(symbols_.size());
      const auto end = static_cast<std::uint32_t>(begin + word.size());
      for (std::uint32_t i = begin; i < end; ++i) {
        symbols_.push_back({byte_ids[static_cast<unsigned char>(word[i - begin])], i > begin ? i - 1 : kNone,
                            i + 1 < end ? i + 1 : kNone, static_cast<std::uint32_t>(counts_.size())});
      }
      counts_.push_back(count);
    }
    for (std::uint32_t i = 0; i < symbols_.size(); ++i)
      if (symbols_[i].next != kNone) add(symbols_[i].token, symbols_[i + 1].token, i);
    for (std::uint32_t pair = 0; pair < pairs_.size(); ++pair) push(pair);
  }

  /// Takes out the most frequent pair, the smaller of equals; false when no pair is left.
  bool pop(std::uint32_t& left, std::uint32_t& right) {
    while (!queue_.empty()) {
      const Entry top = queue_.top();
      queue_.pop();
      const Pair& pair = pairs_[top.pair];
      if (pair.count <= 0) continue;
      if (pair.count != top.count) {  // the count has fallen since; it may not be the most frequent any more
        push(top.pair);
        continue;
      }
      left = pair.left;
      right = pair.right;
      return true;
    }
    return false;
  }

  /// Replaces a popped pair by `result`, a new symbol, left to right everywhere.
  void join(std::uint32_t left, std::uint32_t right, std::uint32_t result) {
    const std::size_t old_pairs = pairs_.size();
    // A symbol is made in one pass over ascending places, and so are all pairs with it: each list of places is ascending.
    const std::vector<std::uint32_t> places = std::move(pairs_[index_.at(pair_key(left, right))].places);
    for (const std::uint32_t i : places) {
      Symbol& symbol = symbols_[i];
      if (symbol.token != left || symbol.next == kNone || symbols_[symbol.next].token != right) continue;
      Symbol& joined = symbols_[symbol.next];
      if (symbol.previous != kNone) remove(symbols_[symbol.previous].token, left, i);
      if (joined.next != kNone) remove(right, symbols_[joined.next].token, i);
      symbol.token = result;
      symbol.next = joined.next;
      joined.token = kNone;
      if (symbol.previous != kNone) add(symbols_[symbol.previous].token, result, symbol.previous);
      if (symbol.next != kNone) {
        symbols_[symbol.next].previous = i;
        add(result, symbols_[symbol.next].token, i);
      }
    }
    for (std::size_t pair = old_pairs; pair < pairs_.size(); ++pair) push(static_cast<std::uint32_t>(pair));
  }

 private:
  struct Symbol {
    std::uint32_t token, previous, next, word;  // neighbours within the word as indices; token is kNone once joined away
  };
  struct Pair {
    std::uint32_t left, right;
    std::int64_t count = 0;
    std::vector<std::uint32_t> places;  // of the left symbol; some are out of date
  };
  struct Entry {
    std::int64_t count;
    std::uint64_t key;
    std::uint32_t pair;
    bool operator<(const Entry& other) const { return count != other.count ? count < other.count : key > other.key; }
  };

  void add(std::uint32_t left, std::uint32_t right, std::uint32_t place) {
    const auto [found, is_new] = index_.try_emplace(pair_key(left, right), static_cast<std::uint32_t>(pairs_.size()));
    if (is_new) pairs_.push_back({left, right, 0, {}});
    Pair& pair = pairs_[found->second];
    pair.count += counts_[symbols_[place].word];
    pair.places.push_back(place);
  }

  void remove(std::uint32_t left, std::uint32_t right, std::uint32_t place) {
    pairs_[index_.at(pair_key(left, right))].count -= counts_[symbols_[place].word];
  }

  void push(std::uint32_t pair) { queue_.push({pairs_[pair].count, pair_key(pairs_[pair].left, pairs_[pair].right), pair}); }

  std::vector<Symbol> symbols_;
  std::vector<std::int64_t> counts_;  // of each word
  std::vector<Pair> pairs_;
  std::unordered_map<std::uint64_t, std::uint32_t> index_;
  std::priority_queue<Entry> queue_;
};

}  // namespace

Vocabulary train_bpe(std::string_view text, std::int64_t vocab_size,
                     const std::function<void(std::int64_t, std::int64_t)>& progress) {
  if (vocab_size < 257 || vocab_size > kMaxTokens)
    throw Error(ExitCode::data, "vocab_size {}: allowed are 257 (bytes and {} only) to {}", vocab_size, kEndOfText, kMaxTokens);
  Vocabulary vocabulary;
  std::array<std::uint32_t, 256> byte_ids{};
  for (const unsigned char byte : byte_order()) {
    byte_ids[byte] = static_cast<std::uint32_t>(vocabulary.tokens.size());
    vocabulary.tokens.emplace_back(1, static_cast<char>(byte));
  }
  std::string repaired;
  if (valid_utf8_prefix(text) < text.size()) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  PairTable pairs(count_words_in_parallel(text), byte_ids);
  const std::int64_t merges = vocab_size - 257;
  std::unordered_set<std::string> taken(vocabulary.tokens.begin(), vocabulary.tokens.end());
  taken.emplace(kEndOfText);
  std::uint32_t left = 0, right = 0;
  for (std::int64_t done = 0; done < merges;) {
    if (!pairs.pop(left, right)) {
      throw Error(ExitCode::data, "vocab_size {}: the text has pairs for {} merges only; ask for at most {} or give more text",
                  vocab_size, done, done + 257);
    }
    std::string joined = vocabulary.tokens[left] + vocabulary.tokens[right];
    if (!taken.insert(joined).second) continue;
    const auto result = static_cast<std::uint32_t>(vocabulary.tokens.size());
    vocabulary.tokens.push_back(std::move(joined));
    vocabulary.merges.push_back({left, right, result});
    pairs.join(left, right, result);
    ++done;
    if (progress) progress(done, merges);
  }
  vocabulary.end_of_text = static_cast<std::uint32_t>(vocabulary.tokens.size());
  vocabulary.tokens.emplace_back(kEndOfText);
  vocabulary.special = {vocabulary.end_of_text};
  return vocabulary;
}

}  // namespace temper
