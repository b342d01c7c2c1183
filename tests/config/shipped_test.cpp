// The files that ship: configurations, the schema and the reference page made from the field table.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "config/resolved.h"
#include "config/schema.h"
#include "config/validate.h"
#include "config_files.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

using Schema = ConfigFiles;

const fs::path source = TEMPER_SOURCE_DIR;

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::vector<fs::path> shipped_configs() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(source / "configs")) {
    const fs::path& path = entry.path();
    if (path.extension() == ".json" && !path.stem().string().ends_with("schema")) paths.push_back(path);
  }
  return paths;
}

TEST(Shipped, EveryConfigurationLoads) {
  ASSERT_GE(shipped_configs().size(), 5u);
  for (const fs::path& path : shipped_configs()) {
    EXPECT_NO_THROW(EXPECT_EQ(load_config(path).name, path.stem().string())) << path;
    EXPECT_NE(text_of(path).find("\"$schema\": \"schema.json\""), std::string::npos) << path;
  }
}

TEST(Shipped, GeneratedPagesAreFresh) {
  EXPECT_TRUE(text_of(source / "docs/configuration.md") == config_reference())
      << "docs/configuration.md is stale; run: temper config reference > docs/configuration.md";
  EXPECT_TRUE(text_of(source / "configs/schema.json") == config_schema())
      << "configs/schema.json is stale; run: temper config schema > configs/schema.json";
}

/// Parameters of a GPT-2 with biases and a tied output embedding.
std::int64_t parameters(const ModelConfig& model) {
  const std::int64_t c = model.n_embd;
  return (model.vocab_size + model.n_ctx) * c + model.n_layer * (12 * c * c + 13 * c) + 2 * c;
}

