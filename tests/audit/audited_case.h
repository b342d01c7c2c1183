// A case run under the audit.
#pragma once

#include "kernels/cases/case_run.h"
#include "kernels/emulated/audit/audit.h"
#include "kernels/emulated/emulated_ops.h"

namespace temper {

/// Runs the case's operation once on filled tensors whose bounds and names the audit knows; outputs hold nothing.
inline emulated::audit::Report audited(const OpCase& op_case, DType activation, double least_excess,
                                       const emulated::Execution& execution = {.seed = 1, .lazy_copies = true, .os_threads = 1}) {
  using namespace emulated::audit;
  const std::unique_ptr<Ops> ops = make_emulated_ops(execution);
  CaseRun run(*ops, op_case, activation);
  ops->synchronize();
  for (const TensorSpec& spec : op_case.tensors) {
    const TensorView view = run.views()[spec.name];
    const bool structs = spec.content == Content::segments || spec.content == Content::step_scalars;
    if (!view.present() || structs) continue;
    describe(view.data, view.bytes(), spec.name,
             spec.role == Role::output || spec.role == Role::scratch ? Holds::nothing : Holds::what_it_was_given);
  }
  start();
  run();
  ops->synchronize();
  return finish(least_excess);
}

}  // namespace temper
