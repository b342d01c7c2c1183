// A quadratic through trials over one or two axes, by least squares with an offset for each seed:
//   value = offset(seed) + b1 x + b2 x^2                                   + noise
//   value = offset(seed) + b1 x + b2 y + b3 x^2 + b4 x y + b5 y^2          + noise
// The noise is normal and alike for all; its variance is the residual's. Where the quadratic is least follows with its 95 % interval
// by Fieller's theorem (Fieller 1954, Journal of the Royal Statistical Society B 16, 175-185), since it is a ratio: -b1 / 2 b2 for
// one axis, for which the interval is exact. For two, of Cramer's rule, the covariances of numerator and determinant are taken to
// first order; tests/sweep/quadratic_test.cpp simulates what that costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace temper {

struct Observation {
  std::vector<double> at;  ///< one coordinate or two
  std::uint64_t seed = 0;
  double value = 0.0;
};

/// An estimate with half of its 95 % interval.
struct WithInterval {
  double value = 0.0, interval = 0.0;
};

/// Where a coordinate's optimum lies.
struct Located {
  double at = 0.0, low = 0.0, high = 0.0;  ///< with the ends of its 95 % interval
};

class Quadratic {
 public:
  /// Too few trials, or none that tell the terms apart: an empty optional, and `why` says so.
  static std::optional<Quadratic> fit(const std::vector<Observation>& observations, std::string& why);

  std::size_t trials() const { return trials_; }
  std::size_t seeds() const { return seed_means_.size(); }
  std::size_t degrees() const { return degrees_; }  ///< of freedom, of the residual
  double sd() const { return sd_; }                 ///< the residual's

  /// Where it is least, by axis. Empty unless it is seen to bend upwards along each axis, and for two in every direction (each of
  /// these beyond its own 95 % interval), and that place lies inside of what was tried.
  std::vector<Located> optimum() const;
  /// Where it is level, whether that is an optimum or not; not finite where it does not bend.
  std::vector<double> stationary() const;
  bool bends_upwards() const;
  /// b4 in the axes' units; none of one axis.
  std::optional<WithInterval> tilt() const;
  /// The mean over the seeds that it predicts there. The interval is of one place, not of all together.
  WithInterval at(const std::vector<double>& place) const;
  /// The probability of a residual as large, beside the scatter around the places' own means, if the quadratic were right (an F
  /// test). None where seeds do not repeat, or every place is met.
  std::optional<double> lack_of_fit() const { return lack_of_fit_; }

 private:
  struct Ratio {
    double top, bottom, top_variance, bottom_variance, covariance;
  };
  double variance(const std::vector<double>& direction) const;  // of this combination of the coefficients, in units of sd_^2
  double covariance(const std::vector<double>& a, const std::vector<double>& b) const;
  std::vector<double> scaled(const std::vector<double>& place) const;
  std::vector<Ratio> ratios() const;
  bool is_positive(double value, double variance) const;

  std::size_t trials_ = 0, degrees_ = 0;
  double sd_ = 0.0, t_ = 0.0;                 // Student's at 0.975
  std::vector<double> centre_, half_;         // of each axis: fitted are (x - centre) / half, from -1 to 1
  std::vector<double> coefficients_;          // b1 ... of these
  std::vector<std::vector<double>> inverse_;  // of the triangle of the design's QR decomposition, rows
  struct SeedMean {
    double value;
    std::vector<double> terms;
    double trials;
  };
  std::vector<SeedMean> seed_means_;
  std::optional<double> lack_of_fit_;
};

}  // namespace temper
