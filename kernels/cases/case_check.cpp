#include "kernels/cases/case_check.h"

#include <algorithm>
#include <cmath>

#include "kernels/cases/case_run.h"
#include "kernels/cases/text.h"

namespace temper {

namespace {

constexpr double tf32_bound = 2e-3;  // both operands have 10 bits of mantissa, rounded or cut off

double relative_error(const std::vector<double>& result, const std::vector<double>& reference) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    difference += (result[i] - reference[i]) * (result[i] - reference[i]);
    norm += reference[i] * reference[i];
  }
  if (difference == 0) return 0;
  return std::sqrt(difference / norm);
}

// Of numbers that are of different kinds: the largest of their errors.
double largest_error(const std::vector<double>& result, const std::vector<double>& reference) {
  // Cases are made so that only what should be 0, and is but for rounding, is smaller than this.
  constexpr double smallest = 1e-6;
  double largest = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double difference = std::abs(result[i] - reference[i]);
    if (difference != 0) largest = std::max(largest, difference / std::max(std::abs(reference[i]), smallest));
  }
  return largest;
}

double bound_for(const OpCase& op_case, const TensorSpec& spec, DType activation, bool tf32) {
  const bool low = spec.content == Content::bf16 || spec.content == Content::low_precision ||
                   (spec.content == Content::activation && activation == DType::bf16);
  if (low) return op_case.tolerance.bf16;
  if (activation == DType::bf16) return op_case.tolerance.f32_from_bf16;
  return tf32 && op_case.op.starts_with("linear_") && op_case.op != "linear_combination" ? tf32_bound : op_case.tolerance.f32;
}

}  // namespace

CaseFinding hold_against_reference(const OpCase& op_case, DType activation, Ops& ops) {
  CaseRun run(ops, op_case, activation);
  Numbers numbers = run.filled();
  op_case.reference(numbers);
  run();
  ops.synchronize();

  CaseFinding finding;
  const auto wrong = [&](const std::string& what) {
    if (finding.wrong.empty()) finding.wrong = what;
  };
  double largest_share = -1;
  for (const TensorSpec& spec : op_case.tensors) {
    if (!run.views()[spec.name].present() || spec.role == Role::scratch) continue;
    if (spec.role == Role::input) {
      if (run.read_bytes(spec.name) != run.filled_bytes(spec.name)) wrong("the input " + spec.name + " was changed");
      continue;
    }
    const std::vector<double> result = run.read(spec.name);
    const std::vector<double>& reference = numbers[spec.name];
    const auto not_a_number = std::find_if(result.begin(), result.end(), [](double value) { return std::isnan(value); });
    if (not_a_number != result.end())
      wrong(text(spec.name, ": element ", not_a_number - result.begin(), " is NaN or was not written"));
    for (std::size_t i = 0; i < result.size() && spec.exact_zeros; ++i)
      if (reference[i] == 0 && result[i] != 0) wrong(text(spec.name, ": element ", i, " must be exactly 0 and is ", result[i]));
    const bool each = spec.content == Content::step_scalars || spec.content == Content::f64;
    const double error = each ? largest_error(result, reference) : relative_error(result, reference);
    const double bound = bound_for(op_case, spec, activation, ops.device().tf32);
    if (!(error <= bound)) wrong(text(spec.name, ": error ", error, ", at most ", bound));
    const double share = error == 0 ? 0 : error / bound;
    if (!(share <= largest_share)) {
      largest_share = share;
      finding.error = error;
      finding.bound = bound;
    }
  }
  if (!run.guards_intact()) wrong("written behind the end of a tensor");
  return finding;
}

}  // namespace temper
