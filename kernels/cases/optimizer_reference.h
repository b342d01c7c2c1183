// The update rules once more, in double precision and from their papers' formulas rather than from kernels/update_rules.h: only the
// rules' parameters are taken from there.
#pragma once

#include "kernels/cases/op_case.h"
#include "kernels/ops.h"

namespace temper::reference {

/// Works on the tensors of an optimizer_update case.
void optimizer_update(Numbers& numbers, const UpdateRule& rule, const UpdateSettings& settings);

}  // namespace temper::reference
