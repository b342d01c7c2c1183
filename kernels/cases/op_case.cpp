#include "kernels/cases/op_case.h"

#include <sstream>
#include <utility>

#include "kernels/cases/text.h"

namespace temper {

TextPart::TextPart(double number) {
  std::ostringstream digits;
  digits << number;
  text = digits.str();
}

std::string joined(std::initializer_list<TextPart> parts) {
  std::string all;
  for (const TextPart& part : parts) all += part.text;
  return all;
}

Fill normal(double mean, double deviation) {
  Fill fill;
  fill.kind = Fill::Kind::normal;
  fill.mean = mean;
  fill.deviation = deviation;
  return fill;
}

Fill integers(std::int64_t lowest, std::int64_t end) {
  Fill fill;
  fill.kind = Fill::Kind::integers;
  fill.lowest = lowest;
  fill.end = end;
  return fill;
}

Fill values(std::vector<double> all) {
  Fill fill;
  fill.kind = Fill::Kind::values;
  fill.values = std::move(all);
  return fill;
}

namespace {

TensorSpec tensor(std::string_view name, Role role, Content content, Shape shape, Fill fill) {
  TensorSpec spec;
  spec.name = name;
  spec.role = role;
  spec.content = content;
  spec.shape = shape;
  spec.fill = std::move(fill);
  return spec;
}

}  // namespace

TensorSpec input(std::string_view name, Content content, Shape shape, Fill fill) {
  return tensor(name, Role::input, content, shape, std::move(fill));
}

TensorSpec output(std::string_view name, Content content, Shape shape) { return tensor(name, Role::output, content, shape, {}); }

TensorSpec in_out(std::string_view name, Content content, Shape shape, Fill fill) {
  return tensor(name, Role::in_out, content, shape, std::move(fill));
}

TensorView Views::operator[](std::string_view name) const {
  const auto found = views_.find(name);
  return found == views_.end() ? TensorView{} : found->second;
}

std::vector<double>& Numbers::operator[](std::string_view name) {
  const auto found = numbers_.find(name);
  return found != numbers_.end() ? found->second : numbers_[std::string(name)];
}

bool Numbers::present(std::string_view name) const {
  const auto found = numbers_.find(name);
  return found != numbers_.end() && !found->second.empty();
}

double Numbers::rounded(double value) const {
  if (!rounds_) return value;
  const auto single = static_cast<float>(value);
  return static_cast<double>(activation_ == DType::bf16 ? to_float(to_bfloat16(single)) : single);
}

bool OpCase::has_activations() const {
  for (const TensorSpec& spec : tensors)
    if (spec.content == Content::activation || spec.content == Content::low_precision) return true;
  return false;
}

double OpCase::bytes(DType activation) const {
  double total = 0;
  for (const TensorSpec& spec : tensors) {
    double element = 4;
    if (spec.content == Content::activation) element = static_cast<double>(size_of(activation));
    if (spec.content == Content::bf16) element = 2;
    if (spec.content == Content::f64) element = 8;
    if (spec.content == Content::low_precision) element = activation == DType::bf16 ? 2 : 0;
    const double count = static_cast<double>(spec.touched >= 0 ? spec.touched : spec.shape.numel());
    total += element * count * (spec.role == Role::in_out ? 2 : 1);
  }
  return total;
}

std::vector<OpCase> all_cases(Size size, const Dimensions& dimensions) {
  std::vector<OpCase> cases;
  add_embedding_cases(cases, size, dimensions);
  add_layernorm_cases(cases, size, dimensions);
  add_linear_cases(cases, size, dimensions);
  add_attention_cases(cases, size, dimensions);
  add_cross_entropy_cases(cases, size, dimensions);
  add_optimizer_cases(cases, size, dimensions);
  add_diagnostic_cases(cases, size, dimensions);
  add_memory_cases(cases, size, dimensions);
  for (OpCase& each : cases) {
    each.tolerance = tolerance_of(each.op);
    if (size == Size::benchmark) each.derive = nullptr;  // double loops over large shapes would take minutes
  }
  return cases;
}

}  // namespace temper
