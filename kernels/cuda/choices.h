// What the backend chooses by time: which algorithm a product takes, whether its epilogue is carried out in it, which kernel an
// operation takes where there are several. Chosen when a shape is first met, kept in a file and in the run.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <device/runtime.h>
#include "kernels/choice_cache.h"

namespace temper::TEMPER_BACKEND {

/// One of several ways to do the same work: queues it, and returns false where that cannot be.
using Way = std::function<bool()>;

class Choices {
 public:
  /// `library`: name and version of the one whose algorithms are chosen.
  Choices(Device& device, Stream& stream, const std::string& library);
  ~Choices();
  Choices(const Choices&) = delete;
  Choices& operator=(const Choices&) = delete;

  std::optional<std::string> find(const std::string& name) { return cache_.find(name); }
  std::string keep(const std::string& name, const std::string& value) { return cache_.keep(name, value); }
  /// The place of the way that was chosen under `name`, or is chosen now; `untimed` where nothing is to be timed. `values` name the
  /// ways.
  std::size_t of(const std::string& name, const std::vector<std::string>& values, const std::vector<Way>& ways,
                 std::size_t untimed);

  /// Whether what is not found is to be timed: there is a file that makes the choice last (timings differ from run to run, and
  /// without one every process is to do the same), the run has not fixed its choices, and no graph is being recorded.
  bool may_time() const;
  /// The place of the fastest, which all have done by then: several times each and in turns, so that a change of the clock rate meets
  /// all of them. Of those that are as fast as any within noise the first.
  std::size_t fastest(const std::vector<Way>& ways);

  std::string text() const { return cache_.text(); }
  bool fix(const std::string& text) { return cache_.fix(text); }
  const std::string& path() const { return cache_.path(); }

 private:
  float milliseconds(const Way& way, int repeats);

  Stream& stream_;
  ChoiceCache cache_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace temper::TEMPER_BACKEND
