// Means over seeds, and how far they can be trusted.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace temper {

/// Half the width of a 95 % confidence interval, in standard errors, of a mean whose standard error has these degrees of freedom (1
/// or more): Student's t at 0.975. 12.706 for two values, 4.303 for three, 1.960 for very many.
double student_t95(std::size_t degrees_of_freedom);

struct Estimate {
  double mean = 0.0;
  std::size_t n = 0;
  std::optional<double> sd;        ///< of two values or more: with n - 1 below
  std::optional<double> interval;  ///< the 95 % confidence interval of the mean is mean -+ interval; none of a single value
};

/// Of at least one value.
Estimate estimate(const std::vector<double>& values);

}  // namespace temper
