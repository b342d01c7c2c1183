// Calls that break kernels/ops.h are refused before anything is touched.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cases/case_run.h"
#include "kernels/check.h"
#include "kernels/support/backends.h"

namespace temper {
namespace {

Shape with_last_extent(const Shape& shape, std::int64_t more) {
  switch (shape.rank()) {
    case 1:
      return {shape[0] + more};
    case 2:
      return {shape[0], shape[1] + more};
    default:
      return {shape[0], shape[1], shape[2] + more};
  }
}

Shape with_rank_one_more(const Shape& shape) {
  switch (shape.rank()) {
    case 1:
      return {shape[0], 1};
    case 2:
      return {shape[0], shape[1], 1};
    default:
      return {shape[0], shape[1], shape[2], 1};
  }
}

// Raw memory (StepScalars, flat buffers of the optimizer and all that goes with segments) has neither shape nor type at the
// interface.
bool has_view(const OpCase& op_case, const TensorSpec& spec) {
  const auto is_table = [](const TensorSpec& each) { return each.name == "segments"; };
  if (spec.content == Content::step_scalars || std::any_of(op_case.tensors.begin(), op_case.tensors.end(), is_table)) return false;
  return op_case.op != "copy" && op_case.op != "zero";
}

class Contract : public testing::TestWithParam<OpCase> {
 protected:
  static void refused(Ops& ops, const Views& views, const std::string& what) {
    try {
      GetParam().run(ops, views);
      ADD_FAILURE() << GetParam().op << " accepted " << what;
    } catch (const ContractViolation& violation) {
      EXPECT_NE(std::string(violation.what()).find(GetParam().op), std::string::npos) << violation.what();
    }
  }

  static void wrong_tensors_are_refused(Ops& ops);
};

TEST_P(Contract, WrongTensorsAreRefused) {
  for (const BackendChoice& choice : {best_cpu(), BackendChoice{BackendChoice::Kind::emulated, "emulated", cpu::best_isa(), {}}}) {
    SCOPED_TRACE(choice.name);
    Backend backend(choice);
    wrong_tensors_are_refused(backend.ops());
  }
}

void Contract::wrong_tensors_are_refused(Ops& ops) {
  const OpCase& op_case = GetParam();
  CaseRun run(ops, op_case, DType::f32);
  for (const TensorSpec& spec : op_case.tensors) {
    if (!has_view(op_case, spec)) continue;
    const TensorView right = run.views()[spec.name];
    auto with = [&](const TensorView& wrong) {
      Views views = run.views();
      views.at(spec.name) = wrong;
      return views;
    };
    TensorView wrong = right;
    wrong.dtype = right.dtype == DType::i32 ? DType::f32 : DType::i32;
    refused(ops, with(wrong), spec.name + " of type " + name_of(wrong.dtype));
    if (!spec.optional) refused(ops, with({}), "absent " + spec.name);
    if (spec.any_shape) continue;
    wrong = right;
    wrong.shape = with_rank_one_more(right.shape);
    if (op_case.op != "sum") refused(ops, with(wrong), spec.name + " " + wrong.shape.to_string());
    wrong.shape = with_last_extent(right.shape, 1);
    if (!spec.any_columns) refused(ops, with(wrong), spec.name + " " + wrong.shape.to_string());
  }
}

INSTANTIATE_TEST_SUITE_P(AllCases, Contract, testing::ValuesIn(all_cases(Size::small_odd)), test_name);

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const ContractViolation& violation) {
    return violation.what();
  }
  return "accepted";
}

class ContractMessages : public testing::Test {
 protected:
  Backend backend_{best_cpu()};
  Ops& ops_ = backend_.ops();
  float floats_[16] = {};
  std::int32_t ids_[2] = {0, 4};
  StepScalars scalars_ = {};
};

TEST_F(ContractMessages, NameOperationTensorAndBothValues) {
  const TensorView x = {floats_, DType::f32, {2, 3}};
  const TensorView gamma = {floats_, DType::f32, {4}};
  const TensorView statistic = {floats_, DType::f32, {2}};
  EXPECT_EQ(message_of([&] { ops_.layernorm_forward({.x = x, .gamma = gamma, .out = x, .mean = statistic, .rstd = statistic}); }),
            "layernorm_forward: gamma is f32 [4]; it must be f32 [3]");
  EXPECT_EQ(message_of([&] { ops_.layernorm_forward({.x = x, .gamma = {}, .out = x, .mean = statistic, .rstd = statistic}); }),
            "layernorm_forward: gamma is absent; it must be f32 [3]");
}

