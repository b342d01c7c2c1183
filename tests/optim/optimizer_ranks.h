// The optimizers of several ranks, each with its shard. They share one set of flat buffers, which takes the place of what ranks
// would tell each other.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "made_up_half.h"
#include "optim/optimizer.h"

namespace temper {

/// A flat buffer with normal numbers in all tensors and 0 between them, the same for the same seed.
inline std::vector<float> flat_noise(const std::vector<OptimizedTensor>& tensors, std::int64_t flat_size, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> numbers;
  std::vector<float> flat(static_cast<std::size_t>(flat_size), 0.0f);
  for (const OptimizedTensor& tensor : tensors)
    for (std::int64_t i = 0; i < tensor.shape.numel(); ++i) flat[static_cast<std::size_t>(tensor.offset + i)] = numbers(generator);
  return flat;
}

class OptimizerRanks {
 public:
  /// What the norm of all gradients is taken of.
  enum class Norm { of_gradients, of_norms };

  /// One rank is an optimizer of everything, as a run by itself has it.
  OptimizerRanks(Ops& ops, const RunConfig& config, const std::vector<OptimizedTensor>& tensors, OptimizedBuffers buffers,
                 std::int64_t ranks)
      : ops_(ops), memory_(&ops), buffers_(buffers) {
    const std::int64_t flat_size = buffers.master.numel();
    gradients_ = memory_.add("test", DType::f32, {flat_size});
    half_ = memory_.add("test", DType::f32, {flat_size});
    norms_ = memory_.add("test", DType::f32, {ranks});
    ShardPlace place;
    if (ranks > 1) place.begins = optimizer_shards(config.optimizer, tensors, flat_size, ranks);
    for (place.rank = 0; place.rank < ranks; ++place.rank) {
      plans_.push_back(std::make_unique<DeviceMemory>(&ops));
      optimizers.push_back(std::make_unique<Optimizer>(config.optimizer, Schedule(config.schedule, *config.train.steps, 1), tensors,
                                                       buffers, &ops, *plans_.back(), place));
    }
  }

  /// Makes update k from these gradients, flat; every rank measures the same.
  StepScalars step(std::int64_t k, const std::vector<float>& gradients, Norm norm = Norm::of_gradients) {
    const float loss = 1.0f;
    for (const auto& optimizer : optimizers) {
      optimizer->begin_step(k);
      ops_.copy_to_device(optimizer->loss().data, &loss, sizeof(loss));
    }
    ops_.copy_to_device(buffers_.gradients.data, gradients.data(), gradients.size() * sizeof(float));
    ops_.copy_to_device(half_.data, made_up_half(gradients).data(), half_.bytes());
    for (const auto& optimizer : optimizers)
      if (optimizer->corrects_rates()) optimizer->measure_halves({half_, first_examples, second_examples});
    for (const auto& optimizer : optimizers) optimizer->add_decay_gradient();
    for (std::size_t rank = 0; rank < optimizers.size(); ++rank)
      optimizers[rank]->measure_shard({norms_.as<float>() + rank, DType::f32, {1}});
    // Updates leave directions where gradients were.
    ops_.copy(gradients_.data, buffers_.gradients.data, gradients_.bytes());
    std::vector<StepScalars> measured;
    for (const auto& optimizer : optimizers) {
      optimizer->finish_step(norm == Norm::of_norms ? norms_ : gradients_);
      measured.push_back(optimizer->finish_read(optimizer->start_read()));
      EXPECT_EQ(std::memcmp(&measured.back(), measured.data(), sizeof(StepScalars)), 0);
    }
    return measured.front();
  }

  /// All of a buffer, in device memory: the ranks' parts one after the other.
  TensorView whole(const Optimizer::StateBuffer& buffer) {
    const auto number = static_cast<std::size_t>(&buffer - optimizers[0]->state_buffers().data());
    const TensorView all = memory_.add("test", DType::f32, {buffer.shards.back()});
    for (std::size_t rank = 0; rank < optimizers.size(); ++rank) {
      const Optimizer::StateBuffer& part = optimizers[rank]->state_buffers().at(number);
      EXPECT_EQ(part.name, buffer.name);
      EXPECT_EQ(part.shards, buffer.shards);
      EXPECT_EQ(part.values.numel(), part.shards.at(rank + 1) - part.shards.at(rank)) << buffer.name << " of rank " << rank;
      if (part.values.present()) ops_.copy(all.as<float>() + part.shards[rank], part.values.data, part.values.bytes());
    }
    return all;
  }

  /// Every state by its name, whoever has it.
  std::map<std::string, std::vector<float>> states() {
    std::map<std::string, std::vector<float>> all;
    std::vector<std::vector<float>> buffers;
    for (const Optimizer::StateBuffer& buffer : optimizers[0]->state_buffers()) buffers.push_back(download(whole(buffer)));
    for (const Optimizer::State& state : optimizers[0]->states()) {
      const auto begin = buffers[state.buffer].begin() + state.offset;
      all[state.name] = {begin, begin + state.shape.numel()};
    }
    EXPECT_EQ(all.size(), optimizers[0]->states().size()) << "a name comes twice";
    return all;
  }

  /// Weights, the copy that the model reads, and all states.
  std::map<std::string, std::vector<float>> contents() {
    for (const auto& optimizer : optimizers) optimizer->average().show();
    std::map<std::string, std::vector<float>> all = states();
    all["weights"] = download(buffers_.master);
    if (buffers_.low_precision.present()) {
      std::vector<bfloat16> rounded(static_cast<std::size_t>(buffers_.low_precision.numel()));
      ops_.copy_to_host(rounded.data(), buffers_.low_precision.data, buffers_.low_precision.bytes());
      for (const bfloat16 one : rounded) all["rounded weights"].push_back(to_float(one));
    }
    return all;
  }

  /// Bytes that a rank takes for its optimizer.
  std::size_t bytes_of(std::size_t rank) const { return plans_[rank]->total_bytes(); }

  std::vector<float> download(ConstTensorView view) {
    std::vector<float> values(static_cast<std::size_t>(view.numel()));
    ops_.copy_to_host(values.data(), view.data, view.bytes());
    return values;
  }

 private:
  Ops& ops_;
  DeviceMemory memory_;
  OptimizedBuffers buffers_;
  TensorView gradients_, half_, norms_;
  std::vector<std::unique_ptr<DeviceMemory>> plans_;

 public:
  std::vector<std::unique_ptr<Optimizer>> optimizers;
};

}  // namespace temper
