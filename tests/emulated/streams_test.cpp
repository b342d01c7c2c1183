// Streams, events and graphs: order within a stream, none between streams but by events, and nothing before the host waits.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/emulated/emulated_ops.h"
#include "launching.h"

namespace temper::emulated {
namespace {

__global__ void append(std::vector<int>* list, int value) { list->push_back(value); }

void append_on(Stream& stream, std::vector<int>& list, int value) {
  launch("append", append, {dim3(1), dim3(1)}, stream, &list, value);
}

TEST(Streams, WorkOfOneStreamRunsInOrderAndOnlyWhenTheHostWaits) {
  Device device(fresh_gpu());
  Stream stream(device);
  std::vector<int> list;
  for (int i = 0; i < 5; ++i) append_on(stream, list, i);
  EXPECT_TRUE(list.empty());
  stream.synchronize();
  EXPECT_EQ(list, (std::vector<int>{0, 1, 2, 3, 4}));
}

enum class Ordered { not_at_all, by_event };

// The second stream reads what the first one writes.
float read_behind_write(std::uint64_t seed, Ordered ordered) {
  Device device(fresh_gpu({.seed = seed}));
  Stream writer(device), reader(device);
  Event written(device);
  auto* memory = static_cast<float*>(device.allocate(sizeof(float)));
  auto* pinned = static_cast<float*>(device.allocate_pinned(2 * sizeof(float)));
  pinned[0] = 3.0f;
  writer.copy(memory, pinned, sizeof(float));
  written.record(writer);
  if (ordered == Ordered::by_event) reader.wait(written);
  reader.copy(pinned + 1, memory, sizeof(float));
  reader.synchronize();
  const float result = pinned[1];
  device.release(memory);
  device.release_pinned(pinned);
  return result;
}

TEST(Streams, AMissingEventShowsUnderSomeSeedAndAnEventOrders) {
  int wrong = 0;
  for (const std::uint64_t seed : seeds) {
    EXPECT_EQ(read_behind_write(seed, Ordered::by_event), 3.0f) << "seed " << seed;
    if (read_behind_write(seed, Ordered::not_at_all) != 3.0f) ++wrong;
  }
  EXPECT_GT(wrong, 0);
}

TEST(Streams, SeedsInterleaveStreamsDifferently) {
  std::set<std::vector<int>> orders;
  for (const std::uint64_t seed : seeds) {
    Device device(fresh_gpu({.seed = seed}));
    Stream first(device), second(device);
    std::vector<int> list;
    for (int i = 0; i < 5; ++i) {
      append_on(first, list, i);
      append_on(second, list, 10 + i);
    }
    first.synchronize();
    second.synchronize();
    EXPECT_EQ(list.size(), 10u);
    orders.insert(list);
  }
  EXPECT_GT(orders.size(), 4u);
}

// Pinned memory of `count` floats.
struct Pinned {
  Pinned(Device& of, std::size_t count) : device(of), values(static_cast<float*>(of.allocate_pinned(count * sizeof(float)))) {}
  ~Pinned() { device.release_pinned(values); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  Device& device;
  float* values;
};

TEST(Copies, ReadPinnedMemoryWhenTheyRunAndPageableMemoryAtOnce) {
  Device device(fresh_gpu());
  Stream stream(device);
  auto* memory = static_cast<float*>(device.allocate(2 * sizeof(float)));
  const Pinned pinned(device, 1);
  float pageable = pinned.values[0] = 1.0f;
  stream.copy(memory, pinned.values, sizeof(float));
  stream.copy(memory + 1, &pageable, sizeof(float));
  pageable = pinned.values[0] = 2.0f;
  stream.synchronize();
  EXPECT_EQ(memory[0], 2.0f);
  EXPECT_EQ(memory[1], 1.0f);
  device.release(memory);
}

TEST(Copies, ToPageableMemoryWait) {
  Device device(fresh_gpu());
  Stream stream(device);
  auto* memory = static_cast<float*>(device.allocate(sizeof(float)));
  const Pinned pinned(device, 1);
  float back = 1.0f;
  stream.zero(memory, sizeof(float));
  stream.copy(pinned.values, memory, sizeof(float));
  EXPECT_NE(pinned.values[0], 0.0f);
  stream.copy(&back, memory, sizeof(float));
  EXPECT_EQ(back, 0.0f);
  device.release(memory);
}

// The message of what `call` throws.
template <typename Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "";
}

TEST(Copies, WhatNoAllocationHoldsIsRefused) {
  Device device(fresh_gpu());
  Stream stream(device);
  auto* memory = static_cast<char*>(device.allocate(64));
  char host[64] = {};
  const auto copy = [&](void* to, const void* from, std::size_t bytes) { return refusal([&] { stream.copy(to, from, bytes); }); };
  EXPECT_EQ(copy(memory, host, 64), "");
  EXPECT_TRUE(contains(copy(memory + 1, host, 64), "64 bytes from byte 1 of an allocation of 64"));
  EXPECT_TRUE(contains(copy(host, nullptr, 8), "neither the host's nor the device's"));
  EXPECT_TRUE(contains(copy(memory + 8, memory, 16), "overlap"));
  EXPECT_TRUE(contains(refusal([&] { stream.zero(host, 8); }), "not the device's"));
  device.release(memory);
}

TEST(Copies, MoreMemoryThanThereIsIsToldInBytes) {
  Device device(fresh_gpu());
  EXPECT_THROW(device.allocate(Gpu::memory_bytes + 1), OutOfMemory);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "it leaves no trace";
}

TEST(Events, SynchronizeWaitsForTheWorkBeforeTheRecordAlone) {
  Device device(fresh_gpu());
  Stream stream(device);
  Event event(device);
  event.synchronize();  // never recorded: nothing to wait for
  std::vector<int> list;
  append_on(stream, list, 1);
  event.record(stream);
  append_on(stream, list, 2);
  event.synchronize();
  EXPECT_EQ(list, std::vector<int>{1});
  stream.synchronize();
  EXPECT_EQ(list.size(), 2u);
}

TEST(Events, AWaitMeansTheRecordThatWasLastWhenItWasQueued) {
  for (const std::uint64_t seed : seeds) {
    Device device(fresh_gpu({.seed = seed}));
    Stream first(device), second(device), waiting(device);
    Event event(device);
    std::vector<int> list;
    append_on(first, list, 1);
    event.record(first);
    waiting.wait(event);
    append_on(waiting, list, 2);
    event.record(second);  // says nothing about `first`
    waiting.synchronize();
    EXPECT_EQ(list, (std::vector<int>{1, 2})) << "seed " << seed;
  }
}

TEST(Events, OfARecordedGraphAreNotWaitedFor) {
  Device device(fresh_gpu());
  Stream first(device), second(device);
  Event inside(device), outside(device);
  outside.record(second);
  first.begin_capture();
  inside.record(first);
  EXPECT_THROW(second.wait(inside), DeviceError);
  EXPECT_THROW(first.wait(outside), DeviceError);
  EXPECT_TRUE(contains(refusal([&] { first.end_capture(); }), "cudaErrorStreamCaptureInvalidated"));
}

TEST(Events, TellTheTimeBetweenThem) {
  Device device(fresh_gpu());
  Stream stream(device);
  cudaEvent_t start = nullptr, end = nullptr;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  cudaEventRecord(start, stream.get());
  cudaEventRecord(end, stream.get());
  float milliseconds = 0;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorNotReady);
  stream.synchronize();
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaSuccess);
  EXPECT_GT(milliseconds, 0.0f);
  Event without_time(device);
  without_time.record(stream);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, without_time.get()), cudaErrorInvalidResourceHandle);
  cudaEventDestroy(start);
  cudaEventDestroy(end);
}

