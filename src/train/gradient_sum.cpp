#include "train/gradient_sum.h"

#include <algorithm>
#include <utility>

namespace temper {

namespace {

constexpr const char* half_name = "half the gradients";

TensorView part(TensorView values, std::int64_t begin, std::int64_t end) {
  return {values.as<float>() + begin, DType::f32, {end - begin}};
}

}  // namespace

GradientSum::GradientSum(const ParallelConfig& config, const Weights& weights, Shards begins, std::int64_t most, bool halves,
                         Communicator& ranks, Ops* ops, DeviceMemory& memory)
    : weights_(weights),
      ranks_(ranks),
      ops_(ops),
      deterministic_(config.deterministic),
      shares_states_(!begins.empty() && ranks.size() > 1),
      shards_(shares_states_ ? std::move(begins) : even_shards(weights.layout().flat_size(), ranks.size())) {
  if (ranks.size() > 1 || deterministic_) make_buckets(weights.layout(), config.bucket_mib << 20);
  const char* group = "sums over ranks";
  if (deterministic_) {
    sum_ = memory.add(group, DType::f32, {own_end() - own_begin()});
    losses_ = memory.add(group, DType::f32, {most});
  } else if (shares_states_) {
    norms_ = memory.add(group, DType::f32, {ranks.size()});
  }
  if (halves && most > 1) first_half_ = memory.add("gradient of half a batch", DType::f32, weights.gradients().shape);
}

/// Buckets end where a block's parameters do, so that one leaves as soon as the backward pass is through with it.
void GradientSum::make_buckets(const ParameterLayout& layout, std::int64_t bytes) {
  std::int64_t end = layout.flat_size(), layer = -1;
  const auto add = [&](std::int64_t begin) {
    Bucket bucket{begin, end, {}};
    for (const std::int64_t border : shards_) bucket.shards.push_back(std::clamp(border, begin, end) - begin);
    buckets_.push_back(std::move(bucket));
    end = begin;
  };
  const std::vector<Parameter>& parameters = layout.parameters();
  for (std::size_t i = parameters.size(); i-- > 0;) {
    if (parameters[i].layer != layer && i + 1 < parameters.size() && (end - parameters[i + 1].offset) * 4 >= bytes)
      add(parameters[i + 1].offset);
    layer = parameters[i].layer;
  }
  add(0);
}

void GradientSum::begin(std::int64_t micro_batches, bool halves) {
  micro_batches_ = micro_batches;
  half_ = halves ? micro_batches / 2 : 0;
  sent_ = 0;
}

/// The last one in which this rank, or where micro-batches are added by themselves any rank, has one of the first half; -1: none.
std::int64_t GradientSum::last_round_of_half() const {
  if (deterministic_) return ceil_div(half_, ranks_.size()) - 1;
  return half_ > ranks_.rank() ? (half_ - 1 - ranks_.rank()) / ranks_.size() : -1;
}

std::int64_t GradientSum::micro_batch(std::int64_t round) const {
  const std::int64_t number = round * ranks_.size() + ranks_.rank();
  return number < micro_batches_ ? number : -1;
}

Write GradientSum::write(std::int64_t round) const { return deterministic_ || round == 0 ? Write::overwrite : Write::accumulate; }

bool GradientSum::leaves(std::int64_t round) const {
  if (buckets_.empty() || round == last_round_of_half()) return false;  // what leaves is not what it was
  return deterministic_ || micro_batch(round + 1) < 0;
}

void GradientSum::before_round(std::int64_t round) {
  if (deterministic_) {
    sent_ = 0;
    if (round == 0) {
      ops_->zero(sum_.data, sum_.bytes());
      ops_->zero(losses_.data, losses_.bytes());
    } else {
      ranks_.wait();
    }
  }
  if (micro_batch(round) < 0 && (deterministic_ || round == 0)) ops_->zero(weights_.gradients().data, weights_.gradients().bytes());
  if (half_ == 0) return;
  if (deterministic_ && round == last_round_of_half())
    ops_->copy(first_half_.as<float>() + own_begin(), sum_.data, sum_.bytes());
  else if (round == 0 && last_round_of_half() < 0)
    ops_->zero(first_half_.data, first_half_.bytes());
}

void GradientSum::send(std::int64_t from) {
  while (sent_ < buckets_.size() && buckets_[sent_].begin >= from) send(buckets_[sent_++], weights_.gradients(), sum_);
}

/// `own_sum`: of this rank's shard, where micro-batches are added by themselves.
void GradientSum::send(const Bucket& bucket, TensorView flat, TensorView own_sum, const char* what) {
  const TensorView gradients = part(flat, bucket.begin, bucket.end);
  if (deterministic_) {
    const std::int64_t begin = std::max(own_begin(), bucket.begin), end = std::min(own_end(), bucket.end);
    const TensorView sum = begin < end ? part(own_sum, begin - own_begin(), end - own_begin()) : part(own_sum, 0, 0);
    ranks_.accumulate(gradients, bucket.shards, sum, what);
  } else if (shares_states_) {
    ranks_.reduce_scatter(gradients, bucket.shards, what);
  } else {
    ranks_.all_reduce(gradients, what);
  }
}

void GradientSum::after_round(std::int64_t round, ConstTensorView loss) {
  const std::int64_t number = micro_batch(round);
  if (deterministic_ && number >= 0) ops_->copy(losses_.as<float>() + number, loss.data, sizeof(float));
  const bool half_ends = half_ > 0 && round == last_round_of_half();
  if (half_ends && !deterministic_) ops_->copy(first_half_.data, weights_.gradients().data, first_half_.bytes());
  if (round + 1 == rounds() || deterministic_) send(0);
  if (!half_ends || !deterministic_) return;
  // The half may end within a round: what is behind its end counts as 0, and the order stays that of the numbers.
  ranks_.wait();
  if (number < 0 || number >= half_) ops_->zero(weights_.gradients().data, weights_.gradients().bytes());
  for (const Bucket& bucket : buckets_) send(bucket, weights_.gradients(), part(first_half_, own_begin(), own_end()), half_name);
}

void GradientSum::finish_sums(TensorView loss) {
  const TensorView gradients = weights_.gradients();
  if (deterministic_) {
    const TensorView losses = part(losses_, 0, micro_batches_);
    ranks_.all_reduce(losses, "the losses");
    ranks_.wait();
    ops_->sum({.x = losses, .scale = 1.0f, .write = Write::overwrite, .out = loss});
    ops_->copy(gradients.as<float>() + own_begin(), sum_.data, sum_.bytes());
    if (!shares_states_) ranks_.all_gather(gradients, shards_, "gradients");
    if (!shares_states_ && half_ > 0) ranks_.all_gather(first_half_, shards_, half_name);
  } else if (ranks_.size() > 1) {
    ranks_.all_reduce(loss, "the loss");
    if (half_ > 0)
      for (const Bucket& bucket : buckets_) send(bucket, first_half_, sum_, half_name);
  }
  ranks_.wait();
}

ConstTensorView GradientSum::norm_of(Optimizer& optimizer) {
  if (!shares_states_) return weights_.gradients();
  if (deterministic_) {
    // A norm made of the shards' norms would depend on the shards.
    ranks_.all_gather(weights_.gradients(), shards_, "gradients");
    ranks_.wait();
    return weights_.gradients();
  }
  optimizer.measure_shard(part(norms_, ranks_.rank(), ranks_.rank() + 1));
  ranks_.all_gather(norms_, even_shards(ranks_.size(), ranks_.size()), "the shards' norms");
  ranks_.wait();
  return norms_;
}

void GradientSum::gather_weights() {
  if (!shares_states_) return;
  const TensorView weights = weights_.read_by_model();
  ranks_.all_gather(weights, shards_, "weights");
  ranks_.wait();
  ops_->written(weights.data, weights.bytes());
}

}  // namespace temper
