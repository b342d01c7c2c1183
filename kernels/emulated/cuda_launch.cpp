// Launches, and what CUDA knows of kernels. How much shared memory one declares is known only when one of its blocks has run.
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "kernels/emulated/audit/observer.h"
#include "kernels/emulated/gpu.h"
#include "kernels/emulated/plant.h"
#include "kernels/emulated/profiler.h"

using namespace temper::emulated;

namespace temper::emulated {

namespace {

std::map<std::string, Planted>& planted() {  // before main(), too
  static std::map<std::string, Planted> all;
  return all;
}

/// What is left of a kernel's body where something is planted.
std::function<void()> as_planted(const std::string& kernel, std::function<void()> body) {
  const auto found = planted().find(kernel);
  if (found == planted().end()) return body;
  switch (found->second) {
    case Planted::crash:
      std::signal(SIGSEGV, SIG_DFL);
      std::raise(SIGSEGV);
      break;
    case Planted::hang:
      while (true) std::this_thread::sleep_for(std::chrono::hours(1));
    case Planted::sticky:
      throw KernelFault("kernel " + kernel + ": planted");
    case Planted::wrong:
      break;
  }
  return [body = std::move(body)] {
    const Index3 block = current_thread().block->index();
    if (block.x + block.y + block.z > 0) body();
  };
}

}  // namespace

void plant(const std::string& kernel, Planted how) { planted()[kernel] = how; }

cudaError_t queue_kernel(const cudaLaunchConfig_t& config, const void* function, std::function<void()> body) {
  return on(config.stream, [&](Gpu::Lock&) {
    Gpu& gpu = *config.stream->gpu;
    const std::string name = innermost_range();
    if (&gpu != &current_gpu())
      return fail(cudaErrorInvalidResourceHandle,
                  "kernel " + name + ": cannot be launched: its stream is another GPU's than the current one");
    const Index3 grid{config.gridDim.x, config.gridDim.y, config.gridDim.z};
    const Index3 block{config.blockDim.x, config.blockDim.y, config.blockDim.z};
    if (const std::string problem = shape_problem(grid, block); !problem.empty())
      return fail(cudaErrorInvalidConfiguration, "kernel " + name + ": cannot be launched: " + problem);
    KernelFacts& facts = gpu.kernels[function];
    const std::size_t dynamic = config.dynamicSmemBytes;
    const bool asked = facts.most_dynamic_bytes.has_value();
    const std::size_t most =
        asked ? static_cast<std::size_t>(*facts.most_dynamic_bytes) : Gpu::shared_without_asking - facts.declared_bytes.value_or(0);
    if (dynamic > most)
      return fail(cudaErrorInvalidValue, "kernel " + name + ": cannot be launched: " + std::to_string(dynamic) +
                                             " bytes of dynamic shared memory, " + std::to_string(most) +
                                             (asked ? " were asked for" : " are there without asking"));
    // What a kernel declares is known only when one of its blocks has run.
    config.stream->push({[&gpu, &facts, function, name, grid, block, dynamic, asked, body = std::move(body)] {
      if (audit::Observer* const audit = audit::linked()) audit->launch_begins({name, function, grid, block, dynamic});
      const std::size_t declared = gpu.grids.run(name, grid, block, dynamic, as_planted(name, body));
      {
        const Gpu::Lock lock(gpu.mutex);
        facts.declared_bytes = std::max(declared, facts.declared_bytes.value_or(0));  // not every block needs to come there
      }
      const std::size_t counted = declared + (asked ? 0 : dynamic);
      if (counted > Gpu::shared_without_asking)
        throw KernelFault("kernel " + name + ": cannot be launched: it declares " + std::to_string(declared) +
                          " bytes of shared memory beside " + std::to_string(dynamic) + " dynamic ones; " +
                          std::to_string(Gpu::shared_without_asking) +
                          (asked ? " may be declared" : " are there without cudaFuncSetAttribute"));
    }});
    return cudaSuccess;
  });
}

}  // namespace temper::emulated

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  Gpu& gpu = current_gpu();
  return on(gpu, [&](Gpu::Lock&) {
    const KernelFacts& facts = gpu.kernels[function];
    // Of a kernel that has not run yet the most that any may declare.
    const std::size_t declared = facts.declared_bytes.value_or(Gpu::shared_without_asking);
    *attributes = {declared, facts.most_dynamic_bytes.value_or(static_cast<int>(Gpu::shared_without_asking - declared))};
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  Gpu& gpu = current_gpu();
  return on(gpu, [&](Gpu::Lock&) {
    KernelFacts& facts = gpu.kernels[function];
    const auto most = static_cast<int>(gpu.execution.shared_bytes - facts.declared_bytes.value_or(0));
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > most)
      return fail(cudaErrorInvalidValue,
                  std::to_string(value) + " bytes of dynamic shared memory; at most " + std::to_string(most) + " can be asked for");
    // Whoever asks for a kernel that has not run yet was told the most that any may declare, and would not have had to ask.
    facts.most_dynamic_bytes = facts.declared_bytes ? value : std::max(value, static_cast<int>(Gpu::shared_without_asking));
    return cudaSuccess;
  });
}