// Each of these could make the host wait for what is only recorded, or take memory that the graph does not know.
TEST(Graphs, TheThreadThatRecordsNeitherWaitsNorTakesMemory) {
  Device device(fresh_gpu());
  Stream recorded(device), other(device);
  Event event(device);
  void* const memory = device.allocate(64);
  float pageable = 0;
  event.record(other);
  const std::vector<std::pair<const char*, std::function<void()>>> calls = {
      {"cudaMalloc", [&] { device.allocate(64); }},
      {"cudaFree", [&] { check(cudaFree(memory), "cudaFree"); }},
      {"cudaMallocHost", [&] { device.allocate_pinned(64); }},
      {"cudaStreamSynchronize", [&] { other.synchronize(); }},
      {"cudaStreamSynchronize", [&] { recorded.synchronize(); }},
      {"cudaEventSynchronize", [&] { event.synchronize(); }},
      {"cudaEventQuery", [&] { check(cudaEventQuery(event.get()), "cudaEventQuery"); }},
      {"a copy from or to pageable memory", [&] { recorded.copy(&pageable, memory, sizeof(float)); }}};
  for (const auto& [name, call] : calls) {
    recorded.begin_capture();
    EXPECT_TRUE(contains(refusal(call), std::string(name) + " while this thread records a graph"));
    std::thread([&device] { device.release(device.allocate(64)); }).join();  // another thread may
    EXPECT_TRUE(contains(refusal([&] { recorded.end_capture(); }), "cudaErrorStreamCaptureInvalidated")) << name;
  }
  device.release(memory);
}

