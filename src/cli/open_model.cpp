#include "cli/open_model.h"

#include "data/tokenizer_identity.h"
#include "io/error.h"
#include "model/hf_format.h"
#include "train/checkpoint.h"

namespace temper {

namespace fs = std::filesystem;

fs::path find_model_folder(const fs::path& path) {
  if (fs::is_directory(path / "checkpoints")) {
    const std::optional<fs::path> newest = CheckpointFolder(path / "checkpoints", 1).newest_good();
    if (!newest) throw Error(ExitCode::checkpoint, path.string() + ": this run has no checkpoint yet");
    return *newest;
  }
  if (!fs::exists(path / "config.json"))
    throw Error(ExitCode::checkpoint, path.string() +
                                          ": no model here; expected a run directory, a checkpoint (.../checkpoints/step-NNNNNNNN) "
                                          "or a folder with config.json and model.safetensors");
  if (fs::exists(path / "trainer.json")) verify_checkpoint(path);
  return path;
}

Tokenizer open_tokenizer(const std::string& named, const fs::path& folder, const ModelConfig& config) {
  Tokenizer tokenizer = Tokenizer::load(named.empty() ? folder : fs::path(named));
  if (tokenizer.vocab_size() > config.vocab_size)
    throw Error(ExitCode::data, "the tokenizer has " + std::to_string(tokenizer.vocab_size()) + " tokens, the model only " +
                                    std::to_string(config.vocab_size) + "; give the model's own with --tokenizer");
  if (named.empty() || folder.empty()) return tokenizer;
  TokenizerIdentity identity;
  identity.add("the model in " + folder.string(), tokenizer_of_model(folder));
  identity.add("--tokenizer " + named, tokenizer.hash());
  return tokenizer;
}

Weights open_weights(const fs::path& folder, Precision precision, Ops& ops, DeviceMemory& memory) {
  Weights weights(read_hf_config(folder), precision, Weights::Use::inference, &ops, memory);
  load_hf_model(folder, weights);
  return weights;
}

}  // namespace temper
