// One thread that does what it is given, in order.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

namespace temper {

class WorkQueue {
 public:
  WorkQueue();
  /// Drops what has not begun. What has begun gets a second to come to its end; then it is left behind, for a process that ends.
  ~WorkQueue();
  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  void push(std::function<void()> work);
  /// Returns when all work so far is done. Throws what a work threw; what was queued behind that one is never done.
  void wait();
  /// The same, but for that it returns false when `limit` passes.
  bool wait_for(std::chrono::milliseconds limit);

 private:
  struct State;
  static void run(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_;  // the thread's too, which may be left behind
  std::thread thread_;
};

}  // namespace temper
