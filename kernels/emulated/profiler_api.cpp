// The profilers' switch and NVTX.
#include <cuda_profiler_api.h>
#include <nvtx3/nvToolsExt.h>

#include <mutex>
#include <utility>

#include "kernels/emulated/gpu.h"
#include "kernels/emulated/profiler.h"

using namespace temper::emulated;

namespace {

thread_local std::vector<std::string> open_ranges;

std::mutex mutex;
bool recording = false;
Profile profile;

cudaError_t record(bool on_now) {
  Gpu& gpu = current_gpu();
  return on(gpu, [&](Gpu::Lock&) {
    const std::lock_guard lock(mutex);
    profile.idle = profile.idle && gpu.idle();
    ++(on_now ? profile.starts : profile.stops);
    recording = on_now;
    return cudaSuccess;
  });
}

}  // namespace

namespace temper::emulated {

std::string innermost_range() { return open_ranges.empty() ? "" : open_ranges.back(); }

Profile take_profile() {
  const std::lock_guard lock(mutex);
  return std::exchange(profile, {});
}

void count_graph_launch() {
  const std::lock_guard lock(mutex);
  ++(recording ? profile.graphs : profile.other_graphs);
}

}  // namespace temper::emulated

cudaError_t cudaProfilerStart() { return record(true); }
cudaError_t cudaProfilerStop() { return record(false); }

int nvtxRangePushA(const char* message) {
  open_ranges.emplace_back(message);
  const std::lock_guard lock(mutex);
  if (recording) {
    std::string path;
    for (const std::string& each : open_ranges) path += (path.empty() ? "" : "/") + each;
    profile.ranges.push_back(std::move(path));
  }
  return static_cast<int>(open_ranges.size()) - 1;
}

int nvtxRangePop() {
  if (open_ranges.empty()) return -1;
  open_ranges.pop_back();
  return static_cast<int>(open_ranges.size());
}
