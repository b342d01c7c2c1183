// What is told of a run before it begins: its memory, and ranks without work.
#include <malloc.h>

#include "config/parse.h"
#include "io/file.h"
#include "kernels/check.h"
#include "kernels/gpu_plan.h"
#include "kernels/machine.h"
#include "tiny_run.h"
#include "train/trainer.h"

namespace temper {
namespace {

/// What describe_run counts: an engine that took nothing.
struct Plan {
  explicit Plan(const RunConfig& config, const Ops& ops) : engine(config, nullptr) { engine.count_backend_memory(config, ops); }
  Engine engine;
};

struct IdleCase {
  std::int64_t ranks, tokens_per_step, micro_batch, growing_steps, start_tokens;
  const char* told;  // all of it
};

TEST(IdleRanks, AreToldWithTheMicroBatchThatWouldDo) {
  const IdleCase cases[] = {
      {16, 524288, 64, 0, 0,
       "8 of 16 ranks have nothing to compute in each step, which has 8 micro-batches; batch.micro_batch=32 gives each rank 1"},
      {16, 524288, 32, 0, 0, ""},
      {8, 524288, 64, 0, 0, ""},
      {1, 524288, 64, 0, 0, ""},
      {2, 524288, 512, 0, 0,
       "1 of 2 ranks has nothing to compute in each step, which has 1 micro-batches; batch.micro_batch=256 gives each rank 1"},
      {16, 24 * 65536, 64, 0, 0,
       "8 of 16 ranks have nothing to compute in the last of 2 rounds of each step, which has 24 micro-batches; "
       "batch.micro_batch=48 gives each rank 2"},
      {3, 524288, 64, 0, 0,
       "1 of 3 ranks has nothing to compute in the last of 3 rounds of each step, which has 8 micro-batches; no batch.micro_batch "
       "shares it evenly: let batch.tokens_per_step be a multiple of ranks x model.n_ctx = 3072, or take other ranks"},
      {1024, 524288, 64, 0, 0,
       "1016 of 1024 ranks have nothing to compute in each step, which has 8 micro-batches; no batch.micro_batch shares it evenly: "
       "let batch.tokens_per_step be a multiple of ranks x model.n_ctx = 1048576, or take other ranks"},
      {8, 524288, 64, 100, 131072,  // 2 micro-batches, and one more every 16.7 steps
       "6 of 8 ranks have nothing to compute in the first step, and some in the first 92, while the batch grows; "
       "batch.micro_batch=16 gives each rank one from the beginning"},
      {8, 524288, 64, 100, 4096,
       "7 of 8 ranks have nothing to compute in the first step, and some in the first 94, while the batch grows; "
       "schedule.batch_start_tokens=524288 is enough for all"},
      {8, 524288, 16, 100, 131072, ""},
  };
  for (const IdleCase& one : cases) {
    RunConfig config;
    config.train.steps = 1000;
    config.batch.tokens_per_step = one.tokens_per_step;
    config.batch.micro_batch = one.micro_batch;
    config.schedule.batch_warmup_steps = one.growing_steps;
    config.schedule.batch_start_tokens = one.start_tokens;
    EXPECT_EQ(idle_ranks(config, one.ranks), one.told) << one.ranks << " ranks, micro-batches of " << one.micro_batch;
  }
}

/// "--nodes=2 ..." of the lines that Slurm reads.
std::int64_t slurm_option(const std::string& script, const std::string& name) {
  return std::stoll(script.substr(script.find("#SBATCH --" + name + "=") + 11 + name.size()));
}

// The scripts that ship have work for each of their ranks.
TEST(IdleRanks, ThereAreNoneInTheBatchScripts) {
  const std::filesystem::path source = TEMPER_SOURCE_DIR;
  for (const char* name : {"train_gpus.sbatch", "train_cpus.sbatch"}) {
    const std::string script = read_file(source / "scripts/slurm" / name);
    const auto word_after = [&](const std::string& key) {
      const std::size_t begin = script.find(key) + key.size();
      return script.substr(begin, script.find_first_of(" \n", begin) - begin);
    };
    const std::int64_t ranks = slurm_option(script, "nodes") * slurm_option(script, "ntasks-per-node");
    const std::string config = word_after("\nconfig="), micro_batch = word_after(" batch.micro_batch=");
    EXPECT_GE(ranks, 4) << name;
    EXPECT_EQ(idle_ranks(load_config(source / config, {"batch.micro_batch=" + micro_batch}), ranks), "") << name;
  }
}

class PlanTest : public testing::TestWithParam<Precision> {};
INSTANTIATE_TEST_SUITE_P(All, PlanTest, testing::Values(Precision::fp32, Precision::bf16),
                         [](const auto& instance) { return instance.param == Precision::fp32 ? "fp32" : "bf16"; });

TEST_P(PlanTest, IsWhatAnEngineTakes) {
  RunConfig config = tiny_config();
  config.precision = GetParam();
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  const Plan plan(config, *ops);
  const Engine engine(config, ops.get());
  const std::vector<MemoryGroup>&planned = plan.engine.memory.plan(), &taken = engine.memory.plan();
  ASSERT_EQ(planned.size(), taken.size());
  for (std::size_t i = 0; i < planned.size(); ++i) {
    EXPECT_EQ(planned[i].name, taken[i].name);
    EXPECT_EQ(planned[i].bytes, taken[i].bytes) << planned[i].name;
    EXPECT_GT(planned[i].bytes, 0u) << planned[i].name;
  }
}

TEST_P(PlanTest, IsWhatIsTakenAfterAStep) {
  RunConfig config = tiny_config();
  config.precision = GetParam();
  config.model.n_embd = 128;  // large enough that the threads' own tiles, which are not planned, do not matter
  config.model.n_ctx = 32;
  config.model.vocab_size = 16384;
  config.batch.micro_batch = 4;
  const TinyEngine tiny(config, 1);
  const auto planned = static_cast<double>(tiny.engine.memory.total_bytes());
  EXPECT_NEAR(static_cast<double>(tiny.ops->taken_bytes()), planned, 0.05 * planned);  // the project's bound
}

TEST_P(PlanTest, IsWhatAStepLeavesResident) {
  if (mallinfo2().arena == 0) GTEST_SKIP() << "a sanitizer's allocator keeps more than it is asked for";
  RunConfig config = tiny_config();
  config.precision = GetParam();
  TinyEngine(config, 1);  // threads and their stacks
  config.model.n_embd = 256;
  config.model.n_ctx = 64;
  config.model.vocab_size = 16384;
  config.batch.micro_batch = 16;
  ::malloc_trim(0);  // what tests before this one gave back would be taken once more, and not be seen
  const std::size_t before = resident_bytes();
  const TinyEngine tiny(config, 1);
  const auto taken = static_cast<double>(resident_bytes() - before);
  const auto planned = static_cast<double>(tiny.engine.memory.total_bytes());
  // The project's bound. Small scratch (partial sums, norms) is not planned; memory that nobody has touched is not resident.
  EXPECT_NEAR(taken, planned, 0.05 * planned);
}

/// GPT-2 124M in bf16; nothing is taken.
std::int64_t head_rows(std::int64_t micro_batch, const Ops& ops) {
  RunConfig config = tiny_config();
  config.precision = Precision::bf16;
  config.model = {};
  config.batch = {.tokens_per_step = micro_batch * config.model.n_ctx, .micro_batch = micro_batch};
  const Engine plan(config, nullptr, nullptr, &ops);
  return plan.model.head_rows();
}

TEST(Plan, TheHeadTakesWhatAGpuLeaves) {
  const std::unique_ptr<Ops> cpu = make_cpu_ops(), gpu = make_emulated_ops();
  ASSERT_EQ(gpu->device().memory, std::size_t{64} << 30);
  EXPECT_EQ(head_rows(64, *cpu), 2624) << "25 chunks of 256 MiB and less";
  EXPECT_EQ(head_rows(64, *gpu), 64 * 1024) << "6.6 GB of logits, in one piece";
  EXPECT_EQ(head_rows(96, *gpu), 48 * 1024) << "9.9 GB are more than an eighth of the memory: two chunks";
  EXPECT_EQ(head_rows(192, *gpu), 2624) << "a plan that leaves nothing";
}

// Of short sequences attention's backward pass takes more of it, a whole tile for each.
TEST(Plan, HasTheScratchOfTheShortestSequences) {
  const std::unique_ptr<Ops> gpu = make_emulated_ops();
  RunConfig config = tiny_config();
  config.model.n_head = 64;
  config.model.n_embd = 128;
  config.model.n_ctx = 64;
  config.batch = {.tokens_per_step = 4096, .micro_batch = 64};
  const auto planned = [&] {
    const Plan plan(config, *gpu);
    for (const MemoryGroup& group : plan.engine.memory.plan())
      if (group.name == "scratch") return group.bytes;
    return std::size_t{0};
  };
  const std::size_t whole = planned();
  config.schedule.context_warmup_steps = 5;
  config.schedule.context_start = 8;
  const Plan plan(config, *gpu);
  Workload first = workload_of(plan.engine.weights, 64, plan.engine.model.head_rows(), plan.engine.optimizer.segment_count());
  first.sequences = 512;
  first.positions = 8;
  EXPECT_GT(gpu->scratch_bytes(first), whole) << "the lengths make no difference, so this test shows nothing";
  EXPECT_EQ(planned(), gpu->scratch_bytes(first));
}

// The emulated backend is compiled from the CUDA backend's sources and takes what those ask for.
TEST(Plan, OfAGpuElsewhereIsTheCudaBackends) {
  const std::unique_ptr<Ops> emulated = make_emulated_ops(), planned = make_planned_gpu(gpu_model("h100-80"));
  const std::unique_ptr<Communicator> ranks = make_planned_communicator(16);
  RunConfig config = tiny_config();
  config.diagnostics.every = 1;
  EXPECT_EQ(planned_bytes(config, *planned, *make_self_communicator()),
            planned_bytes(config, *emulated, *make_self_communicator()));
  const std::size_t alone = planned_bytes(config, *planned, *ranks);
  config.diagnostics.every = 0;
  config.parallel.zero_stage = 1;
  EXPECT_LT(planned_bytes(config, *planned, *ranks), alone) << "states of 16 ranks are shared";
  EXPECT_THROW(planned->allocate(1), Unsupported);
  EXPECT_THROW(gpu_model("h100"), Unsupported);
}

TEST(Plan, TheLargestMicroBatchFitsAndTheNextDoesNot) {
  RunConfig config = tiny_config();
  config.precision = Precision::bf16;
  config.model = {};
  config.batch = {.tokens_per_step = 512 * config.model.n_ctx, .micro_batch = 0};
  const std::unique_ptr<Ops> gpu = make_planned_gpu(gpu_model("4090"));
  const auto bytes = [&](std::int64_t size, Communicator& ranks) {
    RunConfig changed = config;
    changed.batch.micro_batch = size;
    return planned_bytes(changed, *gpu, ranks) + (std::size_t{1} << 30);
  };
  for (const std::int64_t count : {1, 16}) {
    const std::unique_ptr<Communicator> ranks = make_planned_communicator(count);
    const std::int64_t largest = largest_micro_batch(config, *gpu, *ranks);
    EXPECT_EQ(512 % (largest * count), 0);
    EXPECT_LE(bytes(largest, *ranks), gpu->device().memory);
    if (largest * count < 512) {
      EXPECT_GT(bytes(2 * largest, *ranks), gpu->device().memory);
    }
  }
  // 512 sequences are not 3 ranks' to share: then any number that a step is made of.
  EXPECT_EQ(512 % largest_micro_batch(config, *gpu, *make_planned_communicator(3)), 0);
  config.model.n_embd = 12288;
  config.model.n_layer = 96;
  EXPECT_EQ(largest_micro_batch(config, *gpu, *make_self_communicator()), 0);
  const std::unique_ptr<Ops> cpu = make_cpu_ops();
  config.model = tiny_config().model;
  config.precision = Precision::fp32;
  EXPECT_EQ(largest_micro_batch(config, *cpu, *make_self_communicator()), 4) << "more than a CPU gains from";
}

TEST(Plan, TellsHowSequencesGrow) {
  RunConfig config = tiny_config();
  config.model.n_ctx = 16;
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  const auto described = [&] { return describe_run(config, *ops, "a device", *make_self_communicator()); };
  EXPECT_EQ(described().find("\nsequences"), std::string::npos);
  config.schedule.context_warmup_steps = 3;
  config.schedule.context_start = 8;
  EXPECT_NE(described().find("\nsequences   of 8 tokens from step 1, 16 from step 4\n"), std::string::npos) << described();
}

TEST(Plan, TellsWhatTheWidthChanges) {
  RunConfig config = tiny_config();
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  const auto described = [&] { return describe_run(config, *ops, "a device", *make_self_communicator()); };
  EXPECT_EQ(described().find("\nmuP"), std::string::npos);
  config.model.mup_base_width = 16;
  EXPECT_NE(described().find("times the base width 16, with heads 1 times as wide; rates as there\n"), std::string::npos);
  config.model.mup_base_width = 4;
  config.optimizer.name = OptimizerName::muon;
  EXPECT_NE(described().find(
                "; rates x 0.25 ln_f.weight ln_f.bias, x 0.707 attn.c_attn.bias attn.c_attn.weight, x 1.41 attn.c_proj.weight; "
                "the others, and decay, as there\n"),
            std::string::npos)
      << described();
}

TEST_P(PlanTest, IsWhatDescribeRunPrints) {
  RunConfig config = tiny_config();
  config.precision = GetParam();
  config.model.n_embd = 256;
  const std::unique_ptr<Ops> ops = make_cpu_ops();
  const std::string text = describe_run(config, *ops, "a device", *make_self_communicator());
  const Plan plan(config, *ops);
  EXPECT_NE(text.find("device      a device\n"), std::string::npos) << text;
  EXPECT_NE(text.find("1 layers, 2 heads, 256 wide, context 8, vocabulary 260 (padded to 384)"), std::string::npos) << text;
  EXPECT_NE(text.find("6 steps of 32 tokens (2 micro-batches of 2 x 8), 192 tokens in all"), std::string::npos) << text;
  for (const char* group : {"weights (f32)", "optimizer states", "packed weights", "scratch"})
    EXPECT_NE(text.find(group), std::string::npos) << text;
  const auto mebibytes = [&](const std::string& row) { return std::stod(text.substr(text.find(row) + row.size())); };
  std::size_t bytes = 0;
  for (const MemoryGroup& group : plan.engine.memory.plan()) bytes += group.bytes;
  // Each is rounded to a tenth.
  EXPECT_NEAR(mebibytes("\n  total ") - mebibytes("  the program itself "), static_cast<double>(bytes) / 1048576.0, 0.11) << text;
  EXPECT_GT(mebibytes("  the program itself "), 10.0);
}

}  // namespace
}  // namespace temper
