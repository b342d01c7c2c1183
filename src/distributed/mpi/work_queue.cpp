#include "distributed/mpi/work_queue.h"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>

namespace temper {

struct WorkQueue::State {
  std::mutex mutex;
  std::condition_variable more;  // for the thread
  std::condition_variable less;  // for who waits
  std::deque<std::function<void()>> queue;
  bool busy = false;
  bool stopping = false;
  bool ended = false;
  std::exception_ptr error;

  bool idle() const { return (queue.empty() && !busy) || error != nullptr; }
};

WorkQueue::WorkQueue() : state_(std::make_shared<State>()), thread_([state = state_] { run(state); }) {}

void WorkQueue::run(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->more.wait(lock, [&] { return state->stopping || (!state->queue.empty() && state->error == nullptr); });
    if (state->stopping) break;
    {
      const std::function<void()> work = std::move(state->queue.front());
      state->queue.pop_front();
      state->busy = true;
      lock.unlock();
      std::exception_ptr error;
      try {
        work();
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      state->error = error;
    }
    state->busy = false;
    state->less.notify_all();
  }
  state->ended = true;
  state->less.notify_all();
}

WorkQueue::~WorkQueue() {
  bool ended = false;
  {
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    state_->more.notify_all();
    ended = state_->less.wait_for(lock, std::chrono::seconds(1), [&] { return state_->ended; });
  }
  if (ended)
    thread_.join();
  else
    thread_.detach();
}

void WorkQueue::push(std::function<void()> work) {
  const std::lock_guard lock(state_->mutex);
  state_->queue.push_back(std::move(work));
  state_->more.notify_all();
}

void WorkQueue::wait() {
  std::unique_lock lock(state_->mutex);
  state_->less.wait(lock, [&] { return state_->idle(); });
  if (state_->error != nullptr) std::rethrow_exception(state_->error);
}

bool WorkQueue::wait_for(std::chrono::milliseconds limit) {
  std::unique_lock lock(state_->mutex);
  if (!state_->less.wait_for(lock, limit, [&] { return state_->idle(); })) return false;
  if (state_->error != nullptr) std::rethrow_exception(state_->error);
  return true;
}

}  // namespace temper
