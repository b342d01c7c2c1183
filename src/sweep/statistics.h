// What seeds tell of a sweep's configurations. The model: metric(configuration, seed) = configuration + seed + noise. A seed is a
// block (an initialisation and an order of the data, which all configurations share), and the noise is normal and alike for all;
// its variance is pooled over the whole table (the residual of a randomised block design; Scheffe, The Analysis of Variance, 1959,
// section 4.2).
//
// The best is chosen after looking, and the best of many is a lucky one. So differences are judged as if each configuration were
// compared with each: by Tukey's studentized range all of a table's intervals hold together in 95 of 100 tables, whichever two one
// picks. Where trials are missing, an interval follows the seeds that both have (Kramer 1956; conservative: Hayter 1984, Annals of
// Statistics 12, 61-75).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace temper {

/// Student's t: below it lies this probability (above 0.5), with these degrees of freedom (1 or more). 0.975: 12.706 for one degree,
/// 4.303 for two, 1.960 for very many. Rounded to 1e-9.
double student_t(double probability, std::size_t degrees);

/// The range of `count` (2 or more) normal values divided by an independent estimate of their standard deviation with these degrees
/// of freedom (1 or more) is below this with a probability of 0.95. Rounded to 1e-6.
double studentized_range95(std::size_t count, std::size_t degrees);

/// The probability that a value of the F distribution with these degrees of freedom (1 or more) is above `ratio` (0 or more).
double f_exceeds(double ratio, std::size_t top_degrees, std::size_t bottom_degrees);

struct Estimate {
  double mean = 0.0;
  std::size_t n = 0;
  std::optional<double> sd;        ///< of two values or more: with n - 1 below
  std::optional<double> interval;  ///< the 95 % interval of the mean alone is mean -+ interval; none of a single value
};

/// Of at least one value.
Estimate estimate(const std::vector<double>& values);

/// A configuration's metric by seed.
using SeedMetrics = std::map<std::uint64_t, double>;

struct Noise {
  double sd = 0.0;                 ///< of a trial, beyond its configuration and its seed, in the metric's unit
  std::size_t degrees = 0;         ///< of freedom; 1 or more
  std::size_t configurations = 0;  ///< 2 or more; each may be compared with each
  double range = 0.0;              ///< studentized_range95 of these

  /// The configurations whose residuals are the largest and the least, of those with three seeds or more.
  std::size_t noisiest = 0, quietest = 0;
  double ratio = 1.0;  ///< of their variances
  /// Whether noise that is alike for all would differ so much in less than 5 of 100 tables: Hartley's test of the largest ratio
  /// (Biometrika 37, 1950, 308-312) with Bonferroni's bound for its quantile, k (k - 1) P(F > ratio) for k configurations. Residuals
  /// share what was taken out as the seeds' means, which makes them more alike than independent ones: fewer false alarms, not more.
  bool unequal = false;

  std::size_t comparisons() const { return configurations * (configurations - 1) / 2; }
  /// Half of the simultaneous 95 % interval of a difference over this many common seeds: range sd / sqrt(seeds).
  double interval(std::size_t seeds) const;
  /// The true difference whose interval leaves 0 out in 80 % of such sweeps: interval + t_0.8 sd sqrt(2 / seeds) (Sokal & Rohlf,
  /// Biometry, 1995, box 9.14, with the quantile by which the table judges in place of t_0.975, which it is for a single pair).
  double visible(std::size_t seeds) const;
};

/// By least squares over all trials that are there. None where nothing is left to tell noise by, as with a single seed.
std::optional<Noise> pooled_noise(const std::vector<SeedMetrics>& configurations);

struct Difference {
  double mean = 0.0;  ///< within the seeds that both have
  std::size_t n = 0;  ///< of which there are so many
  std::optional<double> interval;
};

/// a - b; none without a common seed.
std::optional<Difference> difference(const SeedMetrics& a, const SeedMetrics& b, const std::optional<Noise>& noise);

}  // namespace temper
