#include "kernels/emulated/audit/requests.h"

#include <algorithm>
#include <bit>

namespace temper::emulated::audit {

namespace {

constexpr std::uintptr_t sector = 32;
constexpr std::uintptr_t word = 4, banks = 32;  // of shared memory

// A few numbers, most often given in ascending order.
class Distinct {
 public:
  void add(std::uintptr_t number) {
    if (count_ > 0 && number == numbers_[count_ - 1]) return;
    sorted_ = sorted_ && (count_ == 0 || number > numbers_[count_ - 1]);
    numbers_[count_++] = number;
  }
  std::size_t count() {
    if (!sorted_) {
      std::sort(numbers_.begin(), numbers_.begin() + count_);
      count_ = std::unique(numbers_.begin(), numbers_.begin() + count_) - numbers_.begin();
      sorted_ = true;
    }
    return static_cast<std::size_t>(count_);
  }
  std::uintptr_t operator[](std::size_t i) const { return numbers_[i]; }

 private:
  std::array<std::uintptr_t, 128> numbers_;
  std::ptrdiff_t count_ = 0;
  bool sorted_ = true;
};

}  // namespace

void Requests::add(unsigned warp, unsigned lane, std::uint32_t site, std::uintptr_t address, unsigned size, Access access) {
  OfWarp& own = warps_[warp];
  if (own.sites.size() <= site) own.sites.resize(site + 64);
  AtSite& at = own.sites[site];
  if (at.used == 0) own.used.push_back(site);
  const std::uint32_t number = at.seen[lane]++;
  if (number >= at.open.size()) at.open.resize(number + 1);
  if (number >= at.used) {
    at.used = number + 1;
    at.open[number].lanes = 0;
    at.open[number].size = size;
    at.open[number].access = access;
  }
  at.open[number].lanes |= 1u << lane;
  at.open[number].address[lane] = address;
}

void Requests::close(unsigned warp, std::vector<Cost>& costs) {
  OfWarp& own = warps_[warp];
  for (const std::uint32_t site : own.used) {
    AtSite& at = own.sites[site];
    if (costs.size() <= site) costs.resize(site + 64);
    for (std::size_t i = 0; i < at.used; ++i) add_cost(at.open[i], site % 2 != 0, costs[site]);
    at.used = 0;
    at.seen.fill(0);
  }
  own.used.clear();
}

void Requests::drop() {
  std::vector<Cost> nowhere;
  for (unsigned warp = 0; warp < warps_.size(); ++warp) close(warp, nowhere);
}

// Shared memory has 32 banks of 4 bytes. A wavefront takes from each bank one word, for as many lanes as want it; lanes of 8 bytes
// are served by halves of the warp, those of 16 by quarters. Atomic operations on one word are done one after the other.
void Requests::add_cost(const Request& request, bool shared, Cost& cost) {
  ++cost.requests;
  cost.lanes += static_cast<std::uint64_t>(std::popcount(request.lanes));
  cost.size = request.size;
  cost.write = request.access != Access::read;
  if (!shared) {
    Distinct sectors, asked;
    for (unsigned lane = 0; lane < 32; ++lane) {
      if ((request.lanes >> lane & 1) == 0) continue;
      const std::uintptr_t first = request.address[lane];
      asked.add(first);
      sectors.add(first / sector);
      sectors.add((first + request.size - 1) / sector);
    }
    cost.cost += sectors.count();
    cost.least += (asked.count() * request.size + sector - 1) / sector;
    return;
  }
  const unsigned parts = std::clamp(request.size / 4, 1u, 4u), lanes = 32 / parts;
  for (unsigned part = 0; part < parts; ++part) {
    Distinct words;
    std::array<std::uint64_t, banks> of_bank{};
    for (unsigned lane = part * lanes; lane < (part + 1) * lanes; ++lane) {
      if ((request.lanes >> lane & 1) == 0) continue;
      const std::uintptr_t last = (request.address[lane] + request.size - 1) / word;
      for (std::uintptr_t each = request.address[lane] / word; each <= last; ++each)
        request.access == Access::atomic ? void(++of_bank[each % banks]) : words.add(each);
    }
    for (std::size_t i = 0; i < words.count(); ++i) ++of_bank[words[i] % banks];
    cost.cost += *std::ranges::max_element(of_bank);
    cost.least += std::ranges::any_of(of_bank, [](std::uint64_t count) { return count > 0; }) ? 1 : 0;
  }
}

}  // namespace temper::emulated::audit
