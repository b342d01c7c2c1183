#include "kernels/gpu_plan.h"

#include "kernels/check.h"
#include "kernels/gpu_scratch.h"

namespace temper {

namespace {

constexpr std::size_t tenths_of_gib(std::size_t tenths) { return (tenths << 30) / 10; }

// The total that cudaMemGetInfo gives, as PyTorch's messages of out of memory quote it, rounded down.
constexpr GpuModel models[] = {
    {"3090", "NVIDIA GeForce RTX 3090", tenths_of_gib(236), 82, "8.6"},
    {"4090", "NVIDIA GeForce RTX 4090", tenths_of_gib(236), 128, "8.9"},
    {"5090", "NVIDIA GeForce RTX 5090", tenths_of_gib(313), 170, "12.0"},
    {"a10", "NVIDIA A10", tenths_of_gib(219), 72, "8.6"},
    {"l4", "NVIDIA L4", tenths_of_gib(220), 58, "8.9"},
    {"l40s", "NVIDIA L40S", tenths_of_gib(443), 142, "8.9"},
    {"a6000", "NVIDIA RTX A6000", tenths_of_gib(474), 84, "8.6"},
    {"a100-40", "NVIDIA A100 40GB", tenths_of_gib(393), 108, "8.0"},
    {"a100-80", "NVIDIA A100 80GB", tenths_of_gib(791), 108, "8.0"},
    {"h100-80", "NVIDIA H100 80GB", tenths_of_gib(791), 132, "9.0"},
    {"h200", "NVIDIA H200", tenths_of_gib(1397), 132, "9.0"},
    {"b200", "NVIDIA B200", tenths_of_gib(1783), 148, "10.0"},
};

[[noreturn]] void refuse() { throw Unsupported("this GPU is planned for, not here"); }

class PlannedGpu final : public Ops {
 public:
  explicit PlannedGpu(const GpuModel& model) {
    info_.backend = "cuda";
    info_.name = model.card;
    info_.features = "compute capability " + std::string(model.capability) + ", as planned";
    info_.threads = model.multiprocessors;
    info_.asynchronous = info_.bf16 = info_.fast_bf16 = true;
    info_.memory = model.memory;
  }

  const DeviceInfo& device() const override { return info_; }
  std::size_t packed_bytes(DType /*dtype*/, Shape /*weight*/) const override { return 0; }  // cuBLASLt reads weights as they are
  std::size_t scratch_bytes(const Workload& workload) const override {
    return cublaslt_workspace_bytes + gpu_workspace_bytes(workload);
  }
  std::size_t taken_bytes() const override { return 0; }

  void* allocate(std::size_t /*bytes*/) override { refuse(); }
  void release(void* /*memory*/) noexcept override {}
  void copy_to_device(void* /*device_to*/, const void* /*host_from*/, std::size_t /*bytes*/) override { refuse(); }
  void copy_to_host(void* /*host_to*/, const void* /*device_from*/, std::size_t /*bytes*/) override { refuse(); }
  void copy(void* /*device_to*/, const void* /*device_from*/, std::size_t /*bytes*/) override { refuse(); }
  void zero(void* /*device*/, std::size_t /*bytes*/) override { refuse(); }
  void synchronize() override {}
  void replay(Recording& /*recording*/, const std::function<void()>& /*work*/) override { refuse(); }
  void written(const void* /*device*/, std::size_t /*bytes*/) override {}
  void reserve_scratch(const Workload& /*workload*/) override { refuse(); }

 private:
#define TEMPER_REFUSE(name, Arguments) \
  void run(const op::Arguments& /*arguments*/) override { refuse(); }
  TEMPER_OPERATIONS(TEMPER_REFUSE)
#undef TEMPER_REFUSE

  void start_read_in(std::size_t /*place*/, const void* /*device_from*/, std::size_t /*bytes*/) override { refuse(); }
  void finish_read_in(std::size_t /*place*/, void* /*host_to*/, std::size_t /*bytes*/) override { refuse(); }
  std::size_t keep_weight(ConstTensorView /*weight*/) override { refuse(); }

  DeviceInfo info_;
};

}  // namespace

const GpuModel& gpu_model(std::string_view name) {
  for (const GpuModel& model : models)
    if (model.name == name) return model;
  throw Unsupported("no GPU is known as \"" + std::string(name) + "\"; there are " + gpu_model_names());
}

std::string gpu_model_names() {
  std::string names;
  for (const GpuModel& model : models) names += (names.empty() ? "" : ", ") + std::string(model.name);
  return names;
}

std::unique_ptr<Ops> make_planned_gpu(const GpuModel& model) { return std::make_unique<PlannedGpu>(model); }

}  // namespace temper
