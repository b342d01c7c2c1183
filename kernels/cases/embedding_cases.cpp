#include "kernels/cases/op_case.h"
#include "kernels/cases/text.h"

namespace temper {

namespace {

struct Sizes {
  std::int64_t B, T, C, V, n_ctx;
};

// out[b,t,:] = wte[tokens[b,t],:] + wpe[first + t,:]
void forward_reference(Numbers& n, const Sizes& s, std::int64_t first) {
  const auto &tokens = n["tokens"], &wte = n["wte"], &wpe = n["wpe"];
  auto& out = n["out"];
  out.assign(static_cast<std::size_t>(s.B * s.T * s.C), 0.0);
  for (std::int64_t b = 0; b < s.B; ++b)
    for (std::int64_t t = 0; t < s.T; ++t)
      for (std::int64_t c = 0; c < s.C; ++c) {
        const auto token = static_cast<std::int64_t>(tokens[b * s.T + t]);
        out[(b * s.T + t) * s.C + c] = wte[token * s.C + c] + wpe[(first + t) * s.C + c];
      }
}

OpCase forward(const Sizes& s, std::int64_t first) {
  OpCase c;
  c.op = "embedding_forward";
  c.shape = text("B=", s.B, " T=", s.T, " C=", s.C, " V=", s.V, " first=", first);
  c.tensors = {
      input("tokens", Content::i32, {s.B, s.T}, integers(0, s.V)), input("wte", Content::activation, {s.V, s.C}, normal(0, 0.02)),
      input("wpe", Content::activation, {s.n_ctx, s.C}, normal(0, 0.01)), output("out", Content::activation, {s.B, s.T, s.C})};
  c.tensors[1].touched = s.B * s.T * s.C;
  c.tensors[2].touched = s.T * s.C;
  c.flops = static_cast<double>(s.B * s.T * s.C);
  c.run = [first](Ops& ops, const Views& v) {
    ops.embedding_forward({.tokens = v["tokens"], .wte = v["wte"], .wpe = v["wpe"], .first_position = first, .out = v["out"]});
  };
  c.reference = [s, first](Numbers& n) { forward_reference(n, s, first); };
  return c;
}

OpCase backward(const Sizes& s, Write write) {
  const bool accumulate = write == Write::accumulate;
  OpCase c;
  c.op = "embedding_backward";
  c.shape = text("B=", s.B, " T=", s.T, " C=", s.C, " V=", s.V, accumulate ? " accumulate" : "");
  TensorSpec dwte = in_out("dwte", Content::f32, {s.V, s.C}, normal(0, 0.01));
  TensorSpec dwpe =
      accumulate ? in_out("dwpe", Content::f32, {s.n_ctx, s.C}, normal(0, 0.01)) : output("dwpe", Content::f32, {s.n_ctx, s.C});
  dwte.touched = s.B * s.T * s.C;
  dwpe.touched = accumulate ? s.T * s.C : s.n_ctx * s.C;
  dwpe.exact_zeros = true;
  c.tensors = {input("dout", Content::activation, {s.B, s.T, s.C}, normal(0, 0.01)),
               input("tokens", Content::i32, {s.B, s.T}, integers(0, s.V)), dwte, dwpe};
  c.flops = 2.0 * static_cast<double>(s.B * s.T * s.C);
  c.run = [write](Ops& ops, const Views& v) {
    ops.embedding_backward({.dout = v["dout"], .tokens = v["tokens"], .dwte = v["dwte"], .dwpe = v["dwpe"], .write_wpe = write});
  };
  c.reference = [s](Numbers& n) {
    const auto &dout = n["dout"], &tokens = n["tokens"];
    auto &dwte_sum = n["dwte"], &dwpe_sum = n["dwpe"];
    for (std::int64_t b = 0; b < s.B; ++b)
      for (std::int64_t t = 0; t < s.T; ++t)
        for (std::int64_t i = 0; i < s.C; ++i) {
          const double gradient = dout[(b * s.T + t) * s.C + i];
          dwte_sum[static_cast<std::int64_t>(tokens[b * s.T + t]) * s.C + i] += gradient;
          dwpe_sum[t * s.C + i] += gradient;
        }
  };
  c.backward.forward = [s](Numbers& n) {
    n["wte"].resize(static_cast<std::size_t>(s.V * s.C));  // linear in both: any values will do
    n["wpe"].resize(static_cast<std::size_t>(s.n_ctx * s.C));
    forward_reference(n, s, 0);
  };
  c.backward.from = {{"out", "dout"}};
  c.backward.to = {{"wte", "dwte", true}, {"wpe", "dwpe", accumulate}};
  return c;
}

}  // namespace

void add_embedding_cases(std::vector<OpCase>& cases, Size size, const Dimensions& d) {
  if (size == Size::benchmark) {
    const Sizes s = {d.batch, d.length, d.n_embd, d.padded_vocab_size(), d.n_ctx};
    cases.push_back(forward(s, 0));
    cases.push_back(backward(s, Write::overwrite));
    return;
  }
  cases.push_back(forward({1, 1, 7, 5, 4}, 3));
  cases.push_back(forward({2, 5, 19, 37, 9}, 0));
  cases.push_back(forward({3, 70, 131, 300, 90}, 20));
  cases.push_back(forward({3, 7, 264, 300, 9}, 1));  // rows of whole 16-byte vectors, as below
  for (const Write write : {Write::overwrite, Write::accumulate}) {
    cases.push_back(backward({1, 1, 7, 5, 4}, write));
    cases.push_back(backward({2, 5, 19, 7, 9}, write));  // few tokens: rows are hit again and again
    cases.push_back(backward({3, 70, 131, 300, 70}, write));
    cases.push_back(backward({3, 70, 264, 5, 71}, write));
    cases.push_back(backward({3, 711, 8, 300, 711}, write));  // more tokens than one block sorts
  }
}

}  // namespace temper
