// Ranks that share an optimizer: which part each has, that together they do what one would do alone, and what each holds of it.
#include "optim/shards.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "config/run_config.h"
#include "golden_systems.h"
#include "kernels/check.h"
#include "optim/prior.h"
#include "optimizer_ranks.h"

namespace temper {
namespace {

using enum OptimizerName;

// ---- where shards begin --------------------------------------------------------------------------------------------------------

/// What stays on one rank.
enum class Piece { row, matrix, tensor };

struct Kind {
  const char* name;
  OptimizerConfig config;
  Piece matrices = Piece::row, embeddings = Piece::row, others = Piece::row;
};

std::vector<Kind> kinds() {
  OptimizerConfig by_matrix = bare(lionar, 0.1, 0.1), clipped = bare(adamw, 0.1), corrected = bare(adamw, 0.1),
                  clipped_muon = bare(muon, 0.1), adamh_row = bare(adamh, 0.1), not_clipped = bare(adamw, 0.1),
                  gains = bare(lionar, 0.1, 0.1);
  gains.rotation_gains = true;
  by_matrix.norm_granularity = Granularity::matrix;
  adamh_row.norm_granularity = Granularity::row;
  for (OptimizerConfig* config : {&clipped, &clipped_muon, &not_clipped}) config->clip_mode = ClipMode::tensor;
  clipped.grad_clip = clipped_muon.grad_clip = 1.0;
  corrected.rate_correction = RateCorrectionChoice::gradient;
  using enum Piece;
  return {{"adamw", bare(adamw, 0.1)},
          {"lionar", bare(lionar, 0.1, 0.1)},
          {"lionar, gains trained", gains},
          {"lionar by matrix", by_matrix, matrix, tensor},
          {"adamh", bare(adamh, 0.1), matrix},
          {"adamh by row", adamh_row},
          {"muon", bare(muon, 0.1), matrix},
          {"each tensor clipped", clipped, tensor, tensor, tensor},
          {"each tensor clipped at 0, which is not at all", not_clipped},
          {"muon, each tensor clipped", clipped_muon, matrix, tensor, tensor},
          {"corrected", corrected, matrix, tensor, tensor}};
}

struct Layout {
  std::vector<OptimizedTensor> tensors;
  std::int64_t flat_size = 0;
};

/// Tensors of all kinds, often with more behind them than the next boundary asks for.
Layout random_layout(std::mt19937& random) {
  const auto draw = [&](std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  };
  Layout layout;
  for (std::int64_t left = draw(1, 8); left > 0; --left) {
    OptimizedTensor tensor{.name = std::to_string(left), .shape = {draw(1, 90)}, .offset = layout.flat_size};
    tensor.kind = static_cast<ParameterKind>(draw(0, 3));
    if (tensor.kind == ParameterKind::matrix) {
      tensor.stacked = draw(0, 1) == 0 ? 1 : 3;
      tensor.shape = {tensor.stacked * 4 * draw(1, 10), draw(1, 30)};
    } else if (tensor.kind == ParameterKind::embedding) {
      tensor.shape = {draw(2, 60), draw(1, 30)};
    }
    layout.flat_size += (tensor.shape.numel() + 63) / 64 * 64 + 64 * draw(0, 3);
    layout.tensors.push_back(tensor);
  }
  return layout;
}

/// Whether a shard may begin here, and that not between tensors.
Piece piece_of(const Kind& kind, const OptimizedTensor& tensor) {
  if (tensor.kind == ParameterKind::matrix) return kind.matrices;
  return tensor.kind == ParameterKind::embedding ? kind.embeddings : kind.others;
}

bool may_begin_at(const Kind& kind, const Layout& layout, std::int64_t place) {
  if (place == layout.flat_size) return true;
  if (place % 4 != 0) return false;
  for (const OptimizedTensor& tensor : layout.tensors) {
    const std::int64_t before = place - tensor.offset, elements = tensor.shape.numel();
    if (before == 0 || before == elements) return true;
    if (before < 0 || before > elements) continue;
    const Piece piece = piece_of(kind, tensor);
    if (piece == Piece::row) return before % tensor.shape.back() == 0;
    return piece == Piece::matrix && before % (elements / tensor.stacked) == 0;
  }
  return false;
}

TEST(Shards, CoverEverythingAndFallWhereTheyMay) {
  std::mt19937 random(1);
  for (int round = 0; round < 60; ++round) {
    const Layout layout = random_layout(random);
    for (const Kind& kind : kinds()) {
      std::int64_t largest_piece = 0, last = 0;
      for (std::int64_t place = 1; place <= layout.flat_size; ++place) {
        if (!may_begin_at(kind, layout, place)) continue;
        largest_piece = std::max(largest_piece, place - last);
        last = place;
      }
      for (const std::int64_t ranks : {1, 2, 3, 4, 7, 64, 1000}) {
        SCOPED_TRACE(std::string(kind.name) + ", round " + std::to_string(round) + ", ranks " + std::to_string(ranks));
        const std::vector<std::int64_t> begins = optimizer_shards(kind.config, layout.tensors, layout.flat_size, ranks);
        ASSERT_EQ(static_cast<std::int64_t>(begins.size()), ranks + 1);
        EXPECT_EQ(begins.front(), 0);
        EXPECT_EQ(begins.back(), layout.flat_size);
        for (std::size_t rank = 0; rank + 1 < begins.size(); ++rank) {
          const std::int64_t size = begins[rank + 1] - begins[rank];
          EXPECT_GE(size, 0);
          EXPECT_TRUE(may_begin_at(kind, layout, begins[rank])) << begins[rank];
          EXPECT_LE(std::abs(size - layout.flat_size / ranks), largest_piece + 1) << "rank " << rank;
        }
      }
    }
  }
}

TEST(Shards, RowsAreSharedEvenly) {
  const std::vector<OptimizedTensor> tensors = {{"w", {100, 8}, 0, ParameterKind::matrix, 0},
                                                {"b", {100}, 832, ParameterKind::bias, 0}};
  EXPECT_EQ(optimizer_shards(bare(adamw, 0.1), tensors, 960, 2), (std::vector<std::int64_t>{0, 480, 960}));
  EXPECT_EQ(optimizer_shards(bare(adamw, 0.1), tensors, 960, 4), (std::vector<std::int64_t>{0, 240, 480, 720, 960}));
  EXPECT_EQ(optimizer_shards(bare(muon, 0.1), tensors, 960, 3), (std::vector<std::int64_t>{0, 0, 800, 960}));
}

// ---- what is left of a pipeline ------------------------------------------------------------------------------------------------

/// Every element's segment has the same numbers in the part that has it, and every segment's rows are there once.
TEST(Shards, PartsOfAPipelineAreThePipeline) {
  std::mt19937 random(2);
  for (int round = 0; round < 30; ++round) {
    const Layout layout = random_layout(random);
    for (const Kind& kind : kinds()) {
      SCOPED_TRACE(std::string(kind.name) + ", round " + std::to_string(round));
      const Pipeline whole = make_pipeline(resolved_optimizer(kind.config), layout.tensors);
      const std::vector<std::int64_t> begins = optimizer_shards(kind.config, layout.tensors, layout.flat_size, 3);
      std::vector<std::int64_t> rows(whole.segments.size(), 0);
      std::int64_t controlled = 0;
      for (std::size_t rank = 0; rank < 3; ++rank) {
        const Pipeline part = cut_pipeline(whole, begins[rank], begins[rank + 1]);
        ASSERT_EQ(part.parts.size(), whole.parts.size());
        std::int64_t next_row = 0;
        for (std::size_t number = 0; number < part.parts.size(); ++number) {
          const UpdatePart &some = part.parts[number], &all = whole.parts[number];
          EXPECT_EQ(some.beside_muon, all.beside_muon);
          for (std::int64_t i = some.first; i < some.first + some.count; ++i) {
            const ParameterSegment& segment = part.segments.at(static_cast<std::size_t>(i));
            EXPECT_GE(segment.offset, 0);
            EXPECT_EQ(segment.offset % 4, 0);
            EXPECT_LE(segment.offset + segment.rows * segment.columns, begins[rank + 1] - begins[rank]);
            EXPECT_EQ(i < part.with_gradient, all.first < whole.with_gradient);
            // The whole's segment that it comes from.
            const std::int64_t place = begins[rank] + segment.offset;
            std::int64_t from = all.first;
            while (from < all.first + all.count) {
              const ParameterSegment& one = whole.segments[static_cast<std::size_t>(from)];
              if (place >= one.offset && place < one.offset + one.rows * one.columns) break;
              ++from;
            }
            ASSERT_LT(from, all.first + all.count);
            const ParameterSegment& one = whole.segments[static_cast<std::size_t>(from)];
            EXPECT_EQ(part.tensor_of[static_cast<std::size_t>(i)], whole.tensor_of[static_cast<std::size_t>(from)]);
            EXPECT_EQ(segment.columns, one.columns);
            EXPECT_EQ(segment.learning_rate_scale, one.learning_rate_scale);
            EXPECT_EQ(segment.gain_rate_scale, one.gain_rate_scale);
            EXPECT_EQ(segment.weight_decay, one.weight_decay);
            EXPECT_EQ(segment.control, one.control);
            EXPECT_EQ(segment.per_row, one.per_row);
            if (holds_norm(segment.control)) {
              EXPECT_EQ(segment.first_row, next_row);
              EXPECT_EQ(controlled + segment.first_row, one.first_row + (place - one.offset) / one.columns);
              next_row += segment.rows;
            }
            rows[static_cast<std::size_t>(from)] += segment.rows;
          }
        }
        EXPECT_EQ(part.controlled_rows, next_row);
        controlled += next_row;
      }
      EXPECT_EQ(controlled, whole.controlled_rows);
      for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i], whole.segments[i].rows) << "segment " << i;
    }
  }
}

