#include "train/device_peak.h"

#include <array>
#include <vector>

#include "config/validate.h"
#include "model/parameters.h"

namespace temper {

namespace {

struct KnownGpu {
  const char* name;  // part of the name that the driver gives
  DevicePeak peak;
};

// The makers' data sheets. The first row whose name is part of the device's counts, so longer names stand first. An A100 with 40 GB
// and one with 80 GB differ in bandwidth and say so in their names.
constexpr double tera = 1e12;
constexpr std::array<KnownGpu, 11> known_gpus = {{
    {"B200", {2250 * tera, 75 * tera, 8.0 * tera}},
    {"H200 NVL", {835 * tera, 60 * tera, 4.8 * tera}},
    {"H200", {989.4 * tera, 66.9 * tera, 4.8 * tera}},
    {"H100 PCIe", {756 * tera, 51.2 * tera, 2.0 * tera}},
    {"H100 NVL", {835 * tera, 60 * tera, 3.9 * tera}},
    {"H100", {989.4 * tera, 66.9 * tera, 3.35 * tera}},
    {"A100-PCIE-40GB", {312 * tera, 19.5 * tera, 1.555 * tera}},
    {"A100-SXM4-40GB", {312 * tera, 19.5 * tera, 1.555 * tera}},
    {"A100", {312 * tera, 19.5 * tera, 2.039 * tera}},
    {"RTX 4090", {165.2 * tera, 82.6 * tera, 1.008 * tera}},
    {"L4", {121 * tera, 30.3 * tera, 0.3 * tera}},
}};

// Whole words, so that an L40 is no L4.
bool names(const std::string& device, const std::string& part) {
  const std::size_t at = device.find(part);
  if (at == std::string::npos) return false;
  const std::size_t end = at + part.size();
  const auto is_word = [](char letter) { return (letter >= '0' && letter <= '9') || (letter >= 'A' && letter <= 'Z'); };
  return (at == 0 || !is_word(device[at - 1])) && (end == device.size() || !is_word(device[end]));
}

}  // namespace

std::optional<DevicePeak> published_peak(const DeviceInfo& device) {
  if (device.backend != "cuda") return std::nullopt;
  for (const KnownGpu& known : known_gpus)
    if (names(device.name, known.name)) return known.peak;
  return std::nullopt;
}

std::optional<double> model_flops_utilisation(const DeviceInfo& device, DType activation, double flops_per_second) {
  const std::optional<DevicePeak> peak = published_peak(device);
  if (!peak) return std::nullopt;
  if (activation == DType::bf16) return flops_per_second / peak->bf16_flops_per_second;
  // Every data sheet of the table gives TF32 half the rate of bf16.
  return flops_per_second / (device.tf32 ? peak->bf16_flops_per_second / 2 : peak->f32_flops_per_second);
}

double training_flops(const RunConfig& config) {
  const std::vector<ContextStage> stages = context_stages(config);
  double flops = 0.0;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const std::int64_t end = i + 1 < stages.size() ? stages[i + 1].first : total_steps(config);
    flops += training_flops_per_token(config.model, stages[i].length) *
             static_cast<double>(tokens_before(config, end) - tokens_before(config, stages[i].first));
  }
  return flops;
}

}  // namespace temper
