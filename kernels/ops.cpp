#include "kernels/ops.h"

#include <string>

#include "kernels/check.h"

namespace temper {

namespace {

void check_read(const char* operation, std::size_t bytes) {
  if (bytes > Ops::read_bytes)
    throw ContractViolation(std::string(operation) + ": " + std::to_string(bytes) + " bytes; at most " +
                            std::to_string(Ops::read_bytes));
}

}  // namespace

std::uint64_t Ops::start_read(const void* device_from, std::size_t bytes) {
  check_read("start_read", bytes);
  start_read_in(reads_started_ % open_reads, device_from, bytes);
  return reads_started_++;
}

void Ops::finish_read(std::uint64_t read, void* host_to, std::size_t bytes) {
  check_read("finish_read", bytes);
  if (read >= reads_started_ || reads_started_ - read > open_reads)
    throw ContractViolation("finish_read: read " + std::to_string(read) + " of " + std::to_string(reads_started_) +
                            " started; only the last " + std::to_string(open_reads) + " can be finished");
  finish_read_in(read % open_reads, host_to, bytes);
}

std::size_t Ops::register_weight(ConstTensorView weight) {
  if (!weight.present() || weight.shape.rank() != 2 || (weight.dtype != DType::f32 && weight.dtype != DType::bf16))
    throw ContractViolation(std::string("register_weight: weight is ") +
                            (weight.present() ? name_of(weight.dtype) + (" " + weight.shape.to_string()) : "absent") +
                            "; it must be f32 or bf16 with 2 dimensions");
  return keep_weight(weight);
}

}  // namespace temper
