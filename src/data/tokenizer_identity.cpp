#include "data/tokenizer_identity.h"

#include "io/error.h"

namespace temper {

void TokenizerIdentity::add(const std::string& thing, const std::string& hash) {
  if (hash.empty()) return;
  if (hash_.empty()) {
    thing_ = thing;
    hash_ = hash;
  }
  if (hash == hash_) return;
  throw Error(ExitCode::data,
              "two tokenizers meet: " + thing_ + " has tokenizer " + hash_ + ", " + thing + " has " + hash +
                  "; the same numbers stand for other texts there. Name things of one tokenizer, or make the shards "
                  "again (`temper data tokenize`) with the one of the model");
}

void TokenizerIdentity::add_shards(const std::string& use, const ShardOrigins& origins) {
  for (const auto& [path, sidecar] : origins.sidecars()) add(use + " (" + path.string() + ")", sidecar.tokenizer_hash);
  const auto list = [&](const std::vector<std::filesystem::path>& shards, const std::string& what,
                        std::vector<std::string>& notes) {
    if (shards.empty()) return;
    notes.push_back(use + ": " + std::to_string(shards.size()) + what + " (" + shards.front().string() +
                    (shards.size() > 1 ? ", ...)" : ")"));
  };
  list(origins.absent(), " shards of the same making are not there", absent_);
  list(origins.unrecorded(), " of " + std::to_string(origins.shards()) + " shards have no record of their tokenizer", unknown_);
}

std::vector<std::string> TokenizerIdentity::notes() const {
  std::vector<std::string> notes = absent_;
  if (!hash_.empty()) notes.insert(notes.end(), unknown_.begin(), unknown_.end());
  return notes;
}

}  // namespace temper