TEST(Shipped, TheFourSizesAreGpt2s) {
  // Parameters of Hugging Face's gpt2, gpt2-medium, gpt2-large and gpt2-xl; tokens of llm.c's runs.
  const auto expect = [](const char* file, std::int64_t count, double billion_tokens, double learning_rate) {
    const RunConfig config = load_config(source / "configs" / file);
    EXPECT_EQ(parameters(config.model), count) << file;
    EXPECT_NEAR(static_cast<double>(total_steps(config) * config.batch.tokens_per_step) * 1e-9, billion_tokens, 0.01) << file;
    EXPECT_EQ(config.optimizer.learning_rate, learning_rate) << file;
    EXPECT_EQ(warmup_steps(config), 700) << file;
    EXPECT_EQ(config.eval.tokens, 10 << 20) << file;
    EXPECT_EQ(config.device, DeviceChoice::cuda) << file;
  };
  expect("gpt2-124m.json", 124'439'808, 10.26, 6e-4);
  expect("gpt2-350m.json", 354'823'168, 31.46, 3e-4);
  expect("gpt2-774m.json", 774'030'080, 150.00, 2.5e-4);
  expect("gpt2-1558m.json", 1'557'611'200, 33.55, 6e-4);
}

TEST_F(Schema, DescribesEveryFieldWithItsDefault) {
  const auto schema = nlohmann::json::parse(config_schema());
  EXPECT_EQ(schema["$schema"], "http://json-schema.org/draft-07/schema#");
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_TRUE(schema["properties"].contains("extends"));
  EXPECT_TRUE(schema["properties"].contains("$schema"));
  for (const Field& field : config_fields()) {
    const auto& owner = field.section().empty() ? schema : schema["properties"][std::string(field.section())];
    EXPECT_EQ(owner["additionalProperties"], false);
    ASSERT_TRUE(owner["properties"].contains(std::string(field.key()))) << field.path;
    const auto& property = owner["properties"][std::string(field.key())];
    EXPECT_EQ(property["description"], full_help(field));
    const Value initial = get_field(field, RunConfig{});
    EXPECT_EQ(property.contains("default"), !initial.is_null()) << field.path;
    if (!initial.is_null()) {
      EXPECT_EQ(property["default"], nlohmann::json::parse(to_text(initial))) << field.path;
    }
  }
}

// An editor's verdict on a file and the loader's must be the same for what a schema can say.
TEST_F(Schema, AgreesWithTheLoaderThroughPythonJsonschema) {
  if (std::system("python3 -c 'import jsonschema' >/dev/null 2>&1") != 0) GTEST_SKIP() << "python3-jsonschema is not installed";
  write("schema.json", config_schema());
  write("accept/resolved.json", config_to_json(valid_config()));
  for (const fs::path& path : shipped_configs()) {
    write("accept/" + path.filename().string(), nlohmann::json::parse(text_of(path), nullptr, true, true).dump());
  }
  const std::vector<std::string> accepted = {
      R"({})",
      R"({"extends": ["a.json"], "train": {"tokens": 5e8}})",
      R"({"data": {"train": ["a", "b"], "val": "c"}})",
      R"({"schedule": {"milestones": [0.25, 0.5]}})",
      R"({"schedule": {"milestones": 0.5, "warmup_tokens": 3}})",
      R"({"optimizer": {"decay_on": "biases", "rate_factors": ["*=0.5", "a=.5", "b=1e-3", "c=2."]}})",
      R"({"optimizer": {"beta1": null, "decay": null, "decay_on": null}})",
      R"({"optimizer": {"decay_on": []}, "train": {"branch_from": "a"}})",
      R"({"seed": 18446744073709551615, "name": "a.b-c_1"})"};
  const std::vector<std::string> refused = {R"({"optimizer": {"lr": 1}})",
                                            R"({"modle": {}})",
                                            R"({"optimizer": {"learning_rate": 0}})",
                                            R"({"optimizer": {"beta1": 1}})",
                                            R"({"seed": -1})",
                                            R"({"model": {"n_layer": 2.5}})",
                                            R"({"model": {"bias": 1}})",
                                            R"({"precision": "fp16"})",
                                            R"({"data": {"train": [3]}})",
                                            R"({"data": {"format": "x"}})",
                                            R"({"train": {"steps": 1, "tokens": 1}})",
                                            R"({"schedule": {"warmup_steps": 1, "warmup_fraction": 0.1}})",
                                            R"({"schedule": {"warmup_tokens": 1, "warmup_fraction": 0.1}})",
                                            R"({"schedule": {"warmup_tokens": 1, "warmup_steps": 1}})",
                                            R"({"train": {"init_from": "a", "branch_from": "b"}})",
                                            R"({"schedule": {"milestones": [0.25, 1]}})",
                                            R"({"schedule": {"milestones": "0.5"}})",
                                            R"({"schedule": {"cycle_growth": 0.5}})",
                                            R"({"optimizer": {"decay_on": ["weights"]}})",
                                            R"({"optimizer": {"decay_factors": ["a"]}})",
                                            R"({"optimizer": {"decay_factors": "a=-1"}})",
                                            R"({"optimizer": {"rate_factors": ["a=1x"]}})",
                                            R"({"optimizer": {"beta1": -1}})",
                                            R"({"optimizer": {"name": "AdamW"}})",
                                            R"({"name": "../x"})",
                                            R"({"model": 3})",
                                            R"({"checkpoint": {"keep": 0}})",
                                            R"({"schedule": {"warmup_steps": -1}})",
                                            R"({"extends": 3})"};
  const auto write_all = [&](const std::string& folder, const std::vector<std::string>& texts) {
    for (std::size_t i = 0; i < texts.size(); ++i) write(folder + "/" + std::to_string(i) + ".json", texts[i]);
  };
  write_all("accept", accepted);
  write_all("refuse", refused);
  write("check.py", R"(
import glob, json, sys
import jsonschema
schema = json.load(open("schema.json"))
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)
wrong = 0
for folder, expected in (("accept", True), ("refuse", False)):
    files = glob.glob(folder + "/*.json")
    assert len(files) >= 9, files
    for path in files:
        instance = json.load(open(path))
        if validator.is_valid(instance) != expected:
            wrong += 1
            print(path, json.dumps(instance), [error.message for error in validator.iter_errors(instance)])
sys.exit(wrong != 0)
)");
  EXPECT_EQ(std::system(("cd '" + folder_.string() + "' && python3 check.py").c_str()), 0);
  for (const std::string& text : refused) {
    EXPECT_THROW(load_config(write("refused.json", text), {"data.train=a", "train.steps=1"}), Error) << text;
  }
}

}  // namespace
}  // namespace temper
