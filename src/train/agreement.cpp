#include "train/agreement.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "io/error.h"
#include "io/file.h"
#include "train/signals.h"

namespace temper {

bool asked_to_stop(Communicator& ranks) {
  const bool here = StopSignals::requested();
  if (ranks.size() == 1) return here;
  const std::vector<std::string> said = ranks.exchange(here ? "stop" : "", "the start of a step");
  return std::any_of(said.begin(), said.end(), [](const std::string& word) { return !word.empty(); });
}

std::string text_of_first(Communicator& ranks, const std::string& mine, const std::string& what) {
  return ranks.exchange(ranks.rank() == 0 ? mine : "", what).front();
}

void compare_weights(Communicator& ranks, const Weights& weights, Ops& ops, std::int64_t step) {
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
  const std::vector<std::string> all = ranks.exchange(hash_bytes(hashes), "the comparison of weights");
  std::string differ;
  for (std::size_t r = 1; r < all.size(); ++r)
    if (all[r] != all[0]) differ += (differ.empty() ? "" : ", ") + std::to_string(r);
  if (differ.empty()) return;
  throw Error(ExitCode::distributed, "after step " + std::to_string(step) + " the weights of rank " + differ +
                                         " differ from those of rank 0, though all made the same updates: a machine computes "
                                         "wrongly (memory, processor or GPU), or machines differ in kind; resume from a "
                                         "checkpoint without it");
}

}  // namespace temper
