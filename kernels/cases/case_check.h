// A case held against its reference in double precision: by the tests of every backend, and by a GPU's check before its first run.
#pragma once

#include <string>

#include "kernels/cases/op_case.h"

namespace temper {

/// What was found of one run of a case.
struct CaseFinding {
  std::string wrong;  ///< "dqkv: error 0.31, at most 0.008"; empty: nothing is
  /// Of the output that comes nearest to its bound, or is furthest beyond.
  double error = 0.0, bound = 0.0;
};

CaseFinding hold_against_reference(const OpCase& op_case, DType activation, Ops& ops);

}  // namespace temper
