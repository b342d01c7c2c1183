#include "kernels/machine.h"

#include <omp.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

#include "kernels/check.h"

namespace temper {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

// The number after "key:" or "key " at the beginning of a line.
std::optional<std::size_t> number_after(const fs::path& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) != 0 || line.size() <= key.size()) continue;
    std::istringstream rest(line.substr(key.size() + 1));
    std::size_t number = 0;
    if (rest >> number) return number;
  }
  return std::nullopt;
}

std::size_t meminfo(const std::string& key) {
  const std::optional<std::size_t> kibibytes = number_after("/proc/meminfo", key);
  return kibibytes ? *kibibytes * 1024 : unlimited;
}

// A control group's file holds numbers, or "max", or does not exist.
std::optional<double> number_in(const fs::path& path, int place = 0) {
  std::ifstream file(path);
  std::string word;
  for (int i = 0; i <= place; ++i)
    if (!(file >> word)) return std::nullopt;
  std::istringstream text(word);
  double number = 0;
  return text >> number ? std::optional(number) : std::nullopt;
}

std::size_t count_in(const fs::path& path) {
  const std::optional<double> number = number_in(path);
  return number && *number >= 0 && *number < 9e18 ? static_cast<std::size_t>(*number) : unlimited;
}

// A hierarchy of control groups: where it is mounted, which part of it is seen there, and this process's group in it.
struct Hierarchy {
  fs::path mounted;   // on this machine
  std::string top;    // the group that lies at `mounted`
  std::string group;  // this process's
};

// The hierarchy that has `controller`; version 2 has one for all.
std::optional<Hierarchy> hierarchy(const fs::path& root, bool version_2, std::string_view controller) {
  Hierarchy found;
  bool member = false, mounted = false;
  std::ifstream groups(root / "proc/self/cgroup");  // "0::/a/b" or "7:cpu,cpuacct:/a/b"
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool wanted =
        version_2 ? controllers == ",," : controllers.find("," + std::string(controller) + ",") != std::string::npos;
    if (!wanted) continue;
    found.group = line.substr(second + 1);
    member = true;
  }
  std::ifstream mounts(root / "proc/self/mountinfo");  // "36 35 0:30 /top /sys/fs/cgroup rw,... - cgroup2 cgroup rw,..."
  for (std::string line; std::getline(mounts, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream left(line.substr(0, dash)), right(line.substr(dash + 3));
    std::string number, parent, device, top, place, type, source, options;
    left >> number >> parent >> device >> top >> place;
    right >> type >> source >> options;
    if (type != (version_2 ? "cgroup2" : "cgroup")) continue;
    if (!version_2 && ("," + options + ",").find("," + std::string(controller) + ",") == std::string::npos) continue;
    found.mounted = root / fs::path(place).relative_path();
    found.top = top;
    mounted = true;
  }
  return member && mounted ? std::optional(found) : std::nullopt;
}

// The process's group and all above it, as far as they can be seen.
std::vector<fs::path> folders_of(const Hierarchy& at) {
  std::vector<fs::path> folders = {at.mounted};
  std::string below = at.group;
  if (at.top != "/" && below.compare(0, at.top.size(), at.top) == 0) below = below.substr(at.top.size());
  fs::path folder = at.mounted;
  for (const fs::path& part : fs::path(below).relative_path()) {
    if (part == "..") return folders;  // outside of what is mounted here
    folder /= part;
    folders.push_back(folder);
  }
  return folders;
}

struct MemoryFiles {
  const char *limit, *usage, *cache;
};

void narrow_memory(GroupLimits& limits, const std::optional<Hierarchy>& at, const MemoryFiles& files) {
  if (!at) return;
  for (const fs::path& folder : folders_of(*at)) {
    const std::size_t limit = count_in(folder / files.limit), usage = count_in(folder / files.usage);
    limits.memory = std::min(limits.memory, limit);
    if (limit == unlimited || usage == unlimited) continue;
    const std::size_t cache = number_after(folder / "memory.stat", files.cache).value_or(0);
    limits.available = std::min(limits.available, limit - std::min(limit, usage - std::min(usage, cache)));
  }
}

