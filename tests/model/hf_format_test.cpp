// Hugging Face folders: what we write, what we read, and every kind of weight file that is refused.
#include "model/hf_format.h"

#include <gtest/gtest.h>

#include <limits>

#include "hf_folder.h"

namespace temper {
namespace {

using nlohmann::json;

TEST_F(HfFormat, RoundTrip) {
  for (const bool bias : {true, false}) {
    save(bias);
    const ModelConfig config = read_hf_config(folder_.path());
    EXPECT_EQ(config.n_layer, config_.n_layer);
    EXPECT_EQ(config.n_head, config_.n_head);
    EXPECT_EQ(config.n_embd, config_.n_embd);
    EXPECT_EQ(config.n_ctx, config_.n_ctx);
    EXPECT_EQ(config.vocab_size, config_.vocab_size);
    EXPECT_EQ(config.bias, bias);
    EXPECT_EQ(config.init_std, config_.init_std);
    expect_loads_the_same();
  }
}

TEST_F(HfFormat, WritesWhatTransformersReads) {
  for (const bool bias : {true, false}) {
    save(bias);
    const SafetensorsFile file(folder_ / "model.safetensors");
    EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
    // Always with biases, never with a head: GPT2LMHeadModel's own names.
    EXPECT_EQ(file.tensors().size(), 2 + 2 * 12 + 2u);
    EXPECT_EQ(file.find("lm_head.weight"), nullptr);
    const auto shape = [&](const std::string& name) { return file.find(name)->shape; };
    EXPECT_EQ(shape("transformer.wte.weight"), (std::vector<std::int64_t>{131, 32}));
    EXPECT_EQ(shape("transformer.h.1.attn.c_attn.weight"), (std::vector<std::int64_t>{32, 96}));
    EXPECT_EQ(shape("transformer.h.1.mlp.c_proj.weight"), (std::vector<std::int64_t>{128, 32}));
    EXPECT_EQ(shape("transformer.h.1.attn.c_attn.bias"), (std::vector<std::int64_t>{96}));

    // Conv1D: element [in, out] is ours at [out, in].
    const Parameter& parameter = *model_->weights.layout().find("transformer.h.0.mlp.c_fc.weight");
    const std::vector<float> ours = model_->weights.download(parameter);
    const std::vector<float> theirs = file.read_f32(parameter.name);
    EXPECT_EQ(theirs[3 * 128 + 77], ours[77 * 32 + 3]);
    if (!bias) {
      EXPECT_EQ(file.read_f32("transformer.ln_f.bias"), std::vector<float>(32, 0.0f));
    }

    const json config = read_json(folder_ / "config.json");
    EXPECT_EQ(config.at("model_type"), "gpt2");
    EXPECT_EQ(config.at("architectures"), json::array({"GPT2LMHeadModel"}));
    EXPECT_EQ(config.at("eos_token_id"), 130);
    EXPECT_EQ(config.at("torch_dtype"), "float32");
    EXPECT_EQ(config.value("bias", true), bias);
    EXPECT_EQ(read_json(folder_ / "generation_config.json"), (json{{"bos_token_id", 130}, {"eos_token_id", 130}}));
  }
}

TEST_F(HfFormat, ReturnsTheHashesOfItsFiles) {
  HeldModel model(small_config(true));
  number(model.weights);
  const std::map<std::string, std::string> hashes = save_hf_model(folder_.path(), model.weights, 130);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    ++files;
    EXPECT_EQ(hashes.at(entry.path().filename()), hash_file(entry.path()));
  }
  EXPECT_EQ(files, hashes.size());
}

TEST_F(HfFormat, ReadsNamesWithoutPrefixAndIgnoresBuffers) {
  save(true);
  change_tensors([](FileTensors& tensors) {
    FileTensors hub;  // as the hub's "gpt2" has them
    for (auto& [name, tensor] : tensors) hub[name.substr(std::string("transformer.").size())] = tensor;
    hub["h.0.attn.bias"] = {"F32", {1, 1, 2, 2}, {1, 0, 1, 1}};
    hub["h.1.attn.masked_bias"] = {"F32", {}, {-1e4f}};
    tensors = hub;
  });
  expect_loads_the_same();
}

TEST_F(HfFormat, ReadsATiedHeadThatEqualsTheEmbedding) {
  save(true);
  change_tensors([](FileTensors& tensors) { tensors["lm_head.weight"] = tensors["transformer.wte.weight"]; });
  expect_loads_the_same();
  change_config([](json& config) { config["tie_word_embeddings"] = false; });
  expect_loads_the_same();
  change_tensors([](FileTensors& tensors) { tensors["lm_head.weight"].values[5] += 1.0f; });
  expect_refused({"lm_head.weight", "tied"});
  change_tensors([](FileTensors& tensors) { tensors.erase("lm_head.weight"); });
  expect_refused({"missing", "lm_head.weight"});
}

TEST_F(HfFormat, ReadsATiedEmbeddingUnderTheHeadsNameAlone) {
  save(true);
  change_tensors([](FileTensors& tensors) {
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"];
    tensors.erase("transformer.wte.weight");
  });
  expect_loads_the_same();
  change_config([](json& config) { config["tie_word_embeddings"] = false; });
  expect_refused({"missing", "transformer.wte.weight"});
}

TEST_F(HfFormat, ReadsNamesBehindThoseOfWrappers) {
  for (const std::string before : {"module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."}) {
    for (const bool with_prefix : {true, false}) {
      SCOPED_TRACE(before);
      save(true);
      change_tensors([&](FileTensors& tensors) {
        FileTensors wrapped;
        for (auto& [name, tensor] : tensors) wrapped[before + name.substr(with_prefix ? 0 : sizeof("transformer.") - 1)] = tensor;
        wrapped[before + "lm_head.weight"] = tensors["transformer.wte.weight"];
        wrapped[before + "transformer.h.0.attn.bias"] = {"F32", {1, 1, 2, 2}, {1, 0, 1, 1}};
        tensors = wrapped;
      });
      expect_loads_the_same();
    }
  }
  change_tensors([](FileTensors& tensors) {
    FileTensors foreign;
    for (auto& [name, tensor] : tensors) foreign["model." + name] = tensor;
    tensors = foreign;
  });
  expect_refused({"missing tensors: transformer.wte.weight", "unknown tensors: model._orig_mod.module.", " more", "_orig_mod."});
}

TEST_F(HfFormat, ReadsHalfPrecisions) {
  for (const std::string dtype : {"F16", "BF16"}) {
    save(true);
    // Whole numbers below 256 are exact in both.
    model_->weights.upload([&](const Parameter& parameter, std::span<float> values) {
      if (parameter.name == "transformer.wte.weight") values = values.first(131 * 32);
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 511) - 255.0f;
    });
    save_hf_model(folder_.path(), model_->weights, 130);
    change_tensors([&](FileTensors& tensors) {
      for (auto& [name, tensor] : tensors) tensor.dtype = dtype;
    });
    expect_loads_the_same();
  }
}

