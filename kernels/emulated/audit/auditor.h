// The audit at work: the emulation's observer, and what the functions of entries.cpp hand on to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "kernels/emulated/audit/audit.h"
#include "kernels/emulated/audit/observer.h"
#include "kernels/emulated/audit/requests.h"
#include "kernels/emulated/audit/shadow.h"
#include "kernels/emulated/block.h"

namespace temper::emulated::audit {

class Auditor final : public Observer {
 public:
  void access(const void* address, std::size_t bytes, Access access, const void* place) {
    // Most accesses are to the stack, or of the host.
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    if (active_ && running_thread != nullptr && (heap_.contains(at) || at - arena_ < SharedArena::reach))
      access_pieces(at, bytes, access, place);
  }

  void start();
  Report finish(double least_excess);
  void describe(void* memory, std::size_t bytes, const std::string& name, Holds holds);

  void* allocate(std::size_t bytes) override { return heap_.allocate(bytes); }
  void release(void* memory) noexcept override { heap_.release(memory); }
  void launch_begins(const Launch& launch) override;
  void block_begins(const Block& block, unsigned warps) override;
  void block_ends() override;
  void shared_array(std::size_t begin, std::size_t bytes) override;
  void barrier() override;
  void meeting(unsigned warp, std::uint32_t lanes, bool orders_memory) override;
  void copy_started(const AsyncCopy& copy) override;
  void copy_arrived(const AsyncCopy& copy) override;

 private:
  struct Array {
    std::size_t begin, bytes;
  };
  struct Example {  // the first of equal findings
    std::string before, after;
    std::uint64_t count = 0;
  };
  using Occurrence = std::tuple<Kind, std::string, std::uint32_t, std::uint32_t>;  // kernel, site, the other site

  void access_pieces(std::uintptr_t at, std::size_t bytes, Access access, const void* place);
  void access_one(std::uintptr_t at, unsigned bytes, Access access, std::uint32_t site, bool counts);
  void touch(std::uintptr_t at, unsigned bytes, const Mark& now, Access access);
  bool concurrent(const Mark& before, const Mark& now) const;
  std::uint32_t site_of(const void* place, bool shared);
  Cell& cell_at(std::uintptr_t at) { return in_arena(at) ? arena_cells_[(at - arena_) / cell_bytes] : heap_.cell(at); }
  bool in_arena(std::uintptr_t at) const { return at - arena_ < SharedArena::reach; }
  bool inside(std::uintptr_t at, unsigned bytes);
  bool nobody_wrote(const Cell& cell, std::uintptr_t at, unsigned bytes) const;
  void report(Kind kind, std::uintptr_t at, const Mark& now, const Mark* before, Access access);
  std::string name_of_thread(const Mark& mark) const;
  std::string name_of_address(std::uintptr_t at);
  Mark mark_now(std::uint32_t site) const;

  bool active_ = false;
  Heap heap_;
  std::uintptr_t arena_ = 0;
  std::vector<Cell> arena_cells_{SharedArena::reach / cell_bytes};
  std::vector<Array> arrays_;  // of the running block
  Moment moment_;
  std::uint32_t phases_ = 1;
  std::vector<std::pair<std::uint32_t, Index3>> blocks_;  // of the launch, with their first phases
  Index3 dimensions_;
  unsigned warps_ = 0;
  std::vector<WarpClocks> clocks_{32};

  std::vector<std::uint32_t> sites_;  // program counters; site 2 i is place i for global memory, 2 i + 1 for shared
  std::unordered_map<std::uint32_t, std::uint32_t> site_numbers_;
  struct Known {
    const void* place = nullptr;
    std::uint32_t number = 0;
  };
  std::vector<Known> known_{1024};  // of site_numbers_, by the last bits

  Requests requests_;
  std::string kernel_;
  using Launched = std::tuple<std::string, const void*, unsigned, std::size_t>;  // kernel, function, threads, dynamic bytes
  std::map<Launched, std::pair<std::uint64_t, std::uint64_t>> launches_;         // and blocks
  std::map<std::pair<std::string, const void*>, std::vector<Cost>> costs_;       // by kernel and function
  std::vector<Cost>* kernel_costs_ = nullptr;
  std::map<Occurrence, Example> found_;
};

Auditor& auditor();

}  // namespace temper::emulated::audit
