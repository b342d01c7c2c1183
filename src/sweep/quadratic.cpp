#include "sweep/quadratic.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "sweep/statistics.h"

namespace temper {
namespace {

using Row = std::vector<double>;

Row terms_at(const Row& u) {
  if (u.size() == 1) return {u[0], u[0] * u[0]};
  return {u[0], u[1], u[0] * u[0], u[0] * u[1], u[1] * u[1]};
}

double dot(const Row& a, const Row& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// Columns made orthonormal from the left (modified Gram-Schmidt, twice over for the last digits); `triangle` takes what they are
/// made of, column by column. False: one depends on those before.
bool orthonormalize(std::vector<Row>& columns, std::vector<Row>& triangle) {
  constexpr double dependent = 1e-9;
  triangle.assign(columns.size(), Row(columns.size(), 0.0));
  for (std::size_t k = 0; k < columns.size(); ++k) {
    const double length = std::sqrt(dot(columns[k], columns[k]));
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t j = 0; j < k; ++j) {
        const double share = dot(columns[j], columns[k]);
        triangle[k][j] += share;
        for (std::size_t i = 0; i < columns[k].size(); ++i) columns[k][i] -= share * columns[j][i];
      }
    }
    triangle[k][k] = std::sqrt(dot(columns[k], columns[k]));
    if (!(triangle[k][k] > dependent * length)) return false;
    for (double& one : columns[k]) one /= triangle[k][k];
  }
  return true;
}

/// Of the upper triangle whose columns these are; rows.
std::vector<Row> inverse_of(const std::vector<Row>& triangle) {
  const std::size_t n = triangle.size();
  std::vector<Row> inverse(n, Row(n, 0.0));
  for (std::size_t column = 0; column < n; ++column) {
    inverse[column][column] = 1.0 / triangle[column][column];
    for (std::size_t row = column; row-- > 0;) {
      double sum = 0.0;
      for (std::size_t k = row + 1; k <= column; ++k) sum += triangle[k][row] * inverse[k][column];
      inverse[row][column] = -sum / triangle[row][row];
    }
  }
  return inverse;
}

/// P of the F test of the quadratic's residual beside that of a mean for each place. `rounding`: what lies below it is no scatter.
std::optional<double> lack_of_fit_of(const std::vector<Observation>& observations, double squares, std::size_t degrees,
                                     double rounding) {
  std::map<Row, SeedMetrics> places;
  for (const Observation& one : observations) places[one.at][one.seed] = one.value;
  std::vector<SeedMetrics> rows;
  rows.reserve(places.size());
  for (const auto& [place, metrics] : places) rows.push_back(metrics);
  const std::optional<Noise> pure = pooled_noise(rows);
  if (!pure || pure->degrees >= degrees || pure->sd <= rounding) return std::nullopt;
  const double pure_squares = pure->sd * pure->sd * static_cast<double>(pure->degrees);
  const auto more = static_cast<double>(degrees - pure->degrees);
  return f_exceeds(std::max(0.0, squares - pure_squares) / more / (pure->sd * pure->sd), degrees - pure->degrees, pure->degrees);
}

}  // namespace

