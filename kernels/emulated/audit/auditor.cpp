#include "kernels/emulated/audit/auditor.h"

#include <algorithm>
#include <sstream>

#include "kernels/emulated/audit/places.h"

namespace temper::emulated::audit {

// ---- where the emulation is --------------------------------------------------------------------------------------------

void Auditor::launch_begins(const Launch& launch) {
  if (!active_) return;
  kernel_ = launch.kernel;
  kernel_costs_ = &costs_[{kernel_, launch.function}];
  const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
  auto& [launches, blocks] = launches_[{kernel_, launch.function, threads, launch.dynamic_shared_bytes}];
  ++launches;
  blocks += static_cast<std::uint64_t>(launch.grid.x) * launch.grid.y * launch.grid.z;
  moment_.launch = phases_ + 1;
  blocks_.clear();
}

void Auditor::block_begins(const Block& block, unsigned warps) {
  if (!active_) return;
  requests_.drop();  // of a block that ended in a fault
  moment_.phase = moment_.block = ++phases_;
  blocks_.emplace_back(moment_.block, block.index());
  dimensions_ = block.dimensions();
  arena_ = reinterpret_cast<std::uintptr_t>(block.arena().dynamic()) - SharedArena::margin;
  arrays_.clear();
  warps_ = warps;
}

void Auditor::block_ends() {
  if (!active_) return;
  for (unsigned warp = 0; warp < warps_; ++warp) requests_.close(warp, *kernel_costs_);
}

void Auditor::shared_array(std::size_t begin, std::size_t bytes) {
  if (active_) arrays_.push_back({begin, bytes});
}

void Auditor::barrier() {
  if (!active_) return;
  block_ends();
  moment_.phase = ++phases_;
}

void Auditor::meeting(unsigned warp, std::uint32_t lanes, bool orders_memory) {
  if (!active_) return;
  if (orders_memory) clocks_[warp].meet(lanes);
  requests_.close(warp, *kernel_costs_);
}

// ---- accesses ----------------------------------------------------------------------------------------------------------

std::uint32_t Auditor::site_of(const void* place, bool shared) {
  Known& known = known_[reinterpret_cast<std::uintptr_t>(place) % known_.size()];
  if (known.place != place) {
    const auto [found, is_new] = site_numbers_.try_emplace(program_counter(place), static_cast<std::uint32_t>(sites_.size()));
    if (is_new) sites_.push_back(found->first);
    known = {place, found->second};
  }
  return 2 * known.number + (shared ? 1 : 0);
}

Mark Auditor::mark_now(std::uint32_t site) const {
  const CudaThread& thread = *running_thread;
  return {.phase = moment_.phase,
          .clock = clocks_[thread.linear / 32].own(thread.lane()),
          .site = site,
          .thread = static_cast<std::uint16_t>(thread.linear)};
}

// Structs that are not one access of the hardware are taken apart, as its compiler does.
void Auditor::access_pieces(std::uintptr_t at, std::size_t bytes, Access access, const void* place) {
  const std::uint32_t site = site_of(place, in_arena(at));
  if (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16)
    return access_one(at, static_cast<unsigned>(bytes), access, site, true);
  while (bytes > 0) {
    std::size_t piece = 16;
    while (piece > bytes || at % piece != 0) piece /= 2;
    access_one(at, static_cast<unsigned>(piece), access, site, true);
    at += piece;
    bytes -= piece;
  }
}

void Auditor::access_one(std::uintptr_t at, unsigned bytes, Access access, std::uint32_t site, bool counts) {
  const Mark now = mark_now(site);
  if (at % bytes != 0) report(Kind::misaligned, at, now, nullptr, access);
  if (!inside(at, bytes)) return report(Kind::outside, at, now, nullptr, access);
  for (std::uintptr_t each = at / cell_bytes * cell_bytes; each < at + bytes; each += cell_bytes) touch(each, bytes, now, access);
  if (counts) requests_.add(now.thread / 32, now.thread % 32, site, at, bytes, access);
}

bool Auditor::inside(std::uintptr_t at, unsigned bytes) {
  if (in_arena(at)) {
    const std::size_t first = at - arena_ - SharedArena::margin;
    return std::ranges::any_of(arrays_, [&](const Array& array) {
      return first - array.begin < array.bytes && first + bytes <= array.begin + array.bytes;
    });
  }
  const Heap::Allocation* const found = heap_.find(at);
  return found != nullptr && at >= found->begin && at + bytes <= found->begin + found->bytes;
}

// What the host or a library wrote into global memory is known by its not being the filling any more. A word of it is no number that
// occurs; half of one is the end of every 65,536th.
bool Auditor::nobody_wrote(const Cell& cell, std::uintptr_t at, unsigned bytes) const {
  if (in_arena(at)) return cell.write.phase < moment_.block;
  if (cell.write.phase != 0) return false;
  const auto* const word = reinterpret_cast<const std::uint16_t*>(bytes < 4 ? at : at / 4 * 4);
  return word[0] == Heap::unwritten && (bytes < 4 || word[1] == Heap::unwritten);
}

bool Auditor::concurrent(const Mark& before, const Mark& now) const {
  if (before.atomic && now.atomic) return false;
  if (before.phase == now.phase)
    return before.thread != now.thread && !(before.thread / 32 == now.thread / 32 &&
                                            clocks_[now.thread / 32].heard(now.thread % 32, before.thread % 32, before.clock));
  // Shared memory's marks of other blocks lie before this launch's first block or are of no interest, since arrays begin unwritten.
  return before.site % 2 == 0 && before.phase >= moment_.launch && before.phase < moment_.block;
}

void Auditor::touch(std::uintptr_t at, unsigned bytes, const Mark& given, Access access) {
  Cell& cell = cell_at(at);
  Mark now = given;
  now.atomic = access == Access::atomic;
  if (cell.write.under_way && cell.write.phase >= moment_.block)
    report(Kind::copy_under_way, at, now, &cell.write, access);
  else if (concurrent(cell.write, now))
    report(Kind::race, at, now, &cell.write, access);
  if (access != Access::write && nobody_wrote(cell, at, bytes)) report(Kind::unwritten, at, now, nullptr, access);

  if (access != Access::read) {
    for (Mark& read : cell.read) {
      if (concurrent(read, now)) report(Kind::race, at, now, &read, access);
      read.phase = 0;
    }
    cell.write = now;
    return;
  }
  // Of many readers two are remembered, of different warps or blocks if possible: a later writer is at most one of them.
  auto& [first, second] = cell.read;
  const auto replaceable = [&](const Mark& read) {
    constexpr std::uint16_t nobody = 0xFFFF;
    return (read.thread == now.thread && read.phase >= moment_.block) || !concurrent(read, {.phase = now.phase, .thread = nobody});
  };
  if (replaceable(first))
    first = now;
  else if (replaceable(second) || first.phase < moment_.block || first.thread / 32 != now.thread / 32)
    second = now;
  else
    first = now;
}

// ---- asynchronous copies -----------------------------------------------------------------------------------------------

void Auditor::copy_started(const AsyncCopy& copy) {
  if (!active_) return;
  if (copy.bytes > 0) access(copy.from, copy.bytes, Access::read, copy.place);
  const auto to = reinterpret_cast<std::uintptr_t>(copy.to);
  access(copy.to, copy.bytes + copy.zero_bytes, Access::write, copy.place);
  for (std::size_t i = 0; i < copy.bytes + copy.zero_bytes && inside(to, 1); i += cell_bytes)
    cell_at(to + i).write.under_way = true;
}

// Written, and its source read, until now.
void Auditor::copy_arrived(const AsyncCopy& copy) {
  if (!active_) return;
  const auto to = reinterpret_cast<std::uintptr_t>(copy.to), from = reinterpret_cast<std::uintptr_t>(copy.from);
  const Mark now = mark_now(site_of(copy.place, true));
  for (std::size_t i = 0; i < copy.bytes + copy.zero_bytes && inside(to, 1); i += cell_bytes) cell_at(to + i).write = now;
  if (copy.bytes > 0 && heap_.contains(from))
    access_one(from, static_cast<unsigned>(copy.bytes), Access::read, site_of(copy.place, false), false);
}

// ---- findings ----------------------------------------------------------------------------------------------------------

std::string name_of(Kind kind) {
  switch (kind) {
    case Kind::race:
      return "race";
    case Kind::copy_under_way:
      return "touched while an asynchronous copy is under way";
    case Kind::misaligned:
      return "misaligned";
    case Kind::outside:
      return "out of bounds";
    case Kind::unwritten:
      return "read, but nobody wrote it";
  }
  return "";
}

std::string Auditor::name_of_thread(const Mark& mark) const {
  const auto behind = std::ranges::upper_bound(blocks_, mark.phase, {}, [](const auto& block) { return block.first; });
  const unsigned x = dimensions_.x, y = dimensions_.y;
  return "thread " + to_string(Index3{mark.thread % x, mark.thread / x % y, mark.thread / x / y}) +
         (behind == blocks_.begin() ? "" : " of block " + to_string((behind - 1)->second));
}

std::string Auditor::name_of_address(std::uintptr_t at) {
  if (in_arena(at)) {
    const auto first = static_cast<std::ptrdiff_t>(at - arena_ - SharedArena::margin);
    std::string name = "shared memory + " + std::to_string(first);
    for (const Array& array : arrays_) {
      const std::ptrdiff_t offset = first - static_cast<std::ptrdiff_t>(array.begin);
      if (array.bytes > 0 && offset >= 0)
        name = "shared array of " + std::to_string(array.bytes) + " bytes + " + std::to_string(offset);
    }
    return name;
  }
  // What lies before the first byte of an allocation's page, or behind its last one, is near the one before.
  const Heap::Allocation* found = heap_.find(at);
  if (found == nullptr) found = heap_.nearest(at);
  if (found == nullptr) return "no allocation";
  const auto offset = static_cast<std::ptrdiff_t>(at - found->begin);
  return (found->name.empty() ? "allocation" : found->name) + " (" + (found->bytes == 0 ? "released, " : "") +
         std::to_string(found->whole) + " bytes) " + (offset < 0 ? "- " : "+ ") + std::to_string(offset < 0 ? -offset : offset);
}

void Auditor::report(Kind kind, std::uintptr_t at, const Mark& now, const Mark* before, Access access) {
  Example& example = found_[{kind, kernel_, now.site, before != nullptr ? before->site : now.site}];
  if (example.count++ > 0) return;
  const char* const verb = access == Access::read ? " reads " : access == Access::write ? " writes " : " changes ";
  example.before = name_of_thread(now) + verb + name_of_address(at) + " at ";
  if (before != nullptr) example.after = ", the other is " + name_of_thread(*before) + " at ";
}

void Auditor::describe(void* memory, std::size_t bytes, const std::string& name, Holds holds) {
  Heap::Allocation* const found = heap_.find(reinterpret_cast<std::uintptr_t>(memory));
  if (found == nullptr) return;
  found->bytes = found->whole = bytes;
  found->name = name;
  if (holds == Holds::nothing) {
    std::fill_n(static_cast<std::uint16_t*>(memory), bytes / 2, Heap::unwritten);
    std::fill_n(&heap_.cell(found->begin), bytes / cell_bytes, Cell{});
  }
}

void Auditor::start() {
  active_ = true;
  found_.clear();
  costs_.clear();
  launches_.clear();
}

Report Auditor::finish(double least_excess) {
  active_ = false;
  Report report;
  std::vector<std::uint32_t> wanted;
  const auto line_of = [&](std::uint32_t site) {
    wanted.push_back(sites_[site / 2]);
    return wanted.size() - 1;
  };
  for (const auto& [occurrence, example] : found_) line_of(std::get<2>(occurrence)), line_of(std::get<3>(occurrence));
  for (const auto& [kernel, costs] : costs_) {
    for (std::uint32_t site = 0; site < costs.size(); ++site) {
      const Cost& cost = costs[site];
      if (cost.requests == 0) continue;
      report.traffic.push_back({kernel.first, kernel.second, "", site % 2 != 0, cost.write, cost.size, cost.requests, cost.lanes,
                                cost.cost, cost.least});
      Traffic& traffic = report.traffic.back();
      if (traffic.excess() >= least_excess) traffic.place = std::to_string(line_of(site));
    }
  }
  const std::vector<std::string> lines = lines_of(wanted);
  std::size_t next = 0;
  for (const auto& [occurrence, example] : found_) {
    const std::string here = lines[next++], other = lines[next++];
    report.findings.push_back({std::get<0>(occurrence), std::get<1>(occurrence),
                               example.before + here + (example.after.empty() ? "" : example.after + other), example.count});
  }
  for (Traffic& traffic : report.traffic)
    if (!traffic.place.empty()) traffic.place = lines[std::stoul(traffic.place)];
  for (const auto& [launched, counts] : launches_) {
    const auto& [kernel, function, threads, dynamic_bytes] = launched;
    report.launches.push_back({kernel, function, threads, dynamic_bytes, counts.first, counts.second});
  }
  return report;
}

std::string Report::faults() const {
  std::ostringstream text;
  for (const Finding& finding : findings)
    text << "kernel " << finding.kernel << ": " << name_of(finding.kind) << ": " << finding.text << " (" << finding.count
         << " times)\n";
  return text.str();
}

std::uint64_t Report::bytes_moved() const {
  std::uint64_t sectors = 0;
  for (const Traffic& each : traffic)
    if (!each.shared) sectors += each.cost;
  return 32 * sectors;
}

Auditor& auditor() {
  static Auditor only;
  return only;
}

Observer& observer() { return auditor(); }
void start() { auditor().start(); }
Report finish(double least_excess) { return auditor().finish(least_excess); }
void describe(void* memory, std::size_t bytes, const std::string& name, Holds holds) {
  auditor().describe(memory, bytes, name, holds);
}

}  // namespace temper::emulated::audit
