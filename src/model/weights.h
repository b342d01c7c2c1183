// GPT-2's weights on a device: f32 masters, what the model reads (the same memory in fp32, a bf16 copy in bf16), and f32
// gradients when training.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "model/parameters.h"

namespace temper {

class Weights {
 public:
  enum class Use { training, inference };

  /// Takes the memory; contents are undefined until initialize() or upload(). With `ops` null only the plan is counted.
  Weights(const ModelConfig& config, Precision precision, Use use, Ops* ops, DeviceMemory& memory);

  const ModelConfig& config() const { return config_; }
  const ParameterLayout& layout() const { return layout_; }
  DType activation_type() const { return activation_type_; }

  /// What the model multiplies with: f32 or bf16.
  ConstTensorView weight(const Parameter& parameter) const;
  TensorView gradient(const Parameter& parameter) const;

  TensorView master() const { return master_; }                ///< f32 [flat_size]
  TensorView gradients() const { return gradients_; }          ///< f32 [flat_size]; absent in inference
  TensorView low_precision() const { return low_precision_; }  ///< bf16 [flat_size]; absent in fp32

  /// Counts what `ops` takes by itself to train these weights on such micro-batches: packed copies, scratch.
  void count_backend_memory(const Ops& ops, const Workload& workload, DeviceMemory& memory) const;

  /// Embeddings N(0, init_std), biases 0, layer norm gains 1, padded vocabulary rows 0. Matrices by model.init: N(0, init_std) as
  /// GPT-2 has it, sqrt(2/(fan-in + fan-out)) (Xavier; Glorot & Bengio 2010) or sqrt(2/fan-in) (He et al., arXiv 1502.01852) in
  /// place of init_std; with model.residual_scaling projections into the residual stream get that divided by sqrt(2 n_layer)
  /// (Radford et al. 2019, section 2.3).
  void initialize(std::uint64_t seed);

  /// Sets every master from the host, parameter by parameter (`fill` writes numel() values), then the low-precision copy.
  void upload(const std::function<void(const Parameter&, std::span<float>)>& fill);
  /// One parameter's masters, on the host.
  std::vector<float> download(const Parameter& parameter) const;

 private:
  void refresh_low_precision();

  ModelConfig config_;
  ParameterLayout layout_;
  DType activation_type_;  // also where `low_precision_` is only planned
  Ops* ops_;
  TensorView master_;
  TensorView low_precision_;
  TensorView gradients_;
};

}  // namespace temper
