// Memory that operations need for a moment. It grows to the largest request and is then reused, so that a training run
// allocates nothing after its first step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace temper::cpu {

class Workspace {
 public:
  /// Room for `count` elements, contents undefined; valid until the next call.
  float* floats(std::int64_t count) { return at_least(floats_, count); }
  double* doubles(std::int64_t count) { return at_least(doubles_, count); }

 private:
  template <typename T>
  static T* at_least(std::vector<T>& memory, std::int64_t count) {
    if (memory.size() < static_cast<std::size_t>(count)) memory.resize(static_cast<std::size_t>(count));
    return memory.data();
  }

  std::vector<float> floats_;
  std::vector<double> doubles_;
};

}  // namespace temper::cpu
