#include <CLI/CLI.hpp>
#include <filesystem>

#include "cli/commands.h"
#include "cli/open_model.h"
#include "data/tokenizer.h"
#include "model/hf_format.h"
#include "model/llmc_format.h"
#include "train/progress.h"

namespace temper {

namespace fs = std::filesystem;

namespace {

struct Arguments {
  std::string from;
  std::string to;
  std::string tokenizer;
  std::string format = "huggingface";
};

void make_new_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder) && !fs::is_empty(folder, error))
    throw Error(ExitCode::usage, folder.string() + ": exists and is not empty; name a new folder");
  fs::create_directories(folder, error);
  if (error) throw Error(ExitCode::io, folder.string() + ": could not be made: " + error.message());
}

/// The tokenizer named on the command line, or the one that lies beside the model; none is allowed.
std::optional<Tokenizer> find_tokenizer(const Arguments& arguments, const fs::path& folder) {
  if (!arguments.tokenizer.empty()) return Tokenizer::load(arguments.tokenizer);
  if (fs::exists(folder / "tokenizer.json") || fs::exists(folder / "merges.txt")) return Tokenizer::load(folder);
  return std::nullopt;
}

void write_hugging_face(const Arguments& arguments, const Weights& weights, const std::optional<Tokenizer>& tokenizer) {
  make_new_folder(arguments.to);
  const auto last = static_cast<std::uint32_t>(weights.config().vocab_size - 1);
  save_hf_model(arguments.to, weights, tokenizer ? tokenizer->end_of_text() : last);
  if (tokenizer) tokenizer->save(arguments.to, weights.config().n_ctx);
  write_output("wrote " + arguments.to + ", " + format_count(static_cast<double>(weights.layout().parameter_count())) +
               " parameters" + (tokenizer ? "" : "; no tokenizer: give one with --tokenizer if the model shall write") + "\n");
}

void import_model(const Arguments& arguments) {
  const std::unique_ptr<Ops> ops = open_device(DeviceChoice::cpu, Precision::fp32);
  DeviceMemory memory(ops.get());
  if (fs::is_directory(arguments.from)) {
    const Weights weights = open_weights(arguments.from, Precision::fp32, *ops, memory);
    write_hugging_face(arguments, weights, find_tokenizer(arguments, arguments.from));
    return;
  }
  Weights weights(read_llmc_config(arguments.from), Precision::fp32, Weights::Use::inference, ops.get(), memory);
  load_llmc_model(arguments.from, weights);
  write_hugging_face(arguments, weights, find_tokenizer(arguments, fs::path()));
}

void export_model(const Arguments& arguments) {
  const std::unique_ptr<Ops> ops = open_device(DeviceChoice::cpu, Precision::fp32);
  DeviceMemory memory(ops.get());
  const fs::path folder = find_model_folder(arguments.from);
  const Weights weights = open_weights(folder, Precision::fp32, *ops, memory);
  if (arguments.format == "huggingface") {
    write_hugging_face(arguments, weights, find_tokenizer(arguments, folder));
    return;
  }
  save_llmc_model(arguments.to, weights, arguments.format == "llmc-bf16" ? DType::bf16 : DType::f32);
  write_output("wrote " + arguments.to + "\n");
}

}  // namespace

void add_import_command(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      app.add_subcommand("import", "Check a model from elsewhere and write it as a folder temper trains and samples from");
  command->add_option("from", arguments->from, "Hugging Face folder, or llm.c model file (.bin)")->required();
  command->add_option("to", arguments->to, "Folder to make")->required();
  command->add_option("--tokenizer", arguments->tokenizer, "Tokenizer folder or file to put beside the model");
  command->callback([arguments] { import_model(*arguments); });
}

void add_export_command(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("export", "Write a trained model for other programs");
  command->add_option("from", arguments->from, "Checkpoint, run directory or Hugging Face folder")->required();
  command->add_option("to", arguments->to, "Folder (huggingface) or file (llmc) to make")->required();
  command->add_option("--format", arguments->format, "huggingface, llmc-fp32 or llmc-bf16")
      ->capture_default_str()
      ->check(CLI::IsMember({"huggingface", "llmc-fp32", "llmc-bf16"}));
  command->add_option("--tokenizer", arguments->tokenizer, "Tokenizer folder or file (default: the checkpoint's own)");
  command->callback([arguments] { export_model(*arguments); });
}

}  // namespace temper
