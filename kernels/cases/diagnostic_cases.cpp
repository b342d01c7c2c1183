// Sums over parameter segments, what follows from them, and histograms.
#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/cases/op_case.h"
#include "kernels/cases/optimizer_numbers.h"
#include "kernels/cases/text.h"

namespace temper {

namespace {

OpCase tensor_moments(const std::vector<Segment>& segments, bool with_moment) {
  const Layout layout(segments);
  OpCase c;
  c.op = "tensor_moments";
  c.shape = text(layout.updated, " parameters in ", layout.count(), " tensors", with_moment ? "" : ", gradient alone");
  c.tensors = {input("gradient", Content::f32, {layout.elements}, normal(0.1, 1)), layout.spec(),
               output("out", Content::f64, {layout.count(), 3})};
  c.tensors[0].touched = layout.updated;
  if (with_moment) {
    c.tensors.push_back(input("moment", Content::f32, {layout.elements}, normal(0.1, 0.3)));
    c.tensors.back().touched = layout.updated;
  }
  c.flops = (with_moment ? 6.0 : 2.0) * static_cast<double>(layout.updated);
  c.run = [count = layout.count()](Ops& ops, const Views& v) {
    ops.tensor_moments({.gradient = v["gradient"].as<float>(),
                        .moment = v["moment"].as<float>(),
                        .segments = {v["segments"].as<ParameterSegment>(), count},
                        .out = v["out"].as<TensorMoments>()});
  };
  c.reference = [](Numbers& n) {
    const auto &gradient = n["gradient"], &moment = n["moment"];
    std::size_t at = 0;
    for (const SegmentNumbers& segment : segments_of(n)) {
      double* sums = n["out"].data() + at;
      at += 3;
      for (std::size_t i = segment.offset; i < segment.offset + segment.elements(); ++i) {
        sums[0] += gradient[i] * gradient[i];
        if (moment.empty()) continue;
        sums[1] += gradient[i] * moment[i];
        sums[2] += moment[i] * moment[i];
      }
    }
  };
  return c;
}

// The correction that a rate gets where the gradient's signal is `phi` times an example's noise, from the cosine between an update
// and an example's gradient.
double rate_of(RateCorrection kind, double phi, double B, double b) {
  if (kind == RateCorrection::gradient) return std::sqrt((1 + phi) / (1 + B * phi));
  const auto cosine = [&](double signal) {
    return (signal + (1 - b) / B) / std::sqrt((signal + (1 - b) / ((1 + b) * B)) * (1 + signal));
  };
  return std::min(1.0, cosine(0) / cosine(phi));
}

void tensor_scales_reference(Numbers& n, const ScaleSettings& settings) {
  const auto &t = n["scalars"], &moments = n["moments"], &halves = n["halves"];
  auto &smoothed = n["smoothed"], &scales = n["scales"];
  if (t[finite] == 0) return;
  const double max_norm = static_cast<double>(settings.max_norm), keep = static_cast<double>(settings.smoothing);
  const auto A = static_cast<double>(settings.first_examples), B = A + static_cast<double>(settings.second_examples);
  std::size_t index = 0;
  for (const SegmentNumbers& segment : segments_of(n)) {
    const double gg = moments[3 * index], tt = halves[3 * index], ts = halves[3 * index + 1], ss = halves[3 * index + 2];
    double* mean = smoothed.data() + 2 * index;
    double* scale = scales.data() + 2 * index;
    ++index;
    scale[0] = max_norm > 0 && std::sqrt(gg) > max_norm ? max_norm / std::sqrt(gg) : 1;
    scale[1] = 1;
    if (settings.correction == RateCorrection::none || segment.rows == 1) continue;
    // Of the halves' own means x = s B/A and y = (t - s) B/(B-A): <x,y>, and |x - y|^2 by how much of an example's noise is in it.
    const double xx = ss * B * B / (A * A), yy = (tt - 2 * ts + ss) * B * B / ((B - A) * (B - A)),
                 xy = (ts - ss) * B * B / (A * (B - A));
    if (tt > 0) {
      const double size = (A * xx + (B - A) * yy) / B;
      mean[0] = keep * mean[0] + (1 - keep) * xy / size;
      mean[1] = keep * mean[1] + (1 - keep) * (xx - 2 * xy + yy) / (1 / A + 1 / (B - A)) / B / size;
    }
    if (mean[0] == 0 && mean[1] == 0) continue;
    const double q = mean[1] <= 0 ? 1e6 : std::min(1e6, std::max(0.0, mean[0] / mean[1]));
    scale[1] = rate_of(settings.correction, q / B, B, t[beta1]);
  }
}

OpCase tensor_scales(const ScaleSettings& settings, const char* name, bool is_finite) {
  // Of each segment ||t||^2, <t,s>, ||s||^2 of the gradient and the first half's part: signal and noise, signal alone, noise alone, a
  // vector, no gradient.
  const std::vector<double> moments = {9, 3.2, 1.6, 4, 1.5, 0.5625, 16, 1, 4, 9, 3.2, 1.6, 0, 0, 0};
  const Layout layout({{3, 4}, {2, 5}, {7, 1}, {1, 40}, {2, 2}});
  OpCase c;
  c.op = "tensor_scales";
  c.shape = text(name, is_finite ? "" : ", not finite");
  std::vector<double> scalars = step_seven();
  scalars[finite] = is_finite ? 1 : 0;
  c.tensors = {input("moments", Content::f64, {layout.count(), 3}, values(moments)),
               input("halves", Content::f64, {layout.count(), 3}, values(moments)),
               layout.spec(),
               step_scalars(Role::input, scalars),
               in_out("smoothed", Content::f32, {layout.count(), 2}, values({0.02, 0.05, 0.3, 0.2, 0, 0.3, 0.7, 0.8, 0, 0})),
               in_out("scales", Content::f32, {layout.count(), 2}, normal(1, 0.1))};
  c.run = [settings, count = layout.count()](Ops& ops, const Views& v) {
    ops.tensor_scales({.settings = settings,
                       .moments = settings.max_norm > 0 ? v["moments"].as<TensorMoments>() : nullptr,
                       .halves = settings.correction != RateCorrection::none ? v["halves"].as<TensorMoments>() : nullptr,
                       .segments = {v["segments"].as<ParameterSegment>(), count},
                       .scalars = v["scalars"].as<StepScalars>(),
                       .smoothed = v["smoothed"].as<float>(),
                       .scales = v["scales"].as<TensorScale>()});
  };
  c.reference = [settings](Numbers& n) { tensor_scales_reference(n, settings); };
  return c;
}

// Of weights w from `first` on that change by dw: ||w||^2, <w, dw>, ||dw||^2 and the squared angle, that of dw's part across w.
std::array<double, 4> turned(const std::vector<double>& before, const std::vector<double>& change, std::size_t first) {
  double ww = 0, wd = 0, dd = 0, across = 0;
  for (std::size_t i = 0; i < change.size(); ++i) {
    const double w = before[first + i];
    ww += w * w;
    wd += w * change[i];
    dd += change[i] * change[i];
  }
  if (ww == 0) return {ww, wd, dd, 0};
  for (std::size_t i = 0; i < change.size(); ++i) across += std::pow(change[i] - before[first + i] * wd / ww, 2);
  return {ww, wd, dd, std::pow(std::atan2(std::sqrt(across), std::sqrt(ww) + wd / std::sqrt(ww)), 2)};
}

constexpr std::size_t statistics = sizeof(UpdateStatistics) / sizeof(double);

void update_statistics_reference(Numbers& n, const DecayInChange& taken) {
  const std::vector<double>&before = n["before"], &after = n["after"], &t = n["scalars"];
  double* sums = n["out"].data();
  for (const SegmentNumbers& segment : segments_of(n)) {
    double d = t[decay] * segment.weight_decay;
    if (taken.with_rate) d *= t[learning_rate];
    // z loses d w; x takes c of that, and y is made of both.
    if (taken.averaged) d = (1 - t[beta1]) * d + t[beta1] * t[average_weight] * d;
    for (std::size_t row = 0; row < segment.rows; ++row) {
      const std::size_t first = segment.offset + row * segment.columns;
      std::vector<double> update(segment.columns), step(segment.columns);
      for (std::size_t i = 0; i < segment.columns; ++i) {
        const double w = before[first + i];
        step[i] = update[i] = after[first + i] - w;
        const auto towards_0 = [&] { return taken.averaged ? n["step"][first + i] * w >= 0 : update[i] * w < 0; };
        if (!taken.cautious || towards_0()) step[i] += d * w;
        sums[7] += std::pow(w, 4);
        sums[8] = std::max(sums[8], std::abs(w));
        if (n.present("step")) n["step"][first + i] = static_cast<double>(static_cast<float>(step[i]));
      }
      const auto [ww, wd, dd, angle] = turned(before, update, first);
      const auto [same, ws, ss, step_angle] = turned(before, step, first);
      const double row_sums[] = {ww, wd, dd, ws, ss, angle, step_angle};
      for (std::size_t i = 0; i < 7; ++i) sums[i] += row_sums[i];
    }
    sums += statistics;
  }
}

// The step is left where the gradient was; without room for it it is not asked for.
OpCase update_statistics(const std::vector<Segment>& segments, double change, const DecayInChange& taken = {},
                         bool with_step = true) {
  const Layout layout(segments);
  OpCase c;
  c.op = "update_statistics";
  c.shape = text(layout.updated, " parameters in ", layout.count(), " tensors, change ", change, taken.cautious ? ", cautious" : "",
                 taken.averaged ? ", averaged" : "", taken.with_rate ? ", with rate" : "", with_step ? "" : ", no step");
  c.tensors = {input("before", Content::f32, {layout.elements}, normal(0, 1)),
               input("after", Content::f32, {layout.elements}, normal(0, 1)), layout.spec(),
               step_scalars(Role::input, step_seven()), output("out", Content::f64, {layout.count(), statistics})};
  if (with_step) c.tensors.push_back(in_out("step", Content::f32, {layout.elements}, normal(0, 1)));
  for (TensorSpec& tensor : c.tensors)
    if (tensor.content == Content::f32) tensor.touched = layout.updated;
  c.flops = 14.0 * static_cast<double>(layout.updated);
  c.derive = [change](Numbers& n) {
    for (std::size_t i = 0; i < n["after"].size(); ++i)
      n["after"][i] = (1 - 0.3 * change) * n["before"][i] + change * n["after"][i];
  };
  c.run = [taken, count = layout.count()](Ops& ops, const Views& v) {
    ops.update_statistics({.before = v["before"].as<float>(),
                           .after = v["after"].as<float>(),
                           .decay = taken,
                           .gradient = v["step"].as<float>(),
                           .segments = {v["segments"].as<ParameterSegment>(), count},
                           .scalars = v["scalars"].as<StepScalars>(),
                           .step = v["step"].as<float>(),
                           .out = v["out"].as<UpdateStatistics>()});
  };
  c.reference = [taken](Numbers& n) { update_statistics_reference(n, taken); };
  return c;
}

// Moments from far under epsilon's square to far above, and none at all.
OpCase precondition(std::int64_t count) {
  const PriorScale scale{1.75f, 1e-3f};
  OpCase c;
  c.op = "precondition";
  c.shape = text("N=", count);
  for (const char* name : {"x", "second_moment"}) c.tensors.push_back(input(name, Content::f32, {count}, normal(0, 1)));
  c.tensors.push_back(output("out", Content::f32, {count}));
  c.flops = 4.0 * static_cast<double>(count);
  c.derive = [](Numbers& n) {
    for (double& v : n["second_moment"]) v = v < -1 ? 0 : std::pow(v, 8);
  };
  c.run = [scale](Ops& ops, const Views& v) {
    ops.precondition({.scale = scale, .x = v["x"], .second_moment = v["second_moment"], .out = v["out"]});
  };
  c.reference = [scale](Numbers& n) {
    for (std::size_t i = 0; i < n["x"].size(); ++i) {
      const double root = std::sqrt(n["second_moment"][i]);
      n["out"][i] = n["x"][i] * std::sqrt(static_cast<double>(scale.root_scale) * root + static_cast<double>(scale.epsilon));
    }
  };
  return c;
}

OpCase histogram(std::int64_t count, std::int64_t bins, double deviation) {
  const float scale = 0.75f;
  OpCase c;
  c.op = "histogram";
  c.shape = text("N=", count, " bins=", bins, " deviation=", deviation);
  c.tensors = {input("x", Content::f32, {count}, normal(0, deviation)), output("counts", Content::i32, {bins})};
  c.tensors[0].any_shape = true;
  c.tensors[1].any_columns = true;
  c.flops = 4.0 * static_cast<double>(count);
  // On a grid whose points lie inside bins, so that no rounding decides where an element counts: scale * x is an odd multiple of
  // 3/512, and boundaries are multiples of 12 / bins.
  c.derive = [](Numbers& n) {
    for (double& x : n["x"]) x = (std::floor(x * 64) + 0.5) / 64;
  };
  c.run = [scale](Ops& ops, const Views& v) { ops.histogram({.x = v["x"], .scale = scale, .counts = v["counts"]}); };
  c.reference = [scale, bins](Numbers& n) {
    for (const double x : n["x"]) {
      const double bin = std::floor((static_cast<double>(scale) * x + 6) / 12 * static_cast<double>(bins));
      ++n["counts"][static_cast<std::size_t>(std::clamp(bin, 0.0, static_cast<double>(bins - 1)))];
    }
  };
  return c;
}

}  // namespace

void add_diagnostic_cases(std::vector<OpCase>& cases, Size size, const Dimensions& d) {
  if (size == Size::benchmark) {
    const std::vector<Segment> segments = gpt2_segments(d);
    cases.push_back(tensor_moments(segments, true));
    cases.push_back(tensor_moments(segments, false));
    cases.push_back(update_statistics(segments, 1e-3));
    cases.push_back(precondition(Layout(segments).elements));
    cases.push_back(histogram(Layout(segments).elements, 64, 2));
    return;
  }
  const std::vector<Segment> small = {{7, 19}, {1, 33, 1, 0}, {1, 1}, {6, 1}, {3, 2}};
  const std::vector<Segment> large = {{131, 257}, {1, 1023, 1, 0}, {2, 20001}};
  for (const std::vector<Segment>& segments : {small, large}) {
    for (const bool with_moment : {true, false}) cases.push_back(tensor_moments(segments, with_moment));
    for (const double change : {1.0, 1e-3}) cases.push_back(update_statistics(segments, change));
    cases.push_back(update_statistics(segments, 1e-2, {.cautious = true}));
    cases.push_back(update_statistics(segments, 1e-2, {.averaged = true}, false));
    cases.push_back(update_statistics(segments, 1e-2, {.cautious = true, .averaged = true}));
  }
  cases.push_back(update_statistics(small, 1e-2, {.with_rate = true}));
  cases.push_back(update_statistics({{33000, 2}}, 1));  // more rows than a backend sums side by side
  for (const bool is_finite : {true, false}) {
    cases.push_back(tensor_scales({2.5f, RateCorrection::none}, "clipped", is_finite));
    cases.push_back(tensor_scales({0, RateCorrection::gradient, 3, 5, 0.9f}, "corrected for gradients", is_finite));
    cases.push_back(tensor_scales({2.5f, RateCorrection::momentum, 5, 3, 0}, "clipped, corrected for averages", is_finite));
  }
  for (const std::int64_t count : {1, 1023, 40004}) cases.push_back(precondition(count));
  cases.push_back(histogram(1, 1, 1));
  cases.push_back(histogram(1000, 7, 1));
  cases.push_back(histogram(100003, 64, 2));
  cases.push_back(histogram(70001, 257, 10));
  cases.push_back(histogram(5003, 2500, 2));
}

}  // namespace temper
