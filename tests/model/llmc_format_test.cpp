#include "model/llmc_format.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "io/error.h"
#include "io/file.h"
#include "small_model.h"
#include "tests/io/temporary_folder.h"

namespace temper {
namespace {

struct HeldModel {
  explicit HeldModel(const ModelConfig& config)
      : ops(make_cpu_ops()), memory(ops.get()), weights(config, Precision::fp32, Weights::Use::inference, ops.get(), memory) {
    weights.initialize(9);
  }

  std::vector<float> get(const std::string& name) const { return weights.download(*weights.layout().find("transformer." + name)); }

  std::unique_ptr<Ops> ops;
  DeviceMemory memory;
  Weights weights;
};

class LlmcFormat : public testing::Test {
 protected:
  std::unique_ptr<HeldModel> load() {
    auto loaded = std::make_unique<HeldModel>(read_llmc_config(path_));
    load_llmc_model(path_, loaded->weights);
    return loaded;
  }

  void set_word(std::string& file, std::size_t index, std::int32_t value) const { std::memcpy(file.data() + index * 4, &value, 4); }

  /// Writes the file and expects a refusal that says `word`.
  void expect_refused(const std::string& file, const std::string& word) {
    write_file_atomically(path_, file);
    try {
      load();
      FAIL() << "loaded; expected a refusal that says " << word;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::checkpoint) << error.what();
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << word << " in: " << error.what();
    }
  }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "gpt2.bin";
};

TEST_F(LlmcFormat, RoundTripInF32) {
  const HeldModel model(small_config(true));
  save_llmc_model(path_, model.weights, DType::f32);
  const std::unique_ptr<HeldModel> loaded = load();
  for (const Parameter& parameter : model.weights.layout().parameters())
    EXPECT_TRUE(loaded->weights.download(parameter) == model.weights.download(parameter)) << parameter.name;
}

TEST_F(LlmcFormat, Bf16IsRoundedToNearest) {
  const HeldModel model(small_config(true));
  save_llmc_model(path_, model.weights, DType::bf16);
  const std::unique_ptr<HeldModel> loaded = load();
  for (const Parameter& parameter : model.weights.layout().parameters()) {
    std::vector<float> expected = model.weights.download(parameter);
    for (float& value : expected) value = to_float(to_bfloat16(value));
    EXPECT_TRUE(loaded->weights.download(parameter) == expected) << parameter.name;
  }
}

TEST_F(LlmcFormat, FileIsLaidOutAsLlmCReadsIt) {
  const ModelConfig config = small_config(true);
  const HeldModel model(config);
  save_llmc_model(path_, model.weights, DType::f32);
  const std::string file = read_file(path_);
  const auto word = [&](std::size_t index) {
    std::int32_t value = 0;
    std::memcpy(&value, file.data() + 4 * index, 4);
    return value;
  };
  const std::int32_t header[] = {20240326, 3, 24, 131, 2, 2, 32, 256};
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(word(i), header[i]) << i;
  for (std::size_t i = 8; i < 256; ++i) ASSERT_EQ(word(i), 0) << i;

  // wte(Vp,C) wpe(T,C) ln1w(L,C) ln1b(L,C) qkvw(L,3C,C) ... lnfb(C), offsets counted by hand.
  const std::size_t C = 32, T = 24, L = 2, Vp = 256;
  const auto floats = [&](std::size_t offset, std::size_t count) {
    std::vector<float> values(count);
    std::memcpy(values.data(), file.data() + 1024 + 4 * offset, 4 * count);
    return values;
  };
  std::size_t offset = 0;
  EXPECT_EQ(floats(offset, Vp * C), model.get("wte.weight"));
  offset += Vp * C + T * C;
  EXPECT_EQ(floats(offset + C, C), model.get("h.1.ln_1.weight"));
  offset += 2 * L * C;
  EXPECT_EQ(floats(offset + 3 * C * C, 3 * C * C), model.get("h.1.attn.c_attn.weight"));
  offset += L * (3 * C * C + 3 * C);
  EXPECT_EQ(floats(offset, C * C), model.get("h.0.attn.c_proj.weight"));
  offset += L * (C * C + C) + 2 * L * C;
  EXPECT_EQ(floats(offset + 4 * C * C, 4 * C * C), model.get("h.1.mlp.c_fc.weight"));
  offset += L * (4 * C * C + 4 * C);
  EXPECT_EQ(floats(offset, 4 * C * C), model.get("h.0.mlp.c_proj.weight"));
  offset += L * (4 * C * C + C);
  EXPECT_EQ(floats(offset, C), model.get("ln_f.weight"));
  EXPECT_EQ(file.size(), 1024 + 4 * (offset + 2 * C));
}

TEST_F(LlmcFormat, PaddingOfTheVocabularyMayDiffer) {
  const HeldModel model(small_config(true));
  save_llmc_model(path_, model.weights, DType::f32);
  const std::string file = read_file(path_);
  // 256 padded rows become 131, none, and 300 with rubbish in them.
  const std::size_t row = 32 * 4;
  for (const std::int32_t padded : {131, 300}) {
    std::string other = file.substr(0, 1024 + 131 * row) + std::string(static_cast<std::size_t>(padded - 131) * row, '\x7f') +
                        file.substr(1024 + 256 * row);
    set_word(other, 7, padded);
    write_file_atomically(path_, other);
    const std::unique_ptr<HeldModel> loaded = load();
    EXPECT_TRUE(loaded->get("wte.weight") == model.get("wte.weight")) << padded;
    EXPECT_TRUE(loaded->get("ln_f.weight") == model.get("ln_f.weight")) << padded;
  }
}

TEST_F(LlmcFormat, ModelWithoutBiasesBecomesOneWithZeros) {
  const HeldModel model(small_config(false));
  save_llmc_model(path_, model.weights, DType::f32);
  const std::unique_ptr<HeldModel> loaded = load();
  EXPECT_TRUE(loaded->weights.config().bias);
  EXPECT_EQ(loaded->get("h.1.mlp.c_fc.bias"), std::vector<float>(128, 0.0f));
  EXPECT_TRUE(loaded->get("h.1.mlp.c_fc.weight") == model.get("h.1.mlp.c_fc.weight"));
}

TEST_F(LlmcFormat, DamagedFilesAreRefused) {
  const HeldModel model(small_config(true));
  save_llmc_model(path_, model.weights, DType::f32);
  const std::string good = read_file(path_);
  const auto with_word = [&](std::size_t index, std::int32_t value) {
    std::string file = good;
    set_word(file, index, value);
    return file;
  };
  expect_refused("", "0 bytes");
  expect_refused(good.substr(0, 1023), "1023");
  expect_refused(good.substr(0, good.size() - 1), std::to_string(good.size() - 1));
  expect_refused(good + "x", std::to_string(good.size() + 1));
  expect_refused(with_word(0, 20240520), "20240520");  // a shard
  expect_refused(with_word(1, 1), "version 1");
  expect_refused(with_word(1, 5), "bytes");  // f32 declared as bf16
  const char* const names[] = {"n_ctx", "vocab_size", "n_layer", "n_head", "n_embd"};
  for (std::size_t i = 0; i < 5; ++i) {
    expect_refused(with_word(2 + i, 0), names[i]);
    expect_refused(with_word(2 + i, -7), names[i]);
    expect_refused(with_word(2 + i, std::numeric_limits<std::int32_t>::max()), names[i]);
  }
  expect_refused(with_word(5, 3), "n_head");   // does not divide n_embd
  expect_refused(with_word(6, 512), "bytes");  // the length is wrong long before memory is taken
  expect_refused(with_word(7, 130), "130");    // fewer rows than tokens
  expect_refused(with_word(7, std::numeric_limits<std::int32_t>::max()), "bytes");
}

TEST_F(LlmcFormat, ValuesMustBeFinite) {
  const HeldModel model(small_config(true));
  for (const DType dtype : {DType::f32, DType::bf16}) {
    save_llmc_model(path_, model.weights, dtype);
    std::string file = read_file(path_);
    const std::size_t last = file.size() - size_of(dtype);
    if (dtype == DType::f32) {
      const float infinity = std::numeric_limits<float>::infinity();
      std::memcpy(file.data() + last, &infinity, 4);
    } else {
      const std::uint16_t nan = 0x7fc0;
      std::memcpy(file.data() + last, &nan, 2);
    }
    expect_refused(file, "transformer.ln_f.bias");
  }
}

TEST_F(LlmcFormat, RefusesAModelOfOtherSizes) {
  const HeldModel model(small_config(true));
  save_llmc_model(path_, model.weights, DType::f32);
  ModelConfig other = small_config(true);
  other.n_head = 4;
  HeldModel loaded(other);
  EXPECT_THROW(load_llmc_model(path_, loaded.weights), Error);
  HeldModel without(small_config(false));
  EXPECT_THROW(load_llmc_model(path_, without.weights), Error);
}

}  // namespace
}  // namespace temper
