#include "data/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "data/shard_sidecar.h"
#include "data/utf8.h"
#include "io/error.h"
#include "io/text.h"

namespace temper {
namespace {

constexpr std::uint32_t gpt2_end_of_text = 50256;
constexpr std::int64_t piece_tokens = 1 << 20;

using Histogram = std::array<std::int64_t, 65536>;

void check_hash(const Shard& shard, const SidecarEntry& entry) {
  if (const std::string hash = hash_file(shard.path()); hash != entry.shard->hash) {
    throw Error(ExitCode::data,
                "{}: its contents changed since it was made: the hash is {}, and {} has {}; copy or make the shard again",
                shard.path().string(), hash, entry.path.string(), entry.shard->hash);
  }
}

// Throws when all are counted and some are outside of the tokenizer's vocabulary.
void count_tokens(const Shard& shard, const Tokenizer* tokenizer, Histogram& counts) {
  const std::int64_t vocab_size = tokenizer != nullptr ? tokenizer->vocab_size() : static_cast<std::int64_t>(counts.size());
  counts.fill(0);
  std::vector<std::uint16_t> part;
  std::int64_t outside = 0;
  std::string bad;
  for (std::int64_t begin = 0; begin < shard.tokens(); begin += piece_tokens) {
    part.resize(static_cast<std::size_t>(std::min(piece_tokens, shard.tokens() - begin)));
    shard.read(begin, part);
    for (std::size_t index = 0; index < part.size(); ++index) {
      ++counts[part[index]];
      if (part[index] < vocab_size) continue;
      if (outside++ == 0) bad = fmt::format("{}, at position {}", part[index], begin + static_cast<std::int64_t>(index));
    }
  }
  if (outside == 0) return;
  throw Error(
      ExitCode::data,
      "{}: {} tokens are outside the tokenizer's vocabulary of {}, the first, {}; name the tokenizer the shard was made with",
      shard.path().string(), outside, vocab_size, bad);
}

std::string shown(const std::vector<std::uint32_t>& tokens, const Tokenizer* tokenizer) {
  std::string text;
  if (tokenizer != nullptr) {
    text += '"';
    text += escape_for_terminal(tokenizer->decode(tokens));
    text += '"';
    return text;
  }
  for (const std::uint32_t token : tokens) {
    if (!text.empty()) text += ' ';
    text += std::to_string(token);
  }
  return text;
}

}  // namespace

InspectReport inspect_shards(const InspectSettings& settings) {
  InspectReport report;
  report.format = settings.format;
  report.end_of_text = settings.tokenizer != nullptr ? settings.tokenizer->end_of_text() : gpt2_end_of_text;
  auto total = std::make_unique<Histogram>();
  auto counts = std::make_unique<Histogram>();
  ShardOrigins origins;
  TokenizerIdentity identity;
  if (settings.tokenizer != nullptr) identity.add("the tokenizer given", settings.tokenizer->hash());
  for (const std::filesystem::path& path : expand_globs(settings.files)) {
    const Shard shard(path, settings.format);
    ShardReport& row = report.shards.emplace_back();
    row.path = path;
    row.file_bytes = shard.file_bytes();
    row.tokens = shard.tokens();
    if (settings.format == ShardFormat::automatic) {
      if (const auto entry = origins.add(shard)) {
        check_hash(shard, *entry);
        if (settings.tokenizer != nullptr)  // without one, a mixture is shown
          identity.add(path.string() + " (" + entry->path.string() + ")", entry->sidecar->tokenizer_hash);
        row.sidecar = entry->path;
        row.tokenizer_hash = entry->sidecar->tokenizer_hash;
        report.end_of_text = static_cast<std::uint32_t>(entry->sidecar->end_of_text);
      }
    }
    count_tokens(shard, settings.tokenizer, *counts);
    if (row.tokens > 0) {
      const auto present = [](std::int64_t count) { return count > 0; };
      row.smallest = static_cast<std::uint16_t>(std::find_if(counts->begin(), counts->end(), present) - counts->begin());
      row.largest = static_cast<std::uint16_t>(counts->rend() - std::find_if(counts->rbegin(), counts->rend(), present) - 1);
    }
    if (report.end_of_text < counts->size()) row.documents = (*counts)[report.end_of_text];
    std::vector<std::uint16_t> first(static_cast<std::size_t>(std::clamp<std::int64_t>(settings.first, 0, row.tokens)));
    shard.read(0, first);
    row.first.assign(first.begin(), first.end());
    report.tokens += row.tokens;
    report.documents += row.documents;
    for (std::size_t token = 0; token < total->size(); ++token) (*total)[token] += (*counts)[token];
  }
  for (std::size_t token = 0; token < total->size(); ++token)
    if ((*total)[token] > 0) report.top.push_back({static_cast<std::uint16_t>(token), (*total)[token]});
  report.distinct = static_cast<std::int64_t>(report.top.size());
  std::stable_sort(report.top.begin(), report.top.end(),
                   [](const TokenCount& a, const TokenCount& b) { return a.count > b.count; });
  report.top.resize(std::min(report.top.size(), static_cast<std::size_t>(std::max<std::int64_t>(settings.top, 0))));
  return report;
}

void verify_shards(const std::vector<std::string>& files, const std::function<void(const std::string&)>& say) {
  ShardOrigins origins;
  std::size_t bad = 0;
  const auto tell = [&](const std::string& found, bool good = false) {
    say(escape_for_terminal(found));
    bad += good ? 0 : 1;
  };
  for (const std::filesystem::path& path : expand_globs(files)) {
    try {
      const Shard shard(path, ShardFormat::automatic);
      const auto entry = origins.add(shard);
      if (entry) check_hash(shard, *entry);
      tell(path.string() + (entry ? ": ok" : ": no sidecar has a record of it, so there is nothing to compare it with"),
           entry.has_value());
    } catch (const Error& error) {
      tell(error.what());
    }
  }
  for (const std::filesystem::path& path : origins.absent()) tell(path.string() + ": is not there, but its sidecar lists it");
  if (bad > 0) throw Error(ExitCode::data, "{} of these shards could not be verified; copy or make them again", bad);
}

std::string to_text(const InspectReport& report, const Tokenizer* tokenizer) {
  std::string text;
  std::set<std::string> tokenizers;
  for (const ShardReport& shard : report.shards) {
    if (shard.sidecar) tokenizers.insert(shard.tokenizer_hash);
    text += escape_for_terminal(shard.path.string()) + "\n";
    text += fmt::format("  format     {}, {} bytes\n  tokens     {}",
                        report.format == ShardFormat::raw_u16 ? "raw_u16" : "llm.c, version 1", shard.file_bytes, shard.tokens);
    if (shard.smallest) text += fmt::format(", ids {} to {}", *shard.smallest, *shard.largest);
    text += fmt::format("\n  documents  {} (tokens {})\n", shard.documents, report.end_of_text);
    text += "  sidecar    " + (shard.sidecar ? escape_for_terminal(shard.sidecar->string()) + ", hash agrees" : "none") + "\n";
    if (shard.sidecar) text += "  tokenizer  " + escape_for_terminal(shard.tokenizer_hash) + "\n";
    if (!shard.first.empty()) text += "  begins     " + shown(shard.first, tokenizer) + "\n";
  }
  if (report.shards.size() > 1)
    text += fmt::format("all {} shards\n  tokens     {}\n  documents  {}\n", report.shards.size(), report.tokens, report.documents);
  if (tokenizers.size() > 1)
    text += fmt::format(
        "these shards are of {} tokenizers: the same numbers stand for different texts, and training refuses them together\n",
        tokenizers.size());
  text += fmt::format("distinct tokens: {}{}\n", report.distinct, report.top.empty() ? "" : "; most frequent:");
  for (const TokenCount& entry : report.top) {
    const double percent = 100.0 * static_cast<double>(entry.count) / static_cast<double>(report.tokens);
    text += fmt::format("{:7}{:14}{:>9}", entry.token, entry.count, fmt::format("{:.2f} %", percent));
    if (tokenizer != nullptr) text += "  " + shown({entry.token}, tokenizer);
    text += "\n";
  }
  return text;
}

std::string escape_for_terminal(std::string_view text) {
  const std::string valid = replace_invalid_utf8(text);
  std::string escaped;
  for (std::string_view rest = valid; !rest.empty();) {
    const auto [character, printable] = first_character(rest);
    rest.remove_prefix(character.size());
    if (character == "\n") {
      escaped += "\\n";
    } else if (character == "\t") {
      escaped += "\\t";
    } else if (character == "\r") {
      escaped += "\\r";
    } else if (character == "\\") {
      escaped += "\\\\";
    } else if (printable) {
      escaped += character;
    } else {
      for (const char byte : character) escaped += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    }
  }
  return escaped;
}

}  // namespace temper
