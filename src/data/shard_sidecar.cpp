#include "data/shard_sidecar.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "data/shard.h"
#include "io/error.h"
#include "io/file.h"
#include "io/staging.h"

namespace temper {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* format_name = "temper-shards";
constexpr std::int64_t format_version = 1;

Json to_json(const SplitRecord& split) {
  Json shards = Json::array();
  for (const ShardRecord& shard : split.shards)
    shards.push_back({{"file", shard.file}, {"tokens", shard.tokens}, {"xxh3_128", shard.hash}});
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
    split.shards.push_back(
        {shard.at("file").get<std::string>(), count_from(shard.at("tokens")), shard.at("xxh3_128").get<std::string>()});
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

const char* split_name(Split split) { return split == Split::train ? "train" : "val"; }

std::filesystem::path sidecar_path(const std::filesystem::path& folder, const std::string& name) {
  return folder / (name + ".json");
}

std::filesystem::path shard_path(const std::filesystem::path& folder, const std::string& name, Split split, std::int64_t number) {
  std::string digits = std::to_string(number);
  if (digits.size() < 6) digits.insert(0, 6 - digits.size(), '0');
  return folder / (name + "_" + split_name(split) + "_" + digits + ".bin");
}

void write_sidecar(const std::filesystem::path& path, const Sidecar& sidecar) {
  Json sources = Json::array();
  for (const SourceRecord& source : sidecar.sources) {
    sources.push_back({{"file", source.file}, {"bytes", source.bytes}, {"xxh3_128", source.hash}});
  }
  const Json json = {
      {"format", format_name},
      {"version", format_version},
      {"tokenizer", {{"hash", sidecar.tokenizer_hash}, {"vocab_size", sidecar.vocab_size}, {"end_of_text", sidecar.end_of_text}}},
      {"splits", {{"train", to_json(sidecar.split(Split::train))}, {"val", to_json(sidecar.split(Split::validation))}}},
      {"sources", sources}};
  // A file's name may hold any bytes; what is not UTF-8 is replaced.
  write_file_atomically(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Sidecar parse_sidecar(const std::string& text, const std::string& label) {
  refuse_incomplete(text, label, ExitCode::data);
  try {
    const Json json = Json::parse(text);
    if (json.at("format") != format_name || json.at("version") != format_version) {
      throw std::domain_error("format or version is not " + std::string(format_name) + " " + std::to_string(format_version));
    }
    Sidecar sidecar;
    const Json& tokenizer = json.at("tokenizer");
    sidecar.tokenizer_hash = tokenizer.at("hash").get<std::string>();
    sidecar.vocab_size = count_from(tokenizer.at("vocab_size"));
    sidecar.end_of_text = count_from(tokenizer.at("end_of_text"));
    sidecar.split(Split::train) = split_from(json.at("splits").at("train"));
    sidecar.split(Split::validation) = split_from(json.at("splits").at("val"));
    for (const Json& source : json.at("sources")) {
      sidecar.sources.push_back(
          {source.at("file").get<std::string>(), count_from(source.at("bytes")), source.at("xxh3_128").get<std::string>()});
    }
    return sidecar;
  } catch (const std::exception& problem) {
    throw Error(ExitCode::data, label + ": is not a sidecar of token shards (" + problem.what() +
                                    "); make the shards again with `temper data tokenize`, or remove this file");
  }
}

std::optional<SidecarEntry> find_sidecar(const std::filesystem::path& shard) {
  const std::string name = name_of_set(shard);
  const std::filesystem::path path = sidecar_path(shard.parent_path(), name);
  if (name.empty() || !std::filesystem::exists(path)) return std::nullopt;
  SidecarEntry entry{path, parse_sidecar(read_file(path), path.string()), Split::train, {}};
  for (const Split split : {Split::train, Split::validation}) {
    for (const ShardRecord& record : entry.sidecar.split(split).shards) {
      if (record.file != shard.filename()) continue;
      const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(shard));
      if (record.tokens > max_shard_tokens || bytes != shard_header_bytes + 2 * record.tokens) {
        throw Error(ExitCode::data, shard.string() + ": has " + std::to_string(bytes) + " bytes, but " + path.string() +
                                        " lists it with " + std::to_string(record.tokens) +
                                        " tokens; the two are not of one run of `temper data tokenize`: " +
                                        "make the shards again, or remove the sidecar");
      }
      entry.split = split;
      entry.shard = record;
      return entry;
    }
  }
  return std::nullopt;
}

std::optional<ShardOrigin> read_sidecar(const std::vector<std::filesystem::path>& shards) {
  ShardOrigin origin;
  std::int64_t tokens = 0;
  std::int64_t bytes = 0;
  std::filesystem::path first;
  std::set<std::pair<std::filesystem::path, Split>> counted;
  for (const std::filesystem::path& shard : shards) {
    const std::optional<SidecarEntry> entry = find_sidecar(shard);
    if (!entry) return std::nullopt;
    if (first.empty()) {
      first = entry->path;
      origin.tokenizer_hash = entry->sidecar.tokenizer_hash;
      origin.vocab_size = entry->sidecar.vocab_size;
    } else if (entry->sidecar.tokenizer_hash != origin.tokenizer_hash) {
      throw Error(ExitCode::data, "shards of different tokenizers are named together: " + first.string() + " says " +
                                      origin.tokenizer_hash + ", " + entry->path.string() + " says " +
                                      entry->sidecar.tokenizer_hash + "; tokenize all texts with one tokenizer");
    }
    if (!counted.emplace(entry->path, entry->split).second) continue;
    tokens += entry->sidecar.split(entry->split).tokens;
    bytes += entry->sidecar.split(entry->split).bytes;
  }
  if (tokens == 0) return std::nullopt;
  origin.bytes_per_token = static_cast<double>(bytes) / static_cast<double>(tokens);
  return origin;
}

}  // namespace temper
