#include "kernels/cuda/choices.h"

#include <algorithm>
#include <array>
#include <limits>

namespace temper::TEMPER_BACKEND {

namespace {

constexpr int rounds = 9;
constexpr float shortest_timing = 0.3f;  // milliseconds; shorter work is done several times in a row
constexpr int most_repeats = 20;
constexpr float noise = 1.01f;

std::string machine_of(const Device& device, const std::string& library) {
  return device.info().name + ", " + std::to_string(device.multiprocessors()) + " multiprocessors, " + library +
         (device.options().tf32 ? ", TF32" : "");
}

}  // namespace

Choices::Choices(Device& device, Stream& stream, const std::string& library)
    : stream_(stream), cache_(device.options().choices_file, machine_of(device, library)) {
  device.make_current();
  check(cudaEventCreate(&begin_), "cudaEventCreate");
  check(cudaEventCreate(&end_), "cudaEventCreate");
}

Choices::~Choices() {
  for (cudaEvent_t event : {begin_, end_}) cudaEventDestroy(event);
}

std::size_t Choices::of(const std::string& name, const std::vector<std::string>& values, const std::vector<Way>& ways,
                        std::size_t untimed) {
  std::optional<std::string> kept = find(name);
  if (!kept && may_time()) {
    for (const Way& way : ways) way();  // what they choose in turn is chosen before they are timed
    kept = keep(name, values[fastest(ways)]);
  }
  const auto found = kept ? std::find(values.begin(), values.end(), *kept) : values.end();
  return found == values.end() ? untimed : static_cast<std::size_t>(found - values.begin());
}

bool Choices::may_time() const {
  if (!cache_.wants_more()) return false;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream_.get(), &capture), "cudaStreamIsCapturing");
  return capture == cudaStreamCaptureStatusNone;
}

std::size_t Choices::fastest(const std::vector<Way>& ways) {
  const std::size_t count = ways.size();
  std::vector<int> repeats(count);
  for (std::size_t i = 0; i < count; ++i) {
    milliseconds(ways[i], 1);  // the first time loads the kernel
    repeats[i] = static_cast<int>(std::clamp(shortest_timing / milliseconds(ways[i], 1), 1.0f, static_cast<float>(most_repeats)));
  }
  std::vector<std::array<float, rounds>> times(count);
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t turn = 0; turn < count; ++turn) {
      const std::size_t i = (turn + round) % count;
      times[i][round] = milliseconds(ways[i], repeats[i]);
    }
  }
  std::vector<float> medians;
  for (auto& each : times) {
    std::nth_element(each.begin(), each.begin() + rounds / 2, each.end());
    medians.push_back(each[rounds / 2]);
  }
  const float best = *std::min_element(medians.begin(), medians.end());
  const auto first = std::find_if(medians.begin(), medians.end(), [&](float median) { return median <= best * noise; });
  return static_cast<std::size_t>(first - medians.begin());
}

// Of the device's time, once, on average over `repeats`; infinite where it cannot be.
float Choices::milliseconds(const Way& way, int repeats) {
  check(cudaEventRecord(begin_, stream_.get()), "cudaEventRecord");
  for (int i = 0; i < repeats; ++i)
    if (!way()) return std::numeric_limits<float>::infinity();
  check(cudaEventRecord(end_, stream_.get()), "cudaEventRecord");
  check(cudaEventSynchronize(end_), "cudaEventSynchronize");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
  return milliseconds / static_cast<float>(repeats);
}

}  // namespace temper::TEMPER_BACKEND