TEST(Graphs, ReplayWhatWasCaptured) {
  Device device(fresh_gpu());
  Stream stream(device);
  EXPECT_EQ(Graph().get(), nullptr);
  std::vector<int> list;
  int value = 7;
  stream.begin_capture();
  append_on(stream, list, value);
  append_on(stream, list, 8);
  value = 9;  // arguments are those of the capture
  EXPECT_THROW(stream.begin_capture(), DeviceError);
  const Graph graph = stream.end_capture();
  EXPECT_NE(graph.get(), nullptr);
  stream.synchronize();
  EXPECT_TRUE(list.empty()) << "captured work ran";

  stream.launch(graph);
  append_on(stream, list, 0);
  stream.launch(graph);
  stream.synchronize();
  EXPECT_EQ(list, (std::vector<int>{7, 8, 0, 7, 8}));
  EXPECT_THROW(stream.end_capture(), DeviceError);
}

TEST(Graphs, WorkThatThrowsWhileItIsRecordedLeavesTheStreamAsItWas) {
  const std::unique_ptr<Ops> ops = make_emulated_ops();
  auto* const memory = static_cast<float*>(ops->allocate(sizeof(float)));
  Recording recording;
  ops->replay(recording, [&] { ops->zero(memory, sizeof(float)); });
  EXPECT_THROW(ops->replay(recording,
                           [&] {
                             ops->zero(memory, sizeof(float));
                             throw Unsupported("this");
                           }),
               Unsupported);
  const float one = 1.0f;
  ops->copy_to_device(memory, &one, sizeof(float));
  for (int i = 0; i < 2; ++i) ops->replay(recording, [&] { ops->zero(memory, sizeof(float)); });
  ops->synchronize();
  EXPECT_EQ(*memory, 0.0f);
  ops->release(memory);
}

TEST(Memory, IsNanAtFirstAndReleasedBehindTheWorkThatUsesIt) {
  Device device(fresh_gpu());
  Stream stream(device);
  auto* memory = static_cast<float*>(device.allocate(4 * sizeof(float)));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 256, 0u);
  for (int i = 0; i < 4; ++i) EXPECT_NE(memory[i], memory[i]);
  const Pinned back(device, 1);
  stream.zero(memory, 4 * sizeof(float));
  stream.copy(back.values, memory + 3, sizeof(float));
  device.release(memory);  // as cudaFree, waits for the queue
  EXPECT_EQ(back.values[0], 0.0f);
}

TEST(Devices, EachIsUsedThoughAnotherWasChosenLast) {
  Device first(fresh_gpu()), second(fresh_gpu());
  Stream stream(first);
  int chosen = 0;
  std::vector<int> list;
  append_on(stream, list, 1);
  cudaGetDevice(&chosen);
  EXPECT_EQ(&gpu(chosen), stream.get()->gpu);
  std::thread([&] { append_on(stream, list, 2); }).join();
  stream.synchronize();
  EXPECT_EQ(list.size(), 2u);
}

TEST(Devices, WhereThereIsNoneTheReasonNamesARemedy) {
  const auto says = [](cudaError_t status, int driver, const char* text) {
    const std::string why = why_no_gpu(status, driver, 13000);
    EXPECT_NE(why.find(text), std::string::npos) << why;
  };
  says(cudaErrorInsufficientDriver, 0, "no NVIDIA driver is loaded");
  says(cudaErrorInsufficientDriver, 12040, "for CUDA 12.4 and this build for CUDA 13.0");
  says(cudaErrorInsufficientDriver, 12040, "the toolkit of CUDA 12");
  says(cudaErrorNoDevice, 13000, "CUDA_VISIBLE_DEVICES");
  says(cudaSuccess, 13000, "CUDA_VISIBLE_DEVICES");
  says(cudaErrorSystemNotReady, 13000, "nvidia-fabricmanager");
  says(cudaErrorLaunchFailure, 13000, "cudaErrorLaunchFailure of cudaGetDeviceCount");
}

}  // namespace
}  // namespace temper::emulated
