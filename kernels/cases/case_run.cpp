#include "kernels/cases/case_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "kernels/cases/optimizer_numbers.h"
#include "kernels/check.h"
#include "kernels/philox.h"

namespace temper {

namespace {

constexpr std::size_t guard_bytes = 256;
constexpr std::byte guard{0xA5};
constexpr std::byte poison{0xFF};              // NaN as f32 and as bf16
constexpr std::size_t least_parallel = 50000;  // numbers that are worth more than one thread

bool absent(const TensorSpec& spec, DType activation) {
  return spec.content == Content::low_precision && activation != DType::bf16;
}

DType dtype_of_content(Content content, DType activation) {
  switch (content) {
    case Content::activation:
      return activation;
    case Content::low_precision:
    case Content::bf16:
      return DType::bf16;
    case Content::i32:
      return DType::i32;
    case Content::f32:
    case Content::f64:
    case Content::step_scalars:
    case Content::segments:
      break;
  }
  return DType::f32;
}

std::size_t bytes_of(const TensorSpec& spec, DType activation) {
  const auto count = static_cast<std::size_t>(spec.shape.numel());
  if (spec.content == Content::segments) return count / segment_members.size() * sizeof(ParameterSegment);
  if (spec.content == Content::f64) return count * sizeof(double);
  return count * size_of(dtype_of_content(spec.content, activation));
}

// Doubles have no type at the interface: they are seen as twice as many floats, so that whoever copies them copies all.
Shape shape_of(const TensorSpec& spec) { return spec.content == Content::f64 ? Shape{2 * spec.shape.numel()} : spec.shape; }

template <typename T>
void put(std::byte* to, std::size_t index, T value) {
  std::memcpy(to + index * sizeof(T), &value, sizeof(T));
}

template <typename T>
T get(const std::byte* from, std::size_t index) {
  T value;
  std::memcpy(&value, from + index * sizeof(T), sizeof(T));
  return value;
}

// Number i of structs whose members are rows of `members`.
template <typename Struct, std::size_t count>
void put_member(const std::array<Member<Struct>, count>& members, std::byte* to, std::size_t i, double value) {
  auto whole = get<Struct>(to, i / count);
  members[i % count].set(whole, value);
  put(to, i / count, whole);
}

template <typename Struct, std::size_t count>
double get_member(const std::array<Member<Struct>, count>& members, const std::byte* from, std::size_t i) {
  return members[i % count].get(get<Struct>(from, i / count));
}

void encode_one(const TensorSpec& spec, DType activation, std::byte* to, std::size_t i, double value) {
  if (spec.content == Content::f64) return put(to, i, value);
  if (spec.content == Content::step_scalars) return put_member(step_members, to, i, value);
  if (spec.content == Content::segments) return put_member(segment_members, to, i, value);
  switch (dtype_of_content(spec.content, activation)) {
    case DType::f32:
      return put(to, i, static_cast<float>(value));
    case DType::bf16:
      return put(to, i, to_bfloat16(static_cast<float>(value)));
    case DType::i32:
      return put(to, i, static_cast<std::int32_t>(value));
  }
}

double decode_one(const TensorSpec& spec, DType activation, const std::byte* from, std::size_t i) {
  if (spec.content == Content::f64) return get<double>(from, i);
  if (spec.content == Content::step_scalars) return get_member(step_members, from, i);
  if (spec.content == Content::segments) return get_member(segment_members, from, i);
  switch (dtype_of_content(spec.content, activation)) {
    case DType::bf16:
      return static_cast<double>(to_float(get<bfloat16>(from, i)));
    case DType::i32:
      return get<std::int32_t>(from, i);
    case DType::f32:
      break;
  }
  return static_cast<double>(get<float>(from, i));
}

std::vector<double> decode(const TensorSpec& spec, DType activation, const std::byte* from) {
  std::vector<double> all(static_cast<std::size_t>(spec.shape.numel()));
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = decode_one(spec, activation, from, i);
  return all;
}

// The first `count` numbers of a tensor's stream; two normal numbers come from each pair of uniform ones (Box and Muller).
std::vector<double> draw(const Fill& fill, std::uint64_t seed, std::uint32_t stream, std::int64_t count) {
  std::vector<double> all(static_cast<std::size_t>(count));
#pragma omp parallel for if (all.size() >= least_parallel)
  for (std::size_t i = 0; i < all.size(); i += 2) {
    const PhiloxBlock block = random_block(seed, RandomPurpose::benchmark, stream, i / 2);
    const double u = static_cast<double>(uniform_open(block.word[0]));
    const double v = static_cast<double>(uniform_open(block.word[1]));
    double pair[2];
    if (fill.kind == Fill::Kind::integers) {
      const auto width = static_cast<double>(fill.end - fill.lowest);
      pair[0] = static_cast<double>(fill.lowest) + std::floor(u * width);
      pair[1] = static_cast<double>(fill.lowest) + std::floor(v * width);
    } else {
      const double radius = fill.deviation * std::sqrt(-2.0 * std::log(u));
      pair[0] = fill.mean + radius * std::cos(2.0 * std::numbers::pi * v);
      pair[1] = fill.mean + radius * std::sin(2.0 * std::numbers::pi * v);
    }
    all[i] = pair[0];
    if (i + 1 < all.size()) all[i + 1] = pair[1];
  }
  return all;
}

// The numbers that a tensor is filled with, before rounding; shorter than the tensor when they repeat.
std::vector<double> filling(const TensorSpec& spec, std::uint64_t seed, std::uint32_t stream) {
  if (spec.fill.kind == Fill::Kind::nothing) return {};
  if (spec.fill.kind == Fill::Kind::values) return spec.fill.values;
  return draw(spec.fill, seed, stream, std::min(CaseRun::period, spec.shape.numel()));
}

// The bytes that a tensor of `bytes` bytes repeats from its start on; all of them where it is no longer than a period.
std::vector<std::byte> pattern_of(const TensorSpec& spec, DType activation, std::size_t bytes, const std::vector<double>& numbers) {
  const auto count = static_cast<std::size_t>(spec.shape.numel()), longest = static_cast<std::size_t>(CaseRun::period);
  std::size_t length = count;
  if (count > longest && spec.content != Content::segments) {
    const std::size_t repeat = std::max(numbers.size(), std::size_t{1});
    length = std::min(count, std::max(repeat, longest / repeat * repeat));
  }
  std::vector<std::byte> pattern(length == count ? bytes : bytes / count * length, poison);
  const std::size_t encoded = numbers.empty() ? 0 : length;
#pragma omp parallel for if (encoded >= least_parallel && spec.content != Content::segments)
  for (std::size_t i = 0; i < encoded; ++i) encode_one(spec, activation, pattern.data(), i, numbers[i % numbers.size()]);
  return pattern;
}

}  // namespace

CaseRun::CaseRun(Ops& ops, const OpCase& op_case, DType activation, std::uint64_t seed)
    : ops_(ops), case_(op_case), activation_(activation) {
  for (std::size_t t = 0; t < case_.tensors.size(); ++t) {
    const TensorSpec& spec = case_.tensors[t];
    if (absent(spec, activation_)) continue;
    const std::size_t bytes = bytes_of(spec, activation_), element = bytes / static_cast<std::size_t>(spec.shape.numel());
    Tensor filled{&spec, ops_.allocate(bytes + guard_bytes), bytes, {}, {}};
    filled.pattern = pattern_of(spec, activation_, bytes, filling(spec, seed, static_cast<std::uint32_t>(t)));
    for (const Fill::Range& range : spec.fill.zeros)
      filled.zeros.push_back({static_cast<std::size_t>(range.first) * element, static_cast<std::size_t>(range.last) * element});
    tensors_.push_back(std::move(filled));
    views_.at(spec.name) = {tensors_.back().memory, dtype_of_content(spec.content, activation_), shape_of(spec)};
  }
  if (case_.derive) {
    Numbers numbers = filled();
    case_.derive(numbers);
    for (Tensor& each : tensors_) {
      if (each.spec->role != Role::input) continue;
      const std::vector<double>& derived = numbers[each.spec->name];
      each.pattern = contents(each);
      each.zeros.clear();
      for (std::size_t i = 0; i < derived.size(); ++i) encode_one(*each.spec, activation_, each.pattern.data(), i, derived[i]);
    }
  }
  reset();
  if (case_.prepare) case_.prepare(ops_, views_);
}

CaseRun::~CaseRun() {
  try {
    ops_.synchronize();
  } catch (const DeviceError&) {
    // A call before has said it, and this device does nothing more.
  }
  for (const Tensor& each : tensors_) ops_.release(each.memory);
}

void CaseRun::reset() {
  const std::vector<std::byte> behind(guard_bytes, guard);
  for (const Tensor& each : tensors_) {
    auto* const to = static_cast<std::byte*>(each.memory);
    ops_.copy_to_device(to, each.pattern.data(), each.pattern.size());
    for (std::size_t done = each.pattern.size(); done < each.bytes; done *= 2)
      ops_.copy(to + done, to, std::min(done, each.bytes - done));
    for (const Bytes& range : each.zeros) ops_.zero(to + range.first, range.last - range.first);
    ops_.copy_to_device(to + each.bytes, behind.data(), behind.size());
  }
}

std::vector<std::byte> CaseRun::contents(const Tensor& tensor) {
  std::vector<std::byte> all(tensor.bytes);
  for (std::size_t done = 0; done < all.size(); done += tensor.pattern.size())
    std::memcpy(all.data() + done, tensor.pattern.data(), std::min(tensor.pattern.size(), all.size() - done));
  for (const Bytes& range : tensor.zeros) std::memset(all.data() + range.first, 0, range.last - range.first);
  return all;
}

const CaseRun::Tensor& CaseRun::tensor(const std::string& name) const {
  return *std::find_if(tensors_.begin(), tensors_.end(), [&](const Tensor& each) { return each.spec->name == name; });
}

Numbers CaseRun::filled() const {
  Numbers numbers(activation_);
  for (const Tensor& each : tensors_)
    if (each.spec->role == Role::output || each.spec->role == Role::scratch)
      numbers[each.spec->name].assign(static_cast<std::size_t>(each.spec->shape.numel()), 0.0);
    else
      numbers[each.spec->name] = decode(*each.spec, activation_, contents(each).data());
  return numbers;
}

std::vector<double> CaseRun::read(const std::string& name) {
  return decode(*tensor(name).spec, activation_, read_bytes(name).data());
}

std::vector<std::byte> CaseRun::read_bytes(const std::string& name) {
  const Tensor& wanted = tensor(name);
  std::vector<std::byte> bytes(wanted.bytes);
  ops_.copy_to_host(bytes.data(), wanted.memory, bytes.size());
  return bytes;
}

std::vector<std::byte> CaseRun::filled_bytes(const std::string& name) const { return contents(tensor(name)); }

bool CaseRun::guards_intact() {
  for (const Tensor& each : tensors_) {
    std::byte found[guard_bytes];
    ops_.copy_to_host(found, static_cast<std::byte*>(each.memory) + each.bytes, guard_bytes);
    if (!std::all_of(found, found + guard_bytes, [](std::byte b) { return b == guard; })) return false;
  }
  return true;
}

Numbers exact_numbers(const OpCase& op_case, std::uint64_t seed) {
  Numbers numbers;
  for (std::size_t t = 0; t < op_case.tensors.size(); ++t) {
    const TensorSpec& spec = op_case.tensors[t];
    numbers[spec.name] = filling(spec, seed, static_cast<std::uint32_t>(t));
    numbers[spec.name].resize(static_cast<std::size_t>(spec.shape.numel()));
  }
  if (op_case.derive) op_case.derive(numbers);
  return numbers;
}

}  // namespace temper
