// GPT-2's weights on a device: f32 masters, what the model reads (the same memory in fp32, a bf16 copy in bf16), and f32
// gradients when training.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/run_config.h"
#include "kernels/device_memory.h"
#include "kernels/ops.h"
#include "model/parameters.h"

namespace temper {

class Weights {
 public:
  enum class Use { training, inference };
  /// Elements [begin, end) of the flat buffer.
  struct Range {
    std::int64_t begin, end;
  };

  /// Takes the memory; contents are undefined until initialize() or upload(). With `ops` null only the plan is counted. `masters`:
  /// those that are kept where the model reads a bf16 copy and trains; without it, and in fp32, all.
  Weights(const ModelConfig& config, Precision precision, Use use, Ops* ops, DeviceMemory& memory,
          std::optional<Range> masters = {});

  const ModelConfig& config() const { return config_; }
  const ParameterLayout& layout() const { return layout_; }
  DType activation_type() const { return activation_type_; }

  /// What the model multiplies with: f32 or bf16.
  ConstTensorView weight(const Parameter& parameter) const;
  /// Absent in inference.
  TensorView gradient(const Parameter& parameter) const;

  TensorView master() const { return master_; }  ///< f32, those that are kept: [flat_size] if all
  bool has_all_masters() const { return master_.numel() == layout_.flat_size(); }
  /// What the model multiplies with, flat.
  TensorView read_by_model() const { return low_precision_.present() ? low_precision_ : master_; }
  TensorView gradients() const { return gradients_; }  ///< f32 [flat_size]; absent in inference
  Ops& ops() const { return *ops_; }
  TensorView low_precision() const { return low_precision_; }  ///< bf16 [flat_size]; absent in fp32

  /// Counts what `ops` takes by itself to train these weights on such micro-batches: packed copies, scratch.
  void count_backend_memory(const Ops& ops, const Workload& workload, DeviceMemory& memory) const;

  /// Embeddings N(0, init_std), biases 0, layer norm gains 1, padded vocabulary rows 0. Matrices by model.init: N(0, init_std) as
  /// GPT-2 has it, sqrt(2/(fan-in + fan-out)) (Xavier; Glorot & Bengio 2010) or sqrt(2/fan-in) (He et al., arXiv 1502.01852) in
  /// place of init_std; with model.residual_scaling projections into the residual stream get that divided by sqrt(2 n_layer)
  /// (Radford et al. 2019, section 2.3). With model.mup_base_width GPT-2's init_std of matrices is divided by the root of
  /// width_ratio(), as the other two go by themselves, and every tensor is multiplied by its fold.
  void initialize(std::uint64_t seed);

  /// Sets every master from the host, parameter by parameter (`fill` writes numel() values), and the low-precision copy. Where not
  /// all masters are kept it uses the gradients' memory.
  void upload(const std::function<void(const Parameter&, std::span<float>)>& fill);
  /// One parameter's masters, on the host; all of them must be kept here.
  std::vector<float> download(const Parameter& parameter) const;

 private:
  void upload(const Parameter& parameter, const std::vector<float>& values);

  ModelConfig config_;
  ParameterLayout layout_;
  DType activation_type_;  // also where `low_precision_` is only planned
  Ops* ops_;
  Range kept_;
  TensorView master_;
  TensorView low_precision_;
  TensorView gradients_;
};

// What every importer of weights checks, whatever the format: files come from strangers.
// Failures are Error(ExitCode::checkpoint).

/// Refuses NaN and infinities. `what` names file and tensor.
void check_finite(std::span<const float> values, const std::string& what);
/// The same of a tensor of a run on its way to a file: Error(ExitCode::numeric).
void refuse_to_save_nonfinite(std::span<const float> values, const std::string& tensor);

}  // namespace temper
