#include "kernels/cpu/machine.h"

#include <algorithm>
#include <fstream>
#include <limits>

namespace temper::cpu {

namespace {

constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

// The number after "key:" in /proc/meminfo, which counts in KiB.
std::size_t meminfo(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size() + 1, key + ":") == 0) return std::stoull(line.substr(key.size() + 1)) * 1024;
  }
  return unlimited;
}

// A control group's file holds one number, or "max", or does not exist.
std::size_t number_in(const char* path) {
  std::ifstream file(path);
  std::size_t number = 0;
  return file >> number ? number : unlimited;
}

// Version 2 of control groups, then version 1; inside a container both show the container's own group.
std::size_t group_limit() {
  return std::min(number_in("/sys/fs/cgroup/memory.max"), number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
}

std::size_t group_usage() {
  return std::min(number_in("/sys/fs/cgroup/memory.current"), number_in("/sys/fs/cgroup/memory/memory.usage_in_bytes"));
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

std::size_t memory_limit() { return std::min(meminfo("MemTotal"), group_limit()); }

std::size_t memory_available() {
  const std::size_t limit = group_limit();
  const std::size_t used = group_usage();
  const std::size_t in_group = limit == unlimited || used == unlimited ? unlimited : limit - std::min(limit, used);
  return std::min(meminfo("MemAvailable"), in_group);
}

}  // namespace temper::cpu
