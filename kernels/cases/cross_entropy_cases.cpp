#include <algorithm>
#include <cmath>

#include "kernels/cases/op_case.h"
#include "kernels/cases/text.h"

namespace temper {

namespace {

struct Sizes {
  std::int64_t R, V, Vp;
};

struct Options {
  double gradient_scale;
  double mean = 0, deviation = 2;  // of the logits
  std::int64_t lowest_target = 0;  // -1: some positions do not count
};

// losses[r] = logsumexp(logits[r,:V]) - logits[r,target]; 0 where the target is -1.
void losses_reference(Numbers& n, const Sizes& s) {
  const auto &logits = n["logits"], &targets = n["targets"];
  auto& losses = n["losses"];
  losses.assign(static_cast<std::size_t>(s.R), 0.0);
  for (std::int64_t r = 0; r < s.R; ++r) {
    if (targets[r] < 0) continue;
    const double* row = &logits[r * s.Vp];
    const double largest = *std::max_element(row, row + s.V);
    double total = 0;
    for (std::int64_t v = 0; v < s.V; ++v) total += std::exp(row[v] - largest);
    losses[r] = largest + std::log(total) - row[static_cast<std::int64_t>(targets[r])];
  }
}

void gradient_reference(Numbers& n, const Sizes& s, double scale) {
  losses_reference(n, s);
  const auto &targets = n["targets"], &losses = n["losses"];
  auto& logits = n["logits"];
  for (std::int64_t r = 0; r < s.R; ++r) {
    double* row = &logits[r * s.Vp];
    const auto target = static_cast<std::int64_t>(targets[r]);
    const double lse = target < 0 ? 0 : losses[r] + row[target];
    for (std::int64_t v = 0; v < s.Vp; ++v)
      row[v] = target < 0 || v >= s.V ? 0.0 : (std::exp(row[v] - lse) - (v == target ? 1 : 0)) * scale;
  }
}

OpCase cross_entropy(const Sizes& s, const Options& options) {
  const bool with_gradient = options.gradient_scale != 0;
  const auto scale = static_cast<float>(options.gradient_scale);
  OpCase c;
  c.op = "cross_entropy";
  c.shape = text("R=", s.R, " V=", s.V, " Vp=", s.Vp, with_gradient ? " gradient" : "",
                 options.lowest_target < 0 ? " ignoring" : "", options.mean != 0 ? " far from 0" : "");
  const Fill fill = normal(options.mean, options.deviation);
  c.tensors = {with_gradient ? in_out("logits", Content::activation, {s.R, s.Vp}, fill)
                             : input("logits", Content::activation, {s.R, s.Vp}, fill),
               input("targets", Content::i32, {s.R}, integers(options.lowest_target, s.V)), output("losses", Content::f32, {s.R})};
  c.tensors[0].exact_zeros = with_gradient;
  c.tensors[0].any_columns = true;
  c.tensors[2].exact_zeros = true;
  c.flops = (with_gradient ? 8.0 : 4.0) * static_cast<double>(s.R * s.V);
  c.run = [s, scale](Ops& ops, const Views& v) {
    ops.cross_entropy(
        {.logits = v["logits"], .targets = v["targets"], .vocab_size = s.V, .gradient_scale = scale, .losses = v["losses"]});
  };
  if (!with_gradient) {
    c.reference = [s](Numbers& n) { losses_reference(n, s); };
    return c;
  }
  c.reference = [s, scale](Numbers& n) { gradient_reference(n, s, static_cast<double>(scale)); };
  c.backward.forward = [s](Numbers& n) { losses_reference(n, s); };
  c.backward.from = {{"losses", "", static_cast<double>(scale)}};
  c.backward.to = {{"logits", "logits"}};
  return c;
}

}  // namespace

void add_cross_entropy_cases(std::vector<OpCase>& cases, Size size, const Dimensions& d) {
  if (size == Size::benchmark) {
    const Sizes s = {d.rows(), d.vocab_size, d.padded_vocab_size()};
    cases.push_back(cross_entropy(s, {.gradient_scale = 1.0 / static_cast<double>(s.R)}));
    cases.push_back(cross_entropy(s, {.gradient_scale = 0}));
    return;
  }
  for (const double scale : {0.0, 0.25}) {
    cases.push_back(cross_entropy({1, 3, 8}, {.gradient_scale = scale}));
    cases.push_back(cross_entropy({5, 37, 64}, {.gradient_scale = scale, .lowest_target = -1}));
    cases.push_back(cross_entropy({41, 5003, 5120}, {.gradient_scale = scale}));
    cases.push_back(cross_entropy({3, 2051, 2051}, {.gradient_scale = scale, .mean = -60, .deviation = 8}));
  }
  // Few targets in a small vocabulary, so that many rows have -1.
  cases.push_back(cross_entropy({29, 2, 16}, {.gradient_scale = 1, .lowest_target = -1}));
  // GPT-2's: rows so long that a CUDA block has them copied in several groups.
  cases.push_back(cross_entropy({3, 50257, 50304}, {.gradient_scale = 0.25}));
}

}  // namespace temper
