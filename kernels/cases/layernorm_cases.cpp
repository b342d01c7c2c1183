#include <cmath>

#include "kernels/cases/op_case.h"
#include "kernels/cases/text.h"

namespace temper {

namespace {

struct Sizes {
  std::int64_t R, C;
};

constexpr double epsilon = 1e-5;

// mean, rstd and out; beta may be empty.
void forward_reference(Numbers& n, const Sizes& s) {
  const auto &x = n["x"], &gamma = n["gamma"], &beta = n["beta"];
  auto &out = n["out"], &mean = n["mean"], &rstd = n["rstd"];
  out.assign(static_cast<std::size_t>(s.R * s.C), 0.0);
  mean.assign(static_cast<std::size_t>(s.R), 0.0);
  rstd.assign(static_cast<std::size_t>(s.R), 0.0);
  for (std::int64_t r = 0; r < s.R; ++r) {
    double sum = 0, squares = 0;
    for (std::int64_t c = 0; c < s.C; ++c) sum += x[r * s.C + c];
    mean[r] = sum / static_cast<double>(s.C);
    for (std::int64_t c = 0; c < s.C; ++c) squares += (x[r * s.C + c] - mean[r]) * (x[r * s.C + c] - mean[r]);
    rstd[r] = 1.0 / std::sqrt(squares / static_cast<double>(s.C) + epsilon);
    for (std::int64_t c = 0; c < s.C; ++c)
      out[r * s.C + c] = (x[r * s.C + c] - mean[r]) * rstd[r] * gamma[c] + (beta.empty() ? 0.0 : beta[c]);
  }
}

TensorSpec x_spec(const Sizes& s) { return input("x", Content::activation, {s.R, s.C}, normal(0.5, 2)); }

OpCase forward(const Sizes& s, bool with_beta) {
  OpCase c;
  c.op = "layernorm_forward";
  c.shape = text("R=", s.R, " C=", s.C, with_beta ? "" : " no beta");
  c.tensors = {x_spec(s), input("gamma", Content::activation, {s.C}, normal(1, 0.2))};
  if (with_beta) c.tensors.push_back(input("beta", Content::activation, {s.C}, normal(0, 0.2)));
  if (with_beta) c.tensors.back().optional = true;
  c.tensors.push_back(output("out", Content::activation, {s.R, s.C}));
  for (const char* name : {"mean", "rstd"}) c.tensors.push_back(output(name, Content::f32, {s.R}));
  c.flops = 8.0 * static_cast<double>(s.R * s.C);
  c.run = [](Ops& ops, const Views& v) {
    ops.layernorm_forward(
        {.x = v["x"], .gamma = v["gamma"], .beta = v["beta"], .out = v["out"], .mean = v["mean"], .rstd = v["rstd"]});
  };
  c.reference = [s](Numbers& n) { forward_reference(n, s); };
  return c;
}

enum class Residual { none, separate, in_place };

OpCase backward(const Sizes& s, bool with_beta, Residual residual, Write write) {
  const bool accumulate = write == Write::accumulate;
  const Shape matrix = {s.R, s.C};
  OpCase c;
  c.op = "layernorm_backward";
  c.shape = text("R=", s.R, " C=", s.C, with_beta ? "" : " no beta", residual == Residual::none ? "" : " + residual",
                 residual == Residual::in_place ? " in place" : "", accumulate ? " accumulate" : "");
  c.tensors = {input("dout", Content::activation, matrix, normal(0, 1)), x_spec(s),
               input("gamma", Content::activation, {s.C}, normal(1, 0.2)), input("mean", Content::f32, {s.R}, normal(0.5, 0.1)),
               input("rstd", Content::f32, {s.R}, normal(0.5, 0.01))};
  if (residual == Residual::separate) c.tensors.push_back(input("dresidual", Content::activation, matrix, normal(0, 1)));
  if (residual == Residual::separate) c.tensors.back().optional = true;
  c.tensors.push_back(residual == Residual::in_place ? in_out("dx", Content::activation, matrix, normal(0, 1))
                                                     : output("dx", Content::activation, matrix));
  for (const char* name : {"dgamma", "dbeta"}) {
    if (name == std::string("dbeta") && !with_beta) continue;
    c.tensors.push_back(accumulate ? in_out(name, Content::f32, {s.C}, normal(0, 1)) : output(name, Content::f32, {s.C}));
  }
  if (with_beta) c.tensors.back().optional = true;
  c.flops = 15.0 * static_cast<double>(s.R * s.C);
  const char* dresidual = residual == Residual::in_place ? "dx" : "dresidual";
  c.run = [dresidual, write](Ops& ops, const Views& v) {
    ops.layernorm_backward({.dout = v["dout"],
                            .x = v["x"],
                            .gamma = v["gamma"],
                            .mean = v["mean"],
                            .rstd = v["rstd"],
                            .dresidual = v[dresidual],
                            .dx = v["dx"],
                            .dgamma = v["dgamma"],
                            .dbeta = v["dbeta"],
                            .write = write});
  };
  c.reference = [s, residual](Numbers& n) {
    const auto &dout = n["dout"], &x = n["x"], &gamma = n["gamma"], &mean = n["mean"], &rstd = n["rstd"];
    const std::vector<double> added =
        residual == Residual::none ? std::vector<double>(x.size()) : n[residual == Residual::in_place ? "dx" : "dresidual"];
    auto &dx = n["dx"], &dgamma = n["dgamma"], &dbeta = n["dbeta"];
    for (std::int64_t r = 0; r < s.R; ++r) {
      double mean_g = 0, mean_gn = 0;
      for (std::int64_t i = 0; i < s.C; ++i) {
        const double normalized = (x[r * s.C + i] - mean[r]) * rstd[r];
        const double gradient = dout[r * s.C + i];
        mean_g += gradient * gamma[i] / static_cast<double>(s.C);
        mean_gn += gradient * gamma[i] * normalized / static_cast<double>(s.C);
        dgamma[i] += gradient * normalized;
        if (!dbeta.empty()) dbeta[i] += gradient;
      }
      for (std::int64_t i = 0; i < s.C; ++i) {
        const double normalized = (x[r * s.C + i] - mean[r]) * rstd[r];
        dx[r * s.C + i] = added[r * s.C + i] + (dout[r * s.C + i] * gamma[i] - mean_g - normalized * mean_gn) * rstd[r];
      }
    }
  };
  c.derive = [s](Numbers& n) { forward_reference(n, s); };
  c.backward.forward = [s, with_beta](Numbers& n) {
    if (with_beta) n["beta"].resize(static_cast<std::size_t>(s.C));
    forward_reference(n, s);
  };
  // With a residual, x goes on beside the norm and dresidual is what comes back along that path.
  c.backward.from = {{"out", "dout"}};
  if (residual != Residual::none) c.backward.from.push_back({"x", dresidual});
  c.backward.to = {{"x", "dx"}, {"gamma", "dgamma", accumulate}};
  if (with_beta) c.backward.to.push_back({"beta", "dbeta", accumulate});
  return c;
}

}  // namespace

void add_layernorm_cases(std::vector<OpCase>& cases, Size size, const Dimensions& d) {
  if (size == Size::benchmark) {
    const Sizes s = {d.rows(), d.n_embd};
    cases.push_back(forward(s, true));
    cases.push_back(backward(s, true, Residual::in_place, Write::accumulate));
    return;
  }
  for (const bool with_beta : {true, false}) {
    for (const Sizes& s : {Sizes{1, 5}, Sizes{7, 33}, Sizes{203, 259}, Sizes{9, 776}, Sizes{3, 2056}})
      cases.push_back(forward(s, with_beta));
  }
  cases.push_back(backward({1, 5}, true, Residual::none, Write::overwrite));
  cases.push_back(backward({7, 33}, true, Residual::separate, Write::accumulate));
  cases.push_back(backward({7, 33}, false, Residual::in_place, Write::overwrite));
  cases.push_back(backward({203, 259}, true, Residual::in_place, Write::accumulate));
  cases.push_back(backward({203, 259}, false, Residual::none, Write::accumulate));
  cases.push_back(backward({2500, 17}, true, Residual::separate, Write::overwrite));  // more rows than parts of fewest rows
  // Rows of whole 16-byte vectors: narrow, of one and of two warps on a GPU, and too wide for its registers.
  cases.push_back(backward({2061, 16}, true, Residual::in_place, Write::accumulate));
  cases.push_back(backward({9, 776}, true, Residual::separate, Write::overwrite));
  cases.push_back(backward({515, 1032}, true, Residual::in_place, Write::accumulate));
  cases.push_back(backward({5, 1600}, false, Residual::none, Write::overwrite));
  cases.push_back(backward({3, 2056}, true, Residual::in_place, Write::accumulate));
}

}  // namespace temper
