#include <cmath>
#include <numbers>

#include "kernels/cases/op_case.h"
#include "kernels/cases/text.h"

namespace temper {

namespace {

struct Sizes {
  std::int64_t R, N, K;

  double flops() const { return 2.0 * static_cast<double>(R) * static_cast<double>(N) * static_cast<double>(K); }
  std::string text() const { return temper::text("R=", R, " N=", N, " K=", K); }
};

double gelu_tanh(double z) { return std::tanh(std::sqrt(2.0 / std::numbers::pi) * (z + 0.044715 * z * z * z)); }

double gelu(double z) { return 0.5 * z * (1.0 + gelu_tanh(z)); }

double gelu_derivative(double z) {
  const double tanh_z = gelu_tanh(z);
  return 0.5 * (1.0 + tanh_z) +
         0.5 * z * (1.0 - tanh_z * tanh_z) * std::sqrt(2.0 / std::numbers::pi) * (1.0 + 3.0 * 0.044715 * z * z);
}

// y[R,N] = x[R,K] W[N,K]^T
void multiply(const std::vector<double>& x, const std::vector<double>& weight, std::vector<double>& y, const Sizes& s) {
  y.assign(static_cast<std::size_t>(s.R * s.N), 0.0);
  for (std::int64_t r = 0; r < s.R; ++r)
    for (std::int64_t i = 0; i < s.N; ++i)
      for (std::int64_t k = 0; k < s.K; ++k) y[r * s.N + i] += x[r * s.K + k] * weight[i * s.K + k];
}

TensorSpec weight_spec(const Sizes& s) {
  return input("weight", Content::activation, {s.N, s.K}, normal(0, 1.0 / std::sqrt(static_cast<double>(s.K))));
}

void register_weight(Ops& ops, const Views& v) { ops.register_weight(v["weight"]); }

OpCase forward(const Sizes& s, Epilogue epilogue, bool with_bias, bool with_residual = false) {
  const bool with_gelu = epilogue == Epilogue::bias_gelu;
  OpCase c;
  c.op = "linear_forward";
  c.shape = s.text() + (with_bias ? " bias" : "") + (with_gelu ? " gelu" : "") + (with_residual ? " residual" : "");
  c.tensors = {input("x", Content::activation, {s.R, s.K}, normal(0, 1)), weight_spec(s)};
  if (with_bias) c.tensors.push_back(input("bias", Content::activation, {s.N}, normal(0, 0.5)));
  if (with_bias) c.tensors.back().optional = with_gelu;
  if (with_residual) c.tensors.push_back(input("residual", Content::activation, {s.R, s.N}, normal(0, 2)));
  if (with_residual) c.tensors.back().optional = true;
  c.tensors.push_back(output("y", Content::activation, {s.R, s.N}));
  if (with_gelu) c.tensors.push_back(output("pre", Content::activation, {s.R, s.N}));
  c.flops = s.flops();
  c.prepare = register_weight;
  c.run = [epilogue](Ops& ops, const Views& v) {
    ops.linear_forward({.x = v["x"],
                        .weight = v["weight"],
                        .bias = v["bias"],
                        .residual = v["residual"],
                        .epilogue = epilogue,
                        .y = v["y"],
                        .pre = v["pre"]});
  };
  c.reference = [s, with_gelu](Numbers& n) {
    auto &y = n["y"], &pre = n["pre"], &bias = n["bias"], &residual = n["residual"];
    multiply(n["x"], n["weight"], y, s);
    for (std::int64_t i = 0; i < s.R * s.N && !bias.empty(); ++i) y[i] += bias[i % s.N];
    for (std::size_t i = 0; i < residual.size(); ++i) y[i] += residual[i];
    if (!with_gelu) return;
    pre = y;
    for (double& value : y) value = gelu(value);
  };
  return c;
}

OpCase gelu_alone(std::int64_t R, std::int64_t C) {
  OpCase c;
  c.op = "gelu";
  c.shape = text("R=", R, " C=", C);
  c.tensors = {input("pre", Content::activation, {R, C}, normal(0, 2)), output("y", Content::activation, {R, C})};
  c.flops = 10.0 * static_cast<double>(R * C);
  c.run = [](Ops& ops, const Views& v) { ops.gelu({.pre = v["pre"], .y = v["y"]}); };
  c.reference = [](Numbers& n) {
    const auto& pre = n["pre"];
    for (std::size_t i = 0; i < pre.size(); ++i) n["y"][i] = gelu(pre[i]);
  };
  return c;
}

OpCase backward_input(const Sizes& s, bool with_pre) {
  OpCase c;
  c.op = "linear_backward_input";
  c.shape = s.text() + (with_pre ? " gelu" : "");
  c.tensors = {input("dy", Content::activation, {s.R, s.N}, normal(0, 0.1)), weight_spec(s)};
  if (with_pre) c.tensors.push_back(input("pre", Content::activation, {s.R, s.K}, normal(0, 1)));
  if (with_pre) c.tensors.back().optional = true;
  c.tensors.push_back(output("dx", Content::activation, {s.R, s.K}));
  c.flops = s.flops();
  c.prepare = register_weight;
  c.run = [](Ops& ops, const Views& v) {
    ops.linear_backward_input({.dy = v["dy"], .weight = v["weight"], .pre = v["pre"], .dx = v["dx"]});
  };
  c.reference = [s](Numbers& n) {
    const auto &dy = n["dy"], &weight = n["weight"], &pre = n["pre"];
    auto& dx = n["dx"];
    for (std::int64_t r = 0; r < s.R; ++r)
      for (std::int64_t i = 0; i < s.N; ++i)
        for (std::int64_t k = 0; k < s.K; ++k) dx[r * s.K + k] += dy[r * s.N + i] * weight[i * s.K + k];
    for (std::size_t i = 0; i < dx.size() && !pre.empty(); ++i) dx[i] *= gelu_derivative(pre[i]);
  };
  // With `pre`, the layer's input is gelu(pre) and dx is the gradient for pre.
  const std::string source = with_pre ? "pre" : "x";
  c.backward.forward = [s, source](Numbers& n) {
    auto& from = n[source];
    from.resize(static_cast<std::size_t>(s.R * s.K));
    std::vector<double> x = from;
    if (source == "pre")
      for (double& value : x) value = gelu(value);
    multiply(x, n["weight"], n["y"], s);
  };
  c.backward.from = {{"y", "dy"}};
  c.backward.to = {{source, "dx"}};
  return c;
}

OpCase backward_weight(const Sizes& s, bool with_bias, Write write) {
  const bool accumulate = write == Write::accumulate;
  OpCase c;
  c.op = "linear_backward_weight";
  c.shape = s.text() + (with_bias ? " bias" : "") + (accumulate ? " accumulate" : "");
  auto gradient = [&](const char* name, Shape shape) {
    return accumulate ? in_out(name, Content::f32, shape, normal(0, 1)) : output(name, Content::f32, shape);
  };
  c.tensors = {input("dy", Content::activation, {s.R, s.N}, normal(0, 0.1)),
               input("x", Content::activation, {s.R, s.K}, normal(0, 1)), gradient("dw", {s.N, s.K})};
  if (with_bias) c.tensors.push_back(gradient("dbias", {s.N}));
  if (with_bias) c.tensors.back().optional = true;
  c.flops = s.flops();
  c.run = [write](Ops& ops, const Views& v) {
    ops.linear_backward_weight({.dy = v["dy"], .x = v["x"], .dw = v["dw"], .dbias = v["dbias"], .write = write});
  };
  c.reference = [s](Numbers& n) {
    const auto &dy = n["dy"], &x = n["x"];
    auto &dw = n["dw"], &dbias = n["dbias"];
    for (std::int64_t r = 0; r < s.R; ++r)
      for (std::int64_t i = 0; i < s.N; ++i) {
        if (!dbias.empty()) dbias[i] += dy[r * s.N + i];
        for (std::int64_t k = 0; k < s.K; ++k) dw[i * s.K + k] += dy[r * s.N + i] * x[r * s.K + k];
      }
  };
  c.backward.forward = [s, with_bias](Numbers& n) {
    n["weight"].resize(static_cast<std::size_t>(s.N * s.K));  // linear in both: any values will do
    n["bias"].resize(static_cast<std::size_t>(s.N));
    multiply(n["x"], n["weight"], n["y"], s);
    for (std::int64_t i = 0; i < s.R * s.N && with_bias; ++i) n["y"][i] += n["bias"][i % s.N];
  };
  c.backward.from = {{"y", "dy"}};
  c.backward.to = {{"weight", "dw", accumulate}};
  if (with_bias) c.backward.to.push_back({"bias", "dbias", accumulate});
  return c;
}

// The five products of a GPT-2 step, forward and both ways back.
void add_benchmarks(std::vector<OpCase>& cases, const Dimensions& d) {
  const std::int64_t R = d.rows(), C = d.n_embd;
  const Sizes qkv = {R, 3 * C, C}, projection = {R, C, C}, wide = {R, 4 * C, C}, narrow = {R, C, 4 * C};
  const Sizes head = {R, d.padded_vocab_size(), C};
  cases.push_back(forward(qkv, Epilogue::bias, true));
  cases.push_back(forward(projection, Epilogue::bias, true, true));
  cases.push_back(forward(wide, Epilogue::bias_gelu, true));
  cases.push_back(forward(narrow, Epilogue::bias, true, true));
  cases.push_back(forward(head, Epilogue::none, false));
  cases.push_back(gelu_alone(R, 4 * C));
  cases.push_back(backward_input(qkv, false));
  cases.push_back(backward_input(projection, false));
  cases.push_back(backward_input(wide, false));
  cases.push_back(backward_input(narrow, true));
  cases.push_back(backward_input(head, false));
  for (const Sizes& s : {qkv, projection, wide, narrow}) cases.push_back(backward_weight(s, true, Write::accumulate));
  cases.push_back(backward_weight(head, false, Write::accumulate));
}

}  // namespace

void add_linear_cases(std::vector<OpCase>& cases, Size size, const Dimensions& d) {
  if (size == Size::benchmark) return add_benchmarks(cases, d);
  for (const Sizes& s : {Sizes{1, 5, 3}, Sizes{33, 45, 71}, Sizes{131, 133, 260}}) {
    cases.push_back(forward(s, Epilogue::none, false));
    cases.push_back(forward(s, Epilogue::bias, true));
    cases.push_back(forward(s, Epilogue::bias, true, true));
    cases.push_back(forward(s, Epilogue::bias_gelu, true));
    cases.push_back(backward_input(s, false));
    cases.push_back(backward_input(s, true));
    cases.push_back(backward_weight(s, true, Write::overwrite));
    cases.push_back(backward_weight(s, true, Write::accumulate));
  }
  const Sizes whole = {72, 136, 40};  // of whole 16-byte vectors, which the library's epilogues ask for
  cases.push_back(forward(whole, Epilogue::bias_gelu, true));
  cases.push_back(backward_input(whole, true));
  cases.push_back(backward_weight(whole, true, Write::overwrite));
  cases.push_back(forward({33, 45, 71}, Epilogue::bias_gelu, false));
  cases.push_back(forward({33, 45, 71}, Epilogue::none, false, true));
  cases.push_back(forward({131, 136, 72}, Epilogue::bias, true, true));  // whole 16-byte vectors
  // What the CPU reads where it lies, with a last tile that is not whole; in several passes over the depth; and what is packed.
  for (const Sizes& s : {Sizes{67, 100, 96}, Sizes{37, 64, 512}, Sizes{30, 40, 640}}) {
    cases.push_back(forward(s, Epilogue::bias, true, true));
    cases.push_back(backward_input(s, true));
    cases.push_back(backward_weight(s, true, Write::accumulate));
  }
  cases.push_back(gelu_alone(1, 5));
  cases.push_back(gelu_alone(17, 301));
  cases.push_back(backward_weight({33, 45, 71}, false, Write::overwrite));
  cases.push_back(backward_weight({33, 45, 71}, false, Write::accumulate));
  cases.push_back(backward_weight({190, 264, 8}, true, Write::accumulate));  // whole 16-byte vectors
}

}  // namespace temper
