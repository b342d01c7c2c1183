// A run small enough for a test: data, configuration, engine.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/resolved.h"
#include "io/error.h"
#include "tests/io/temporary_folder.h"
#include "train/engine.h"

namespace temper {

constexpr std::int64_t tiny_vocab = 260;

/// Of a line of metrics.jsonl, what no two runs have alike.
inline constexpr const char* timing_fields[] = {
    "tokens_per_second", "seconds", "mfu", "checkpoint_pause", "checkpoint_seconds", "checkpoint_gib_per_second"};

/// An llm.c shard of `count` tokens below `tiny_vocab`.
inline std::string put_tiny_shard(const std::filesystem::path& path, std::size_t count, std::uint32_t seed) {
  std::vector<std::uint16_t> tokens(count);
  std::uint32_t state = seed;
  for (std::uint16_t& token : tokens) {
    state = state * 1664525u + 1013904223u;
    token = static_cast<std::uint16_t>((state >> 16) % tiny_vocab);
  }
  std::string image(1024, '\0');
  const std::int32_t words[3] = {20240520, 1, static_cast<std::int32_t>(count)};
  std::memcpy(image.data(), words, sizeof words);
  image.append(reinterpret_cast<const char*>(tokens.data()), 2 * count);
  std::ofstream(path, std::ios::binary) << image;
  return path.string();
}

/// One step of 4 sequences of 8 tokens on a model of about 8000 parameters, on the CPU.
inline RunConfig tiny_config() {
  RunConfig config;
  config.device = DeviceChoice::cpu;
  config.model.n_layer = 1;
  config.model.n_head = 2;
  config.model.n_embd = 16;
  config.model.n_ctx = 8;
  config.model.vocab_size = tiny_vocab;
  config.data.train = {"train.bin"};
  config.batch.micro_batch = 2;
  config.batch.tokens_per_step = 32;
  config.train.steps = 6;
  config.optimizer.learning_rate = 1e-2;
  config.optimizer.weight_decay = 0.1;
  config.schedule.name = ScheduleName::constant;
  return config;
}

/// A model with its optimizer, after `steps` updates on made-up tokens.
struct TinyEngine {
  explicit TinyEngine(const RunConfig& config, int steps = 0) : ops(make_cpu_ops()), engine(config, ops.get()) {
    engine.weights.initialize(config.seed);
    const auto count = static_cast<std::size_t>(config.batch.micro_batch * config.model.n_ctx);
    Batch batch{std::vector<std::int32_t>(count), std::vector<std::int32_t>(count)};
    for (std::size_t i = 0; i < count; ++i) {
      batch.inputs[i] = static_cast<std::int32_t>((7 * i + config.seed) % tiny_vocab);
      batch.targets[i] = static_cast<std::int32_t>((7 * i + 7 + config.seed) % tiny_vocab);
    }
    for (int step = 0; step < steps; ++step)
      engine.finish_step(engine.start_step(
          step, 1, [&](std::int64_t) { engine.batch.upload(batch, config.batch.micro_batch, config.model.n_ctx); }));
  }

  /// Weights and optimizer states, padding included.
  std::vector<std::vector<float>> contents() {
    std::vector<std::vector<float>> all = {download(engine.weights.master())};
    for (const Optimizer::StateBuffer& buffer : engine.optimizer.state_buffers()) all.push_back(download(buffer.values));
    return all;
  }

  std::unique_ptr<Ops> ops;
  Engine engine;

 private:
  std::vector<float> download(ConstTensorView view) {
    std::vector<float> values(static_cast<std::size_t>(view.numel()));
    ops->copy_to_host(values.data(), view.data, view.bytes());
    return values;
  }
};

/// Expects that `action` throws Error with `code`, and a message that has every one of `parts`.
inline void expect_error(ExitCode code, const std::vector<std::string>& parts, const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "no error; expected one that says " << (parts.empty() ? "" : parts.front());
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    for (const std::string& part : parts)
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << " in: " << error.what();
  }
}

}  // namespace temper
