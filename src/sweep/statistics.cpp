#include "sweep/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
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

/// P(the range of `count` standard normal values <= width) = count Int phi(z) (Phi(z + width) - Phi(z))^(count-1) dz. The trapezoid
/// rule, whose error falls exponentially with the step for functions that vanish at both ends as these do.
double normal_range_probability(double width, double count) {
  constexpr double step = 0.125, end = 8.5;
  double sum = 0.0;
  for (double z = -end; z <= end; z += step) {
    const double inside = 0.5 * (std::erfc(z / std::numbers::sqrt2) - std::erfc((z + width) / std::numbers::sqrt2));
    sum += std::exp(-0.5 * z * z) * std::pow(inside, count - 1.0);
  }
  return std::min(1.0, count * step * sum / std::sqrt(2.0 * std::numbers::pi));
}

/// The same with an estimated deviation e^u, whose density is proportional to e^(degrees (u - e^(2u) / 2)).
double studentized_range_probability(double q, double count, double degrees) {
  const double step = 0.2 / std::sqrt(degrees);
  double sum = 0.0, weights = 0.0;
  for (const double direction : {-1.0, 1.0}) {
    for (int i = direction < 0 ? 1 : 0;; ++i) {
      const double u = direction * step * i, weight = std::exp(degrees * (u - 0.5 * std::expm1(2.0 * u)));
      weights += weight;
      if (weight < 1e-14) break;
      sum += weight * normal_range_probability(q * std::exp(u), count);
    }
  }
  return sum / weights;
}

double rounded(double value, double digits) { return std::round(value * digits) / digits; }  // no library's last bit in a table

/// Subtracts from the values of each group their mean; returns the largest of the means.
double centre(std::vector<double>& values, const std::vector<std::size_t>& groups) {
  const std::size_t count = groups.empty() ? 0 : *std::max_element(groups.begin(), groups.end()) + 1;
  std::vector<double> mean(count), members(count);
  for (const std::size_t group : groups) members[group] += 1.0;
  for (std::size_t i = 0; i < values.size(); ++i) mean[groups[i]] += values[i] / members[groups[i]];
  for (std::size_t i = 0; i < values.size(); ++i) values[i] -= mean[groups[i]];
  double largest = 0.0;
  for (const double one : mean) largest = std::max(largest, std::abs(one));
  return largest;
}

/// Hartley's test, see Noise. Of few configurations it has little power: one that is far noisier than the k - 1 others shares its noise
/// with them through the seeds' means, and has hardly more than (k - 1)^2 times their residual variance.
void compare_variances(Noise& noise, const std::vector<double>& residuals, const std::vector<std::size_t>& rows) {
  std::vector<double> squares(noise.configurations), members(noise.configurations);
  for (std::size_t i = 0; i < residuals.size(); ++i) {
    squares[rows[i]] += residuals[i] * residuals[i];
    members[rows[i]] += 1.0;
  }
  double largest = 0.0, least = std::numeric_limits<double>::infinity(), compared = 0.0;
  for (std::size_t row = 0; row < squares.size(); ++row) {
    if (members[row] < 3.0) continue;
    ++compared;
    const double variance = squares[row] / (members[row] - 1.0);
    if (variance > largest) {
      largest = variance;
      noise.noisiest = row;
    }
    if (variance < least) {
      least = variance;
      noise.quietest = row;
    }
  }
  if (compared < 3.0 || least <= 0.0 || largest <= 0.0) return;
  noise.ratio = largest / least;
  const auto degrees = [&](std::size_t row) { return static_cast<std::size_t>(members[row]) - 1; };
  noise.unequal = compared * (compared - 1.0) * f_exceeds(noise.ratio, degrees(noise.noisiest), degrees(noise.quietest)) < 0.05;
}

/// How many parts of the table have no seed in common.
std::size_t separate_parts(const std::vector<std::size_t>& rows, const std::vector<std::size_t>& columns) {
  std::map<std::size_t, std::size_t> part_of_row, part_of_column;  // by the smallest row in them
  for (const std::size_t row : rows) part_of_row[row] = row;
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      std::size_t &row = part_of_row[rows[i]], &column = part_of_column.try_emplace(columns[i], row).first->second;
      changed |= row != column;
      row = column = std::min(row, column);
    }
  }
  return static_cast<std::size_t>(
      std::count_if(part_of_row.begin(), part_of_row.end(), [](const auto& one) { return one.first == one.second; }));
}

}  // namespace

double student_t(double probability, std::size_t degrees) {
  double low = 0.0, high = std::numbers::pi / 2.0;
  constexpr int halvings = 60;  // more than a double has digits
  for (int i = 0; i < halvings; ++i) {
    const double middle = 0.5 * (low + high);
    (central_probability(middle, degrees) < 2.0 * probability - 1.0 ? low : high) = middle;
  }
  return rounded(std::sqrt(static_cast<double>(degrees)) * std::tan(low), 1e9);
}

