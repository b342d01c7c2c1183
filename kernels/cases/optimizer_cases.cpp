#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cases/op_case.h"
#include "kernels/cases/text.h"

namespace temper {

namespace {

// Places in StepScalars.
enum Scalar { learning_rate, schedule, bias_correction1, bias_correction2, loss, gradient_norm, clip_factor, finite };

struct Segment {
  std::int64_t rows, columns;
  double learning_rate_scale, weight_decay;
};

std::int64_t padded(std::int64_t elements) { return (elements + 63) / 64 * 64; }

// The segments one after another, each from a multiple of 64, as the tensor of their members.
std::vector<double> lay_out(const std::vector<Segment>& segments, std::int64_t* elements, std::int64_t* updated) {
  std::vector<double> table;
  *elements = *updated = 0;
  for (const Segment& each : segments) {
    table.insert(table.end(), {static_cast<double>(*elements), static_cast<double>(each.rows), static_cast<double>(each.columns),
                               each.learning_rate_scale, each.weight_decay});
    *elements += padded(each.rows * each.columns);
    *updated += each.rows * each.columns;
  }
  return table;
}

// PyTorch's AdamW, as torch.optim documents it.
void adamw_reference(Numbers& n, const AdamW& rule) {
  const auto &segments = n["segments"], &scalars = n["scalars"], &gradients = n["gradient"];
  auto &master = n["master"], &first = n["state0"], &second = n["state1"], &low_precision = n["low_precision"];
  if (scalars[finite] == 0) return;
  const double beta1 = static_cast<double>(rule.beta1), beta2 = static_cast<double>(rule.beta2);
  for (std::size_t segment = 0; segment < segments.size(); segment += 5) {
    const auto begin = static_cast<std::int64_t>(segments[segment]);
    const auto count = static_cast<std::int64_t>(segments[segment + 1] * segments[segment + 2]);
    const double rate = scalars[learning_rate] * segments[segment + 3];
    const double weight_decay = segments[segment + 4];
    for (std::int64_t i = begin; i < begin + count; ++i) {
      const double gradient = gradients[i] * scalars[clip_factor];
      first[i] = beta1 * first[i] + (1 - beta1) * gradient;
      second[i] = beta2 * second[i] + (1 - beta2) * gradient * gradient;
      const double root = std::sqrt(second[i] / scalars[bias_correction2]) + static_cast<double>(rule.epsilon);
      master[i] -= rate * weight_decay * master[i];
      master[i] -= rate * first[i] / scalars[bias_correction1] / root;
      if (!low_precision.empty()) low_precision[i] = master[i];
    }
  }
}

OpCase adamw(const std::vector<Segment>& segments, bool is_finite) {
  const AdamW rule;
  std::int64_t elements = 0, updated = 0;
  const std::vector<double> table = lay_out(segments, &elements, &updated);
  const auto count = static_cast<std::int64_t>(segments.size());
  OpCase c;
  c.op = "optimizer_update";
  c.shape = text("AdamW, ", updated, " parameters in ", count, " tensors", is_finite ? "" : ", not finite");
  // Scalars of step 7 at rate 3e-4, gradients clipped to a third.
  const std::vector<double> scalars = {3e-4, 1, 1 - std::pow(0.9, 7), 1 - std::pow(0.95, 7), 4, 3, 1.0 / 3, is_finite ? 1.0 : 0.0};
  const Shape flat = {elements};
  // The second moment starts at a constant: never negative.
  c.tensors = {in_out("master", Content::f32, flat, normal(0, 0.02)),
               input("gradient", Content::f32, flat, normal(0, 1e-3)),
               in_out("state0", Content::f32, flat, normal(0, 1e-4)),
               in_out("state1", Content::f32, flat, normal(1e-6, 1e-7)),
               in_out("low_precision", Content::low_precision, flat, normal(0, 0.02)),
               input("segments", Content::segments, {count, 5}, values(table)),
               input("scalars", Content::step_scalars, {8}, values(scalars))};
  for (TensorSpec& spec : c.tensors)
    if (spec.shape == flat) spec.touched = spec.content == Content::low_precision ? updated / 2 : updated;  // written only
  c.flops = 15.0 * static_cast<double>(updated);
  c.run = [rule, count](Ops& ops, const Views& v) {
    UpdateBuffers buffers;
    buffers.master = v["master"].as<float>();
    buffers.gradient = v["gradient"].as<float>();
    buffers.state[0] = v["state0"].as<float>();
    buffers.state[1] = v["state1"].as<float>();
    buffers.low_precision = v["low_precision"].as<bfloat16>();
    ops.optimizer_update(rule, buffers, v["segments"].as<ParameterSegment>(), count, v["scalars"].as<StepScalars>());
  };
  c.reference = [rule](Numbers& n) { adamw_reference(n, rule); };
  return c;
}

OpCase global_norm(std::int64_t count, double max_norm) {
  OpCase c;
  c.op = "global_norm";
  c.shape = text("N=", count, " max_norm=", max_norm);
  const std::vector<double> before = {3e-4, 1, 0.5, 0.3, 4, -1, -1, -1};
  c.tensors = {input("gradients", Content::f32, {count}, normal(0, 1e-2)),
               in_out("scalars", Content::step_scalars, {8}, values(before))};
  c.tensors[0].any_shape = true;
  c.flops = 2.0 * static_cast<double>(count);
  c.run = [max_norm](Ops& ops, const Views& v) {
    ops.global_norm(v["gradients"], static_cast<float>(max_norm), v["scalars"].as<StepScalars>());
  };
  c.reference = [max_norm](Numbers& n) {
    auto& scalars = n["scalars"];
    double squares = 0;
    for (const double gradient : n["gradients"]) squares += gradient * gradient;
    scalars[gradient_norm] = std::sqrt(squares);
    scalars[clip_factor] = max_norm > 0 ? std::min(1.0, max_norm / scalars[gradient_norm]) : 1.0;
    scalars[finite] = 1;
  };
  return c;
}

OpCase sum(std::int64_t count, Write write) {
  const bool accumulate = write == Write::accumulate;
  OpCase c;
  c.op = "sum";
  c.shape = text("N=", count, accumulate ? " accumulate" : "");
  c.tensors = {input("x", Content::f32, {count}, normal(3, 1)),
               accumulate ? in_out("out", Content::f32, {1}, normal(3, 1)) : output("out", Content::f32, {1})};
  c.tensors[0].any_shape = true;
  const float scale = 0.125f;
  c.flops = static_cast<double>(count);
  c.run = [scale, write](Ops& ops, const Views& v) { ops.sum(v["x"], scale, write, v["out"]); };
  c.reference = [scale](Numbers& n) {
    for (const double value : n["x"]) n["out"][0] += static_cast<double>(scale) * value;
  };
  return c;
}

// GPT-2's parameter tensors: embeddings and matrices decay, vectors do not.
std::vector<Segment> gpt2_segments(const Dimensions& d) {
  const std::int64_t C = d.n_embd;
  std::vector<Segment> segments = {{d.padded_vocab_size(), C, 1, 0.1}, {d.n_ctx, C, 1, 0.1}};
  for (std::int64_t layer = 0; layer < d.layers; ++layer) {
    for (const std::int64_t length : {C, C, 3 * C, C, C, C, 4 * C, C}) segments.push_back({1, length, 1, 0});
    for (const std::int64_t outputs : {3 * C, C, 4 * C}) segments.push_back({outputs, C, 1, 0.1});
    segments.push_back({C, 4 * C, 1, 0.1});
  }
  segments.push_back({1, C, 1, 0});
  segments.push_back({1, C, 1, 0});
  return segments;
}

}  // namespace

void add_optimizer_cases(std::vector<OpCase>& cases, Size size, const Dimensions& d) {
  if (size == Size::benchmark) {
    std::int64_t elements = 0, updated = 0;
    const std::vector<Segment> segments = gpt2_segments(d);
    lay_out(segments, &elements, &updated);
    cases.push_back(adamw(segments, true));
    cases.push_back(global_norm(elements, 1));
    cases.push_back(sum(d.rows(), Write::overwrite));
    return;
  }
  cases.push_back(adamw({{1, 1, 1, 0}}, true));
  cases.push_back(adamw({{7, 19, 1, 0.1}, {1, 33, 0.5, 0}, {131, 257, 1, 0.1}}, true));
  cases.push_back(adamw({{7, 19, 1, 0.1}, {1, 33, 0.5, 0}}, false));
  for (const double max_norm : {0.0, 0.01, 1000.0}) cases.push_back(global_norm(1, max_norm));
  for (const double max_norm : {0.0, 1.0, 1000.0}) cases.push_back(global_norm(100003, max_norm));
  for (const Write write : {Write::overwrite, Write::accumulate})
    for (const std::int64_t count : {1, 1000, 100003}) cases.push_back(sum(count, write));
}

}  // namespace temper
