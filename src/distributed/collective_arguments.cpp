#include "distributed/collective_arguments.h"

#include <algorithm>
#include <string>

#include "kernels/check.h"

namespace temper {

Shards even_shards(std::int64_t count, std::int64_t size) {
  Shards begins(static_cast<std::size_t>(size) + 1);
  // Not count * r / size, which overflows for a large count of many ranks.
  for (std::int64_t r = 0; r <= size; ++r) begins[static_cast<std::size_t>(r)] = count / size * r + std::min(count % size, r);
  return begins;
}

void check_sum(const TensorView& values) {
  if (values.dtype != DType::f32)
    throw ContractViolation(std::string("a sum over ranks of ") + name_of(values.dtype) + "; only f32");
}

void check_accumulation(const TensorView& values, const Shards& shards, const TensorView& sum, std::int64_t rank) {
  check_sum(values);
  check_sum(sum);
  const auto own = static_cast<std::size_t>(rank);
  if (sum.numel() != shards.at(own + 1) - shards.at(own))
    throw ContractViolation("a sum of " + std::to_string(sum.numel()) + " elements for a shard of " +
                            std::to_string(shards.at(own + 1) - shards.at(own)));
}

void check_shards(const Shards& shards, std::int64_t size, std::int64_t count) {
  if (static_cast<std::int64_t>(shards.size()) != size + 1)
    throw ContractViolation(std::to_string(shards.size()) + " shard borders for " + std::to_string(size) +
                            " ranks; one more than ranks");
  if (shards.front() != 0 || shards.back() != count)
    throw ContractViolation("shards from " + std::to_string(shards.front()) + " to " + std::to_string(shards.back()) + " of " +
                            std::to_string(count) + " elements; they must cover all");
  if (!std::is_sorted(shards.begin(), shards.end())) throw ContractViolation("shard borders that fall");
}

}  // namespace temper