std::optional<Quadratic> Quadratic::fit(const std::vector<Observation>& observations, std::string& why) {
  if (observations.empty()) {
    why = "no trial has a result";
    return std::nullopt;
  }
  Quadratic fit;
  fit.trials_ = observations.size();
  const std::size_t axes = observations.front().at.size(), terms = axes == 1 ? 2 : 5;
  for (std::size_t axis = 0; axis < axes; ++axis) {
    std::set<double> values;
    for (const Observation& one : observations) values.insert(one.at[axis]);
    if (values.size() < 3) {
      why = fmt::format("{} value{} of {} with a result; a quadratic needs three", values.size(), values.size() == 1 ? "" : "s",
                        axes == 1   ? "the axis"
                        : axis == 0 ? "the first axis"
                                    : "the second axis");
      return std::nullopt;
    }
    fit.centre_.push_back(0.5 * (*values.begin() + *values.rbegin()));
    fit.half_.push_back(0.5 * (*values.rbegin() - *values.begin()));
  }

  // A seed's offset takes out its mean (Frisch-Waugh-Lovell): what is left are the terms.
  std::map<std::uint64_t, std::size_t> index;
  double largest = 0.0;
  for (const Observation& one : observations) {
    const std::size_t seed = index.try_emplace(one.seed, index.size()).first->second;
    if (seed == fit.seed_means_.size()) fit.seed_means_.push_back({0.0, Row(terms, 0.0), 0.0});
    SeedMean& mean = fit.seed_means_[seed];
    const Row at = terms_at(fit.scaled(one.at));
    mean.value += one.value;
    mean.trials += 1.0;
    for (std::size_t i = 0; i < terms; ++i) mean.terms[i] += at[i];
    largest = std::max(largest, std::abs(one.value));
  }
  for (SeedMean& mean : fit.seed_means_) {
    mean.value /= mean.trials;
    for (double& term : mean.terms) term /= mean.trials;
  }
  const std::size_t parameters = terms + fit.seed_means_.size();
  if (observations.size() <= parameters) {
    why = fmt::format("{} trials are too few for {} terms and an offset for each of {} seed{}: it needs {}", observations.size(),
                      terms, fit.seed_means_.size(), fit.seed_means_.size() == 1 ? "" : "s", parameters + 1);
    return std::nullopt;
  }
  fit.degrees_ = observations.size() - parameters;
  std::vector<Row> columns(terms, Row(observations.size())), triangle;
  Row values(observations.size());
  for (std::size_t i = 0; i < observations.size(); ++i) {
    const SeedMean& mean = fit.seed_means_[index.at(observations[i].seed)];
    const Row at = terms_at(fit.scaled(observations[i].at));
    for (std::size_t k = 0; k < terms; ++k) columns[k][i] = at[k] - mean.terms[k];
    values[i] = observations[i].value - mean.value;
  }
  if (!orthonormalize(columns, triangle)) {
    why = "the values tried do not tell the terms of a quadratic apart: they lie on one line, or on one curve";
    return std::nullopt;
  }
  fit.inverse_ = inverse_of(triangle);
  Row shares(terms);
  for (std::size_t k = 0; k < terms; ++k) {
    shares[k] = dot(columns[k], values);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] -= shares[k] * columns[k][i];
  }
  for (const Row& row : fit.inverse_) fit.coefficients_.push_back(dot(row, shares));
  const double squares = dot(values, values);
  fit.sd_ = std::sqrt(squares / static_cast<double>(fit.degrees_));
  if (!std::isfinite(fit.sd_)) {
    why = "the results are too large to be squared";
    return std::nullopt;
  }
  const double rounding = 4.0 * std::numeric_limits<double>::epsilon() * largest;  // no result is known better
  fit.lack_of_fit_ = lack_of_fit_of(observations, squares, fit.degrees_, rounding);
  fit.sd_ = std::max(fit.sd_, rounding);
  fit.t_ = student_t(0.975, fit.degrees_);
  return fit;
}

std::vector<double> Quadratic::scaled(const std::vector<double>& place) const {
  Row u(place.size());
  for (std::size_t i = 0; i < place.size(); ++i) u[i] = (place[i] - centre_[i]) / half_[i];
  return u;
}

double Quadratic::covariance(const std::vector<double>& a, const std::vector<double>& b) const {
  double sum = 0.0;  // a' R^-1 R^-T b
  for (std::size_t k = 0; k < inverse_.size(); ++k) {
    double of_a = 0.0, of_b = 0.0;
    for (std::size_t i = 0; i <= k; ++i) {
      of_a += a[i] * inverse_[i][k];
      of_b += b[i] * inverse_[i][k];
    }
    sum += of_a * of_b;
  }
  return sum;
}

double Quadratic::variance(const std::vector<double>& direction) const { return covariance(direction, direction); }

