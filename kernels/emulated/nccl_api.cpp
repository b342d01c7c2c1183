// NCCL over the queues of emulated GPUs. Ranks are threads of this process, each with a GPU of its own; a collective happens when
// it is the first of its stream on every rank. Communicators are nonblocking ones: what a group asks for comes onto its stream
// only while somebody asks for the communicator's state.
#include <nccl.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/emulated/gpu.h"
#include "kernels/emulated/memory.h"

namespace {

using temper::emulated::Gpu;
using temper::emulated::MemoryKind;

enum class Kind : std::uint8_t { all_reduce, reduce, broadcast };

struct Call {
  Kind kind;
  const void* send;
  void* receive;
  std::size_t count;
  ncclDataType_t type;
  int root;

  bool agrees(const Call& other) const {
    return kind == other.kind && count == other.count && type == other.type && root == other.root;
  }
};

std::size_t width_of(ncclDataType_t type) { return type == ncclChar ? 1 : type == ncclFloat ? 4 : 8; }

using Calls = std::vector<Call>;

/// One group, which all ranks make.
struct Meeting {
  explicit Meeting(std::size_t ranks) : of_rank(ranks) {}
  std::vector<std::optional<Calls>> of_rank;  // of those that have come
  bool done = false;
};

/// In an order of terms that is neither that of the ranks nor the same everywhere, as on a ring.
template <typename Number>
void add(const std::vector<const Call*>& calls, const std::vector<void*>& results) {
  const std::size_t ranks = calls.size();
  std::vector<Number> sums(calls.front()->count);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const std::size_t first = i / 128 % ranks;
    for (std::size_t r = 0; r < ranks; ++r) sums[i] += static_cast<const Number*>(calls[(first + r) % ranks]->send)[i];
  }
  for (void* result : results) std::memcpy(result, sums.data(), sums.size() * sizeof(Number));
}

void carry_out(const std::vector<const Call*>& calls) {
  const Call& any = *calls.front();
  std::vector<void*> results;
  for (std::size_t rank = 0; rank < calls.size(); ++rank)
    if (any.kind != Kind::reduce || static_cast<int>(rank) == any.root) results.push_back(calls[rank]->receive);
  if (any.kind == Kind::broadcast) {
    const void* from = calls[static_cast<std::size_t>(any.root)]->send;
    for (void* to : results)
      if (to != from) std::memcpy(to, from, any.count * width_of(any.type));
  } else if (any.type == ncclDouble) {
    add<double>(calls, results);
  } else {
    add<float>(calls, results);
  }
}

/// What the ranks of a communicator share.
struct Clique {
  std::mutex mutex;
  std::size_t size = 0, joined = 0;
  std::string error;  // of any rank, then of all
  std::map<std::uint64_t, std::shared_ptr<Meeting>> meetings;

  /// This rank's queue has come to its group. Whether it may go on: never behind an error, unless the rank breaks off.
  bool come(std::uint64_t number, std::size_t rank, const Calls& calls) {
    const std::scoped_lock lock(mutex);
    if (!error.empty()) return false;
    auto& place = meetings[number];
    if (place == nullptr) place = std::make_shared<Meeting>(size);
    Meeting& meeting = *place;
    if (!meeting.of_rank[rank]) {
      meeting.of_rank[rank] = calls;
      if (std::ranges::all_of(meeting.of_rank, [](const auto& each) { return each.has_value(); })) meet(meeting);
    }
    return meeting.done;
  }

 private:
  void meet(Meeting& meeting) {
    const Calls& first = *meeting.of_rank.front();
    for (const auto& calls : meeting.of_rank) {
      const bool same = calls->size() == first.size() && std::equal(first.begin(), first.end(), calls->begin(),
                                                                    [](const Call& a, const Call& b) { return a.agrees(b); });
      if (!same) error = "the ranks' collectives are not the same ones";
    }
    for (std::size_t i = 0; i < first.size() && error.empty(); ++i) {
      std::vector<const Call*> one;
      for (const auto& calls : meeting.of_rank) one.push_back(&(*calls)[i]);
      carry_out(one);
    }
    meeting.done = error.empty();
  }
};

std::shared_ptr<Clique> clique_of(const ncclUniqueId& id) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<Clique>> all;
  const std::scoped_lock lock(mutex);
  auto& found = all[std::string(id.internal, sizeof(id.internal))];
  if (found == nullptr) found = std::make_shared<Clique>();
  return found;
}

}  // namespace

namespace temper::emulated {

struct NcclRank {
  std::shared_ptr<Clique> clique;
  std::size_t rank;
  std::shared_ptr<std::atomic<bool>> aborted = std::make_shared<std::atomic<bool>>(false);
  std::uint64_t groups = 0;
  std::vector<std::pair<cudaStream_t, Task>> asked = {};  // and not on their streams yet
  bool told_of_progress = false;
};

}  // namespace temper::emulated

using temper::emulated::NcclRank;