TEST_F(ContractMessages, TokensAndTargetsOutOfRange) {
  const TensorView ids = {ids_, DType::i32, {1, 2}};
  const TensorView table = {floats_, DType::f32, {4, 2}};
  const TensorView out = {floats_ + 8, DType::f32, {1, 2, 2}};
  EXPECT_EQ(
      message_of([&] { ops_.embedding_forward({.tokens = ids, .wte = table, .wpe = table, .first_position = 0, .out = out}); }),
      "embedding_forward: token 1 is 4; it must be from 0 to 3");
  EXPECT_EQ(message_of([&] {
              ops_.embedding_backward({.dout = out, .tokens = ids, .dwte = table, .dwpe = table, .write_wpe = Write::overwrite});
            }),
            "embedding_backward: token 1 is 4; it must be from 0 to 3");
  ids_[1] = -2;
  const TensorView logits = {floats_, DType::f32, {2, 4}};
  const TensorView losses = {floats_ + 8, DType::f32, {2}};
  EXPECT_EQ(
      message_of([&] {
        ops_.cross_entropy(
            {.logits = logits, .targets = {ids_, DType::i32, {2}}, .vocab_size = 4, .gradient_scale = 1.0f, .losses = losses});
      }),
      "cross_entropy: target 1 is -2; it must be from -1 to 3");
  EXPECT_EQ(
      message_of([&] {
        ops_.cross_entropy(
            {.logits = logits, .targets = {ids_, DType::i32, {2}}, .vocab_size = 5, .gradient_scale = 1.0f, .losses = losses});
      }),
      "cross_entropy: vocab_size is 5; it must be between 1 and the columns of the logits, 4");
}

TEST_F(ContractMessages, PositionsBeyondTheContext) {
  const TensorView ids = {ids_, DType::i32, {1, 2}};
  const TensorView wte = {floats_, DType::f32, {5, 2}};
  const TensorView wpe = {floats_, DType::f32, {3, 2}};
  const TensorView out = {floats_ + 8, DType::f32, {1, 2, 2}};
  EXPECT_EQ(message_of([&] { ops_.embedding_forward({.tokens = ids, .wte = wte, .wpe = wpe, .first_position = 2, .out = out}); }),
            "embedding_forward: first_position is 2; with T = 2 it must end within n_ctx = 3");
}

TEST_F(ContractMessages, OptimizerArguments) {
  UpdateBuffers buffers;
  buffers.master = floats_;
  UpdateSettings settings;
  ParameterSegment segment = {2, 1, 4, 0, 1.0f, 1.0f, 0.0f, NormControl::none, 0};
  scalars_.finite = 1;
  UpdateRule rule = Adam{};
  auto update = [&] {
    ops_.optimizer_update(
        {.rule = rule, .settings = settings, .buffers = buffers, .segments = {&segment, 1}, .scalars = &scalars_});
  };
  EXPECT_EQ(message_of(update), "optimizer_update: buffers.gradient is null; it is required");
  buffers.gradient = floats_;
  EXPECT_EQ(message_of(update), "optimizer_update: buffers.state is null; the rule keeps 2 states");
  buffers.state[0] = buffers.state[1] = buffers.state[2] = floats_;
  EXPECT_NE(message_of(update).find("has offset 2, rows 1 and columns 4"), std::string::npos) << message_of(update);

  segment.offset = 4;
  segment.control = NormControl::relative;
  EXPECT_EQ(message_of(update),
            "optimizer_update: the norm of the segment at 4 is controlled; buffers.row_norm and its siblings must not be null");
  buffers.row_norm = floats_;
  EXPECT_EQ(message_of(update),
            "optimizer_update: one of buffers.row_norm, row_mean_square and row_work is null; control of norms needs all three");
  buffers.row_mean_square = floats_;
  RowWork work;
  buffers.row_work = &work;
  settings.gains.trained = true;
  EXPECT_EQ(message_of(update), "optimizer_update: buffers.row_gain_moments is null; Adam of the gains keeps two numbers per row");
  settings.gains.trained = false;
  segment.first_row = -1;
  EXPECT_EQ(message_of(update),
            "optimizer_update: the norm of the segment at 4 is controlled and its first_row is -1; it must not be negative");
  rule = ScheduleFree{};
  EXPECT_EQ(
      message_of(update),
      "optimizer_update: the norm of the segment at 4 is controlled; Schedule-Free has no direction that could be: its segments "
      "must have NormControl::none");

  rule = AdEMAMix{};
  settings.decay_form = DecayForm::scaled_gradient;
  EXPECT_EQ(message_of(update),
            "optimizer_update: settings.decay_form is scaled_gradient; only Adam has the preconditioner that scales it");
  settings = {};
  settings.clip_value = -1.0f;
  EXPECT_EQ(message_of(update), "optimizer_update: settings.clip_value is -1; it must be positive, or 0 for no clipping");
  settings = {};
  settings.averaging = 1.0f;
  EXPECT_EQ(message_of(update), "optimizer_update: settings.averaging is 1; it must be in [0, 1)");
  EXPECT_EQ(message_of([&] {
              ops_.global_norm({.gradients = {floats_, DType::f32, {4}}, .max_norm = -1.0f, .scalars = &scalars_});
            }),
            "global_norm: max_norm is -1; it must be positive, or 0 for no clipping");
}

