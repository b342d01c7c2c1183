#include "kernels/cpu/cpu_ops.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/check.h"
#include "kernels/cpu/isa.h"
#include "kernels/machine.h"

namespace temper::cpu {

namespace {

constexpr std::size_t small_alignment = 256;

DeviceInfo describe_machine(const Linear& linear) {
  DeviceInfo info;
  info.backend = "cpu";
  info.name = processor_name();
  info.features = std::string(name_of(current_isa())) + ", " + linear.description();
  info.threads = usable_threads();
  info.bf16 = true;
  info.fast_bf16 = current_isa() >= Isa::avx512;
  info.memory = memory_limit();
  return info;
}

}  // namespace

CpuOps::CpuOps() : linear_(std::make_unique<Linear>()), device_(describe_machine(*linear_)) {}

CpuOps::~CpuOps() {
  for (const auto& [memory, bytes] : allocations_) std::free(memory);
}

void* CpuOps::allocate(std::size_t bytes) {
  // Linux grants memory it does not have and kills the process later, so what has been granted is counted here.
  const bool huge = bytes >= 2 * huge_page;
  const std::size_t alignment = huge ? huge_page : small_alignment;
  void* memory = nullptr;
  const bool fits = bytes <= device_.memory && allocated_ <= device_.memory - bytes;
  if (!fits || posix_memalign(&memory, alignment, std::max<std::size_t>(bytes, 1)) != 0) {
    throw OutOfMemory("cannot allocate " + std::to_string(bytes) + " bytes: " + std::to_string(allocated_) +
                      " are taken already, and the machine has " + std::to_string(device_.memory) + ", of which " +
                      std::to_string(memory_available()) + " are free");
  }
  if (huge) madvise(memory, bytes, MADV_HUGEPAGE);  // only a hint: without it the same work is slower
  allocations_.emplace(memory, bytes);
  allocated_ += bytes;
  return memory;
}

void CpuOps::release(void* memory) noexcept {
  const auto found = allocations_.find(memory);
  if (found == allocations_.end()) return;
  linear_->written(memory, found->second);
  allocated_ -= found->second;
  allocations_.erase(found);
  std::free(memory);
}

void CpuOps::start_read_in(std::size_t place, const void* device_from, std::size_t bytes) {
  std::memcpy(reads_[place].data(), device_from, bytes);
}

void CpuOps::finish_read_in(std::size_t place, void* host_to, std::size_t bytes) {
  std::memcpy(host_to, reads_[place].data(), bytes);
}

void CpuOps::replay(Recording& recording, const std::function<void()>& work) {
  ++recording.runs;
  work();
}

Linear::Scratch CpuOps::scratch(const Workload& workload) const {
  Linear::Scratch most;
  for (const Workload::Linear& linear : workload.linears) {
    const Linear::Scratch one = linear_->scratch(workload.activation, linear.weight, linear.rows);
    most = {std::max(most.a, one.a), std::max(most.b, one.b)};
  }
  return most;
}

std::size_t CpuOps::scratch_bytes(const Workload& workload) const {
  const Linear::Scratch both = scratch(workload);
  return both.a + both.b;
}

void CpuOps::reserve_scratch(const Workload& workload) { linear_->reserve(scratch(workload)); }

std::size_t CpuOps::taken_bytes() const { return allocated_ + linear_->taken_bytes(); }

void CpuOps::run(const op::LinearForward& args) { linear_->run(args); }
void CpuOps::run(const op::LinearBackwardInput& args) { linear_->run(args); }
void CpuOps::run(const op::LinearBackwardWeight& args) { linear_->run(args); }

}  // namespace temper::cpu

namespace temper {

std::unique_ptr<Ops> make_cpu_ops() { return std::make_unique<cpu::CpuOps>(); }

}  // namespace temper