TEST(Shards, WhatIsUpdatedTogetherIsNotCut) {
  const std::vector<OptimizedTensor> tensors = {{"w", {24, 8}, 0, ParameterKind::matrix, 0, 3}};
  const auto cut = [&](const OptimizerConfig& config, std::int64_t place) {
    return cut_pipeline(make_pipeline(resolved_optimizer(config), tensors), place, 192).segments.size();
  };
  EXPECT_EQ(cut(bare(adamw, 0.1), 40), 1u);
  EXPECT_THROW(cut(bare(adamw, 0.1), 44), ContractViolation) << "within a row";
  EXPECT_EQ(cut(bare(muon, 0.1), 64), 4u);
  EXPECT_THROW(cut(bare(muon, 0.1), 40), ContractViolation);
  EXPECT_THROW(cut(bare(adamh, 0.1), 40), ContractViolation);
}

// ---- together they are one -----------------------------------------------------------------------------------------------------

/// The tensors of tests/golden/optimizers, larger, so that rows are cut and kernels have more than a register to do.
std::vector<OptimizedTensor> larger_tensors(const Golden& golden) {
  std::vector<OptimizedTensor> tensors = golden.tensors();
  std::int64_t offset = 0;
  for (OptimizedTensor& tensor : tensors) {
    tensor.shape = tensor.shape.rank() == 2 ? Shape{5 * tensor.shape[0], 7 * tensor.shape[1]} : Shape{7 * tensor.shape[0]};
    tensor.offset = offset;
    // A vocabulary is padded by more than the next boundary asks for.
    const std::int64_t padding = tensor.kind == ParameterKind::embedding ? 3 * tensor.shape.back() : 0;
    offset += (tensor.shape.numel() + padding + 63) / 64 * 64;
  }
  return tensors;
}

