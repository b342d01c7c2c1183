// Errors of this room. Kernels know nothing of exit codes; src/cli maps these types to them.
#pragma once

#include <stdexcept>
#include <string>

namespace temper {

/// A call broke the contract of kernels/ops.h (shape, dtype, range). A defect of the caller, never of a user's input.
class ContractViolation : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// An allocation failed, or a thread could not be made. The message says how much was asked for and how much was there.
class OutOfMemory : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What was asked for does not exist on this machine (no GPU, no bf16 matrix unit, a backend not compiled in).
class Unsupported : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A call to the device's runtime or one of its libraries failed, or a kernel did what no kernel may do.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Throws ContractViolation with `what` when `condition` does not hold. Stays in release builds.
inline void require(bool condition, const char* what) {
  if (!condition) throw ContractViolation(what);
}

}  // namespace temper
