// config.json of a Hugging Face folder: defaults, equivalents, and every kind that is refused.
#include "model/hf_config.h"

#include <gtest/gtest.h>

#include "hf_folder.h"

namespace temper {
namespace {

using nlohmann::json;

struct BadConfig {
  std::string name;
  std::function<void(json&)> change;
  std::string key;
};

class HfBadConfig : public HfFormat, public testing::WithParamInterface<BadConfig> {};

TEST_P(HfBadConfig, IsRefusedByName) {
  save(true);
  change_config(GetParam().change);
  expect_refused({"config.json", GetParam().key});
}

BadConfig set(const std::string& name, const std::string& key, const json& value) {
  return {name, [key, value](json& config) { config[key] = value; }, key};
}

INSTANTIATE_TEST_SUITE_P(
    All, HfBadConfig,
    testing::Values(set("OtherModel", "model_type", "llama"),
                    BadConfig{"NoModelType", [](json& c) { c.erase("model_type"); }, "model_type"},
                    BadConfig{"NoSize", [](json& c) { c.erase("n_embd"); }, "n_embd"}, set("SizeIsText", "n_layer", "2"),
                    set("SizeIsFraction", "n_layer", 2.5), set("SizeIsZero", "n_head", 0), set("SizeIsNegative", "n_layer", -1),
                    set("SizeIsHuge", "n_positions", std::uint64_t{1} << 40),
                    set("SizeIsBeyond63Bits", "vocab_size", ~std::uint64_t{0}), set("HeadsDoNotDivide", "n_head", 3),
                    set("OddHeadSize", "n_head", 32), set("ContextsDiffer", "n_ctx", 23), set("OtherMlpWidth", "n_inner", 64),
                    set("OtherActivation", "activation_function", "relu"), set("ExactGelu", "activation_function", "gelu"),
                    set("OtherEpsilon", "layer_norm_epsilon", 1e-6), set("UnscaledAttention", "scale_attn_weights", false),
                    set("ScaledByLayer", "scale_attn_by_inverse_layer_idx", true),
                    set("CrossAttention", "add_cross_attention", true), set("PrunedHeads", "pruned_heads", json{{"0", {1}}}),
                    set("Quantised", "quantization_config", json{{"bits", 4}}), set("BiasIsText", "bias", "no"),
                    set("BadInitializerRange", "initializer_range", -0.02),
                    BadConfig{"NotAnObject", [](json& c) { c = json::array(); }, "object"}),
    [](const auto& instance) { return instance.param.name; });

TEST_F(HfFormat, RefusesAConfigThatIsNotJson) {
  save(true);
  write_file_atomically(folder_ / "config.json", "{\"model_type\": \"gpt2\",");
  expect_refused({"config.json:1:23", "syntax error"});
}

TEST_F(HfFormat, ReadsTransformersDefaultsAndEquivalents) {
  save(true);
  change_config([](json& config) {
    for (const char* key : {"n_ctx", "n_inner", "activation_function", "layer_norm_epsilon", "initializer_range",
                            "scale_attn_weights", "tie_word_embeddings", "torch_dtype"})
      config.erase(key);
    config["resid_pdrop"] = 0.1;  // not applied
  });
  expect_loads_the_same();
  change_config([](json& config) {
    config["n_inner"] = 4 * 32;
    config["activation_function"] = "gelu_pytorch_tanh";
  });
  expect_loads_the_same();
}

}  // namespace
}  // namespace temper