TEST_F(HfFormat, ReadsABiaslessModelWithoutBiasTensors) {
  save(false);
  change_tensors(
      [](FileTensors& tensors) { std::erase_if(tensors, [](const auto& item) { return item.first.ends_with(".bias"); }); });
  expect_loads_the_same();
}

TEST_F(HfFormat, RefusesBiasesInABiaslessModel) {
  save(false);
  change_tensors([](FileTensors& tensors) { tensors["transformer.h.1.ln_2.bias"].values[3] = 0.5f; });
  expect_refused({"h.1.ln_2.bias", "bias"});
}

TEST_F(HfFormat, RefusesMissingUnknownAndDoubleTensors) {
  save(true);
  change_tensors([](FileTensors& tensors) { tensors.erase("transformer.h.1.mlp.c_fc.bias"); });
  expect_refused({"missing", "transformer.h.1.mlp.c_fc.bias"});
  save(true);
  change_tensors([](FileTensors& tensors) { tensors["transformer.h.0.adapter.weight"] = {"F32", {1}, {0.0f}}; });
  expect_refused({"unknown", "transformer.h.0.adapter.weight"});
  save(true);
  change_tensors([](FileTensors& tensors) { tensors["ln_f.bias"] = tensors["transformer.ln_f.bias"]; });
  expect_refused({"ln_f.bias", "twice"});
}

TEST_F(HfFormat, RefusesOtherShapes) {
  save(true);
  change_tensors([](FileTensors& tensors) { tensors["transformer.h.0.attn.c_attn.weight"].shape = {96, 32}; });  // nn.Linear's
  expect_refused({"transformer.h.0.attn.c_attn.weight", "[96, 32]", "[32, 96]"});
  save(true);
  change_config([](json& config) { config["vocab_size"] = 130; });
  expect_refused({"wte.weight", "[131, 32]", "[130, 32]"});
  save(true);
  change_config([](json& config) { config["n_layer"] = 3; });
  expect_refused({"missing", "transformer.h.2."});
  save(true);
  change_config([](json& config) { config["n_layer"] = 1; });
  expect_refused({"unknown", "transformer.h.1."});
}

