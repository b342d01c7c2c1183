#include "kernels/emulated/gpu.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "kernels/philox.h"

namespace temper::emulated {

namespace {

struct Machine {
  std::mutex mutex;
  std::deque<Gpu> gpus;
};

Machine& machine() {
  static Machine all;
  return all;
}

}  // namespace

int add_gpu(const Execution& execution) {
  const std::scoped_lock lock(machine().mutex);
  machine().gpus.emplace_back(execution);
  return static_cast<int>(machine().gpus.size()) - 1;
}

int gpu_count() {
  const std::scoped_lock lock(machine().mutex);
  return static_cast<int>(machine().gpus.size());
}

Gpu& gpu(int number) {
  const std::scoped_lock lock(machine().mutex);
  return machine().gpus.at(static_cast<std::size_t>(number));
}

Gpu::Step Gpu::step(Lock& lock) {
  std::vector<Queue*> ready;
  bool others = false;
  for (const auto& queue : queues) {
    if (queue->tasks.empty()) continue;
    const Task& first = queue->tasks.front();
    if (first.ready == nullptr || first.ready())
      ready.push_back(queue.get());
    else
      others |= first.by_others;
  }
  if (ready.empty()) return others ? Step::waits_for_others : Step::stuck;
  const PhiloxBlock random = random_block(execution.seed, RandomPurpose::benchmark, 0x5EED, draws_++);
  Queue& chosen = *ready[random.word[0] % ready.size()];
  const Task task = std::move(chosen.tasks.front());
  chosen.tasks.pop_front();
  clock_ += 0.005 + 0.001 * (random.word[1] % 8);  // timings differ from run to run
  if (task.work != nullptr) {
    running_ = &chosen;
    lock.unlock();
    std::string why;
    try {
      task.work();
    } catch (const std::exception& error) {
      why = error.what();
    }
    lock.lock();
    running_ = nullptr;
    ran_.notify_all();
    if (!why.empty()) {
      fault = why;
      forget_work();
    }
  }
  if (task.reaches != nullptr) {
    task.reaches->milliseconds = clock_;
    task.reaches->reached = true;  // last: who sees it may read the time
  }
  std::erase_if(queues, [](const auto& queue) { return queue->destroyed && queue->tasks.empty(); });
  return Step::ran;
}

bool Gpu::run_until(Lock& lock, const std::function<bool()>& done) {
  while (fault.empty() && !done()) {
    if (running_ != nullptr) {
      ran_.wait(lock);
      continue;
    }
    const Step taken = step(lock);
    if (taken == Step::stuck) fault = "every stream waits for an event that is never reached";
    if (taken == Step::waits_for_others) {
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      lock.lock();
    }
  }
  return fault.empty();
}

void Gpu::run_one(Lock& lock) {
  if (fault.empty() && running_ == nullptr) step(lock);
}

bool Gpu::idle() const {
  return running_ == nullptr && std::ranges::all_of(queues, [](const auto& queue) { return queue->tasks.empty(); });
}

// Behind a fault nothing is computed any more: it would work on what the faulty kernel left.
void Gpu::forget_work() {
  for (const auto& queue : queues) {
    for (const Task& task : queue->tasks)
      if (task.reaches != nullptr) task.reaches->reached = true;
    queue->tasks.clear();
  }
}

}  // namespace temper::emulated
