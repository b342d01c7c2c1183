// From what each rank computes to the gradient of a whole step, the same on every rank.
//
// Micro-batch m of a step is computed by rank m mod size, in round m / size. A rank adds up its own micro-batches, and while its
// last backward pass goes on, the sums over ranks begin, bucket by bucket from the end of the flat buffer: that is the order in
// which gradients become final. With ZeRO-1 (Rajbhandari et al., arXiv 1910.02054) a rank gets the sum for its shard only, updates
// that, and the new weights are gathered.
//
// With parallel.deterministic every micro-batch's gradient is added by itself, in the order of their numbers, to the sum that the
// owner of a shard keeps: ((0 + g0) + g1) + g2 ..., whoever computed them. So the bits do not depend on the number of ranks, nor on
// who owns what. A micro-batch that a rank does not have counts as 0, which changes no bit.
//
// Where signal and noise are told apart, the sum over the first half of a step's micro-batches is kept too, whoever computed them; those
// of three are halves of one and two.
#pragma once

#include <cstdint>
#include <vector>

#include "config/run_config.h"
#include "distributed/communicator.h"
#include "kernels/device_memory.h"
#include "kernels/host_device.h"
#include "model/gpt2.h"
#include "model/weights.h"
#include "optim/optimizer.h"

namespace temper {

class GradientSum {
 public:
  /// `begins`: borders of the shards that the ranks' optimizers update (ZeRO-1); empty: each updates everything. `most`:
  /// micro-batches in a step at most. `halves`: some steps will keep the first half's sum. With `ops` null only the plan is counted.
  GradientSum(const ParallelConfig& config, const Weights& weights, Shards begins, std::int64_t most, bool halves,
              Communicator& ranks, Ops* ops, DeviceMemory& memory);

  // ---- a step, in this order -------------------------------------------------------------------------------------------

  /// `halves`: the first half's sum is kept, where there are two.
  void begin(std::int64_t micro_batches, bool halves);
  std::int64_t rounds() const { return ceil_div(micro_batches_, ranks_.size()); }
  /// The micro-batch that this rank computes in a round, or -1.
  std::int64_t micro_batch(std::int64_t round) const;
  /// How its gradients, and its loss, are to be written.
  Write write(std::int64_t round) const;
  /// Whether gradients leave behind the backward pass of this round, so that it is not the same work each time (Ops::replay).
  bool leaves(std::int64_t round) const;
  /// To be called before a round's backward pass, which may overwrite what an earlier one sent.
  void before_round(std::int64_t round);
  /// Sends the buckets that begin at `from` or behind it, as far as they were not.
  void send(std::int64_t from);
  /// After the round's loss is queued; sends what is left.
  void after_round(std::int64_t round, ConstTensorView loss);
  /// Makes the loss, and the gradients (of this rank's shard, where optimizers have one each), those of the whole step.
  void finish_sums(TensorView loss);
  /// Micro-batches in the first half; 0 where it is not kept.
  std::int64_t half() const { return half_; }
  /// After finish_sums(): their sum, f32 flat, final where the gradients are.
  ConstTensorView first_half() const { return first_half_; }
  /// After Optimizer::add_decay_gradient(): what the norm of all gradients is to be taken of, for Optimizer::finish_step().
  ConstTensorView norm_of(Optimizer& optimizer);
  /// After the update: each rank's shard of the weights that the model reads, on all ranks.
  void gather_weights();

 private:
  struct Bucket {
    std::int64_t begin, end;
    Shards shards;  ///< within it
  };
  void make_buckets(const ParameterLayout& layout, std::int64_t bytes);
  void send(const Bucket& bucket, TensorView flat, TensorView own_sum, const char* what = "gradients");
  std::int64_t last_round_of_half() const;
  std::int64_t own_begin() const { return shards_[static_cast<std::size_t>(ranks_.rank())]; }
  std::int64_t own_end() const { return shards_[static_cast<std::size_t>(ranks_.rank()) + 1]; }

  const Weights& weights_;
  Communicator& ranks_;
  Ops* ops_;
  const bool deterministic_, shares_states_;
  Shards shards_;                // of the flat buffers
  std::vector<Bucket> buckets_;  // from the end of the flat buffer to its beginning
  TensorView sum_;               // deterministic: of this rank's shard, f32
  TensorView losses_;            // deterministic: of each micro-batch, f32
  TensorView norms_;             // of the shards' gradients, f32 [size]
  TensorView first_half_;        // f32 flat
  std::int64_t micro_batches_ = 0, half_ = 0;
  std::size_t sent_ = 0;  // buckets of this step, or, where each micro-batch is added by itself, of this round
};

}  // namespace temper
