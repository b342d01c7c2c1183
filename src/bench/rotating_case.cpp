#include "bench/rotating_case.h"

#include <algorithm>
#include <cmath>

namespace temper {

double touched_bytes(const OpCase& op_case, DType activation) {
  OpCase once = op_case;
  for (TensorSpec& spec : once.tensors) spec.role = Role::input;
  return once.bytes(activation);
}

double tensor_bytes(const OpCase& op_case, DType activation) {
  OpCase all = op_case;
  for (TensorSpec& spec : all.tensors) spec.touched = -1;
  return touched_bytes(all, activation);
}

RotatingCase::RotatingCase(Ops& ops, const OpCase& op_case, DType activation, std::size_t cold_bytes, std::size_t most_bytes)
    : ops_(ops), case_(op_case), first_(ops, op_case, activation), memory_(&ops) {
  const double wanted = std::ceil(static_cast<double>(cold_bytes) / std::max(touched_bytes(case_, activation), 1.0));
  const double possible = 1.0 + std::floor(static_cast<double>(most_bytes) / std::max(tensor_bytes(case_, activation), 1.0));
  constexpr double most_copies = 4096;  // what takes more is so small that its caches stay warm in training as well
  const auto count = static_cast<std::size_t>(std::max(1.0, std::min({wanted, possible, most_copies})));

  copies_.push_back(first_.views());
  while (copies_.size() < count) {
    Views views;
    for (const TensorSpec& spec : case_.tensors) {
      const TensorView from = first_.views()[spec.name];
      if (!from.present()) continue;
      const bool shared = spec.content == Content::segments;  // a small table that is only read
      views.at(spec.name) = shared ? from : copied(from);
    }
    if (case_.prepare) case_.prepare(ops_, views);
    copies_.push_back(views);
  }
  for (const TensorSpec& spec : case_.tensors) {
    if (spec.role != Role::in_out || spec.content != Content::activation) continue;
    pristine_[spec.name] = copied(first_.views()[spec.name]);
  }
}

TensorView RotatingCase::copied(TensorView from) {
  const TensorView to = memory_.add("copies", from.dtype, from.shape);
  ops_.copy(to.data, from.data, from.bytes());
  return to;
}

void RotatingCase::run(std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    case_.run(ops_, copies_[next_]);
    next_ = next_ + 1 == copies_.size() ? 0 : next_ + 1;
  }
  changed_ += count;
}

void RotatingCase::restore() {
  const auto count = static_cast<std::size_t>(std::min(changed_, copies()));
  for (std::size_t i = 0; i < count; ++i) {
    const Views& views = copies_[(next_ + copies_.size() - count + i) % copies_.size()];
    for (const auto& [name, original] : pristine_) ops_.copy(views[name].data, original.data, original.bytes());
  }
  changed_ = 0;
}

}  // namespace temper
