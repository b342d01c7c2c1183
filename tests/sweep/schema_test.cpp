// The files that ship beside sweeps: the schema and the page of keys made from the rows.
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "config/schema.h"
#include "sweep_support.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

const fs::path configs = fs::path(TEMPER_SOURCE_DIR) / "configs";

using SweepSchema = SweepTest;

TEST(SweepShipped, SchemaAndKeysAreFresh) {
  EXPECT_TRUE(read_file(configs / "sweep.schema.json") == sweep_schema())
      << "configs/sweep.schema.json is stale; run: temper config schema --sweep > configs/sweep.schema.json";
  EXPECT_TRUE(read_file(configs.parent_path() / "docs/sweeps.md").ends_with("\n" + sweep_reference()))
      << "docs/sweeps.md is stale; run: sed -i '/^## Keys$/,$d' docs/sweeps.md && temper config reference --sweep >> "
         "docs/sweeps.md";
}

TEST(SweepShipped, EveryFileNamesItsSchema) {
  for (const char* folder : {"sweeps", "experiments"}) {
    for (const auto& file : fs::directory_iterator(configs / folder)) {
      const auto json = nlohmann::json::parse(read_file(file.path()), nullptr, true, true);
      EXPECT_EQ(json.value("$schema", ""), json.contains("parameters") ? "../sweep.schema.json" : "../schema.json") << file.path();
    }
  }
}

TEST(SweepRows, EveryKeyHasOneWithItsMeaning) {
  for (const FieldTable* table : {&sweep_table(), &parameter_table()}) {
    for (const Field& field : table->fields) {
      EXPECT_FALSE(field.help.empty()) << field.path;
      EXPECT_EQ(table->find(field.path), &field);
      EXPECT_TRUE(field.section().empty() || table->find_section(field.section()) != nullptr) << field.path;
    }
  }
  const SweepFile initial;
  for (const Field& field : sweep_table().fields) {
    SweepFile scratch;
    EXPECT_EQ(get_field(field, initial), field.initial) << field.path;
    EXPECT_TRUE(field.is_structure() || set_field(field, scratch, field.initial).empty()) << field.path;
  }
  // A row of another table reaches for another struct.
  EXPECT_THROW(get_field(*find_field("seed"), initial), std::bad_any_cast);
}

// An editor's verdict on a file and the loader's must be the same for what a schema can say.
TEST_F(SweepSchema, AgreesWithTheLoaderThroughPythonJsonschema) {
  if (std::system("python3 -c 'import jsonschema' >/dev/null 2>&1") != 0) GTEST_SKIP() << "python3-jsonschema is not installed";
  write("schema.json", config_schema());
  write("sweep.schema.json", sweep_schema());
  for (const char* folder : {"accept", "refuse"}) fs::create_directory(folder_ / folder);
  for (const char* folder : {"sweeps", "experiments"}) {
    for (const auto& file : fs::directory_iterator(configs / folder)) {
      const auto json = nlohmann::json::parse(read_file(file.path()), nullptr, true, true);
      if (json.contains("parameters")) write("accept/" + file.path().filename().string(), json.dump());
    }
  }
  const std::string decay = R"("parameters": {"optimizer.weight_decay": {"values": [0, 0.1]}})";
  const std::vector<std::string> accepted = {
      decay +
          R"(, "seeds": [1, 2], "where": ["model.n_layer < 3"], "ties": {"optimizer.grad_clip": "1"}, "slurm": {"options": []})",
      decay + R"(, "seeds": 3, "where": "model.n_layer < 3", "budget": {"trials": null, "tokens": 5e7}, "method": null)",
      R"("method": "random", "count": 3, "seed": 2, "parameters": {"optimizer.beta2": {"min": 0.9, "max": 0.99}})",
      R"("method": "halving", "halving": {"rungs": [0.5, 1]}, "parameters": {"a": {"values": [{"label": 1, "model.n_layer": 1}]}})"};
  const std::vector<std::string> refused = {
      decay + R"(, "metrik": {})",
      decay + R"(, "train": {"steps": 3})",
      decay + R"(, "budget": {"token": 5})",
      decay + R"(, "budget": {"trials": -1})",
      decay + R"(, "metric": {"name": "val/loss"})",
      decay + R"(, "metric": {"goal": 1})",
      decay + R"(, "method": "bayes")",
      decay + R"(, "resources": {"trials_at_once": 0})",
      decay + R"(, "slurm": {"poll_seconds": 0})",
      decay + R"(, "slurm": {"options": [7]})",
      decay + R"(, "seeds": 0)",
      decay + R"(, "seeds": [1, 1])",
      decay + R"(, "where": [""])",
      decay + R"(, "ties": {"optimizer.lr": "1"})",
      decay + R"(, "ties": {"optimizer.eps": 1})",
      R"("method": "halving", "halving": {"eta": 1}, )" + decay,
      R"("method": "halving", "halving": {"rungs": [0, 1]}, )" + decay,
      R"("parameters": [])",
      R"("parameters": {"optimizer.weight_decay": [0, 0.1]})",
      R"("parameters": {"optimizer.weight_decay": {"values": [0, -1]}})",
      R"("parameters": {"optimizer.weight_decay": {"value": "much"}})",
      R"("parameters": {"optimizer.weight_decay": {"values": []}})",
      R"("parameters": {"optimizer.weight_decay": {"values": [1], "value": 1}})",
      R"("parameters": {"optimizer.weight_decay": {"min": 1}})",
      R"("parameters": {"optimizer.weight_decay": {"value_s": [1]}})",
      R"("parameters": {"a": {"values": [{"model.n_layer": 1}]}})",
      R"("method": "random", "count": 2, "parameters": {"optimizer.eps": {"min": 1e-9, "max": 1e-8, "distribution": "log_uniform"}})"};
  const auto write_all = [&](const std::string& folder, const std::vector<std::string>& members) {
    for (std::size_t i = 0; i < members.size(); ++i)
      write(folder + "/" + std::to_string(i) + ".json", "{\"base\": \"base.json\", " + members[i] + "}");
  };
  write_all("accept", accepted);
  write_all("refuse", refused);
  write("refuse/base.json", R"({"base": {"model": {"n_layer": 0}}, )" + decay + "}");
  write("refuse/none.json", "{" + decay + "}");
  write("check.py", R"(
import glob, json, sys, warnings
warnings.simplefilter("ignore")  # newer versions have another way to resolve references, older ones only this
import jsonschema
schema = json.load(open("sweep.schema.json"))
jsonschema.Draft7Validator.check_schema(schema)
run = json.load(open("schema.json"))
resolver = jsonschema.RefResolver("", schema, store={"schema.json": run})
validator = jsonschema.Draft7Validator(schema, resolver=resolver)
wrong = 0
for folder, expected in (("accept", True), ("refuse", False)):
    files = glob.glob(folder + "/*.json")
    assert len(files) >= 18, files
    for path in files:
        instance = json.load(open(path))
        if validator.is_valid(instance) != expected:
            wrong += 1
            print(path, json.dumps(instance), [error.message for error in validator.iter_errors(instance)])
sys.exit(wrong != 0)
)");
  EXPECT_EQ(std::system(("cd '" + folder_.path().string() + "' && python3 check.py").c_str()), 0);
  for (const std::string& members : accepted) EXPECT_NO_THROW(load(members)) << members;
  for (const std::string& members : refused) EXPECT_THROW(load(members), Error) << members;
}

}  // namespace
}  // namespace temper
