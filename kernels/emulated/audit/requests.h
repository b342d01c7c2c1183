// Accesses of lanes put together to the requests that a warp makes of memory, and what each costs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace temper::emulated::audit {

enum class Access : std::uint8_t { read, write, atomic };

struct Cost {
  std::uint64_t requests = 0, lanes = 0, cost = 0, least = 0;
  unsigned size = 0;
  bool write = false;
};

/// The requests of one block. Lanes run one after the other from meeting to meeting, so what they ask for at once is found by
/// counting: the n-th access of each lane at a place, since the warp last met, belongs to the n-th request there.
class Requests {
 public:
  /// `site` numbers places; those in shared memory are odd.
  void add(unsigned warp, unsigned lane, std::uint32_t site, std::uintptr_t address, unsigned size, Access access);
  /// Adds what the warp's lanes asked for since the last call to `costs`, by site.
  void close(unsigned warp, std::vector<Cost>& costs);
  /// Forgets it.
  void drop();

 private:
  struct Request {
    std::uint32_t lanes = 0;
    unsigned size = 0;
    Access access = Access::read;
    std::array<std::uintptr_t, 32> address;
  };
  struct AtSite {
    std::vector<Request> open;
    std::size_t used = 0;
    std::array<std::uint32_t, 32> seen{};  // by lane
  };
  struct OfWarp {
    std::vector<AtSite> sites;
    std::vector<std::uint32_t> used;
  };
  static void add_cost(const Request& request, bool shared, Cost& cost);
  std::array<OfWarp, 32> warps_;
};

}  // namespace temper::emulated::audit
