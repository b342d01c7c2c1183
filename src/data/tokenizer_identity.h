// Which tokenizer things belong to, compared wherever tokens meet tokens or a model: the number of a token means nothing without
// the tokenizer it came from, and a model that reads others' numbers gives a loss all the same.
#pragma once

#include <string>
#include <vector>

#include "data/shard_sidecar.h"

namespace temper {

class TokenizerIdentity {
 public:
  /// `thing` goes with the tokenizer of this hash (Tokenizer::hash); empty where that is not known. A hash unlike that of something
  /// added before: Error(ExitCode::data) that names both things and both hashes.
  void add(const std::string& thing, const std::string& hash);
  /// All shards of one use, called `use` in errors ("data.train"), by the sidecars they have.
  void add_shards(const std::string& use, const ShardOrigins& origins);

  /// Empty while nothing is known.
  const std::string& hash() const { return hash_; }
  /// What could not be compared though others could ("data.val: 2 of 8 shards have no record of their tokenizer (...)"), and shards
  /// that a sidecar lists and nobody finds.
  std::vector<std::string> notes() const;

 private:
  std::string thing_;  // the first whose hash is known
  std::string hash_;
  std::vector<std::string> absent_, unknown_;
};

}  // namespace temper