TEST_F(HfFormat, RefusesOtherDtypes) {
  save(true);
  change_tensors([](FileTensors& tensors) { tensors["transformer.ln_f.bias"].dtype = "I32"; });
  expect_refused({"ln_f.bias", "I32", "BF16"});
}

TEST_F(HfFormat, RefusesValuesThatAreNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    save(true);
    change_tensors([&](FileTensors& tensors) { tensors["transformer.h.0.ln_1.weight"].values[17] = bad; });
    expect_refused({"h.0.ln_1.weight", "17", "finite"});
  }
}

TEST_F(HfFormat, RefusesATruncatedFile) {
  save(true);
  std::filesystem::resize_file(folder_ / "model.safetensors", std::filesystem::file_size(folder_ / "model.safetensors") - 4);
  expect_refused({"model.safetensors"});
}

TEST_F(HfFormat, RefusesAFolderWithoutItsFiles) {
  save(true);
  std::filesystem::remove(folder_ / "model.safetensors");
  write_file_atomically(folder_ / "pytorch_model.bin", "pickle");
  expect_refused({"model.safetensors", "safe_serialization"});
  std::filesystem::remove(folder_ / "config.json");
  expect_refused({"config.json"});
}

TEST_F(HfFormat, RefusesWeightsForAModelOfOtherSizes) {
  save(true);
  ModelConfig other = config_;
  other.n_head = 4;  // no tensor's shape tells
  HeldModel model(other);
  try {
    load_hf_model(folder_.path(), model.weights);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::checkpoint);
    EXPECT_NE(std::string(error.what()).find("n_head"), std::string::npos) << error.what();
  }
}

class HfShards : public HfFormat {
 protected:
  /// The folder's tensors over two shards and an index.
  void save_shards() {
    save(true);
    FileTensors tensors = read_tensors(folder_ / "model.safetensors");
    FileTensors shards[2];
    std::size_t count = 0;
    index_ = {{"metadata", {{"total_size", 0}}}, {"weight_map", json::object()}};
    for (const auto& [name, tensor] : tensors) {
      const std::size_t shard = count++ % 2;
      shards[shard][name] = tensor;
      index_["weight_map"][name] = names_[shard];
    }
    std::filesystem::remove(folder_ / "model.safetensors");
    for (std::size_t shard = 0; shard < 2; ++shard) write_tensors(folder_ / names_[shard], shards[shard]);
    write_index();
  }
  void write_index() { write_file_atomically(folder_ / "model.safetensors.index.json", index_.dump()); }

  const std::string names_[2] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
  json index_;
};

TEST_F(HfShards, AreReadAsOne) {
  save_shards();
  expect_loads_the_same();
}

TEST_F(HfShards, MissingShardIsRefused) {
  save_shards();
  std::filesystem::remove(folder_ / names_[1]);
  expect_refused({names_[1], "missing"});
}

TEST_F(HfShards, IndexMustAgreeWithTheShards) {
  save_shards();
  index_["weight_map"]["transformer.ln_f.bias"] = names_[0];
  index_["weight_map"]["transformer.ln_f.weight"] = names_[0];
  write_index();
  expect_refused({"transformer.ln_f", names_[0]});
  save_shards();
  index_["weight_map"].erase("transformer.ln_f.bias");
  write_index();
  expect_refused({"weight_map"});
}

TEST_F(HfShards, NamesMustStayInTheFolder) {
  for (const json& bad :
       {json("../model-00001-of-00002.safetensors"), json("/etc/model.safetensors"), json("a/b.safetensors"), json(""), json(".."),
        json("a\\b.safetensors"), json("pytorch_model.bin"), json("x\n.safetensors"), json(7)}) {
    save_shards();
    index_["weight_map"]["transformer.ln_f.bias"] = bad;
    write_index();
    expect_refused({"weight_map"});
  }
}

TEST_F(HfShards, MalformedIndexIsRefused) {
  for (const std::string& bad : {std::string("{"), std::string("[]"), std::string("{}"), std::string("{\"weight_map\": []}")}) {
    save_shards();
    write_file_atomically(folder_ / "model.safetensors.index.json", bad);
    expect_refused({"model.safetensors.index.json"});
  }
}

}  // namespace
}  // namespace temper