class SharedSystems : public testing::TestWithParam<std::string> {
 protected:
  struct Run {
    Run(std::unique_ptr<Ops> backend, const RunConfig& config, const std::vector<OptimizedTensor>& tensors, std::int64_t flat_size,
        std::int64_t ranks)
        : ops(std::move(backend)),
          memory(ops.get()),
          buffers{memory.add("test", DType::f32, {flat_size}), memory.add("test", DType::f32, {flat_size}),
                  memory.add("test", DType::bf16, {flat_size})},
          optimizers(*ops, config, tensors, buffers, ranks) {
      ops->copy_to_device(buffers.master.data, flat_noise(tensors, flat_size, 99).data(), buffers.master.bytes());
      ops->cast({.from = buffers.master, .to = buffers.low_precision});
      for (const auto& optimizer : optimizers.optimizers) optimizer->center_rows();
    }
    std::unique_ptr<Ops> ops;
    DeviceMemory memory;
    OptimizedBuffers buffers;
    OptimizerRanks optimizers;
  };

  Run make(std::int64_t ranks, std::unique_ptr<Ops> ops = make_cpu_ops()) const {
    return Run(std::move(ops), config, tensors, flat_size, ranks);
  }
  std::vector<float> gradients(std::int64_t k) const { return flat_noise(tensors, flat_size, static_cast<std::uint32_t>(k)); }
  bool is_for_one_rank() const { return config.optimizer.name == schedule_free_adamw; }

  const Golden golden;
  const RunConfig config = config_of(golden, GetParam());
  const std::vector<OptimizedTensor> tensors = larger_tensors(golden);
  const std::int64_t flat_size = (tensors.back().offset + tensors.back().shape.numel() + 63) / 64 * 64;
};
INSTANTIATE_TEST_SUITE_P(All, SharedSystems, testing::ValuesIn(systems()), [](const auto& instance) { return instance.param; });

