#include "sweep/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "io/json.h"
#include "sweep/ranking.h"

namespace temper {
namespace {

std::string axis_text(double value) { return fmt::format("{:.4g}", value); }

/// The axis of a parameter, where it has three numbers or more.
std::optional<FitAxis> axis_of(const Sweep& sweep, std::size_t column, std::vector<std::string>& notes) {
  std::set<double> values;
  for (const Configuration& configuration : sweep.configurations) {
    const std::optional<double> number = as_number(configuration.labels[column]);
    if (!number) return std::nullopt;
    values.insert(*number);
  }
  if (values.size() < 3) return std::nullopt;
  FitAxis axis{column, columns(sweep.file)[column], *values.begin() > 0.0, *values.begin(), *values.rbegin()};
  if (axis.low != 0.0) {
    if (axis.low < 0.0) notes.push_back(axis.name + " has values below 0: its axis is linear.");
    return axis;
  }
  // Beside powers of ten, 0 has no place on either scale.
  const double least = *std::next(values.begin());
  constexpr double decade = 10.0;
  axis.logarithmic = values.size() > 3 && axis.high >= decade * least;
  if (axis.logarithmic) axis.low = least;
  notes.push_back(axis.name + (axis.logarithmic
                                   ? ": its axis is logarithmic, and the trials at 0 are left out of the fit."
                                   : ": its axis is linear, since it has 0 and too few other values for a logarithmic one."));
  return axis;
}

std::optional<std::vector<double>> place_of(const std::vector<FitAxis>& axes, const Configuration& configuration) {
  std::vector<double> place;
  for (const FitAxis& axis : axes) {
    const double value = *as_number(configuration.labels[axis.column]);
    if (axis.logarithmic && value == 0.0) return std::nullopt;
    place.push_back(axis.coordinate(value));
  }
  return place;
}

/// Coordinates of a picture, evenly over what was tried.
std::vector<double> spread(const FitAxis& axis, std::size_t points) {
  const double low = axis.coordinate(axis.low), high = axis.coordinate(axis.high);
  std::vector<double> all(points);
  for (std::size_t i = 0; i < points; ++i) all[i] = low + (high - low) * static_cast<double>(i) / static_cast<double>(points - 1);
  return all;
}

/// Where the quadratic is best, or why that is not known.
std::string why_no_optimum(const std::vector<FitAxis>& axes, const Quadratic& quadratic) {
  if (!quadratic.bends_upwards()) return "no optimum inside the range seen: its curvature is not seen to be that of an optimum";
  const std::vector<double> place = quadratic.stationary();
  std::string text;
  for (std::size_t i = 0; i < axes.size(); ++i)
    text += (i == 0 ? "" : ", ") + axes[i].name + " " + axis_text(axes[i].value(place[i]));
  return "no optimum inside the range seen: the quadratic has its own at " + text;
}

}  // namespace

double FitAxis::coordinate(double value) const { return logarithmic ? std::log10(value) : value; }
double FitAxis::value(double coordinate) const { return logarithmic ? std::pow(10.0, coordinate) : coordinate; }

SweepFits fit_sweep(const Sweep& sweep, const SweepPlan& plan, std::size_t rung) {
  SweepFits all;
  all.maximize = sweep.file.metric.maximize();
  std::vector<FitAxis> axes;
  for (std::size_t column = 0; column < sweep.file.parameters.size(); ++column)
    if (const std::optional<FitAxis> axis = axis_of(sweep, column, all.notes)) axes.push_back(*axis);
  if (axes.empty() || rung >= plan.rungs.size()) return all;
  if (axes.size() > 2) {
    all.notes = {
        fmt::format("{} parameters have three or more numbers, and a quadratic is fitted over one or two: none was.", axes.size())};
    return all;
  }
  all.axes = axes;

  const std::vector<std::string> names = columns(sweep.file);
  std::vector<std::size_t> others;  // parameters that vary beside the axes
  for (std::size_t column = 0; column < sweep.file.parameters.size(); ++column) {
    const auto& first = sweep.configurations.front().labels[column];
    const bool varies = std::ranges::any_of(sweep.configurations, [&](const auto& one) { return one.labels[column] != first; });
    if (varies && std::ranges::count(axes, column, &FitAxis::column) == 0) others.push_back(column);
  }
  std::vector<std::vector<Observation>> observations;
  std::map<std::vector<std::string>, std::size_t> known;
  for (const PlannedTrial& planned : plan.rungs[rung]) {
    const Configuration& configuration = sweep.configurations[planned.trial->configuration];
    std::vector<std::string> labels;
    labels.reserve(others.size());
    for (const std::size_t column : others) labels.push_back(label_text(configuration.labels[column]));
    const auto [at, is_new] = known.try_emplace(labels, known.size());
    if (is_new) {
      observations.emplace_back();
      SweepFit& fit = all.fits.emplace_back();
      for (std::size_t i = 0; i < others.size(); ++i) fit.others.emplace_back(names[others[i]], labels[i]);
    }
    const std::optional<std::vector<double>> place = place_of(axes, configuration);
    if (!planned.status.metric || !place) continue;
    const double sign = all.maximize ? -1.0 : 1.0;
    observations[at->second].push_back({*place, planned.trial->seed, sign * *planned.status.metric});
  }
  for (std::size_t i = 0; i < all.fits.size(); ++i) all.fits[i].quadratic = Quadratic::fit(observations[i], all.fits[i].problem);
  return all;
}

TextRows SweepFits::rows(const std::string& metric) const {
  if (fits.empty()) return {};
  TextRows table(1);
  for (const auto& [name, label] : fits.front().others) table[0].push_back(name);
  table[0].insert(table[0].end(), {"fitted over", "best at", "95 % interval", metric + " there"});
  for (const SweepFit& fit : fits) {
    const std::vector<Located> optimum = fit.quadratic ? fit.quadratic->optimum() : std::vector<Located>();
    for (std::size_t i = 0; i < axes.size(); ++i) {
      std::vector<std::string>& row = table.emplace_back();
      for (const auto& [name, label] : fit.others) row.push_back(label);
      row.push_back(axes[i].name);
      if (optimum.empty()) {
        row.insert(row.end(), {"-", "", ""});
        continue;
      }
      std::vector<double> place;
      place.reserve(optimum.size());
      for (const Located& one : optimum) place.push_back(one.at);
      const WithInterval there = fit.quadratic->at(place);
      row.push_back(axis_text(axes[i].value(optimum[i].at)));
      row.push_back(axis_text(axes[i].value(optimum[i].low)) + " to " + axis_text(axes[i].value(optimum[i].high)));
      row.push_back(number_text(maximize ? -there.value : there.value) + " ± " + number_text(there.interval));
    }
  }
  return table;
}

std::string SweepFits::remarks(const std::string& metric) const {
  std::string text;
  for (const SweepFit& fit : fits) {
    std::string line = "Fit";
    for (const auto& [name, label] : fit.others) line += " " + name + " " + label;
    line += ": ";
    if (!fit.quadratic) {
      text += line + "none, " + fit.problem + ".\n";
      continue;
    }
    const Quadratic& quadratic = *fit.quadratic;
    if (quadratic.optimum().empty()) line += why_no_optimum(axes, quadratic) + "; ";
    line += fmt::format("{} trials, {} seed{}, residual {} ({} degree{} of freedom)", quadratic.trials(), quadratic.seeds(),
                        quadratic.seeds() == 1 ? "" : "s", number_text(quadratic.sd()), quadratic.degrees(),
                        quadratic.degrees() == 1 ? "" : "s");
    if (const std::optional<WithInterval> tilt = quadratic.tilt())
      line += fmt::format(", tilt {} ± {}{}", number_text(maximize ? -tilt->value : tilt->value, true), number_text(tilt->interval),
                          std::abs(tilt->value) > tilt->interval ? "" : ", not seen");
    const std::optional<double> lack = quadratic.lack_of_fit();
    if (!lack)
      line += "; whether a quadratic fits cannot be told, since seeds do not repeat enough";
    else
      line += fmt::format("; lack of fit {} (p {:.2g})", *lack < 0.05 ? "seen" : "not seen", *lack) +
              (*lack < 0.05 ? ": a quadratic does not describe these results, and its intervals do not hold" : "");
    text += line + ".\n";
  }
  if (!fits.empty()) {
    std::string scales;
    for (const FitAxis& axis : axes)
      scales += (scales.empty() ? "" : ", ") + axis.name + (axis.logarithmic ? " by log10" : " as it is");
    text += fmt::format(
        "A quadratic of {} in {}, by least squares over all finished trials with an offset for each seed; intervals by Fieller's theorem "
        "with Student's t of the residual{}.\n",
        metric, scales, axes.size() == 2 ? "; tilt: the coefficient of the product of both" : "");
  }
  for (const std::string& note : notes) text += note + "\n";
  return text;
}

Json SweepFits::json(bool pictures) const {
  constexpr std::size_t points_of_curve = 61, points_of_map = 33;
  const double sign = maximize ? -1.0 : 1.0;
  Json all = Json::array();
  for (const SweepFit& fit : fits) {
    Json one;
    one["values"] = Json::object();
    for (const auto& [name, label] : fit.others) one["values"][name] = label;
    one["problem"] = fit.problem;
    one["axes"] = Json::array();
    const std::vector<Located> optimum = fit.quadratic ? fit.quadratic->optimum() : std::vector<Located>();
    for (std::size_t i = 0; i < axes.size(); ++i) {
      const auto known = [&](double Located::*member) {
        return optimum.empty() ? Json() : json_number(axes[i].value(optimum[i].*member));
      };
      one["axes"].push_back({{"name", axes[i].name},
                             {"scale", axes[i].logarithmic ? "logarithmic" : "linear"},
                             {"optimum", known(&Located::at)},
                             {"low", known(&Located::low)},
                             {"high", known(&Located::high)}});
    }
    if (!fit.quadratic) {
      all.push_back(one);
      continue;
    }
    const Quadratic& quadratic = *fit.quadratic;
    if (optimum.empty()) one["problem"] = why_no_optimum(axes, quadratic);
    one["trials"] = quadratic.trials();
    one["seeds"] = quadratic.seeds();
    one["degrees_of_freedom"] = quadratic.degrees();
    one["residual"] = json_number(quadratic.sd());
    const std::optional<double> lack = quadratic.lack_of_fit();
    one["lack_of_fit_p"] = lack ? json_number(*lack) : Json();
    const std::optional<WithInterval> tilt = quadratic.tilt();
    one["tilt"] = tilt ? json_number(sign * tilt->value) : Json();
    one["tilt_interval"] = tilt ? json_number(tilt->interval) : Json();
    const std::vector<double> across = spread(axes[0], axes.size() == 1 ? points_of_curve : points_of_map);
    for (const double x : across) {
      if (!pictures) break;
      one["x"].push_back(json_number(axes[0].value(x)));
      if (axes.size() == 1) {
        const WithInterval here = quadratic.at({x});
        one["mean"].push_back(json_number(sign * here.value));
        one["interval"].push_back(json_number(here.interval));
      }
    }
    for (const double y : spread(axes.back(), pictures && axes.size() == 2 ? points_of_map : 0)) {
      one["y"].push_back(json_number(axes[1].value(y)));
      Json row = Json::array();
      for (const double x : across) row.push_back(json_number(sign * quadratic.at({x, y}).value));
      one["mean"].push_back(row);
    }
    all.push_back(one);
  }
  return all;
}

}  // namespace temper
