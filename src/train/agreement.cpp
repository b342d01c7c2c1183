#include "train/agreement.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "io/descriptor.h"
#include "io/file.h"
#include "io/json.h"
#include "io/text.h"
#include "train/signals.h"

namespace temper {

void fail_together(Communicator& ranks, ExitCode code, const std::string& message) {
  ranks.exchange("", "the end that all ranks know of");
  throw SharedError(code, message);
}

void compare_fingerprints(Communicator& ranks, const std::vector<Fingerprint>& mine) {
  if (ranks.size() == 1) return;
  Json values = Json::array({host_name()});
  for (const Fingerprint& fingerprint : mine) values.push_back(fingerprint.value);
  const std::string text = json_text(values);
  std::vector<std::vector<std::string>> all;
  ranks.meet("the comparison of what ranks have");  // reading it may take long on some
  for (const std::string& said : ranks.exchange(text, "the comparison of what ranks have"))
    all.push_back(parse_json(said, "what a rank said", ExitCode::distributed).get<std::vector<std::string>>());
  // Another program may have said fewer things.
  const auto value = [&](std::size_t r, std::size_t i) { return i < all[r].size() ? all[r][i] : "nothing"; };
  std::string differences;
  for (std::size_t r = 1; r < all.size(); ++r) {
    for (std::size_t i = 1; i <= mine.size(); ++i) {
      if (value(r, i) == value(0, i)) continue;
      differences += "\n  " + mine[i - 1].name + ": rank " + std::to_string(r) + " on " + value(r, 0) + " has " + value(r, i) +
                     ", rank 0 on " + value(0, 0) + " has " + value(0, i);
    }
  }
  if (differences.empty()) return;
  fail_together(ranks, ExitCode::data,
                "the ranks differ in what must be the same:" + differences +
                    "\nGive all ranks the same program, files and options; nothing was trained.");
}

bool asked_to_stop(Communicator& ranks, bool reason_here) {
  const bool here = reason_here || StopSignals::requested();
  if (ranks.size() == 1) return here;
  const std::vector<std::string> said = ranks.exchange(here ? "stop" : "", "the start of a step");
  return std::any_of(said.begin(), said.end(), [](const std::string& word) { return !word.empty(); });
}

std::string text_of_first(Communicator& ranks, const std::string& mine, const std::string& what) {
  ranks.meet(what);  // which has no time limit: rank 0 may have had long to find it
  return ranks.exchange(ranks.rank() == 0 ? mine : "", what).front();
}

std::string hash_of(const Weights& weights, Ops& ops) {
  const TensorView values = weights.read_by_model();
  // In pieces: the host need not have room for a second model.
  constexpr std::size_t piece = std::size_t{64} << 20;
  std::vector<char> bytes(std::min(piece, values.bytes()));
  std::string hashes;
  for (std::size_t first = 0; first < values.bytes(); first += bytes.size()) {
    const std::size_t count = std::min(bytes.size(), values.bytes() - first);
    ops.copy_to_host(bytes.data(), static_cast<const char*>(values.data) + first, count);
    hashes += hash_bytes(std::string_view(bytes.data(), count));
  }
  return hash_bytes(hashes);
}

void compare_weights(Communicator& ranks, const Weights& weights, Ops& ops, std::int64_t step) {
  const std::vector<std::string> all = ranks.exchange(hash_of(weights, ops), "the comparison of weights");
  std::map<std::string, std::vector<std::size_t>> holders;
  for (std::size_t rank = 0; rank < all.size(); ++rank) holders[all[rank]].push_back(rank);
  if (holders.size() <= 1) return;
  // Most are right, as long as there are most.
  std::vector<std::string> groups;
  const auto largest = std::ranges::max_element(holders, {}, [](const auto& each) { return each.second.size(); });
  bool told_apart = true;
  for (const auto& [hash, ranks_with_it] : holders) {
    if (hash == largest->first) continue;
    groups.push_back(joined(ranks_with_it));
    told_apart &= ranks_with_it.size() < largest->second.size();
  }
  throw Error(ExitCode::distributed,
              "after step {} the weights of rank {} differ from those of rank {}{}, though all made the same updates: a machine "
              "computes wrongly (memory, processor or GPU), or machines differ in kind; resume from a checkpoint without it",
              step, joined(groups, " and of rank "), joined(largest->second),
              told_apart ? "" : " (which are right cannot be told)");
}

}  // namespace temper
