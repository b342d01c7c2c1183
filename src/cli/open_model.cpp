#include "cli/open_model.h"

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

Weights open_weights(const fs::path& folder, Precision precision, Ops& ops, DeviceMemory& memory) {
  Weights weights(read_hf_config(folder), precision, Weights::Use::inference, &ops, memory);
  load_hf_model(folder, weights);
  return weights;
}

}  // namespace temper
