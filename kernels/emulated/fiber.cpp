#include "kernels/emulated/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include "kernels/check.h"
#include "kernels/emulated/sanitizer.h"

namespace temper::emulated {

namespace {
constexpr std::size_t cache_line = 64;
constexpr std::size_t stack_bytes = 128 * 1024;  // AddressSanitizer's frames are several times larger than plain ones
const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}  // namespace

StackPool::~StackPool() {
  for (const Stack& stack : stacks_) {
    sanitizer::unpoison(stack.bottom, stack.size);
    sanitizer::destroy_fiber(stack.fiber);
    munmap(static_cast<char*>(stack.bottom) - page, stack_bytes + page);
  }
}

Stack StackPool::at(std::size_t index) {
  while (stacks_.size() <= index) {
    void* memory = mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw OutOfMemory("emulated backend: no memory for the stack of another CUDA thread");
    mprotect(memory, page, PROT_NONE);
    // Stacks that all ended at the same place of a page would share a few lines of the first-level cache.
    stacks_.push_back(
        {static_cast<char*>(memory) + page, stack_bytes - 5 * cache_line * stacks_.size() % page, sanitizer::create_fiber()});
  }
  return stacks_[index];
}

void Fiber::prepare(Stack stack, Body body, void* argument) {
  if (!finished_) sanitizer::unpoison(stack.bottom, stack.size);  // frames that were left for good
  stack_ = stack;
  body_ = body;
  argument_ = argument;
  finished_ = false;
  context_ = boost::context::detail::make_fcontext(static_cast<char*>(stack.bottom) + stack.size, stack.size, &Fiber::enter);
}

void Fiber::enter(boost::context::detail::transfer_t transfer) {
  Fiber* self = static_cast<Fiber*>(transfer.data);
  sanitizer::finish_switch(nullptr, &self->resumer_bottom_, &self->resumer_size_);
  self->resumer_ = transfer.fctx;
  self->body_(self->argument_);
  self->finished_ = true;
  sanitizer::start_switch(nullptr, self->resumer_bottom_, self->resumer_size_);
  sanitizer::switch_to_fiber(self->resumer_fiber_);
  boost::context::detail::jump_fcontext(self->resumer_, nullptr);
}

}  // namespace temper::emulated
