#include "data/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <queue>
#include <unordered_set>

#include "io/error.h"

namespace temper {

namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kShort = 48;  // bytes up to which scanning all pairs again after each merge is fastest

std::uint64_t pair_key(std::uint32_t left, std::uint32_t right) { return static_cast<std::uint64_t>(left) << 32 | right; }

}  // namespace

void check_vocabulary(const Vocabulary& vocabulary, const std::string& label) {
  const auto fail = [&](const std::string& what) { throw Error(ExitCode::data, label + ": " + what); };
  const std::size_t size = vocabulary.tokens.size();
  if (size < 257 || size > static_cast<std::size_t>(kMaxTokens)) {
    fail(std::to_string(size) + " tokens; a byte-level vocabulary has 257 (256 bytes and <|endoftext|>) to " +
         std::to_string(kMaxTokens));
  }
  std::unordered_set<std::string_view> seen;
  seen.reserve(size);
  for (std::size_t id = 0; id < size; ++id) {
    if (vocabulary.tokens[id].empty()) fail("token " + std::to_string(id) + " is empty");
    if (!seen.insert(vocabulary.tokens[id]).second) fail("token " + std::to_string(id) + " has the same bytes as an earlier one");
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    if (!seen.contains(std::string_view(&text, 1))) {
      fail("no token for byte " + std::to_string(byte) + "; byte-level BPE needs one for each of the 256 bytes");
    }
  }
  if (vocabulary.end_of_text >= size || vocabulary.tokens[vocabulary.end_of_text] != kEndOfText) {
    fail("no token " + std::string(kEndOfText) + "; documents are separated by it, so the vocabulary must have it");
  }
  const auto is_special = [&](std::uint32_t id) {
    return std::binary_search(vocabulary.special.begin(), vocabulary.special.end(), id);
  };
  std::unordered_set<std::uint64_t> pairs;
  pairs.reserve(vocabulary.merges.size());
  for (std::size_t rank = 0; rank < vocabulary.merges.size(); ++rank) {
    const Merge& merge = vocabulary.merges[rank];
    const std::string name = "merge " + std::to_string(rank);
    if (merge.left >= size || merge.right >= size || merge.result >= size) fail(name + " names an id outside the vocabulary");
    if (is_special(merge.left) || is_special(merge.right) || is_special(merge.result)) {
      fail(name + " has a special token in it; ordinary text would then be able to yield that token");
    }
    if (vocabulary.tokens[merge.left] + vocabulary.tokens[merge.right] != vocabulary.tokens[merge.result]) {
      fail(name + ": its result is not its two parts joined");
    }
    if (!pairs.insert(pair_key(merge.left, merge.right)).second) fail(name + " repeats an earlier pair");
  }
}

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
    throw Error(ExitCode::data, "text: " + std::to_string(piece.size()) +
                                    " bytes without a place to split; the limit is 4294967294; is this file text?");
  }
  struct Symbol {
    std::uint32_t token, previous, next;  // neighbours as indices; token is kNone once joined to its left neighbour
  };
  const auto count = static_cast<std::uint32_t>(piece.size());
  std::vector<Symbol> symbols(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    symbols[i] = {byte_tokens_[static_cast<unsigned char>(piece[i])], i > 0 ? i - 1 : kNone, i + 1 < count ? i + 1 : kNone};
  }
  // Lowest rank first, then leftmost, as rank << 32 | place. Entries are never removed: one whose pair is gone is skipped.
  std::vector<std::uint64_t> start;
  start.reserve(count);
  for (std::uint32_t i = 0; i + 1 < count; ++i) {
    if (const Pair* pair = find(symbols[i].token, symbols[i + 1].token)) start.push_back(pair_key(pair->rank, i));
  }
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

}  // namespace temper
