#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <device/runtime.h>
#include "kernels/emulated/audit/observer.h"
#include "kernels/philox.h"

namespace temper::emulated {

namespace {
constexpr std::size_t boundary = 256;
constexpr int nan_pattern = 0xFF;
}  // namespace

// ---- Event, Stream ---------------------------------------------------------------------------------------------------

void Event::record(Stream& stream) {
  state_ = std::make_shared<EventState>();
  stream.push({[] {}, nullptr, state_});
}

void Event::synchronize() const {
  if (state_ != nullptr) device_.run_until([this] { return state_->reached; });
}

Stream::Stream(Device& device) : device_(device) { device_.streams_.push_back(this); }

Stream::~Stream() { std::erase(device_.streams_, this); }

void Stream::push(Task task) { capturing_ ? captured_.push_back(std::move(task)) : tasks_.push_back(std::move(task)); }

void Stream::copy(void* to, const void* from, std::size_t bytes) {
  push({[=] { std::memcpy(to, from, bytes); }});
}

void Stream::zero(void* to, std::size_t bytes) {
  push({[=] { std::memset(to, 0, bytes); }});
}

void Stream::wait(const Event& event) {
  if (event.state() != nullptr) push({[] {}, event.state()});
}

void Stream::synchronize() {
  if (capturing_) throw DeviceError("the host waits for a stream whose work is being recorded into a graph");
  device_.run_until([this] { return tasks_.empty(); });
}

void Stream::begin_capture() {
  if (capturing_) throw DeviceError("this stream is already recording a graph");
  capturing_ = true;
}

Graph Stream::end_capture() {
  if (!capturing_) throw DeviceError("this stream is not recording a graph");
  capturing_ = false;
  return Graph(std::exchange(captured_, {}));
}

void Stream::launch(const Graph& graph) {
  for (const Task& task : graph.tasks()) push(task);
}

// ---- Device ----------------------------------------------------------------------------------------------------------

Device::Device(const Execution& execution) : execution_(execution), grids_(execution) {
  info_.backend = "emulated";
  info_.name = "CUDA sources on the CPU";
  info_.features = "one fiber per CUDA thread, seed " + std::to_string(execution.seed);
  info_.threads = 2;  // enough that work is split over blocks, few enough that small shapes fill them
  info_.bf16 = true;
}

Device::~Device() = default;

void* Device::allocate(std::size_t bytes) {
  if (audit::Observer* const audit = audit::linked()) return audit->allocate(bytes);
  // Each allocation is a heap block of its own, so that AddressSanitizer sees what runs over its end.
  void* memory = nullptr;
  if (posix_memalign(&memory, boundary, std::max<std::size_t>(bytes, 1)) != 0)
    throw OutOfMemory("emulated backend: no " + std::to_string(bytes) + " bytes of memory");
  std::memset(memory, nan_pattern, bytes);
  return memory;
}

void Device::release(void* memory) noexcept {
  // As cudaFree: only when the work queued so far is done, and what went wrong in it is told at the next wait.
  try {
    run_until([this] { return std::ranges::all_of(streams_, [](const Stream* stream) { return stream->tasks_.empty(); }); });
  } catch (...) {
    unreported_ = std::current_exception();
  }
  if (audit::Observer* const audit = audit::linked()) return audit->release(memory);
  std::free(memory);
}

void Device::run_until(const std::function<bool()>& done) {
  if (unreported_ != nullptr) std::rethrow_exception(std::exchange(unreported_, nullptr));
  while (!done()) {
    std::vector<Stream*> ready;
    for (Stream* stream : streams_) {
      if (stream->tasks_.empty()) continue;
      const std::shared_ptr<EventState>& event = stream->tasks_.front().waits_for;
      if (event == nullptr || event->reached) ready.push_back(stream);
    }
    if (ready.empty()) throw DeviceError("emulated backend: every stream waits for an event that is never reached");
    const PhiloxBlock random = random_block(execution_.seed, RandomPurpose::benchmark, 0x5EED, draws_++);
    Stream* chosen = ready[random.word[0] % ready.size()];
    const Task task = std::move(chosen->tasks_.front());
    chosen->tasks_.pop_front();
    try {
      task.work();
    } catch (...) {
      forget_work();
      throw;
    }
    if (task.reaches != nullptr) task.reaches->reached = true;
  }
}

// Behind a fault nothing is computed any more: it would work on what the faulty kernel left.
void Device::forget_work() {
  for (Stream* stream : streams_) {
    for (const Task& task : stream->tasks_)
      if (task.reaches != nullptr) task.reaches->reached = true;
    stream->tasks_.clear();
  }
}

}  // namespace temper::emulated