double f_exceeds(double ratio, std::size_t top_degrees, std::size_t bottom_degrees) {
  // I_x(a, b), the regularized incomplete beta function, by its continued fraction (NIST Digital Library of Mathematical Functions,
  // 8.17.22) in Lentz's way.
  double a = 0.5 * static_cast<double>(bottom_degrees), b = 0.5 * static_cast<double>(top_degrees);
  double x = a / (a + b * ratio), y = b * ratio / (a + b * ratio);
  const bool swapped = x > (a + 1.0) / (a + b + 2.0);  // where the fraction converges slowly, that of 1 - I_y(b, a)
  if (swapped) {
    std::swap(a, b);
    std::swap(x, y);
  }
  if (x <= 0.0) return swapped ? 1.0 : 0.0;
  double fraction = 1.0, above = 1.0, below = 0.0;
  for (int j = 1; j < 100'000; ++j) {
    const int half = j / 2;
    const double m = half;
    const double term = (j % 2 == 0 ? m * (b - m) : -(a + m) * (a + b + m)) * x / ((a + j - 1.0) * (a + j));
    below = 1.0 / (1.0 + term * below);
    above = 1.0 + term / above;
    fraction *= above * below;
    if (std::abs(above * below - 1.0) < 1e-15) break;
  }
  const double front = std::exp(a * std::log(x) + b * std::log(y) + std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b)) / a;
  return swapped ? 1.0 - front / fraction : front / fraction;
}

double studentized_range95(std::size_t count, std::size_t degrees) {
  // Some milliseconds, and each view of a table asks for the same.
  thread_local std::map<std::pair<std::size_t, std::size_t>, double> known;
  if (const auto before = known.find({count, degrees}); before != known.end()) return before->second;
  const auto n = static_cast<double>(count);
  // Between one pair and Bonferroni's bound for all of them; the secant of a bracket, an end that stays counting half (Illinois).
  double low = std::log(std::numbers::sqrt2 * student_t(0.975, degrees));
  double high = std::log(std::numbers::sqrt2 * student_t(1.0 - 0.05 / (n * (n - 1.0)), degrees));
  const auto excess = [&](double log_q) {
    return studentized_range_probability(std::exp(log_q), n, static_cast<double>(degrees)) - 0.95;
  };
  double at_low = excess(low), at_high = excess(high), found = low;
  for (int i = 0; i < 60 && count > 2; ++i) {
    const double next = (low * at_high - high * at_low) / (at_high - at_low), at_next = excess(next);
    const bool settled = std::abs(next - found) < 1e-8;
    found = next;
    if (settled || at_next == 0.0) break;
    if (at_next * at_high < 0.0) {
      low = high;
      at_low = at_high;
    } else {
      at_low *= 0.5;
    }
    high = next;
    at_high = at_next;
  }
  return known[{count, degrees}] = rounded(std::exp(found), 1e6);
}

Estimate estimate(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0.0, squares = 0.0;
  for (const double value : values) sum += value;
  Estimate found{sum / n, values.size(), {}, {}};
  if (values.size() < 2) return found;
  for (const double value : values) squares += (value - found.mean) * (value - found.mean);
  found.sd = std::sqrt(squares / (n - 1.0));
  found.interval = student_t(0.975, values.size() - 1) * *found.sd / std::sqrt(n);
  return found;
}

double Noise::interval(std::size_t seeds) const { return range * sd / std::sqrt(static_cast<double>(seeds)); }

double Noise::visible(std::size_t seeds) const {
  return interval(seeds) + student_t(0.8, degrees) * sd * std::sqrt(2.0 / static_cast<double>(seeds));
}

std::optional<Noise> pooled_noise(const std::vector<SeedMetrics>& configurations) {
  std::vector<double> residuals;
  std::vector<std::size_t> rows, columns;  // of each
  std::map<std::uint64_t, std::size_t> column_of;
  for (std::size_t row = 0; row < configurations.size(); ++row) {
    for (const auto& [seed, metric] : configurations[row]) {
      residuals.push_back(metric);
      rows.push_back(row);
      columns.push_back(column_of.try_emplace(seed, column_of.size()).first->second);
    }
  }
  const std::size_t parameters = configurations.size() + column_of.size() - separate_parts(rows, columns);
  if (configurations.size() < 2 || residuals.size() <= parameters) return std::nullopt;

  // Least squares: in a full table means of rows and columns once, otherwise in turns until nothing is left to subtract.
  const double scale = centre(residuals, rows);
  for (int turn = 0; turn < 1000; ++turn)
    if (std::max(centre(residuals, columns), centre(residuals, rows)) <= 1e-14 * scale) break;

  double squares = 0.0;
  for (const double residual : residuals) squares += residual * residual;
  Noise noise;
  noise.degrees = residuals.size() - parameters;
  noise.configurations = configurations.size();
  noise.sd = std::sqrt(squares / static_cast<double>(noise.degrees));
  noise.range = studentized_range95(noise.configurations, noise.degrees);
  compare_variances(noise, residuals, rows);
  return noise;
}

std::optional<Difference> difference(const SeedMetrics& a, const SeedMetrics& b, const std::optional<Noise>& noise) {
  Difference found;
  for (const auto& [seed, metric] : a) {
    const auto other = b.find(seed);
    if (other == b.end()) continue;
    found.mean += metric - other->second;
    ++found.n;
  }
  if (found.n == 0) return std::nullopt;
  found.mean /= static_cast<double>(found.n);
  if (noise) found.interval = noise->interval(found.n);
  return found;
}

}  // namespace temper
