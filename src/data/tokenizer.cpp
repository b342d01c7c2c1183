#include "data/tokenizer.h"

#include <mutex>
#include <utility>

#include "data/bpe.h"
#include "data/pretokenizer.h"
#include "data/utf8.h"
#include "data/vocabulary.h"
#include "io/error.h"
#include "io/file.h"

namespace temper {

namespace {

// Token bytes by id, then merges, with lengths before strings: one byte sequence for one vocabulary, whatever its files were.
std::string hash_of(const Vocabulary& vocabulary) {
  std::string bytes;
  const auto put = [&](std::uint64_t value, int width) {
    for (int i = 0; i < width; ++i) bytes.push_back(static_cast<char>(static_cast<unsigned char>(value >> (8 * i))));
  };
  put(vocabulary.tokens.size(), 8);
  for (const std::string& token : vocabulary.tokens) {
    put(token.size(), 8);
    bytes += token;
  }
  for (const Merge& merge : vocabulary.merges) {
    put(merge.left, 4);
    put(merge.right, 4);
  }
  return hash_bytes(bytes);
}

}  // namespace

struct Tokenizer::State {
  explicit State(Vocabulary checked) : vocabulary(std::move(checked)), merger(vocabulary), hash(hash_of(vocabulary)) {}

  // Caches are lent to one call at a time, so there are as many as calls have ever run at once.
  std::unique_ptr<WordCache> borrow_cache() {
    const std::lock_guard<std::mutex> lock(mutex);
    if (caches.empty()) return std::make_unique<WordCache>();
    std::unique_ptr<WordCache> cache = std::move(caches.back());
    caches.pop_back();
    return cache;
  }
  void return_cache(std::unique_ptr<WordCache> cache) {
    const std::lock_guard<std::mutex> lock(mutex);
    caches.push_back(std::move(cache));
  }

  Vocabulary vocabulary;
  BpeMerger merger;
  std::string hash;
  std::mutex mutex;
  std::vector<std::unique_ptr<WordCache>> caches;  // guarded by mutex
};

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::load(const std::filesystem::path& path) { return Tokenizer(std::make_unique<State>(load_vocabulary(path))); }

Tokenizer Tokenizer::train(std::string_view text, std::int64_t vocab_size,
                           const std::function<void(std::int64_t, std::int64_t)>& progress) {
  Vocabulary vocabulary = train_bpe(text, vocab_size, progress);
  check_vocabulary(vocabulary, "trained vocabulary");
  return Tokenizer(std::make_unique<State>(std::move(vocabulary)));
}

std::int64_t Tokenizer::vocab_size() const { return static_cast<std::int64_t>(state_->vocabulary.tokens.size()); }

std::uint32_t Tokenizer::end_of_text() const { return state_->vocabulary.end_of_text; }

void Tokenizer::encode(std::string_view text, std::vector<std::uint32_t>& tokens) const {
  std::string repaired;
  if (valid_utf8_prefix(text) < text.size()) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  std::unique_ptr<WordCache> cache = state_->borrow_cache();
  Pretokenizer pieces(text);
  for (std::string_view piece; pieces.next(piece);) {
    if (cache->append(piece, tokens)) continue;
    const std::size_t before = tokens.size();
    state_->merger.merge(piece, tokens);
    cache->keep(piece, tokens.data() + before, tokens.size() - before);
  }
  state_->return_cache(std::move(cache));
}

std::vector<std::uint32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<std::uint32_t> tokens;
  encode(text, tokens);
  return tokens;
}

std::string_view Tokenizer::token_bytes(std::uint32_t token) const {
  if (token >= state_->vocabulary.tokens.size()) {
    throw Error(ExitCode::data, "token {}: the vocabulary has {} tokens; was the text made with another tokenizer?", token,
                vocab_size());
  }
  return state_->vocabulary.tokens[token];
}

std::string Tokenizer::decode(const std::vector<std::uint32_t>& tokens) const {
  std::string text;
  for (const std::uint32_t token : tokens) text += token_bytes(token);
  return text;
}

const std::string& Tokenizer::hash() const { return state_->hash; }

void Tokenizer::save(const std::filesystem::path& folder, std::int64_t n_ctx) const {
  save_vocabulary(state_->vocabulary, folder, n_ctx);
}

}  // namespace temper
