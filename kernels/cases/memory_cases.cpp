#include "kernels/cases/op_case.h"
#include "kernels/cases/text.h"

namespace temper {

namespace {

OpCase cast(const char* shape_text, Content from, Content to, Shape shape) {
  OpCase c;
  c.op = "cast";
  c.shape = text(shape_text, " ", shape.to_string());
  c.tensors = {input("from", from, shape, normal(0, 1)), output("to", to, shape)};
  c.run = [](Ops& ops, const Views& v) { ops.cast({.from = v["from"], .to = v["to"]}); };
  c.reference = [to](Numbers& n) {
    const auto& source = n["from"];
    auto& target = n["to"];
    for (std::size_t i = 0; i < target.size(); ++i)
      target[i] = to == Content::bf16 ? static_cast<double>(to_float(to_bfloat16(static_cast<float>(source[i])))) : source[i];
  };
  return c;
}

OpCase copy(std::int64_t count) {
  OpCase c;
  c.op = "copy";
  c.shape = text("N=", count);
  c.tensors = {input("from", Content::f32, {count}, normal(0, 1)), output("to", Content::f32, {count})};
  for (TensorSpec& spec : c.tensors) spec.any_shape = true;
  c.run = [](Ops& ops, const Views& v) { ops.copy(v["to"].data, v["from"].data, v["from"].bytes()); };
  c.reference = [](Numbers& n) { n["to"] = n["from"]; };
  return c;
}

OpCase zero(std::int64_t count) {
  OpCase c;
  c.op = "zero";
  c.shape = text("N=", count);
  c.tensors = {output("memory", Content::f32, {count})};
  c.tensors[0].any_shape = true;
  c.tensors[0].exact_zeros = true;
  c.run = [](Ops& ops, const Views& v) { ops.zero(v["memory"].data, v["memory"].bytes()); };
  c.reference = [](Numbers& n) { n["memory"].assign(n["memory"].size(), 0.0); };
  return c;
}

}  // namespace

void add_memory_cases(std::vector<OpCase>& cases, Size size, const Dimensions& d) {
  if (size == Size::benchmark) {
    const Shape head = {d.padded_vocab_size(), d.n_embd};
    cases.push_back(cast("f32 to bf16", Content::f32, Content::bf16, head));
    cases.push_back(cast("bf16 to f32", Content::bf16, Content::f32, head));
    cases.push_back(copy(head.numel()));
    cases.push_back(zero(head.numel()));
    return;
  }
  for (const Shape& shape : {Shape{1}, Shape{3, 37}, Shape{7, 11, 1301}}) {
    cases.push_back(cast("f32 to bf16", Content::f32, Content::bf16, shape));
    cases.push_back(cast("bf16 to f32", Content::bf16, Content::f32, shape));
    cases.push_back(cast("f32 to f32", Content::f32, Content::f32, shape));
  }
  for (const std::int64_t count : {1, 1000, 70001}) {
    cases.push_back(copy(count));
    cases.push_back(zero(count));
  }
}

}  // namespace temper