namespace {

thread_local std::string last_error;

ncclResult_t refuse(ncclResult_t result, std::string why) {
  last_error = std::move(why);
  return result;
}

struct Asked {
  NcclRank* rank;
  cudaStream_t stream;
  Call call;
};

struct Group {
  int depth = 0;
  std::vector<Asked> calls;
};
thread_local Group group;

ncclResult_t finish_group() {
  for (std::size_t i = 0; i < group.calls.size();) {
    const Asked& first = group.calls[i];
    Calls calls;
    for (; i < group.calls.size() && group.calls[i].rank == first.rank && group.calls[i].stream == first.stream; ++i)
      calls.push_back(group.calls[i].call);
    NcclRank& rank = *first.rank;
    const auto ready = [clique = rank.clique, number = rank.groups++, who = rank.rank, aborted = rank.aborted, calls] {
      return *aborted || clique->come(number, who, calls);
    };
    rank.asked.push_back({first.stream, {.ready = ready, .by_others = true}});
  }
  group.calls.clear();
  return ncclInProgress;
}

ncclResult_t ask(NcclRank* rank, cudaStream_t stream, const Call& call) {
  const auto size = static_cast<int>(rank->clique->size);
  if (call.root < 0 || call.root >= size) return refuse(ncclInvalidArgument, "root " + std::to_string(call.root));
  if (call.kind != Kind::broadcast && call.type == ncclChar) return refuse(ncclInvalidArgument, "sums of bytes are not emulated");
  if (stream->capture) return refuse(ncclInvalidUsage, "collectives inside graphs are not emulated");
  const std::size_t bytes = call.count * width_of(call.type);
  for (const void* buffer : {call.send, static_cast<const void*>(call.receive)}) {
    std::string problem;
    if (temper::emulated::memory().kind_of(buffer, bytes, problem) != MemoryKind::device)
      problem += " outside of the device's memory";
    if (!problem.empty()) return refuse(ncclInvalidArgument, "a buffer of a collective:" + problem);
  }
  const auto *from = static_cast<const char*>(call.send), *to = static_cast<const char*>(call.receive);
  if (from != to && from < to + bytes && to < from + bytes)
    return refuse(ncclInvalidArgument, "send and receive buffers overlap without being the same");
  group.calls.push_back({rank, stream, call});
  return group.depth == 0 ? finish_group() : ncclSuccess;
}

}  // namespace

ncclResult_t ncclGetVersion(int* version) {
  *version = 22800;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInProgress:
      return "in progress";
    default:
      return "invalid usage";
  }
}

const char* ncclGetLastError(ncclComm_t /*communicator*/) { return last_error.c_str(); }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<int> made{0};
  *id = {};
  const std::string text = "emulated " + std::to_string(made++);
  text.copy(id->internal, sizeof(id->internal));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (config->blocking != 0) return refuse(ncclInvalidArgument, "communicators that block are not emulated");
  if (rank < 0 || rank >= ranks)
    return refuse(ncclInvalidArgument, "rank " + std::to_string(rank) + " of " + std::to_string(ranks));
  const auto clique = clique_of(id);
  const std::scoped_lock lock(clique->mutex);
  clique->size = static_cast<std::size_t>(ranks);
  ++clique->joined;
  *communicator = new NcclRank{clique, static_cast<std::size_t>(rank)};
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t* state) {
  NcclRank& rank = *communicator;
  {
    const std::scoped_lock lock(rank.clique->mutex);
    *state = rank.clique->error.empty() ? ncclSuccess : refuse(ncclInvalidUsage, rank.clique->error);
    if (*state == ncclSuccess && rank.clique->joined < rank.clique->size) *state = ncclInProgress;
  }
  if (*state != ncclSuccess || rank.asked.empty()) return ncclSuccess;
  rank.told_of_progress = !rank.told_of_progress;
  if (rank.told_of_progress) {
    *state = ncclInProgress;
    return ncclSuccess;
  }
  for (auto& [stream, task] : rank.asked) {
    const Gpu::Lock lock(stream->gpu->mutex);
    stream->push(std::move(task));
  }
  rank.asked.clear();
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t /*communicator*/) { return ncclInProgress; }

ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  delete communicator;
  return ncclSuccess;
}

// The other ranks wait for ever, or until they break off too.
ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  {
    const std::scoped_lock lock(communicator->clique->mutex);
    if (communicator->clique->error.empty())
      communicator->clique->error = "rank " + std::to_string(communicator->rank) + " has broken off";
  }
  *communicator->aborted = true;  // behind the error: from now on this rank's buffers are no collective's
  return ncclCommDestroy(communicator);
}

ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group.depth == 0) return refuse(ncclInvalidUsage, "no group was begun");
  return --group.depth == 0 ? finish_group() : ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type, ncclRedOp_t /*operation*/,
                           ncclComm_t communicator, cudaStream_t stream) {
  return ask(communicator, stream, {Kind::all_reduce, send, receive, count, type, 0});
}

ncclResult_t ncclReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type, ncclRedOp_t /*operation*/,
                        int root, ncclComm_t communicator, cudaStream_t stream) {
  return ask(communicator, stream, {Kind::reduce, send, receive, count, type, root});
}

ncclResult_t ncclBroadcast(const void* send, void* receive, std::size_t count, ncclDataType_t type, int root,
                           ncclComm_t communicator, cudaStream_t stream) {
  return ask(communicator, stream, {Kind::broadcast, send, receive, count, type, root});
}
