#include <CLI/CLI.hpp>
#include <filesystem>

#include "cli/commands.h"
#include "data/tokenizer.h"
#include "data/vocabulary.h"
#include "io/staging.h"
#include "io/text.h"
#include "model/hf_config.h"
#include "model/hf_format.h"
#include "model/llmc_format.h"

namespace temper {

namespace fs = std::filesystem;

namespace {

struct ModelFiles {
  std::string from;
  std::string to;
  std::string tokenizer;
  std::string format = "huggingface";
  bool overwrite = false;
  bool average = false;
};

bool is_model_file(const std::string& name) {
  return name == "config.json" || name == "generation_config.json" || name == "model.safetensors" || is_vocabulary_file(name);
}

/// For a Hugging Face folder, which holds nothing else.
StagedFiles stage_folder(const ModelFiles& arguments) {
  const std::string key = "config.json";
  if (fs::exists(arguments.to)) {
    if (!fs::is_directory(arguments.to)) throw Error(ExitCode::usage, arguments.to + ": is a file; name a folder to make");
    for (const fs::directory_entry& entry : fs::directory_iterator(arguments.to)) {
      const std::string name = entry.path().filename().string();
      if (!is_model_file(name) && name != "." + key + ".partial")
        throw Error(ExitCode::usage, arguments.to + ": holds " + name + ", which is no file of a model; name a new folder");
    }
  }
  const auto check_old = [](const fs::path& old) { parse_hf_config(read_file(old), old.string()); };
  return {arguments.to, key, is_model_file, arguments.overwrite, check_old};
}

StagedFiles stage_file(const ModelFiles& arguments) {
  const fs::path path = arguments.to;
  if (!path.has_filename() || fs::is_directory(path))
    throw Error(ExitCode::usage, arguments.to + ": is a folder; name the file to make");
  const std::string key = path.filename().string();
  const auto belongs = [key](const std::string& name) { return name == key; };
  return {path.has_parent_path() ? path.parent_path() : ".", key, belongs, arguments.overwrite, read_llmc_config};
}

/// The tokenizer named on the command line, or the one that lies beside the model; none is allowed.
std::optional<Tokenizer> find_tokenizer(const ModelFiles& arguments, const fs::path& folder, const ModelConfig& config) {
  const bool beside = !folder.empty() && (fs::exists(folder / "tokenizer.json") || fs::exists(folder / "merges.txt"));
  if (arguments.tokenizer.empty() && !beside) return std::nullopt;
  return open_tokenizer(arguments.tokenizer, folder, config);
}

void write_hugging_face(const ModelFiles& arguments, StagedFiles& staged, const Weights& weights,
                        const std::optional<Tokenizer>& tokenizer) {
  const auto last = static_cast<std::uint32_t>(weights.config().vocab_size - 1);
  save_hf_model(staged.path(), weights, tokenizer ? tokenizer->end_of_text() : last);
  if (tokenizer) tokenizer->save(staged.path(), weights.config().n_ctx);
  staged.commit();
  tell_result("wrote " + shown(arguments.to) + ", " + format_count(static_cast<double>(weights.layout().parameter_count())) +
              " parameters" + (tokenizer ? "" : "; no tokenizer: give one with --tokenizer if the model shall write") + "\n");
}

void import_model(const ModelFiles& arguments) {
  StagedFiles staged = stage_folder(arguments);
  const std::unique_ptr<Ops> ops = open_device(DeviceChoice::cpu, Precision::fp32, DeviceUse::inference);
  DeviceMemory memory(ops.get());
  if (fs::is_directory(arguments.from)) {
    const Weights weights = open_weights(arguments.from, Precision::fp32, *ops, memory);
    write_hugging_face(arguments, staged, weights, find_tokenizer(arguments, arguments.from, weights.config()));
    return;
  }
  Weights weights(read_llmc_config(arguments.from), Precision::fp32, Weights::Use::inference, ops.get(), memory);
  load_llmc_model(arguments.from, weights);
  write_hugging_face(arguments, staged, weights, find_tokenizer(arguments, fs::path(), weights.config()));
}

void export_model(const ModelFiles& arguments) {
  const bool as_folder = arguments.format == "huggingface";
  StagedFiles staged = as_folder ? stage_folder(arguments) : stage_file(arguments);
  const std::unique_ptr<Ops> ops = open_device(DeviceChoice::cpu, Precision::fp32, DeviceUse::inference);
  DeviceMemory memory(ops.get());
  const fs::path folder = find_model_folder(arguments.from);
  const Weights weights = open_weights(folder, Precision::fp32, *ops, memory, arguments.average);
  if (as_folder) {
    write_hugging_face(arguments, staged, weights, find_tokenizer(arguments, folder, weights.config()));
    return;
  }
  save_llmc_model(staged.path() / fs::path(arguments.to).filename(), weights,
                  arguments.format == "llmc-bf16" ? DType::bf16 : DType::f32);
  staged.commit();
  tell_result("wrote " + shown(arguments.to) + "\n");
}

}  // namespace

void add_import_command(CLI::App& app) {
  auto arguments = std::make_shared<ModelFiles>();
  CLI::App* command =
      app.add_subcommand("import", "Check a model from elsewhere and write it as a folder temper trains and samples from");
  command->add_option("from", arguments->from, "Hugging Face folder, or llm.c model file (.bin)")->required();
  command->add_option("to", arguments->to, "Folder to make")->required();
  command->add_option("--tokenizer", arguments->tokenizer, "Tokenizer folder or file to put beside the model");
  command->add_flag("--overwrite", arguments->overwrite, "Replace the model that the folder has");
  command->callback([arguments] { import_model(*arguments); });
}

void add_export_command(CLI::App& app) {
  auto arguments = std::make_shared<ModelFiles>();
  CLI::App* command = app.add_subcommand("export", "Write a trained model for other programs");
  command->add_option("from", arguments->from, "Checkpoint, run directory or Hugging Face folder")->required();
  add_average_option(*command, arguments->average);
  command->add_option("to", arguments->to, "Folder (huggingface) or file (llmc) to make")->required();
  command->add_option("--format", arguments->format, "huggingface, llmc-fp32 or llmc-bf16")
      ->capture_default_str()
      ->check(CLI::IsMember({"huggingface", "llmc-fp32", "llmc-bf16"}));
  command->add_option("--tokenizer", arguments->tokenizer, "Tokenizer folder or file (default: the checkpoint's own)");
  command->add_flag("--overwrite", arguments->overwrite, "Replace the model that is there");
  command->callback([arguments] { export_model(*arguments); });
}

}  // namespace temper
