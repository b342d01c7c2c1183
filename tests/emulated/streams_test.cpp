// Streams, events and graphs: order within a stream, none between streams but by events, and nothing before the host waits.
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "launching.h"

namespace temper::emulated {
namespace {

__global__ void append(std::vector<int>* list, int value) { list->push_back(value); }

void append_on(Stream& stream, std::vector<int>& list, int value) {
  launch("append", append, {dim3(1), dim3(1)}, stream, &list, value);
}

TEST(Streams, WorkOfOneStreamRunsInOrderAndOnlyWhenTheHostWaits) {
  Device device;
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
  Device device({.seed = seed});
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
    Device device({.seed = seed});
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

TEST(Streams, AHostBufferThatIsChangedBeforeTheCopyRanShows) {
  Device device;
  Stream stream(device);
  float source = 1.0f, target = 0.0f;
  stream.copy(&target, &source, sizeof(float));
  source = 2.0f;
  stream.synchronize();
  EXPECT_EQ(target, 2.0f);
}

TEST(Events, SynchronizeWaitsForTheWorkBeforeTheRecordAlone) {
  Device device;
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
    Device device({.seed = seed});
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

TEST(Events, StreamsThatWaitForEachOtherAreReported) {
  Device device;
  Stream first(device), second(device);
  Event event(device);
  first.begin_capture();
  event.record(first);
  const Graph never_launched = first.end_capture();
  second.wait(event);
  EXPECT_THROW(second.synchronize(), DeviceError);
}

TEST(Graphs, ReplayWhatWasCaptured) {
  Device device;
  Stream stream(device);
  EXPECT_FALSE(Graph().recorded());
  std::vector<int> list;
  int value = 7;
  stream.begin_capture();
  append_on(stream, list, value);
  append_on(stream, list, 8);
  value = 9;  // arguments are those of the capture
  EXPECT_THROW(stream.synchronize(), DeviceError);
  EXPECT_THROW(stream.begin_capture(), DeviceError);
  const Graph graph = stream.end_capture();
  EXPECT_TRUE(graph.recorded());
  stream.synchronize();
  EXPECT_TRUE(list.empty()) << "captured work ran";

  stream.launch(graph);
  append_on(stream, list, 0);
  stream.launch(graph);
  stream.synchronize();
  EXPECT_EQ(list, (std::vector<int>{7, 8, 0, 7, 8}));
  EXPECT_THROW(stream.end_capture(), DeviceError);
}

TEST(Memory, IsNanAtFirstAndReleasedBehindTheWorkThatUsesIt) {
  Device device;
  Stream stream(device);
  auto* memory = static_cast<float*>(device.allocate(4 * sizeof(float)));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory) % 256, 0u);
  for (int i = 0; i < 4; ++i) EXPECT_NE(memory[i], memory[i]);
  float back = 1.0f;
  stream.zero(memory, 4 * sizeof(float));
  stream.copy(&back, memory + 3, sizeof(float));
  device.release(memory);  // as cudaFree, waits for the queue
  EXPECT_EQ(back, 0.0f);
}

}  // namespace
}  // namespace temper::emulated
