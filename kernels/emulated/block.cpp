#include "kernels/emulated/block.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <utility>

#include "kernels/emulated/audit/observer.h"
#include "kernels/emulated/sanitizer.h"
#include "kernels/philox.h"

namespace temper::emulated {

namespace {

// Mostly the same literal; templates compiled in several files have one each.
bool same_text(const char* a, const char* b) { return a == b || std::strcmp(a, b) == 0; }

bool same_place(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() && same_text(a.file_name(), b.file_name());
}

// 0 ascending, 1 descending, otherwise shuffled (Fisher and Yates); `draw` numbers the shuffles of a block.
void put_in_order(std::vector<unsigned>& items, std::uint64_t seed, std::uint64_t block_number, unsigned draw) {
  std::iota(items.begin(), items.end(), 0u);
  if (seed == 1) std::reverse(items.begin(), items.end());
  if (seed < 2) return;
  PhiloxBlock random{};
  for (std::size_t i = items.size(); i > 1; --i) {
    const std::size_t word = (items.size() - i) % 4;
    const std::uint64_t index = block_number << 16 | static_cast<std::uint64_t>(draw) << 8 | (items.size() - i) / 4;
    if (word == 0) random = random_block(seed, RandomPurpose::benchmark, 0, index);
    std::swap(items[i - 1], items[random.word[word] % i]);
  }
}

}  // namespace

constinit thread_local CudaThread* running_thread = nullptr;

std::string to_string(Index3 index) {
  return std::string("(") + std::to_string(index.x) + "," + std::to_string(index.y) + "," + std::to_string(index.z) + ")";
}

std::string to_string(const Site& site) {
  const std::string file = site.file_name();
  const std::size_t slash = file.rfind('/');
  return (slash == std::string::npos ? file : file.substr(slash + 1)) + ":" + std::to_string(site.line());
}

std::string Block::place() const { return "kernel " + kernel_ + ", block " + to_string(index_); }

// ---- running ---------------------------------------------------------------------------------------------------------

void Block::thread_body(void* argument) {
  auto* thread = static_cast<CudaThread*>(argument);
  Block& block = *thread->block;
  try {
    (*block.body_)();
  } catch (const std::exception& error) {
    block.fault_ = error.what();
  }
}

void Block::make_order(std::uint64_t block_number) {
  warp_order_.resize(warp_count_);
  put_in_order(warp_order_, execution_.seed, block_number, 0);
  for (std::size_t w = 0; w < warp_count_; ++w) {
    warps_[w].order.resize(std::min<std::size_t>(32, thread_count_ - 32 * w));
    put_in_order(warps_[w].order, execution_.seed, block_number, static_cast<unsigned>(w) + 1);
  }
}

void Block::run(const std::string& kernel, Index3 grid, Index3 block, Index3 index, std::size_t dynamic_shared_bytes,
                const std::function<void()>& body, const Execution& execution) {
  kernel_ = kernel;
  grid_ = grid;
  dimensions_ = block;
  index_ = index;
  body_ = &body;
  execution_ = execution;
  fault_.clear();
  barrier_ = {};
  thread_count_ = std::size_t{block.x} * block.y * block.z;
  warp_count_ = (thread_count_ + 31) / 32;
  if (threads_.size() < thread_count_) threads_.resize(thread_count_);
  if (warps_.size() < warp_count_) warps_.resize(warp_count_);
  audit::Observer* const audit = audit::linked();
  if (audit != nullptr) audit->block_begins(*this, static_cast<unsigned>(warp_count_));
  arena_.begin_block(dynamic_shared_bytes, execution.shared_bytes);
  make_order(index.x + static_cast<std::uint64_t>(grid.x) * (index.y + static_cast<std::uint64_t>(grid.y) * index.z));

  for (std::size_t w = 0; w < warp_count_; ++w) {
    Warp& warp = warps_[w];
    warp.existing = warp.runnable = ~0u >> (32 - warp.order.size());
    for (auto& meeting : warp.meetings) meeting->operation = nullptr;
  }
  for (std::size_t i = 0; i < thread_count_; ++i) {
    CudaThread& thread = threads_[i];
    const auto linear = static_cast<unsigned>(i);
    thread.block = this;
    thread.linear = linear;
    thread.thread_index = {linear % block.x, linear / block.x % block.y, linear / block.x / block.y};
    thread.warp = &warps_[i / 32];
    thread.waits_for = nullptr;
    thread.copies.clear();
    thread.copy_groups.clear();
    thread.fiber.prepare(stacks_.at(i), &Block::thread_body, &thread);
  }

  bool progress = true;
  while (progress) {
    progress = false;
    for (const unsigned w : warp_order_) {
      Warp& warp = warps_[w];
      if (warp.runnable == 0) continue;
      progress = true;
      for (const unsigned lane : warp.order) {
        if ((warp.runnable >> lane & 1) == 0) continue;
        CudaThread& thread = threads_[std::size_t{32} * w + lane];
        running_thread = &thread;
        thread.fiber.resume();
        running_thread = nullptr;
        if (!fault_.empty()) throw KernelFault(fault_);
        if (thread.fiber.finished()) warp.runnable &= ~(1u << lane);
      }
    }
  }
  if (audit != nullptr) audit->block_ends();
  check_end();
}

void Block::check_end() const {
  const std::string waiting = waiting_threads();
  if (!waiting.empty()) throw KernelFault(place() + ": deadlock, nothing can run any more" + waiting);
  for (std::size_t i = 0; i < thread_count_; ++i) {
    if (threads_[i].copies.empty()) continue;
    throw KernelFault(place() + ": thread " + to_string(threads_[i].thread_index) +
                      " ended with asynchronous copies that it never waited for");
  }
  if (!arena_.gaps_intact()) throw KernelFault(place() + ": wrote behind the end of an array in shared memory");
}

// Every waiting thread with its line, equal ones together, and how many threads have ended.
std::string Block::waiting_threads() const {
  std::map<std::string, std::vector<unsigned>> groups;
  std::size_t ended = 0;
  for (std::size_t i = 0; i < thread_count_; ++i) {
    const CudaThread& thread = threads_[i];
    if (thread.fiber.finished())
      ++ended;
    else
      groups[std::string(thread.wait_name) + " at " + to_string(thread.wait_site)].push_back(thread.linear);
  }
  if (groups.empty()) return "";
  std::string text;
  for (const auto& [what, all] : groups)
    text +=
        "; " + std::to_string(all.size()) + " threads wait in " + what + " (the first is thread " + std::to_string(all[0]) + ")";
  if (ended > 0) text += "; " + std::to_string(ended) + " threads have ended";
  return text;
}

// ---- waiting ---------------------------------------------------------------------------------------------------------

void Block::sleep(const void* object, const char* name, Site site) {
  CudaThread& thread = current_thread();
  thread.waits_for = object;
  thread.wait_name = name;
  thread.wait_site = site;
  thread.warp->runnable &= ~(1u << thread.lane());
  thread.fiber.leave();
}

void Block::wake(const void* object) {
  for (std::size_t i = 0; i < thread_count_; ++i) {
    CudaThread& thread = threads_[i];
    if (thread.waits_for != object) continue;
    thread.waits_for = nullptr;
    thread.warp->runnable |= 1u << thread.lane();
  }
}

// Thrown through the kernel to thread_body, so that nothing on this thread's stack is forgotten.
void Block::fault(const std::string& what, Site site) {
  throw KernelFault(place() + ", thread " + to_string(current_thread().thread_index) + " at " + to_string(site) + ": " + what);
}

void Block::barrier(Site site) {
  if (barrier_.arrived == 0) {
    barrier_.site = site;
    barrier_.first_thread = current_thread().linear;
  } else if (!same_place(barrier_.site, site)) {
    fault("divergence at a barrier: thread " + std::to_string(barrier_.first_thread) + " is in __syncthreads at " +
              to_string(barrier_.site),
          site);
  }
  if (++barrier_.arrived < thread_count_) return sleep(&barrier_, "__syncthreads", site);
  barrier_.arrived = 0;
  if (audit::Observer* const audit = audit::linked()) audit->barrier();
  wake(&barrier_);
}

// ---- warps -----------------------------------------------------------------------------------------------------------

WarpMeeting& Block::join(const char* operation, std::uint32_t mask, Site site) {
  const CudaThread& thread = current_thread();
  Warp& warp = *thread.warp;
  const std::uint32_t bit = 1u << thread.lane();
  if ((mask & bit) == 0) fault(std::string(operation) + ": the calling lane is not in its own mask", site);
  if ((mask & ~warp.existing) != 0) fault(std::string(operation) + ": the mask names lanes that the block does not have", site);

  WarpMeeting* meeting = nullptr;
  WarpMeeting* unused = nullptr;
  for (auto& candidate : warp.meetings) {
    if (candidate->operation == nullptr) {
      unused = candidate.get();
    } else if (!candidate->complete() && (candidate->mask & bit) != 0) {
      // A lane there waits for this one. That this one goes elsewhere first is no error unless it waits there for that lane.
      if (candidate->mask == mask && same_text(candidate->operation, operation) && same_place(candidate->site, site))
        meeting = candidate.get();
      else if ((candidate->arrived & mask) != 0)
        fault(std::string("divergence in a warp: this lane is in ") + operation + ", others of its mask in " +
                  candidate->operation + " at " + to_string(candidate->site),
              site);
    }
  }
  if (meeting == nullptr) {
    if (unused == nullptr) unused = warp.meetings.emplace_back(std::make_unique<WarpMeeting>()).get();
    meeting = unused;
    meeting->operation = operation;
    meeting->mask = mask;
    meeting->arrived = meeting->left = 0;
    meeting->site = site;
  }
  meeting->arrived |= bit;
  return *meeting;
}

void Block::release(WarpMeeting& meeting) {
  const CudaThread& thread = current_thread();
  // Shuffles and votes imply no memory barrier, say their sections of the CUDA C++ Programming Guide.
  const bool orders_memory = std::string_view(meeting.operation) == "__syncwarp";
  if (audit::Observer* const audit = audit::linked()) audit->meeting(thread.linear / 32, meeting.mask, orders_memory);
  thread.warp->runnable |= meeting.mask;
  for (unsigned lane = 0; lane < thread.warp->order.size(); ++lane)
    if ((meeting.mask >> lane & 1) != 0) threads_[thread.linear - thread.lane() + lane].waits_for = nullptr;
}

void Block::wait(WarpMeeting& meeting) { sleep(&meeting, meeting.operation, meeting.site); }

void Block::leave(WarpMeeting& meeting, unsigned lane) {
  meeting.left |= 1u << lane;
  if (meeting.left == meeting.mask) meeting.operation = nullptr;
}

// ---- asynchronous copies ---------------------------------------------------------------------------------------------

namespace {
void perform(const AsyncCopy& copy) {
  if (copy.bytes > 0) std::memcpy(copy.to, copy.from, copy.bytes);  // else `from` may be null
  std::memset(static_cast<std::byte*>(copy.to) + copy.bytes, 0, copy.zero_bytes);
}
}  // namespace

// Remembered, and its destination made NaN (and forbidden, with AddressSanitizer) until the thread waits for it; or done at once.
void Block::start_copy(void* to, const void* from, std::size_t bytes, std::size_t zero_bytes) {
  const AsyncCopy copy{to, from, bytes, zero_bytes, __builtin_return_address(0)};
  if (audit::Observer* const audit = audit::linked()) audit->copy_started(copy);
  if (lazy_copies()) {
    std::memset(to, 0xFF, bytes + zero_bytes);
    sanitizer::poison(to, bytes + zero_bytes);
  } else {
    perform(copy);
  }
  current_thread().copies.push_back(copy);
}

void Block::commit_copies() {
  CudaThread& thread = current_thread();
  const std::size_t committed = std::accumulate(thread.copy_groups.begin(), thread.copy_groups.end(), std::size_t{0});
  thread.copy_groups.push_back(thread.copies.size() - committed);
}

void Block::wait_for_copies(std::size_t pending) {
  CudaThread& thread = current_thread();
  audit::Observer* const audit = audit::linked();
  while (thread.copy_groups.size() > pending) {
    const auto end = thread.copies.begin() + static_cast<std::ptrdiff_t>(thread.copy_groups.front());
    for (auto copy = thread.copies.begin(); copy != end; ++copy) {
      if (audit != nullptr) audit->copy_arrived(*copy);
      if (!lazy_copies()) continue;
      sanitizer::unpoison(copy->to, copy->bytes + copy->zero_bytes);
      perform(*copy);
    }
    thread.copies.erase(thread.copies.begin(), end);
    thread.copy_groups.erase(thread.copy_groups.begin());
  }
}

// ---- shared memory -----------------------------------------------------------------------------------------------------

std::byte* Block::shared_array(const void* declaration, std::size_t bytes, std::size_t alignment, Site site) {
  std::byte* memory = arena_.declared(declaration, bytes, alignment);
  if (memory == nullptr)
    fault("an array of " + std::to_string(bytes) + " bytes brings shared memory to more than the " +
              std::to_string(arena_.most_bytes()) + " bytes that there are",
          site);
  return memory;
}

}  // namespace temper::emulated
