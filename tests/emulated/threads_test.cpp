// Several host threads use emulated GPUs at once. What they do to each other shows best under ThreadSanitizer.
#include <gtest/gtest.h>
#include <nccl.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "launching.h"

namespace temper::emulated {
namespace {

constexpr int rounds = 200;

/// Calls work(0), work(1), ... on threads of their own.
void on_threads(int count, const std::function<void(int)>& work) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < count; ++i) threads.emplace_back([&work, i] { work(i); });
}

__global__ void increase(int* number) { ++*number; }

TEST(Threads, ShareAGpuWithAStreamEach) {
  Device device(fresh_gpu());
  on_threads(3, [&](int) {
    Stream stream(device);
    Event event(device);
    auto* const number = static_cast<int*>(device.allocate(sizeof(int)));
    int back = 0;
    stream.zero(number, sizeof(int));
    for (int i = 0; i < rounds; ++i) {
      launch("increase", increase, {dim3(1), dim3(1)}, stream, number);
      event.record(stream);
      device.release(device.allocate(64));
      event.synchronize();
    }
    stream.copy(&back, number, sizeof(int));
    EXPECT_EQ(back, rounds);
    device.release(number);
  });
}

TEST(Threads, ShareAStream) {
  Device device(fresh_gpu());
  Stream stream(device);
  int number = 0;
  on_threads(3, [&](int) {
    for (int i = 0; i < rounds; ++i) {
      launch("increase", increase, {dim3(1), dim3(1)}, stream, &number);
      if (i % 8 == 0) stream.synchronize();
    }
  });
  stream.synchronize();
  EXPECT_EQ(number, 3 * rounds);
}

TEST(Threads, OneAsksForAnEventThatAnotherRecords) {
  Device device(fresh_gpu());
  Stream stream(device);
  Event event(device);
  std::atomic<bool> over = false;
  on_threads(2, [&](int which) {
    if (which == 0) {
      for (int i = 0; i < rounds; ++i) event.record(stream);
      over = true;
    } else {
      while (!over) {
        const cudaError_t status = cudaEventQuery(event.get());
        EXPECT_TRUE(status == cudaSuccess || status == cudaErrorNotReady);
      }
    }
  });
}

TEST(Threads, OneWaitsForTheEventsOfAnothersGpu) {
  Device first(fresh_gpu()), second(fresh_gpu());
  std::atomic<bool> recorded = false;
  Event event(first);
  int number = 0;
  on_threads(2, [&](int which) {
    Stream stream(which == 0 ? first : second);
    if (which == 0) {
      for (int i = 0; i < rounds; ++i) launch("increase", increase, {dim3(1), dim3(1)}, stream, &number);
      event.record(stream);
      recorded = true;
      stream.synchronize();
    } else {
      while (!recorded) std::this_thread::yield();
      stream.wait(event);
      launch("increase", increase, {dim3(1), dim3(1)}, stream, &number);
      stream.synchronize();
      EXPECT_EQ(number, rounds + 1);
    }
  });
}

TEST(Threads, OneLooksWhetherAnotherRecordsAGraph) {
  Device device(fresh_gpu());
  Stream stream(device);
  std::atomic<bool> over = false;
  on_threads(2, [&](int which) {
    if (which == 0) {
      for (int i = 0; i < 5 * rounds; ++i) {
        stream.begin_capture();
        EXPECT_THROW(device.allocate(64), DeviceError);
        EXPECT_THROW(stream.end_capture(), DeviceError);
      }
      over = true;
    } else {
      cudaStreamCaptureStatus status{};
      while (!over) EXPECT_EQ(cudaStreamIsCapturing(stream.get(), &status), cudaSuccess);
    }
  });
}

// A rank that breaks off goes on with its buffer, which the others' collectives may then no longer touch.
TEST(Threads, NoCollectiveHappensBehindAnAbort) {
  for (int round = 0; round < rounds; ++round) {
    Device devices[] = {Device(fresh_gpu()), Device(fresh_gpu())};
    ncclUniqueId id{};
    ncclGetUniqueId(&id);
    std::atomic<int> ready = 0;
    on_threads(2, [&](int rank) {
      Device& device = devices[rank];
      Stream stream(device);
      auto* const buffer = static_cast<float*>(device.allocate(sizeof(float)));
      stream.zero(buffer, sizeof(float));
      stream.synchronize();
      ncclComm_t communicator = nullptr;
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      ncclCommInitRankConfig(&communicator, 2, id, rank, &config);
      ncclResult_t state = ncclInProgress;
      while (state == ncclInProgress) ncclCommGetAsyncError(communicator, &state);
      ncclAllReduce(buffer, buffer, 1, ncclFloat, ncclSum, communicator, stream.get());
      for (state = ncclInProgress; state == ncclInProgress;) ncclCommGetAsyncError(communicator, &state);
      if (rank == 1) {
        Event event(device);
        cudaEventRecord(event.get(), stream.get());
        EXPECT_EQ(cudaEventQuery(event.get()), cudaErrorNotReady);  // has come to the collective, which waits for rank 0
        ++ready;
        std::jthread watcher([&] { ncclCommAbort(communicator); });
        event.synchronize();
        ++*buffer;
      } else {
        while (ready == 0) std::this_thread::yield();
        Event event(device);
        cudaEventRecord(event.get(), stream.get());
        for (int i = 0; i < 20; ++i) cudaEventQuery(event.get());
        ncclCommAbort(communicator);
      }
      device.release(buffer);
    });
  }
}

}  // namespace
}  // namespace temper::emulated
