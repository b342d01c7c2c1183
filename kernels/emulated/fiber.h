// A fiber: a function on a stack of its own that is entered and left by hand. Each CUDA thread of the emulated backend is one.
// Fibers never move between OS threads. Switching is Boost.Context's; every switch is announced to
// AddressSanitizer and ThreadSanitizer.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <vector>

#include "kernels/emulated/sanitizer.h"

namespace temper::emulated {

struct Stack {
  void* bottom = nullptr;  ///< lowest usable address; a guard page lies below
  std::size_t size = 0;
  void* fiber = nullptr;  ///< ThreadSanitizer's, for whatever runs here
};

/// The stacks of one OS thread, taken once and used again by every block it runs.
class StackPool {
 public:
  StackPool() = default;
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  /// Stack number `index`, made when first asked for. Throws OutOfMemory.
  Stack at(std::size_t index);

 private:
  std::vector<Stack> stacks_;
};

class Fiber {
 public:
  using Body = void (*)(void*);

  /// Gets ready to run body(argument), which must not throw, on `stack`, this fiber's own. What ran there before is forgotten
  /// without being unwound, so `body` and what it calls must own nothing while they are left.
  void prepare(Stack stack, Body body, void* argument);
  /// Runs the fiber until it leaves or its body returns.
  void resume() {
    void* fake_stack = nullptr;
    sanitizer::start_switch(&fake_stack, stack_.bottom, stack_.size);
    resumer_fiber_ = sanitizer::current_fiber();
    sanitizer::switch_to_fiber(stack_.fiber);
    const auto back = boost::context::detail::jump_fcontext(context_, this);
    sanitizer::finish_switch(fake_stack, nullptr, nullptr);
    context_ = back.fctx;
  }
  /// Inside the fiber: back to whoever resumed it.
  void leave() {
    void* fake_stack = nullptr;
    sanitizer::start_switch(&fake_stack, resumer_bottom_, resumer_size_);
    sanitizer::switch_to_fiber(resumer_fiber_);
    const auto back = boost::context::detail::jump_fcontext(resumer_, nullptr);
    sanitizer::finish_switch(fake_stack, &resumer_bottom_, &resumer_size_);
    resumer_ = back.fctx;
  }

  bool finished() const { return finished_; }

 private:
  // Never returns, which ThreadSanitizer would count as one call more on this stack for every block.
  [[gnu::no_sanitize_thread]] static void enter(boost::context::detail::transfer_t transfer);

  boost::context::detail::fcontext_t context_ = nullptr;  // where resume() goes
  boost::context::detail::fcontext_t resumer_ = nullptr;  // where leave() goes
  Stack stack_;
  const void* resumer_bottom_ = nullptr;
  std::size_t resumer_size_ = 0;
  void* resumer_fiber_ = nullptr;
  Body body_ = nullptr;
  void* argument_ = nullptr;
  bool finished_ = true;
};

}  // namespace temper::emulated