void expect_equal(const std::map<std::string, std::vector<float>>& found,
                  const std::map<std::string, std::vector<float>>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, values] : expected) {
    ASSERT_EQ(found.at(name).size(), values.size()) << name;
    EXPECT_EQ(std::memcmp(found.at(name).data(), values.data(), values.size() * sizeof(float)), 0) << name;
  }
}

TEST_P(SharedSystems, RanksTogetherAreOneBitForBit) {
  Run alone = make(1);
  std::vector<StepScalars> measured;
  for (std::int64_t k = 0; k < 5; ++k) measured.push_back(alone.optimizers.step(k, gradients(k)));
  const auto expected = alone.optimizers.contents();
  for (const std::int64_t ranks : {2, 3, 4, 40}) {  // 40: more than there are matrices
    SCOPED_TRACE(ranks);
    if (is_for_one_rank()) {
      EXPECT_THROW(make(ranks), ContractViolation);
      continue;
    }
    Run shared = make(ranks);
    for (std::int64_t k = 0; k < 5; ++k) {
      const StepScalars scalars = shared.optimizers.step(k, gradients(k));
      EXPECT_EQ(std::memcmp(&scalars, &measured[static_cast<std::size_t>(k)], sizeof(scalars)), 0) << "step " << k;
      EXPECT_EQ(scalars.finite, 1);
    }
    expect_equal(shared.optimizers.contents(), expected);
  }
}

TEST_P(SharedSystems, SoTheyAreOnTheEmulatedGpu) {
  if (is_for_one_rank()) GTEST_SKIP() << "Schedule-Free is for one rank: shards are refused";
  Run alone = make(1, make_emulated_ops({1, true, 2})), shared = make(3, make_emulated_ops({2, false, 2}));
  for (std::int64_t k = 0; k < 2; ++k) {
    alone.optimizers.step(k, gradients(k));
    shared.optimizers.step(k, gradients(k));
  }
  expect_equal(shared.optimizers.contents(), alone.optimizers.contents());
}

TEST_P(SharedSystems, TheNormOfNormsIsTheNorm) {
  if (is_for_one_rank()) GTEST_SKIP() << "Schedule-Free is for one rank: shards are refused";
  for (const std::int64_t ranks : {4, 40}) {  // some of 40 are empty
    Run alone = make(1), shared = make(ranks);
    for (std::int64_t k = 0; k < 5; ++k) {
      const auto norm = [&](Run& run, OptimizerRanks::Norm of) {
        return static_cast<double>(run.optimizers.step(k, gradients(k), of).gradient_norm);
      };
      const double expected = norm(alone, OptimizerRanks::Norm::of_gradients);
      EXPECT_NEAR(norm(shared, OptimizerRanks::Norm::of_norms), expected, 1e-6 * expected) << "step " << k;
    }
  }
}

TEST_P(SharedSystems, WhatIsNotFiniteOnOneRankStopsAll) {
  if (is_for_one_rank()) GTEST_SKIP() << "Schedule-Free is for one rank: shards are refused";
  Run shared = make(4);
  shared.optimizers.step(0, gradients(0));
  const auto before = shared.optimizers.contents();
  for (const std::size_t place : {std::size_t{3}, static_cast<std::size_t>(tensors.back().offset)}) {
    std::vector<float> bad = gradients(1);
    bad[place] = std::nanf("");
    EXPECT_EQ(shared.optimizers.step(1, bad, OptimizerRanks::Norm::of_norms).finite, 0);
    expect_equal(shared.optimizers.contents(), before);
  }
}

TEST_P(SharedSystems, EachHoldsItsShardAlone) {
  const Run alone = make(1);
  if (is_for_one_rank()) return;
  const std::size_t scalars = sizeof(StepScalars) * (config.optimizer.name == muon ? 2 : 1);
  for (const std::int64_t ranks : {2, 3, 4, 40}) {
    const Run shared = make(ranks);
    std::size_t bytes = 0;
    std::int64_t segments = 0;
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(ranks); ++rank) {
      const Optimizer& optimizer = *shared.optimizers.optimizers[rank];
      for (const Optimizer::StateBuffer& buffer : optimizer.state_buffers())
        EXPECT_EQ(buffer.values.numel(), buffer.shards.at(rank + 1) - buffer.shards.at(rank)) << buffer.name;
      bytes += shared.optimizers.bytes_of(rank) - scalars;
      segments += optimizer.segment_count();
    }
    const std::int64_t cuts = segments - alone.optimizers.optimizers[0]->segment_count();
    EXPECT_LE(cuts, ranks);
    // Newton-Schulz works in as much memory as the rank's largest matrix takes, whatever the number of ranks.
    if (config.optimizer.name == muon) continue;
    EXPECT_EQ(bytes, alone.optimizers.bytes_of(0) - scalars + static_cast<std::size_t>(cuts) * sizeof(ParameterSegment)) << ranks;
  }
}

