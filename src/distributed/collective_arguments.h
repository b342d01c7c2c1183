// What communicator.h demands of arguments, checked in one place for every communicator: ContractViolation where it does not hold.
#pragma once

#include <cstdint>

#include "distributed/communicator.h"
#include "kernels/tensor.h"

namespace temper {

void check_sum(const TensorView& values);
/// Of Communicator::accumulate, beside check_shards().
void check_accumulation(const TensorView& values, const Shards& shards, const TensorView& sum, std::int64_t rank);
void check_shards(const Shards& shards, std::int64_t size, std::int64_t count);

}  // namespace temper
