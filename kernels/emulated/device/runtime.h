// The counterpart of kernels/cuda/device/runtime.h without CUDA. A stream is a queue that nobody works on until the host waits for
// something; then the streams' tasks run in an order drawn from the seed that respects nothing but each stream's order and
// events, so that a missing event or a host buffer changed too early shows as a wrong result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "kernels/emulated/grid.h"
#include "kernels/ops.h"

namespace temper::emulated {

class Device;
class Stream;

/// One record() of an event.
struct EventState {
  bool reached = false;
};

struct Task {
  std::function<void()> work;
  std::shared_ptr<EventState> waits_for = nullptr;  ///< null: runs at once
  std::shared_ptr<EventState> reaches = nullptr;    ///< when it has run
};

class Graph {
 public:
  Graph() = default;
  explicit Graph(std::vector<Task> tasks) : tasks_(std::make_shared<std::vector<Task>>(std::move(tasks))) {}
  bool recorded() const { return tasks_ != nullptr; }
  const std::vector<Task>& tasks() const { return *tasks_; }

 private:
  std::shared_ptr<std::vector<Task>> tasks_;
};

class Event {
 public:
  explicit Event(Device& device) : device_(device) {}
  void record(Stream& stream);
  void synchronize() const;
  /// Of the last record(); null before the first.
  const std::shared_ptr<EventState>& state() const { return state_; }

 private:
  Device& device_;
  std::shared_ptr<EventState> state_;
};

class Stream {
 public:
  explicit Stream(Device& device);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void copy(void* to, const void* from, std::size_t bytes);
  void zero(void* to, std::size_t bytes);
  void wait(const Event& event);
  void synchronize();
  void begin_capture();
  Graph end_capture();
  void launch(const Graph& graph);

  void push(Task task);
  Device& device() const { return device_; }

 private:
  friend class Device;
  Device& device_;
  std::deque<Task> tasks_;
  bool capturing_ = false;
  std::vector<Task> captured_;
};

class Device {
 public:
  explicit Device(const Execution& execution = {});
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void* allocate(std::size_t bytes);
  void release(void* memory) noexcept;
  void* allocate_pinned(std::size_t bytes) { return allocate(bytes); }
  void release_pinned(void* memory) noexcept { release(memory); }

  const DeviceInfo& info() const { return info_; }
  int multiprocessors() const { return info_.threads; }
  std::size_t shared_bytes_per_block() const { return SharedArena::capacity; }
  GridRunner& grids() { return grids_; }

  /// Runs tasks of all streams until `done`. Throws what a task throws, after which nothing is queued any more, and DeviceError
  /// when streams wait for each other for ever.
  void run_until(const std::function<bool()>& done);

 private:
  friend class Stream;
  void forget_work();

  Execution execution_;
  GridRunner grids_;
  DeviceInfo info_;
  std::vector<Stream*> streams_;
  std::uint64_t draws_ = 0;
  std::exception_ptr unreported_;  // a fault that came while memory was released
};

}  // namespace temper::emulated

struct dim3 : temper::emulated::Index3 {
  dim3(unsigned x_extent = 1, unsigned y_extent = 1, unsigned z_extent = 1) : Index3{x_extent, y_extent, z_extent} {}  // NOLINT
};

namespace temper::emulated {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
};

template <typename... Parameters, typename... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const LaunchShape& shape, Stream& stream, Arguments&&... arguments) {
  auto values = std::make_tuple(static_cast<Parameters>(arguments)...);
  stream.push({[name = std::string(name), kernel, shape, values, &grids = stream.device().grids()] {
    grids.run(name, shape.grid, shape.block, shape.shared_bytes, [&] { std::apply(kernel, values); });
  }});
}

}  // namespace temper::emulated