TEST_P(SharedSystems, AShardsMasterWeightsAreEnough) {
  if (is_for_one_rank()) GTEST_SKIP() << "Schedule-Free is for one rank: shards are refused";
  const ShardPlace place{optimizer_shards(config.optimizer, tensors, flat_size, 3), 1};
  const std::int64_t size = place.end() - place.begin();
  const std::vector<float> weights = flat_noise(tensors, flat_size, 99);
  const auto after_steps = [&](bool has_all) {
    const std::unique_ptr<Ops> ops = make_cpu_ops();
    DeviceMemory memory(ops.get());
    const std::int64_t begin = has_all ? place.begin() : 0;
    const OptimizedBuffers buffers{
        memory.add("test", DType::f32, {has_all ? flat_size : size}), memory.add("test", DType::f32, {flat_size}), {}};
    const TensorView half = memory.add("test", DType::f32, {flat_size});
    ops->copy_to_device(half.data, gradients(9).data(), half.bytes());
    ops->copy_to_device(buffers.master.data, weights.data() + (has_all ? 0 : place.begin()), buffers.master.bytes());
    Optimizer optimizer(config.optimizer, Schedule(config.schedule, *config.train.steps, 1), tensors, buffers, ops.get(), memory,
                        place);
    for (std::int64_t k = 0; k < 3; ++k) {
      optimizer.begin_step(k);
      ops->copy_to_device(buffers.gradients.data, gradients(k).data(), buffers.gradients.bytes());
      ops->zero(optimizer.loss().data, sizeof(float));
      if (optimizer.corrects_rates()) optimizer.measure_halves({half, first_examples, second_examples});
      optimizer.add_decay_gradient();
      optimizer.finish_step(buffers.gradients);
    }
    std::vector<float> after(static_cast<std::size_t>(size));
    ops->copy_to_host(after.data(), buffers.master.as<float>() + begin, after.size() * sizeof(float));
    return after;
  };
  const std::vector<float> found = after_steps(false);
  EXPECT_EQ(found, after_steps(true));
  EXPECT_NE(found, std::vector<float>(weights.begin() + place.begin(), weights.begin() + place.end()));
}

// ---- what is refused -----------------------------------------------------------------------------------------------------------

TEST(Shards, DiagnosticsAreForOneRank) {
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  DeviceMemory memory(ops.get());
  const TensorView flat = memory.add("test", DType::f32, {192});
  RunConfig config;
  config.optimizer = bare(adamw, 0.1);
  config.schedule = constant_schedule();
  config.train.steps = 10;
  OptimizerRanks ranks(*ops, config, one_matrix(24, 8), {flat, flat, {}}, 2);
  const Optimizer& optimizer = *ranks.optimizers[1];
  EXPECT_THROW(first_moment(optimizer), ContractViolation);
  EXPECT_THROW(decay_of(optimizer, 0), ContractViolation);
  EXPECT_THROW(direction_beta(optimizer, 0, 0), ContractViolation);
  EXPECT_THROW(prior_deviation(optimizer, 0, 0, 1e6), ContractViolation);
  EXPECT_THROW(preconditioner(optimizer, 0), ContractViolation);
  EXPECT_THROW(preconditioned_prior_deviation(optimizer, 0, 0, 1e6), ContractViolation);
}

TEST(Shards, PlacesThatAreNoneAreRefused) {
  DeviceMemory memory(nullptr);
  const TensorView flat = memory.add("test", DType::f32, {192});
  const auto plan = [&](std::vector<std::int64_t> begins, std::int64_t rank) {
    Optimizer(bare(adamw, 0.1), Schedule(constant_schedule(), 10, 1), one_matrix(24, 8), {flat, flat, {}}, nullptr, memory,
              {std::move(begins), rank});
  };
  EXPECT_NO_THROW(plan({0, 96, 192}, 1));
  EXPECT_THROW(plan({0, 96, 192}, 2), ContractViolation);
  EXPECT_THROW(plan({0, 96, 192}, -1), ContractViolation);
  EXPECT_THROW(plan({0, 96, 128}, 0), ContractViolation);
  EXPECT_THROW(plan({8, 96, 192}, 0), ContractViolation);
  EXPECT_THROW(plan({0, 96, 8, 192}, 0), ContractViolation);
}

}  // namespace
}  // namespace temper
