// The subcommands of temper. Each add_... function describes one to the parser and gives it a callback that does the work;
// a callback throws Error (or a kernel's exception) on failure and main turns that into a message and an exit code.
#pragma once

#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bench/device_check.h"
#include "config/run_config.h"
#include "distributed/launch.h"
#include "io/error.h"
#include "kernels/ops.h"

namespace CLI {
class App;
}

namespace temper {

class DeviceMemory;
class Tokenizer;
class Weights;

void add_train_command(CLI::App& app, ExitCode& exit_code);
void add_eval_command(CLI::App& app);
void add_sample_command(CLI::App& app);
void add_data_command(CLI::App& app);
void add_import_command(CLI::App& app);
void add_export_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_sweep_command(CLI::App& app, ExitCode& exit_code);
void add_report_command(CLI::App& app);
void add_config_command(CLI::App& app);
void add_doctor_command(CLI::App& app);

/// "0.2.0"; "1a2b3c4d5e6f-dirty", of the sources that were built, or "unknown"; "0.2.0, commit 1a2b3c4d5e6f, GNU 12.2.0, Release".
extern const char* const version;
extern const char* const commit;
extern const char* const version_and_build;

/// Writes to standard output; a closed pipe or a full disk is an Error(ExitCode::io).
void write_output(const std::string& text);
/// The same where the work is done and lies on the disk: what cannot be written is a warning on stderr.
void tell_result(const std::string& text);

/// What the program ends with when a command has thrown that.
ExitCode exit_code_of(const std::exception& error);

/// This process's, as NAME=VALUE.
std::vector<std::string> environment();

/// A file of temper's in the user's cache folder, which is made; empty when there is none.
std::string cache_file(const char* name);
/// Where the CUDA backend remembers what it chose by time.
std::string choices_file();

/// So many threads as `asked` wants, or with a note on stderr fewer: more than processors would only wait for each other.
int within_processors(int threads, const char* asked);

/// The device a configuration asks for, and the threads of the host. `automatic` takes a GPU where there is one; `temper doctor`
/// says why there is none.
/// precision bf16 or tf32 is refused (Error(ExitCode::usage)) where the device has no instructions for it. Each rank of
/// a launch gets a GPU of its host, and rank 0 alone chooses by time. A GPU is checked before it is opened (cli/device_check.h).
std::unique_ptr<Ops> open_device(DeviceChoice choice, Precision precision, DeviceUse use,
                                 DeviceCheck check = DeviceCheck::automatic, const Launch& launch = {});

/// "cpu", "cuda", "auto" and "fp32", "bf16", "tf32" as options of commands that have no configuration file.
DeviceChoice parse_device(const std::string& text);
Precision parse_precision(const std::string& text);

/// "cpu: Intel Xeon, amx, matmuls: f32 vectors, bf16 AMX tiles, 2 threads"
std::string describe_device(const DeviceInfo& info);

/// The folder with config.json and model.safetensors: `path` itself, or the newest intact checkpoint of the run directory `path`.
/// A checkpoint of a run is verified against its hashes. Nothing usable there: Error(ExitCode::checkpoint).
std::filesystem::path find_model_folder(const std::filesystem::path& path);

/// The tokenizer that `named` gives, or with `named` empty the one beside the model in `folder`, which is empty where the model has
/// none. One with more tokens than the model, or another than the model is known to go with: Error(ExitCode::data).
Tokenizer open_tokenizer(const std::string& named, const std::filesystem::path& folder, const ModelConfig& config);

/// Weights for inference, loaded from such a folder; `average`: those that eval.weight_average left there.
Weights open_weights(const std::filesystem::path& folder, Precision precision, Ops& ops, DeviceMemory& memory,
                     bool average = false);
/// The option that asks for these.
void add_average_option(CLI::App& command, bool& average);

// What was found of GPUs stands in the file of choices, under a key of its own.

/// All that a check holds for: the GPU with its CUDA versions, the driver and the build of temper.
std::string gpu_check_key(const DeviceInfo& gpu, const std::string& driver, const std::string& build);

/// What the driver calls itself; empty where it does not say.
std::string nvidia_driver();

/// Whether scripts/gpu_check.sh found nothing wrong there: `temper doctor --gpu-checked` has it kept, `temper doctor` says it.
bool gpu_check_recorded(const std::string& path, const std::string& key);

/// Error(ExitCode::io) where it cannot be written.
void record_gpu_check(const std::string& path, const std::string& key);

}  // namespace temper
