// Every backward reference against central differences of its forward reference, all in double precision. Together with
// op_oracle_test this verifies the gradients of every backend.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "kernels/cases/case_run.h"
#include "kernels/support/backends.h"

namespace temper {
namespace {

// With inputs around 1 the truncation error is about h^2 = 1e-10 of the gradient.
constexpr double step = 1e-5;
constexpr double worst_error = 1e-6;
// A difference of two losses near L has lost all below a few 1e-16 |L|, which is then divided by h.
constexpr double rounding = 1e-15;
constexpr std::size_t most_elements = 60;  // of one tensor, spread over it

double upstream(const std::vector<double>& outputs, const std::vector<double>& gradients, double weight) {
  double total = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) total += outputs[i] * (gradients.empty() ? weight : gradients[i]);
  return total;
}

// L at the inputs in `numbers`; upstream gradients are those of `filled`, before anything was changed in place.
double loss(const OpCase& op_case, const Numbers& inputs, Numbers& filled) {
  Numbers numbers = inputs;
  op_case.backward.forward(numbers);
  double total = 0;
  for (const Backward::From& from : op_case.backward.from)
    total += upstream(numbers[from.output], from.gradient.empty() ? std::vector<double>{} : filled[from.gradient], from.weight);
  return total;
}

void check(const OpCase& op_case, const Backward::To& to, const Numbers& inputs, Numbers& filled, Numbers& backward) {
  SCOPED_TRACE("d " + to.input);
  const std::vector<double> gradient = backward[to.gradient];
  const std::vector<double> before = filled[to.gradient];
  const std::size_t stride = gradient.size() / most_elements + 1;
  const double noise = rounding * std::abs(loss(op_case, inputs, filled)) / step;
  double difference = 0, norm = 0, allowed = 0;
  for (std::size_t i = 0; i < gradient.size(); i += stride) {
    Numbers higher = inputs, lower = inputs;
    higher[to.input][i] += step;
    lower[to.input][i] -= step;
    const double expected = (loss(op_case, higher, filled) - loss(op_case, lower, filled)) / (2 * step);
    const double found = gradient[i] - (to.accumulated ? before[i] : 0.0);
    difference += (found - expected) * (found - expected);
    norm += expected * expected;
    allowed += noise * noise;
  }
  ASSERT_GT(norm, 100 * allowed)
      << "every gradient looked at is 0 or lost in rounding: give the case inputs where it is not (values(), or "
         "another mean)";
  EXPECT_LE(std::sqrt(difference), worst_error * std::sqrt(norm) + std::sqrt(allowed));
}

class OpGradient : public testing::TestWithParam<OpCase> {};

TEST_P(OpGradient, IsTheDerivative) {
  const OpCase& op_case = GetParam();
  Numbers filled = exact_numbers(op_case);
  Numbers inputs = filled;
  op_case.backward.forward(inputs);  // adds inputs that only the forward operation has, as zeros
  Numbers backward = filled;
  op_case.reference(backward);
  for (const Backward::To& to : op_case.backward.to) check(op_case, to, inputs, filled, backward);
}

// Differences cost two forward references per element, so the largest shapes are left to the oracle test.
std::vector<OpCase> small_backward_cases() {
  std::vector<OpCase> small;
  for (const OpCase& each : all_cases(Size::small_odd))
    if (each.backward.forward && each.flops < 1e6) small.push_back(each);
  return small;
}

// An operation says by its name that it is one; cross_entropy is the gradient of its own loss.
TEST(OpGradientCases, CoverEveryBackwardOperation) {
  std::set<std::string> backward = {"cross_entropy"}, checked;
  for (const OpCase& each : all_cases(Size::small_odd))
    if (each.op.find("_backward") != std::string::npos) backward.insert(each.op);
  EXPECT_GE(backward.size(), 6u);
  for (const OpCase& each : small_backward_cases()) checked.insert(each.op);
  for (const std::string& op : backward) EXPECT_TRUE(checked.contains(op)) << op << ": no small case names its forward";
}

INSTANTIATE_TEST_SUITE_P(AllCases, OpGradient, testing::ValuesIn(small_backward_cases()), test_name);

}  // namespace
}  // namespace temper