TEST_F(ContractMessages, OperationsOnSegments) {
  const ParameterSegment segment = {2, 1, 4, 0, 1.0f, 1.0f, 0.0f, NormControl::none, 0};
  UpdateBuffers buffers;
  buffers.master = floats_;
  TensorMoments moments;
  TensorScale scale;
  UpdateStatistics statistics{};
  ScaleSettings settings;
  auto scales = [&](float* smoothed) {
    ops_.tensor_scales({.settings = settings,
                        .moments = nullptr,
                        .halves = &moments,
                        .segments = {&segment, 1},
                        .scalars = &scalars_,
                        .smoothed = smoothed,
                        .scales = &scale});
  };
  EXPECT_EQ(message_of([&] {
              ops_.tensor_moments({.gradient = nullptr, .moment = floats_, .segments = {&segment, 1}, .out = &moments});
            }),
            "tensor_moments: gradient is null; it is required");
  EXPECT_EQ(message_of([&] {
              ops_.tensor_moments({.gradient = floats_, .moment = floats_, .segments = {nullptr, 1}, .out = &moments});
            }),
            "tensor_moments: segments.first is null; it is required");
  EXPECT_EQ(message_of([&] {
              ops_.tensor_moments({.gradient = floats_, .moment = floats_, .segments = {&segment, -1}, .out = &moments});
            }),
            "tensor_moments: segments.count is -1; it must not be negative");
  EXPECT_EQ(message_of([&] {
              ops_.add_decay_gradient({.buffers = buffers, .segments = {&segment, 1}, .scalars = &scalars_});
            }),
            "add_decay_gradient: buffers.gradient is null; it is required");
  EXPECT_EQ(message_of([&] {
              ops_.update_statistics({.before = floats_,
                                      .after = nullptr,
                                      .decay = {},
                                      .segments = {&segment, 1},
                                      .scalars = &scalars_,
                                      .out = &statistics});
            }),
            "update_statistics: after is null; it is required");
  EXPECT_EQ(message_of([&] {
              ops_.update_statistics({.before = floats_,
                                      .after = floats_,
                                      .decay = {.cautious = true, .averaged = true},
                                      .segments = {&segment, 1},
                                      .scalars = &scalars_,
                                      .out = &statistics});
            }),
            "update_statistics: gradient is null; it is required");
  for (const auto& call : std::vector<std::function<void()>>{
           [&] {
             ops_.tensor_moments({.gradient = floats_, .moment = floats_, .segments = {&segment, 1}, .out = &moments});
           },
           [&] {
             ops_.update_statistics({.before = floats_,
                                     .after = floats_,
                                     .decay = {},
                                     .segments = {&segment, 1},
                                     .scalars = &scalars_,
                                     .out = &statistics});
           },
           [&] {
             scalars_.finite = 1;
             scales(nullptr);
           }})
    EXPECT_NE(message_of(call).find("has offset 2"), std::string::npos) << message_of(call);
  settings.correction = RateCorrection::gradient;
  settings.first_examples = 2.0f;
  EXPECT_EQ(message_of([&] { scales(floats_); }), "tensor_scales: second_examples is 0; it must be positive");
  settings.second_examples = 3.0f;
  EXPECT_EQ(message_of([&] { scales(nullptr); }), "tensor_scales: smoothed is null; it is required");
  settings.smoothing = 1.0f;
  EXPECT_EQ(message_of([&] { scales(floats_); }), "tensor_scales: smoothing is 1; it must be in [0, 1)");
  EXPECT_EQ(message_of([&] {
              ops_.histogram({.x = {floats_, DType::f32, {4}}, .scale = 1.0f, .counts = {ids_, DType::i32, {0}}});
            }),
            "histogram: counts is [0]; it must have a bin");
}

TEST_F(ContractMessages, BiasAndResidualWithoutTheirEpilogues) {
  const TensorView x = {floats_, DType::f32, {2, 2}};
  const TensorView bias = {floats_ + 8, DType::f32, {2}};
  const TensorView y = {floats_ + 10, DType::f32, {2, 2}};
  EXPECT_EQ(message_of([&] { ops_.linear_forward({.x = x, .weight = x, .bias = bias, .y = y}); }),
            "linear_forward: bias is present; Epilogue::none adds none");
  EXPECT_EQ(message_of([&] { ops_.linear_forward({.x = x, .weight = x, .epilogue = Epilogue::bias, .y = y}); }),
            "linear_forward: bias is absent; it must be f32 [2]");
  EXPECT_EQ(message_of([&] {
              ops_.linear_forward({.x = x, .weight = x, .residual = x, .epilogue = Epilogue::bias_gelu, .y = y, .pre = x});
            }),
            "linear_forward: residual is present; Epilogue::bias_gelu adds none");
}

}  // namespace
}  // namespace temper
