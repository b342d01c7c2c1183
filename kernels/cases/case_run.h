// A case in the memory of one backend: taken, filled, ready to be run any number of times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cases/op_case.h"

namespace temper {

class CaseRun {
 public:
  static constexpr std::int64_t period = 1000003;  ///< a prime: repeats fall differently in every row

  /// Takes and fills memory, then calls the case's `prepare`. Numbers are drawn from Philox under `seed` and rounded to what the
  /// tensor can hold; long tensors repeat after `period` elements, so that filling them takes a copy. `ops` must outlive this.
  CaseRun(Ops& ops, const OpCase& op_case, DType activation, std::uint64_t seed = 1);
  ~CaseRun();
  CaseRun(const CaseRun&) = delete;
  CaseRun& operator=(const CaseRun&) = delete;

  /// Runs the operation once on whatever the memory holds. Asynchronous as Ops is.
  void operator()() { case_.run(ops_, views_); }

  const Views& views() const { return views_; }

  /// Inputs as they were filled, outputs poisoned again.
  void reset();

  /// The filled tensors, exactly as the backend got them, for the reference. Outputs have the right size and hold zeros.
  Numbers filled() const;
  /// What device memory holds now.
  std::vector<double> read(const std::string& name);
  std::vector<std::byte> read_bytes(const std::string& name);
  /// The bytes that `name` was filled with.
  std::vector<std::byte> filled_bytes(const std::string& name) const;
  /// False when something was written behind the end of a tensor.
  bool guards_intact();

 private:
  struct Bytes {
    std::size_t first, last;
  };
  struct Tensor {
    const TensorSpec* spec;
    void* memory;                    // `bytes`, then the guard
    std::size_t bytes;               // what it was filled with repeats `pattern` from the start on, but for `zeros`; the host keeps
    std::vector<std::byte> pattern;  // no more, since a benchmark's tensors may be larger than its memory
    std::vector<Bytes> zeros;
  };
  const Tensor& tensor(const std::string& name) const;
  static std::vector<std::byte> contents(const Tensor& tensor);

  Ops& ops_;
  OpCase case_;
  DType activation_;
  std::vector<Tensor> tensors_;
  Views views_;
};

/// The case's tensors in double precision without any backend and without rounding, for the finite-difference test.
Numbers exact_numbers(const OpCase& op_case, std::uint64_t seed = 1);

}  // namespace temper