/// -top / bottom is where the quadratic is level, a ratio for each axis; both with their gradients' covariances.
std::vector<Quadratic::Ratio> Quadratic::ratios() const {
  const Row& b = coefficients_;
  const auto ratio = [&](double top, double bottom, const Row& of_top, const Row& of_bottom) {
    return Ratio{top, bottom, variance(of_top), variance(of_bottom), covariance(of_top, of_bottom)};
  };
  if (b.size() == 2) return {ratio(b[0], 2.0 * b[1], {1.0, 0.0}, {0.0, 2.0})};
  const double bottom = 4.0 * b[2] * b[4] - b[3] * b[3];
  const Row of_bottom = {0.0, 0.0, 4.0 * b[4], -2.0 * b[3], 4.0 * b[2]};
  return {ratio(2.0 * b[4] * b[0] - b[3] * b[1], bottom, {2.0 * b[4], -b[3], 0.0, -b[1], 2.0 * b[0]}, of_bottom),
          ratio(2.0 * b[2] * b[1] - b[3] * b[0], bottom, {-b[3], 2.0 * b[2], 2.0 * b[1], -b[0], 0.0}, of_bottom)};
}

bool Quadratic::is_positive(double value, double variance) const { return value > t_ * sd_ * std::sqrt(variance); }

bool Quadratic::bends_upwards() const {
  const std::size_t terms = coefficients_.size();
  for (std::size_t term = terms == 2 ? 1 : 2; term < terms; term += 2) {  // x^2, and y^2
    Row direction(terms, 0.0);
    direction[term] = 1.0;
    if (!is_positive(coefficients_[term], variance(direction))) return false;
  }
  const Ratio ratio = ratios().front();
  return is_positive(ratio.bottom, ratio.bottom_variance);
}

std::vector<double> Quadratic::stationary() const {
  Row place;
  for (const Ratio& ratio : ratios()) place.push_back(centre_[place.size()] - half_[place.size()] * ratio.top / ratio.bottom);
  return place;
}

std::vector<Located> Quadratic::optimum() const {
  std::vector<Located> found;
  if (!bends_upwards()) return found;
  for (const Ratio& ratio : ratios()) {
    const double factor = t_ * t_ * sd_ * sd_;
    // (top + u bottom)^2 <= factor Var(top + u bottom), between the roots of a parabola that opens upwards.
    const double a = ratio.bottom * ratio.bottom - factor * ratio.bottom_variance;
    const double b = ratio.top * ratio.bottom - factor * ratio.covariance;
    const double c = ratio.top * ratio.top - factor * ratio.top_variance;
    const double root = std::sqrt(std::max(0.0, b * b - a * c)), u = -ratio.top / ratio.bottom;
    if (std::abs(u) > 1.0) return {};
    const double centre = centre_[found.size()], half = half_[found.size()];
    found.push_back({centre + half * u, centre + half * (-b - root) / a, centre + half * (-b + root) / a});
  }
  return found;
}

std::optional<WithInterval> Quadratic::tilt() const {
  if (coefficients_.size() == 2) return std::nullopt;
  const double unit = half_[0] * half_[1];
  return WithInterval{coefficients_[3] / unit, t_ * sd_ * std::sqrt(variance({0.0, 0.0, 0.0, 1.0, 0.0})) / unit};
}

WithInterval Quadratic::at(const std::vector<double>& place) const {
  Row beyond = terms_at(scaled(place));
  const auto seeds = static_cast<double>(seed_means_.size());
  double value = 0.0, of_means = 0.0;
  for (const SeedMean& mean : seed_means_) {
    value += mean.value / seeds;
    of_means += 1.0 / (mean.trials * seeds * seeds);
    for (std::size_t i = 0; i < beyond.size(); ++i) beyond[i] -= mean.terms[i] / seeds;
  }
  return {value + dot(beyond, coefficients_), t_ * sd_ * std::sqrt(of_means + variance(beyond))};
}

}  // namespace temper
