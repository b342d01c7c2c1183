#include <algorithm>
#include <cmath>

#include "kernels/cases/op_case.h"
#include "kernels/cases/text.h"

namespace temper {

namespace {

struct Sizes {
  std::int64_t B, T, H, D;

  std::int64_t C() const { return H * D; }
  std::int64_t row(std::int64_t b, std::int64_t t) const { return b * T + t; }
  /// Where query (0), key (1) or value (2) of a head at a position begins in qkv [B,T,3,H,D].
  std::int64_t at(std::int64_t which, std::int64_t b, std::int64_t t, std::int64_t h) const {
    return (row(b, t) * 3 + which) * C() + h * D;
  }
  Shape packed() const { return {B, T, 3 * C()}; }
  Shape plain() const { return {B, T, C()}; }
  std::string text() const { return temper::text("B=", B, " T=", T, " H=", H, " D=", D); }
  /// Multiplications and additions of one product over the causal half.
  double product() const { return static_cast<double>(B * H) * static_cast<double>(T * (T + 1)) * static_cast<double>(D); }
};

double dot(const double* a, const double* b, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// Softmax over scores[0 .. count); returns the logarithm of its denominator.
double softmax(std::vector<double>& scores) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (const double score : scores) total += std::exp(score - largest);
  const double lse = largest + std::log(total);
  for (double& score : scores) score = std::exp(score - lse);
  return lse;
}

// Scores of one query over the keys 0 .. t of its head.
std::vector<double> scores_of(const std::vector<double>& qkv, const Sizes& s, std::int64_t b, std::int64_t t, std::int64_t h) {
  std::vector<double> scores(static_cast<std::size_t>(t + 1));
  for (std::int64_t u = 0; u <= t; ++u)
    scores[u] = dot(&qkv[s.at(0, b, t, h)], &qkv[s.at(1, b, u, h)], s.D) / std::sqrt(static_cast<double>(s.D));
  return scores;
}

void forward_reference(Numbers& n, const Sizes& s) {
  const auto& qkv = n["qkv"];
  auto &out = n["out"], &lse = n["lse"];
  out.assign(static_cast<std::size_t>(s.B * s.T * s.C()), 0.0);
  lse.assign(static_cast<std::size_t>(s.B * s.H * s.T), 0.0);
  for (std::int64_t b = 0; b < s.B; ++b)
    for (std::int64_t h = 0; h < s.H; ++h)
      for (std::int64_t t = 0; t < s.T; ++t) {
        std::vector<double> weights = scores_of(qkv, s, b, t, h);
        lse[(b * s.H + h) * s.T + t] = softmax(weights);
        for (std::int64_t u = 0; u <= t; ++u)
          for (std::int64_t i = 0; i < s.D; ++i) out[s.row(b, t) * s.C() + h * s.D + i] += weights[u] * qkv[s.at(2, b, u, h) + i];
      }
}

// dV = P^T dO, dP = dO V^T, dS = P (dP - <dO, O>), dQ = dS K / sqrt(D), dK = dS^T Q / sqrt(D).
void backward_reference(Numbers& n, const Sizes& s) {
  const auto &dout = n["dout"], &qkv = n["qkv"], &out = n["out"], &lse = n["lse"];
  auto& dqkv = n["dqkv"];
  const double scale = 1.0 / std::sqrt(static_cast<double>(s.D));
  for (std::int64_t b = 0; b < s.B; ++b)
    for (std::int64_t h = 0; h < s.H; ++h)
      for (std::int64_t t = 0; t < s.T; ++t) {
        const double* upstream = &dout[s.row(b, t) * s.C() + h * s.D];
        const double delta = dot(upstream, &out[s.row(b, t) * s.C() + h * s.D], s.D);
        const std::vector<double> scores = scores_of(qkv, s, b, t, h);
        for (std::int64_t u = 0; u <= t; ++u) {
          const double probability = std::exp(scores[u] - lse[(b * s.H + h) * s.T + t]);
          const double dscore = probability * (dot(upstream, &qkv[s.at(2, b, u, h)], s.D) - delta);
          for (std::int64_t i = 0; i < s.D; ++i) {
            dqkv[s.at(0, b, t, h) + i] += scale * dscore * qkv[s.at(1, b, u, h) + i];
            dqkv[s.at(1, b, u, h) + i] += scale * dscore * qkv[s.at(0, b, t, h) + i];
            dqkv[s.at(2, b, u, h) + i] += probability * upstream[i];
          }
        }
      }
}

OpCase forward(const Sizes& s, double deviation) {
  OpCase c;
  c.op = "attention_forward";
  c.shape = s.text() + (deviation > 1 ? " sharp" : "");
  c.tensors = {input("qkv", Content::activation, s.packed(), normal(0, deviation)), output("out", Content::activation, s.plain()),
               output("lse", Content::f32, {s.B, s.H, s.T})};
  c.flops = 2 * s.product();
  c.run = [s](Ops& ops, const Views& v) {
    ops.attention_forward({.qkv = v["qkv"], .n_head = s.H, .out = v["out"], .lse = v["lse"]});
  };
  c.reference = [s](Numbers& n) { forward_reference(n, s); };
  return c;
}

OpCase backward(const Sizes& s, double deviation) {
  OpCase c;
  c.op = "attention_backward";
  c.shape = s.text() + (deviation > 1 ? " sharp" : "");
  c.tensors = {input("dout", Content::activation, s.plain(), normal(0, 1)),
               input("qkv", Content::activation, s.packed(), normal(0, deviation)),
               input("out", Content::activation, s.plain(), normal(0, 0.1)),
               input("lse", Content::f32, {s.B, s.H, s.T}, normal(std::log(static_cast<double>(s.T)), 0.1)),
               output("dqkv", Content::activation, s.packed())};
  c.flops = 5 * s.product();
  c.run = [s](Ops& ops, const Views& v) {
    ops.attention_backward(
        {.dout = v["dout"], .qkv = v["qkv"], .out = v["out"], .lse = v["lse"], .n_head = s.H, .dqkv = v["dqkv"]});
  };
  c.reference = [s](Numbers& n) { backward_reference(n, s); };
  c.derive = [s](Numbers& n) { forward_reference(n, s); };
  c.backward.forward = c.derive;
  c.backward.from = {{"out", "dout"}};
  c.backward.to = {{"qkv", "dqkv"}};
  return c;
}

// `s.T` new positions after `start` old ones.
OpCase cached(const Sizes& s, std::int64_t start, std::int64_t n_ctx) {
  const Shape cache = {s.B, n_ctx, s.C()};
  OpCase c;
  c.op = "attention_cached";
  c.shape = s.text() + text(" start=", start, " n_ctx=", n_ctx);
  c.tensors = {input("qkv", Content::activation, s.packed(), normal(0, 1)),
               in_out("key_cache", Content::activation, cache, normal(0, 1)),
               in_out("value_cache", Content::activation, cache, normal(0, 1)), output("out", Content::activation, s.plain())};
  for (TensorSpec& spec : c.tensors)
    if (spec.role == Role::in_out) spec.touched = s.B * (start + s.T) * s.C() / 2;  // read once, hardly written
  c.flops = 4.0 * static_cast<double>(s.B * s.T * s.C()) * static_cast<double>(start + s.T);
  c.run = [s, start](Ops& ops, const Views& v) {
    ops.attention_cached({.qkv = v["qkv"],
                          .n_head = s.H,
                          .start = start,
                          .key_cache = v["key_cache"],
                          .value_cache = v["value_cache"],
                          .out = v["out"]});
  };
  c.reference = [s, start, n_ctx](Numbers& n) {
    const auto& qkv = n["qkv"];
    auto &keys = n["key_cache"], &cached_values = n["value_cache"], &out = n["out"];
    const std::int64_t C = s.C();
    for (std::int64_t b = 0; b < s.B; ++b)
      for (std::int64_t t = 0; t < s.T; ++t)
        for (std::int64_t i = 0; i < C; ++i) {
          keys[(b * n_ctx + start + t) * C + i] = qkv[s.at(1, b, t, 0) + i];
          cached_values[(b * n_ctx + start + t) * C + i] = qkv[s.at(2, b, t, 0) + i];
        }
    for (std::int64_t b = 0; b < s.B; ++b)
      for (std::int64_t h = 0; h < s.H; ++h)
        for (std::int64_t t = 0; t < s.T; ++t) {
          std::vector<double> weights(static_cast<std::size_t>(start + t + 1));
          for (std::int64_t u = 0; u <= start + t; ++u)
            weights[u] =
                dot(&qkv[s.at(0, b, t, h)], &keys[(b * n_ctx + u) * C + h * s.D], s.D) / std::sqrt(static_cast<double>(s.D));
          softmax(weights);
          for (std::int64_t u = 0; u <= start + t; ++u)
            for (std::int64_t i = 0; i < s.D; ++i)
              out[s.row(b, t) * C + h * s.D + i] += weights[u] * cached_values[(b * n_ctx + u) * C + h * s.D + i];
        }
  };
  return c;
}

}  // namespace

void add_attention_cases(std::vector<OpCase>& cases, Size size, const Dimensions& d) {
  if (size == Size::benchmark) {
    const Sizes s = {d.batch, d.length, d.n_head, d.n_embd / d.n_head};
    cases.push_back(forward(s, 1));
    cases.push_back(backward(s, 1));
    cases.push_back(cached({d.batch, 1, s.H, s.D}, d.length - 1, d.n_ctx));
    return;
  }
  std::vector<Sizes> sizes = {{1, 1, 1, 8}, {2, 7, 3, 5}, {1, 131, 1, 64}, {2, 67, 3, 20}, {1, 66, 1, 70}};
  // The ends of tiles of 64 and 128 positions, for every head size that GPUs have tensor-core kernels for.
  for (const std::int64_t T : {1, 63, 64, 65, 127, 128}) sizes.push_back({1, T, 1, 64});
  // With twice as many pairs as the emulated GPU has multiprocessors, so in one pass: within a tile of keys, at its end, over several.
  for (const std::int64_t T : {1, 129, 200}) sizes.push_back({2, T, 2, 64});
  sizes.push_back({2, 257, 2, 64});
  sizes.push_back({2, 130, 2, 32});
  sizes.push_back({1, 97, 2, 32});
  sizes.push_back({1, 97, 1, 128});
  for (const Sizes& s : sizes) {
    cases.push_back(forward(s, 1));
    cases.push_back(backward(s, 1));
  }
  cases.push_back(forward({1, 70, 2, 16}, 3));
  cases.push_back(backward({1, 70, 2, 16}, 3));
  cases.push_back(cached({1, 1, 1, 8}, 0, 3));
  cases.push_back(cached({2, 1, 3, 5}, 9, 16));
  cases.push_back(cached({2, 11, 2, 16}, 130, 141));
  cases.push_back(cached({1, 5, 2, 20}, 0, 9));
  cases.push_back(cached({1, 70, 1, 64}, 0, 80));
  cases.push_back(cached({2, 2, 2, 64}, 63, 65));
  cases.push_back(cached({1, 2, 1, 131}, 70, 72));  // more columns than a block has threads
}

}  // namespace temper
