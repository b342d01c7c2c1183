#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>
#include <system_error>

#include "cli/commands.h"
#include "cli/device_check.h"
#include "data/shard_sidecar.h"
#include "data/tokenizer.h"
#include "io/text.h"
#include "kernels/check.h"
#include "kernels/machine.h"
#include "model/hf_format.h"
#include "model/weights.h"
#include "train/checkpoint.h"

namespace temper {

namespace fs = std::filesystem;

void write_output(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written) throw Error(ExitCode::io, std::string("standard output could not be written: ") + std::strerror(errno));
}

void tell_result(const std::string& text) {
  try {
    write_output(text);
  } catch (const Error& error) {
    std::fprintf(stderr, "warning: %s; the work is done and lies on the disk:\n%s", error.what(), text.c_str());
  }
}

ExitCode exit_code_of(const std::exception& error) {
  if (const auto* own = dynamic_cast<const Error*>(&error)) return own->code();
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr || dynamic_cast<const OutOfMemory*>(&error) != nullptr)
    return ExitCode::memory;
  if (dynamic_cast<const Unsupported*>(&error) != nullptr) return ExitCode::usage;
  if (dynamic_cast<const fs::filesystem_error*>(&error) != nullptr) return ExitCode::io;
  const auto* system = dynamic_cast<const std::system_error*>(&error);
  const bool no_thread = system != nullptr && system->code() == std::errc::resource_unavailable_try_again;
  return no_thread ? ExitCode::memory : ExitCode::unexpected;
}

std::vector<std::string> environment() {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) all.emplace_back(*entry);
  return all;
}

std::string cache_file(const char* name) {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  fs::path folder;
  if (cache != nullptr && *cache != '\0')
    folder = cache;
  else if (home != nullptr && *home != '\0')
    folder = fs::path(home) / ".cache";
  else
    return "";
  std::error_code failed;
  fs::create_directories(folder / "temper", failed);
  return failed ? "" : (folder / "temper" / name).string();
}

std::string choices_file() { return cache_file("gpu_choices"); }

int within_processors(int threads, const char* asked) {
  const int most = usable_processors();
  if (threads <= most) return threads;
  tell(fmt::format("note: {}={}: {} threads start, one for each processor that this process may use", asked, threads, most));
  return most;
}

std::unique_ptr<Ops> open_device(DeviceChoice choice, Precision precision, DeviceUse use, DeviceCheck check, const Launch& launch) {
  start_threads(within_processors(asked_threads(), "OMP_NUM_THREADS"));
  std::string reason;
  const bool on_gpu = choice == DeviceChoice::cuda || (choice == DeviceChoice::automatic && cuda_available(&reason));
  if (choice == DeviceChoice::cuda && !cuda_available(&reason))
    throw Error(
        ExitCode::usage,
        "device=cuda: " + reason +
            "; use device=cpu, or device=auto to take a GPU only where there is one (temper train FILE --dry-run --gpu h100-80 plans for "
            "one that is elsewhere)");
  if (choice == DeviceChoice::automatic && !on_gpu) std::fprintf(stderr, "device=auto: using the CPU (%s)\n", reason.c_str());
  std::unique_ptr<Ops> ops = on_gpu ? make_cuda_ops({.choices_file = launch.rank == 0 ? choices_file() : "",
                                                     .without = bad_ways({precision, launch.local_rank}, use, check),
                                                     .tf32 = precision == Precision::tf32,
                                                     .device = launch.local_rank})
                                    : make_cpu_ops();
  if (precision == Precision::bf16 && !ops->device().bf16)
    throw Error(ExitCode::usage,
                "precision=bf16: " + ops->device().name +
                    " has no bf16 matmuls, which NVIDIA GPUs have from compute capability 8.0; use precision=fp32");
  if (precision == Precision::bf16 && !ops->device().fast_bf16)
    tell(
        "note: precision=bf16: " + ops->device().name +
        " has neither AMX nor AVX512-BF16 and multiplies in f32, no faster than with precision=fp32; activations take half the memory");
  if (precision == Precision::tf32 && !ops->device().tf32)
    throw Error(ExitCode::usage,
                "precision=tf32: " + ops->device().name +
                    " has no TF32, which is a format of NVIDIA GPUs from compute capability 8.0; use precision=fp32");
  return ops;
}

DeviceChoice parse_device(const std::string& text) {
  if (text == "auto") return DeviceChoice::automatic;
  if (text == "cpu") return DeviceChoice::cpu;
  if (text == "cuda") return DeviceChoice::cuda;
  throw Error(ExitCode::usage, "--device " + text + ": expected auto, cpu or cuda");
}

Precision parse_precision(const std::string& text) {
  if (text == "fp32") return Precision::fp32;
  if (text == "bf16") return Precision::bf16;
  if (text == "tf32") return Precision::tf32;
  throw Error(ExitCode::usage, "--precision " + text + ": expected fp32, bf16 or tf32");
}

std::string describe_device(const DeviceInfo& info) {
  return info.backend + ": " + info.name + ", " + info.features + ", " + std::to_string(info.threads) +
         (info.backend == "cpu" ? " threads" : " multiprocessors");
}

fs::path find_model_folder(const fs::path& path) {
  if (fs::is_directory(path / "checkpoints")) {
    const std::optional<fs::path> newest = CheckpointFolder(path / "checkpoints", {}).newest_good();
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
    throw Error(ExitCode::data, "the tokenizer has {} tokens, the model only {}; give the model's own with --tokenizer",
                tokenizer.vocab_size(), config.vocab_size);
  if (named.empty() || folder.empty()) return tokenizer;
  TokenizerIdentity identity;
  identity.add("the model in " + folder.string(), tokenizer_of_model(folder));
  identity.add("--tokenizer " + named, tokenizer.hash());
  return tokenizer;
}

Weights open_weights(const fs::path& folder, Precision precision, Ops& ops, DeviceMemory& memory, bool average) {
  if (average && !fs::exists(folder / average_file_name))
    throw Error(ExitCode::checkpoint,
                "{}: there is no {}, which only runs with eval.weight_average save; leave out --average for the weights themselves",
                folder.string(), average_file_name);
  Weights weights(read_hf_config(folder), precision, Weights::Use::inference, &ops, memory);
  load_hf_model(folder, weights, average ? average_file_name : hf_weights_file);
  return weights;
}

void add_average_option(CLI::App& command, bool& average) {
  command.add_flag("--average", average, "The average of the weights that eval.weight_average keeps, in place of the weights");
}

}  // namespace temper
