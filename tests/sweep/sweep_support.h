// Sweep files for tests, and what they are refused with.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "config/resolved.h"
#include "io/error.h"
#include "io/file.h"
#include "sweep/sweep.h"
#include "tests/io/temporary_folder.h"

namespace temper {

/// A valid run of 20 steps on data that is not there.
inline RunConfig small_run() {
  RunConfig config;
  config.name = "small";
  config.seed = 7;
  config.device = DeviceChoice::cpu;
  config.model = {};
  config.model.n_layer = 1;
  config.model.n_head = 2;
  config.model.n_embd = 16;
  config.model.n_ctx = 8;
  config.model.vocab_size = 260;
  config.data.train = {"train.bin"};
  config.data.val = {"val.bin"};
  config.batch.micro_batch = 2;
  config.batch.tokens_per_step = 32;
  config.train.steps = 20;
  return config;
}

class SweepTest : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const { std::ofstream(folder_ / name) << text; }

  /// A sweep over `base` with these members beside it.
  SweepFile load(const std::string& members, const RunConfig& base = small_run()) const {
    write("base.json", base_to_json(base));
    write("sweep.json", "{\n\"base\": \"base.json\"" + std::string(members.empty() ? "" : ",\n") + members + "\n}");
    return load_sweep(folder_ / "sweep.json");
  }
  Sweep make(const std::string& members, const RunConfig& base = small_run()) const {
    return make_sweep(load(members, base), folder_ / "out");
  }

  /// Expects that the sweep is refused as wrong usage, with all these texts in the message.
  void refused(const std::string& members, const std::vector<std::string>& parts, const RunConfig& base = small_run()) const {
    try {
      make(members, base);
      ADD_FAILURE() << "not refused: " << members;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      for (const std::string& part : parts) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << part << "\nin: " << error.what();
      }
    }
  }

  TemporaryFolder folder_;
};

}  // namespace temper
