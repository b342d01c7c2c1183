#include "data/shard_sidecar.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "io/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/staging.h"

namespace temper {

namespace {

constexpr const char* format_name = "temper-shards";
constexpr std::int64_t format_version = 2;

Json to_json(const SplitRecord& split) {
  Json shards = Json::array();
  for (const ShardRecord& shard : split.shards)
    shards.push_back({{"file", shard.file}, {"tokens", shard.tokens}, {"xxh3_128", shard.hash}, {"sampled", shard.sampled}});
  return {{"tokens", split.tokens}, {"documents", split.documents}, {"bytes", split.bytes}, {"shards", shards}};
}

std::int64_t count_from(const Json& value) {
  const auto count = value.get<std::int64_t>();
  if (!value.is_number_integer() || count < 0) throw std::domain_error(value.dump() + " where a count is expected");
  return count;
}

SplitRecord split_from(const Json& json) {
  SplitRecord split;
  split.tokens = count_from(json.at("tokens"));
  split.documents = count_from(json.at("documents"));
  split.bytes = count_from(json.at("bytes"));
  for (const Json& shard : json.at("shards")) {
    split.shards.push_back({shard.at("file").get<std::string>(), count_from(shard.at("tokens")),
                            shard.at("xxh3_128").get<std::string>(), shard.at("sampled").get<std::string>()});
  }
  return split;
}

// NAME of NAME_train_000000.bin; empty if the file is not named so.
std::string name_of_set(const std::filesystem::path& shard) {
  const std::string stem = shard.stem().string();
  for (const Split split : {Split::train, Split::validation}) {
    const std::size_t middle = stem.rfind(std::string("_") + split_name(split) + "_");
    if (middle != std::string::npos) return stem.substr(0, middle);
  }
  return {};
}

}  // namespace

void TextFindings::add(const TextFindings& later) {
  documents += later.documents;
  invalid_bytes += later.invalid_bytes;
  skipped += later.skipped;
  if (first_bad.empty()) first_bad = later.first_bad;
  marks += later.marks;
}

const char* split_name(Split split) { return split == Split::train ? "train" : "val"; }

std::filesystem::path sidecar_path(const std::filesystem::path& folder, const std::string& name) {
  return folder / (name + ".json");
}

std::filesystem::path shard_path(const std::filesystem::path& folder, const std::string& name, Split split, std::int64_t number) {
  return folder / fmt::format("{}_{}_{:06}.bin", name, split_name(split), number);
}

ShardRecord describe_shard(const std::filesystem::path& path) {
  const Shard shard(path, ShardFormat::automatic);
  return {path.filename().string(), shard.tokens(), hash_file(path), hash_bytes(shard.sampled())};
}

void write_sidecar(const std::filesystem::path& path, const Sidecar& sidecar) {
  Json sources = Json::array();
  for (const SourceRecord& source : sidecar.sources) {
    const TextFindings& found = source.found;
    sources.push_back({{"file", source.file},
                       {"bytes", source.bytes},
                       {"xxh3_128", source.hash},
                       {"kind", source.kind},
                       {"documents", found.documents},
                       {"invalid_utf8_bytes", found.invalid_bytes},
                       {"skipped", found.skipped},
                       {"first_bad", found.first_bad},
                       {"marks", found.marks}});
  }
  const Json json = {
      {"format", format_name},
      {"version", format_version},
      {"tokenizer", {{"hash", sidecar.tokenizer_hash}, {"vocab_size", sidecar.vocab_size}, {"end_of_text", sidecar.end_of_text}}},
      {"splits", {{"train", to_json(sidecar.split(Split::train))}, {"val", to_json(sidecar.split(Split::validation))}}},
      {"sources", sources}};
  // A file's name may hold any bytes; what is not UTF-8 is replaced.
  write_file_atomically(path, json_text(json, 2) + "\n");
}

Sidecar parse_sidecar(const std::string& text, const std::string& label) {
  refuse_incomplete(text, label, ExitCode::data);
  try {
    const Json json = parse_json(text, label, ExitCode::data);
    if (json.at("format") != format_name || json.at("version") != format_version)
      throw std::domain_error(fmt::format("format or version is not {} {}", format_name, format_version));
    Sidecar sidecar;
    const Json& tokenizer = json.at("tokenizer");
    sidecar.tokenizer_hash = tokenizer.at("hash").get<std::string>();
    sidecar.vocab_size = count_from(tokenizer.at("vocab_size"));
    sidecar.end_of_text = count_from(tokenizer.at("end_of_text"));
    sidecar.split(Split::train) = split_from(json.at("splits").at("train"));
    sidecar.split(Split::validation) = split_from(json.at("splits").at("val"));
    for (const Json& source : json.at("sources")) {
      SourceRecord& record = sidecar.sources.emplace_back();
      record.file = source.at("file").get<std::string>();
      record.bytes = count_from(source.at("bytes"));
      record.hash = source.at("xxh3_128").get<std::string>();
      record.found.invalid_bytes = count_from(source.at("invalid_utf8_bytes"));
      if (!source.contains("kind")) continue;  // made before the others were recorded
      record.kind = source.at("kind").get<std::string>();
      record.found.documents = count_from(source.at("documents"));
      record.found.skipped = count_from(source.at("skipped"));
      record.found.first_bad = source.at("first_bad").get<std::string>();
      record.found.marks = count_from(source.at("marks"));
    }
    return sidecar;
  } catch (const std::exception& problem) {
    throw Error(ExitCode::data,
                "{}: is not a sidecar of token shards ({}); make the shards again with `temper data tokenize`, or remove this file",
                label, problem.what());
  }
}

std::optional<SidecarEntry> ShardOrigins::add(const Shard& shard) {
  ++shards_;
  const auto refuse = [&](const std::string& what) { throw Error(ExitCode::data, shard.path().string() + ": " + what); };
  const std::string name = name_of_set(shard.path());
  const std::filesystem::path path = sidecar_path(shard.path().parent_path(), name);
  if (name.empty() || !std::filesystem::exists(path)) {
    unrecorded_.push_back(shard.path());
    return std::nullopt;
  }
  auto place = sidecars_.find(path);
  if (place == sidecars_.end()) place = sidecars_.emplace(path, parse_sidecar(read_file(path), path.string())).first;
  for (const Split split : {Split::train, Split::validation}) {
    for (const ShardRecord& record : place->second.split(split).shards) {
      if (record.file != shard.path().filename()) continue;
      if (record.tokens != shard.tokens())
        refuse(
            fmt::format("has {} tokens, but {} lists it with {}; the two are not of one run of `temper data tokenize`: make the "
                        "shards again, or remove the sidecar",
                        shard.tokens(), path.string(), record.tokens));
      if (record.sampled != hash_bytes(shard.sampled()))
        refuse("holds other tokens than when it was made: samples of it do not match " + path.string() +
               "; copy or make the shard again (`temper data verify` compares whole shards)");
      splits_.emplace(path, split);
      return SidecarEntry{path, &place->second, &record};
    }
  }
  refuse("has the name of a set of shards, but the set's record, " + path.string() +
         ", does not list it: one of them is left from another run of `temper data tokenize`; remove that one, or give the shard " +
         "another name");
  return std::nullopt;
}

std::vector<std::filesystem::path> ShardOrigins::absent() const {
  std::vector<std::filesystem::path> absent;
  for (const auto& [path, split] : splits_) {
    for (const ShardRecord& listed : sidecars_.at(path).split(split).shards)
      if (!std::filesystem::exists(path.parent_path() / listed.file)) absent.push_back(path.parent_path() / listed.file);
  }
  return absent;
}

std::optional<double> ShardOrigins::bytes_per_token() const {
  std::int64_t tokens = 0;
  std::int64_t bytes = 0;
  for (const auto& [path, split] : splits_) {
    tokens += sidecars_.at(path).split(split).tokens;
    bytes += sidecars_.at(path).split(split).bytes;
  }
  if (!unrecorded_.empty() || tokens == 0) return std::nullopt;
  return static_cast<double>(bytes) / static_cast<double>(tokens);
}

ShardSeries::ShardSeries(std::filesystem::path folder, std::string name, Split split, std::int64_t shard_tokens)
    : folder_(std::move(folder)), name_(std::move(name)), split_(split), shard_tokens_(shard_tokens) {
  if (shard_tokens < 1 || shard_tokens > max_shard_tokens)
    throw Error(ExitCode::usage, "the shard size is {} tokens; allowed is 1 to {}", shard_tokens, max_shard_tokens);
}

void ShardSeries::append(std::span<const std::uint16_t> tokens) {
  while (!tokens.empty()) {
    if (!writer_)
      writer_ = std::make_unique<ShardWriter>(shard_path(folder_, name_, split_, static_cast<std::int64_t>(shards_.size())));
    const auto room = static_cast<std::size_t>(shard_tokens_ - writer_->token_count());
    const auto part = tokens.first(std::min(tokens.size(), room));
    writer_->append(part);
    tokens = tokens.subspan(part.size());
    if (writer_->token_count() == shard_tokens_) finish_shard();
  }
}

void ShardSeries::close() {
  if (writer_) finish_shard();
}

void ShardSeries::finish_shard() {
  const std::filesystem::path path = shard_path(folder_, name_, split_, static_cast<std::int64_t>(shards_.size()));
  writer_->close();
  writer_.reset();
  shards_.push_back(describe_shard(path));
}

void TokenizerIdentity::add(const std::string& thing, const std::string& hash) {
  if (hash.empty()) return;
  if (hash_.empty()) {
    thing_ = thing;
    hash_ = hash;
  }
  if (hash == hash_) return;
  throw Error(ExitCode::data,
              "two tokenizers meet: {} has tokenizer {}, {} has {}; the same numbers stand for other texts there. Name things of "
              "one tokenizer, or make the shards again (`temper data tokenize`) with the one of the model",
              thing_, hash_, thing, hash);
}

void TokenizerIdentity::add_shards(const std::string& use, const ShardOrigins& origins) {
  for (const auto& [path, sidecar] : origins.sidecars()) add(use + " (" + path.string() + ")", sidecar.tokenizer_hash);
  const auto list = [&](const std::vector<std::filesystem::path>& shards, const std::string& what,
                        std::vector<std::string>& notes) {
    if (shards.empty()) return;
    notes.push_back(
        fmt::format("{}: {}{} ({}{})", use, shards.size(), what, shards.front().string(), shards.size() > 1 ? ", ..." : ""));
  };
  list(origins.absent(), " shards of the same making are not there", absent_);
  list(origins.unrecorded(), fmt::format(" of {} shards have no record of their tokenizer", origins.shards()), unknown_);
}

std::vector<std::string> TokenizerIdentity::notes() const {
  std::vector<std::string> notes = absent_;
  if (!hash_.empty()) notes.insert(notes.end(), unknown_.begin(), unknown_.end());
  return notes;
}

}  // namespace temper
