#include "sweep/statistics.h"

#include <cmath>
#include <numbers>

namespace temper {
namespace {

/// P(|T| <= sqrt(degrees) tan(angle)): the finite series for whole degrees of freedom (Abramowitz & Stegun, 26.7.3 and 26.7.4).
double central_probability(double angle, std::size_t degrees) {
  const bool odd = degrees % 2 == 1;
  const double cosine = std::cos(angle);
  double term = odd ? cosine : 1.0, sum = 0.0;
  for (std::size_t k = odd ? 3 : 2; k <= degrees; k += 2) {
    sum += term;
    term *= cosine * cosine * static_cast<double>(k - 1) / static_cast<double>(k);
  }
  return odd ? (angle + std::sin(angle) * sum) * 2.0 / std::numbers::pi : std::sin(angle) * sum;
}

}  // namespace

double student_t95(std::size_t degrees_of_freedom) {
  double low = 0.0, high = std::numbers::pi / 2.0;
  constexpr int halvings = 60;  // more than a double has digits
  for (int i = 0; i < halvings; ++i) {
    const double middle = 0.5 * (low + high);
    (central_probability(middle, degrees_of_freedom) < 0.95 ? low : high) = middle;
  }
  // Rounded, so that no library's last bit shows in a table.
  return std::round(1e9 * std::sqrt(static_cast<double>(degrees_of_freedom)) * std::tan(low)) / 1e9;
}

Estimate estimate(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0.0, squares = 0.0;
  for (const double value : values) sum += value;
  Estimate found{sum / n, values.size(), {}, {}};
  if (values.size() < 2) return found;
  for (const double value : values) squares += (value - found.mean) * (value - found.mean);
  found.sd = std::sqrt(squares / (n - 1.0));
  found.interval = student_t95(values.size() - 1) * *found.sd / std::sqrt(n);
  return found;
}

}  // namespace temper
