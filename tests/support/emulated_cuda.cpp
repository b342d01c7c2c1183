// The emulated GPU in the place of kernels/cuda/make_cuda_ops.cpp, for programs that tests run. The linker takes this file's functions
// and leaves the library's out.
//
// REHEARSAL_PLANT names kernels that go wrong, as "attention_backward dQ in tiles=hang;layernorm_backward=wrong". REHEARSAL_GPU is the
// GPU's name. Of its check REHEARSAL_SECONDS is the patience, and REHEARSAL_OPERATIONS and REHEARSAL_WORK are what is looked at.
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>

#include "cli/device_check.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/emulated/gpu.h"
#include "kernels/emulated/plant.h"

namespace temper {

namespace {

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

CudaOptions on_the_emulated_gpu(CudaOptions options) {
  static const int gpu = emulated::add_gpu({});
  options.device = gpu;
  options.choices_file.clear();
  return options;
}

const bool rehearsing = [] {
  const std::map<std::string, emulated::Planted> kinds = {{"wrong", emulated::Planted::wrong},
                                                          {"crash", emulated::Planted::crash},
                                                          {"hang", emulated::Planted::hang},
                                                          {"sticky", emulated::Planted::sticky}};
  std::istringstream plants(variable("REHEARSAL_PLANT"));
  for (std::string each; std::getline(plants, each, ';');)
    emulated::plant(each.substr(0, each.find('=')), kinds.at(each.substr(each.find('=') + 1)));
  if (const std::string seconds = variable("REHEARSAL_SECONDS"); !seconds.empty())
    device_check_settings.patience = std::chrono::milliseconds(static_cast<long>(1000 * std::stod(seconds)));
  if (const std::string work = variable("REHEARSAL_WORK"); !work.empty()) device_check_settings.most_work = std::stod(work);
  std::istringstream operations(variable("REHEARSAL_OPERATIONS"));
  for (std::string each; std::getline(operations, each, ',');) device_check_settings.operations.push_back(each);
  return true;
}();

}  // namespace

bool cuda_available(std::string* /*reason*/) { return true; }

DeviceInfo cuda_device(const CudaOptions& options) {
  DeviceInfo info = emulated::gpu_info(on_the_emulated_gpu(options));
  info.backend = "cuda";
  const std::string name = variable("REHEARSAL_GPU");
  info.name = name.empty() ? "NVIDIA H200" : name;
  return info;
}

// Nothing is chosen by time, which says nothing here.
std::unique_ptr<Ops> make_cuda_ops(const CudaOptions& options) {
  return std::make_unique<emulated::CudaOps>(std::make_unique<emulated::Device>(on_the_emulated_gpu(options)));
}

void* cuda_stream(Ops& /*ops*/) { return nullptr; }  // NCCL's own GPU is none of this

}  // namespace temper
