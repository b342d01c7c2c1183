#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <map>

#include "cli/commands.h"
#include "data/inspect.h"
#include "data/text_source.h"
#include "data/tokenize.h"
#include "data/tokenizer.h"
#include "data/vocabulary.h"
#include "io/file.h"
#include "io/staging.h"
#include "train/progress.h"

namespace temper {

namespace {

struct TokenizeArguments {
  TokenizeSettings settings;
  std::string tokenizer;
  std::string output;
};

std::string counted(std::int64_t count, const std::string& one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

/// What each file was taken for, and what was not as it should be.
std::string describe(const std::vector<SourceRecord>& sources) {
  constexpr std::size_t most_listed = 12;
  std::string text;
  std::map<std::string, std::int64_t> kinds;
  std::size_t notes = 0;
  const auto note = [&](const SourceRecord& source, const std::string& what) {
    if (++notes <= most_listed) text += fmt::format("{}: {}\n", shown(source.file), shown_message(what));
  };
  for (const SourceRecord& source : sources) {
    const TextFindings& found = source.found;
    const bool json_lines = source.kind.starts_with("JSON lines");
    ++kinds[source.kind];
    if (sources.size() <= most_listed)
      text += fmt::format("{}: {}, {}\n", shown(source.file), source.kind, counted(found.documents, "document"));
    if (found.invalid_bytes > 0) {
      note(source,
           fmt::format("{} not UTF-8, the first in {}; the character U+FFFD stands in their place",
                       counted(found.invalid_bytes, "byte") + (found.invalid_bytes == 1 ? " is" : " are"), found.first_bad));
    }
    if (found.skipped > 0) {
      note(source,
           fmt::format("{} left out, the first: {}", counted(found.skipped, json_lines ? "line" : "document"), found.first_bad));
    }
    if (found.marks > 0) {
      note(source, fmt::format("{0} stands in it {1}, and was taken as text; {2}", kEndOfText, counted(found.marks, "time"),
                               json_lines ? "give each document a line of its own if it ends documents"
                                          : fmt::format("if it ends documents, split there with --separator '{}'", kEndOfText)));
    }
  }
  if (sources.size() > most_listed)
    for (const auto& [kind, count] : kinds) text += fmt::format("{}: {}\n", counted(count, "file"), kind);
  if (notes > most_listed)
    text += fmt::format("and {} like these\n", counted(static_cast<std::int64_t>(notes - most_listed), "note"));
  return text;
}

void add_text_options(CLI::App& command, std::vector<std::string>& inputs, TextOptions& options) {
  static const std::map<std::string, BadText> policies = {
      {"few", BadText::few}, {"refuse", BadText::refuse}, {"skip", BadText::skip}, {"replace", BadText::replace}};
  command
      .add_option("inputs", inputs,
                  "Texts in UTF-8 or UTF-16, or JSON lines (.jsonl, or an object a line) with a document a line, also in gzip or "
                  "zstd; paths, globs (** is folders of any depth), - for standard input")
      ->required();
  command.add_option("--separator", options.separator, "Text that separates documents in a text, e.g. '<|endoftext|>'");
  command.add_option("--json-field", options.json_field, "Field of a JSON line that holds the text")->capture_default_str();
  command
      .add_option_function<std::string>(
          "--on-bad-text", [&options](const std::string& policy) { options.bad_text = policies.at(policy); },
          "Bytes that are not UTF-8 and JSON lines without a text. few: such bytes become U+FFFD, such lines are left out, up to "
          "one in 1000 of a file; refuse: none; skip: any number of lines, and of documents with such bytes, is left out; "
          "replace: few without its limit, and half surrogates in JSON become U+FFFD")
      ->default_str("few")
      ->check(CLI::IsMember({"few", "refuse", "skip", "replace"}));
}

BytesDone shown_as(const char* what, Progress& progress) {
  return [what, &progress](std::int64_t done, std::int64_t all) {
    progress.activity(fmt::format("{}, {} of {}", what, format_bytes(static_cast<std::size_t>(done)),
                                  format_bytes(static_cast<std::size_t>(all))),
                      static_cast<double>(done) / static_cast<double>(std::max<std::int64_t>(all, 1)));
  };
}

void run_tokenize(TokenizeArguments arguments) {
  arguments.settings.output = arguments.output;
  arguments.settings.threads = within_processors(arguments.settings.threads, "--threads");
  const Tokenizer tokenizer = Tokenizer::load(arguments.tokenizer);
  Progress progress(0, 1);
  const auto begin = std::chrono::steady_clock::now();
  arguments.settings.text.decoding = shown_as("unpacking", progress);
  const Sidecar sidecar = tokenize_files(arguments.settings, tokenizer, shown_as("tokenizing", progress));
  progress.clear();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

  std::int64_t bytes = 0;
  std::string text;
  for (const Split which : {Split::train, Split::validation}) {
    const SplitRecord& split = sidecar.split(which);
    if (split.tokens == 0) continue;
    bytes += split.bytes;
    text += fmt::format("{:<6} {:12} tokens  {:9} documents  {:6.3f} bytes per token  {} shard{}\n", split_name(which),
                        split.tokens, split.documents, static_cast<double>(split.bytes) / static_cast<double>(split.tokens),
                        split.shards.size(), split.shards.size() == 1 ? "" : "s");
  }
  const std::string line = fmt::format("{} of text in {:.1f} s, {:.1f} MB/s\n", format_bytes(static_cast<std::size_t>(bytes)),
                                       seconds, static_cast<double>(bytes) / 1e6 / seconds);
  write_output(describe(sidecar.sources) + text + line + "sidecar " +
               shown(sidecar_path(arguments.settings.output, arguments.settings.name).string()) + "\n");
}

void add_tokenize(CLI::App& command) {
  auto arguments = std::make_shared<TokenizeArguments>();
  TokenizeSettings& settings = arguments->settings;
  CLI::App* tokenize = command.add_subcommand("tokenize", "Turn texts into token shards");
  add_text_options(*tokenize, settings.inputs, settings.text);
  tokenize->add_option("--tokenizer", arguments->tokenizer, "Tokenizer folder or file")->required();
  tokenize->add_option("--out", arguments->output, "Folder for the shards")->required();
  tokenize->add_option("--name", settings.name, "Shards are called NAME_train_000000.bin, ...")->required();
  tokenize->add_option("--val-fraction", settings.validation_fraction, "Share of the documents kept for validation")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.5));
  tokenize->add_option("--val-inputs", settings.validation_inputs, "Files whose documents are the validation split");
  tokenize->add_option("--shard-tokens", settings.shard_tokens, "Tokens of a shard")->capture_default_str();
  tokenize->add_option("--threads", settings.threads, "0: one for each processor")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  tokenize->add_flag("--overwrite", settings.overwrite, "Replace shards of this name");
  tokenize->footer(
      "Example:\n  temper data tokenize book.txt --tokenizer data/mine --out data/mine --name book --val-fraction 0.05");
  tokenize->callback([arguments] { run_tokenize(*arguments); });
}

struct TrainTokenizerArguments {
  std::vector<std::string> inputs;
  std::int64_t vocab_size = 4096;
  std::int64_t n_ctx = 1024;
  std::string output;
  TextOptions text;
  bool overwrite = false;
};

// The texts lie in `scratch` meanwhile, so that memory does not grow with them.
Tokenizer learn(TrainTokenizerArguments arguments, const std::filesystem::path& scratch, std::vector<SourceRecord>& sources,
                std::size_t& bytes) {
  Progress progress(0, 1);
  arguments.text.decoding = shown_as("unpacking", progress);
  UnnamedFile gathered(scratch);
  for (const std::filesystem::path& path : text_inputs(arguments.inputs))
    sources.push_back(read_text(path, arguments.text, scratch, [&](std::string_view piece) { gathered.write(piece); }));
  const MappedFile map = gathered.map();
  const std::string_view text(reinterpret_cast<const char*>(map.bytes().data()), map.bytes().size());
  bytes = text.size();
  Tokenizer tokenizer = Tokenizer::train(text, arguments.vocab_size, [&](std::int64_t done, std::int64_t all) {
    progress.activity("learning merges", static_cast<double>(done) / static_cast<double>(std::max<std::int64_t>(all, 1)));
  });
  progress.clear();
  return tokenizer;
}

void run_train_tokenizer(const TrainTokenizerArguments& arguments) {
  const auto begin = std::chrono::steady_clock::now();
  StagedFiles staged(arguments.output, "tokenizer.json", is_vocabulary_file, arguments.overwrite);
  std::vector<SourceRecord> sources;
  std::size_t bytes = 0;
  const Tokenizer tokenizer = learn(arguments, staged.path(), sources, bytes);
  tokenizer.save(staged.path(), arguments.n_ctx);
  staged.commit();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  write_output(describe(sources) + fmt::format("{} tokens learnt from {} in {:.1f} s, written to {}\n", tokenizer.vocab_size(),
                                               format_bytes(bytes), seconds, shown(arguments.output)));
}

void add_train_tokenizer(CLI::App& command) {
  auto arguments = std::make_shared<TrainTokenizerArguments>();
  CLI::App* train = command.add_subcommand("train-tokenizer", "Learn a byte-level BPE vocabulary from texts");
  add_text_options(*train, arguments->inputs, arguments->text);
  train->add_option("--vocab-size", arguments->vocab_size, "Tokens in all: 256 bytes, the merges, <|endoftext|>")
      ->capture_default_str()
      ->check(CLI::Range(257, 65536));
  train->add_option("--out", arguments->output, "Folder for vocab.json, merges.txt and tokenizer.json")->required();
  train->add_flag("--overwrite", arguments->overwrite, "Replace the vocabulary that the folder has");
  train->footer("Example:\n  temper data train-tokenizer book.txt --vocab-size 4096 --out data/mine");
  train->callback([arguments] { run_train_tokenizer(*arguments); });
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("data", "Make and look at token shards and tokenizers");
  command->require_subcommand(1);
  add_tokenize(*command);
  add_train_tokenizer(*command);

  auto verified = std::make_shared<std::vector<std::string>>();
  CLI::App* verify = command->add_subcommand("verify", "Compare token shards with the record of their making");
  verify->add_option("shards", *verified, "Shards (paths or globs)")->required();
  verify->footer("Example:\n  temper data verify 'data/quickstart/*.bin'");
  verify->callback([verified] { verify_shards(*verified, [](const std::string& line) { write_output(line + "\n"); }); });

  struct InspectArguments {
    std::vector<std::string> shards;
    std::string tokenizer;
    std::string format = "auto";
  };
  auto arguments = std::make_shared<InspectArguments>();
  CLI::App* inspect = command->add_subcommand("inspect", "Show what token shards hold");
  inspect->add_option("shards", arguments->shards, "Shards (paths or globs)")->required();
  inspect->add_option("--tokenizer", arguments->tokenizer, "Tokenizer folder or file, to show text");
  inspect->add_option("--format", arguments->format, "auto, or raw_u16 for headerless shards")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "raw_u16"}));
  inspect->callback([arguments] {
    const std::optional<Tokenizer> tokenizer =
        arguments->tokenizer.empty() ? std::nullopt : std::optional(Tokenizer::load(arguments->tokenizer));
    InspectSettings settings;
    settings.files = arguments->shards;
    settings.format = arguments->format == "raw_u16" ? ShardFormat::raw_u16 : ShardFormat::automatic;
    settings.tokenizer = tokenizer ? &*tokenizer : nullptr;
    write_output(to_text(inspect_shards(settings), settings.tokenizer));
  });
}

}  // namespace temper