void narrow_processors(GroupLimits& limits, std::optional<double> quota, std::optional<double> period) {
  if (quota && period && *quota > 0 && *period > 0) limits.processors = std::min(limits.processors, *quota / *period);
}

// Of address space or data: what setrlimit, ulimit -v and -d say.
std::size_t resource_limit() {
  std::size_t least = unlimited;
  for (const auto kind : {RLIMIT_AS, RLIMIT_DATA}) {
    rlimit limit{};
    if (getrlimit(kind, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) least = std::min<std::size_t>(least, limit.rlim_cur);
  }
  return least;
}

}  // namespace

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.compare(0, 10, "model name") == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

GroupLimits group_limits(const fs::path& root) {
  GroupLimits limits = {unlimited, unlimited, std::numeric_limits<double>::infinity(), unlimited};
  narrow_memory(limits, hierarchy(root, true, ""), {"memory.max", "memory.current", "inactive_file"});
  narrow_memory(limits, hierarchy(root, false, "memory"),
                {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"});
  if (const auto all = hierarchy(root, true, ""))
    for (const fs::path& folder : folders_of(*all))
      narrow_processors(limits, number_in(folder / "cpu.max"), number_in(folder / "cpu.max", 1));
  for (const auto& at : {hierarchy(root, true, ""), hierarchy(root, false, "pids")})
    for (const fs::path& folder : at ? folders_of(*at) : std::vector<fs::path>())
      limits.tasks = std::min(limits.tasks, count_in(folder / "pids.max"));
  if (const auto cpu = hierarchy(root, false, "cpu"))
    for (const fs::path& folder : folders_of(*cpu))
      narrow_processors(limits, number_in(folder / "cpu.cfs_quota_us"), number_in(folder / "cpu.cfs_period_us"));
  return limits;
}

int usable_processors() {
  const int affine = omp_get_num_procs();
  const double quota = std::max(1.0, std::ceil(group_limits().processors));
  return quota < affine ? static_cast<int>(quota) : std::max(1, affine);
}

int asked_threads() {
  static const int asked = omp_get_max_threads();  // what was set since the beginning does not count
  return std::max(1, asked);
}

int usable_threads() { return std::min(usable_processors(), asked_threads()); }

void require_threads(int count) {
  std::atomic<bool> over = false;
  std::vector<std::jthread> threads;
  std::string why;
  try {
    while (static_cast<int>(threads.size()) < count) threads.emplace_back([&] { over.wait(false); });
  } catch (const std::exception& error) {
    why = error.what();
  }
  over = true;
  over.notify_all();
  if (!why.empty())
    throw OutOfMemory("cannot start " + std::to_string(count) + " threads, only " + std::to_string(threads.size()) + " (" + why +
                      "): " + thread_limits());
}

void start_threads(int count) {
  require_threads(count);
  omp_set_num_threads(count);
#pragma omp parallel
  {}
}

std::string thread_limits() {
  const auto text = [](std::size_t limit) { return limit == unlimited ? "any number of" : "at most " + std::to_string(limit); };
  rlimit user{};
  const bool known = getrlimit(RLIMIT_NPROC, &user) == 0 && user.rlim_cur != RLIM_INFINITY;
  return "the user may have " + text(known ? user.rlim_cur : unlimited) +
         " processes and threads at once (ulimit -u), the control "
         "group " +
         text(group_limits().tasks) +
         " (pids.max), and each thread takes address space for its stack (ulimit -v, -s). "
         "Raise the limit that is reached, end other processes, or ask for fewer threads (OMP_NUM_THREADS)";
}

std::size_t resident_bytes() { return number_after("/proc/self/status", "VmRSS").value_or(0) * 1024; }

std::size_t memory_limit() { return std::min({meminfo("MemTotal"), group_limits().memory, resource_limit()}); }

std::size_t memory_available() { return std::min({meminfo("MemAvailable"), group_limits().available, resource_limit()}); }

}  // namespace temper
