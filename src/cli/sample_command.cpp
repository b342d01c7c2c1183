#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <type_traits>

#include "cli/commands.h"
#include "data/tokenizer.h"
#include "model/generate.h"

namespace temper {

namespace {

struct SampleArguments {
  std::string checkpoint;
  std::string tokenizer;
  std::string prompt;
  std::string device = "auto";
  std::string precision = "fp32";
  std::int64_t samples = 1;
  bool average = false;
  SamplingSettings settings;
};

/// The bytes at the end of `text` that may be the beginning of a UTF-8 character still to come.
std::size_t unfinished_bytes(const std::string& text) {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) return 0;
    if (byte >= 0xC0) {
      const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
      return back < length ? back : 0;
    }
  }
  return 0;
}

/// Numbers that are finite, or whole, and in the range, both ends included.
template <typename Number>
CLI::Validator in_range(Number low, Number high) {
  const std::string range = fmt::format("from {} to {}", low, high);
  const auto problem = [=](const std::string& text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool allowed = error == std::errc() && end == text.data() + text.size() && value >= low && value <= high;
    return allowed ? std::string()
                   : fmt::format("{}: expected a{} number {}", text, std::is_integral_v<Number> ? " whole" : "", range);
  };
  return {problem, range};
}

void run(const SampleArguments& arguments) {
  const std::unique_ptr<Ops> ops =
      open_device(parse_device(arguments.device), parse_precision(arguments.precision), DeviceUse::inference);
  const std::filesystem::path folder = find_model_folder(arguments.checkpoint);
  DeviceMemory memory(ops.get());
  const Weights weights = open_weights(folder, parse_precision(arguments.precision), *ops, memory, arguments.average);
  const Tokenizer tokenizer = open_tokenizer(arguments.tokenizer, folder, weights.config());
  Generator generator(weights, *ops, memory);

  // A model has learnt that documents follow <|endoftext|>.
  std::vector<std::uint32_t> prompt = tokenizer.encode(arguments.prompt);
  if (prompt.empty()) prompt.push_back(tokenizer.end_of_text());

  for (std::int64_t sample = 0; sample < arguments.samples; ++sample) {
    SamplingSettings settings = arguments.settings;
    settings.seed += static_cast<std::uint64_t>(sample);
    if (sample > 0) write_output("---\n");
    write_output(arguments.prompt);
    std::string waiting;
    std::int64_t written = 0;
    const auto begin = std::chrono::steady_clock::now();
    generator.generate(prompt, settings, [&](std::uint32_t token) {
      ++written;
      if (token == tokenizer.end_of_text()) return false;
      if (token >= static_cast<std::uint32_t>(tokenizer.vocab_size())) return true;  // a row of the model without a text
      waiting += tokenizer.token_bytes(token);
      const std::size_t held = unfinished_bytes(waiting);
      write_output(waiting.substr(0, waiting.size() - held));
      waiting.erase(0, waiting.size() - held);
      return true;
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    write_output(waiting + "\n");
    // Reading the prompt is counted in, loading the model is not. scripts/compare/bench_writing.py times others the same way.
    const double rate = static_cast<double>(written) / seconds;
    std::fprintf(stderr, "%lld tokens in %.2f s, %.1f tokens/s\n", static_cast<long long>(written), seconds, rate);
  }
}

}  // namespace

void add_sample_command(CLI::App& app) {
  constexpr int most = 1'000'000'000;
  auto arguments = std::make_shared<SampleArguments>();
  CLI::App* command = app.add_subcommand("sample", "Let a trained model write");
  command->add_option("checkpoint", arguments->checkpoint, "Checkpoint, run directory or Hugging Face folder")->required();
  command->add_option("--prompt", arguments->prompt, "Text to continue (default: the beginning of a document)");
  command->add_option("--tokens", arguments->settings.tokens, "Tokens to write")->capture_default_str()->check(in_range(1, most));
  command->add_option("--temperature", arguments->settings.temperature, "0: always the likeliest token")
      ->capture_default_str()
      ->check(in_range(0.0, 100.0));
  command->add_option("--top-k", arguments->settings.top_k, "Draw from the k likeliest tokens; 0: from all")
      ->capture_default_str()
      ->check(in_range(0, most));
  command->add_option("--top-p", arguments->settings.top_p, "Draw from the likeliest tokens of this total probability")
      ->capture_default_str()
      ->check(in_range(0.0, 1.0));
  command->add_option("--seed", arguments->settings.seed, "Another seed, another text")
      ->capture_default_str()
      ->check(in_range(std::uint64_t{0}, std::numeric_limits<std::uint64_t>::max()));
  command->add_option("--samples", arguments->samples, "How many texts, with seeds counting up")
      ->capture_default_str()
      ->check(in_range(1, most));
  command->add_option("--tokenizer", arguments->tokenizer, "Tokenizer folder or file (default: the checkpoint's own)");
  add_average_option(*command, arguments->average);
  command->add_option("--device", arguments->device, "auto, cpu or cuda")->capture_default_str();
  command->add_option("--precision", arguments->precision, "fp32 or bf16")->capture_default_str();
  command->footer(
      "Example:\n  temper sample runs/quickstart --prompt \"It was a truth\" --tokens 100 --temperature 0.8 --top-k 50");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace temper
