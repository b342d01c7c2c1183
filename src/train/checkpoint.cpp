#include "train/checkpoint.h"

#include <fcntl.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "config/resolved.h"
#include "io/error.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "kernels/check.h"
#include "model/hf_format.h"

namespace temper {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* state_file = "trainer.json";
constexpr const char* optimizer_file = "optimizer.safetensors";
constexpr const char* trash_prefix = ".trash-";
constexpr const char* temporary_suffix = ".tmp";

std::string folder_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step-%08" PRId64, step);
  return name;
}

/// True for exactly "step-" and eight or more digits: a temporary or a foreign folder is never taken for a checkpoint.
bool is_checkpoint_name(const std::string& name) {
  return name.size() >= 13 && name.starts_with("step-") && name.find_first_not_of("0123456789", 5) == std::string::npos;
}

/// By step: numbers of equal length sort as text.
bool older(const fs::path& a, const fs::path& b) {
  const std::string left = a.filename().string();
  const std::string right = b.filename().string();
  return left.size() != right.size() ? left.size() < right.size() : left < right;
}

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

std::optional<double> read_optional(const Json& json) {
  return json.is_null() ? std::nullopt : std::optional<double>(json.get<double>());
}

Json to_json(const TrainerState& state, const std::map<std::string, std::string>& hashes) {
  Json json;
  json["format_version"] = run_format;
  json["step"] = state.step;
  json["next_window"] = state.next_window;
  json["metrics_bytes"] = state.metrics_bytes;
  json["diagnostics_bytes"] = state.diagnostics_bytes;
  json["earlier_updates"] = state.earlier_updates;
  json["noise"] = {{"moment_signal", state.noise.moment_signal},
                   {"moment_noise", state.noise.moment_noise},
                   {"signal", state.noise.signal},
                   {"noise", state.noise.noise}};
  json["train_seconds"] = state.train_seconds;
  json["val_tokens"] = state.val_sample.tokens;
  json["val_fingerprint"] = state.val_sample.fingerprint;
  json["first_val_loss"] = or_null(state.first_val_loss);
  json["best_val_loss"] = or_null(state.best_val_loss);
  json["last_val_loss"] = or_null(state.last_val_loss);
  json["pending"] = nullptr;
  if (state.pending) {
    const StepRecord& record = *state.pending;
    json["pending"] = {{"step", record.step},          {"tokens", record.tokens},
                       {"loss", or_null(record.loss)}, {"grad_norm", or_null(record.grad_norm)},
                       {"lr", record.learning_rate},   {"update", record.update}};
  }
  json["data_fingerprint"] = state.data_fingerprint;
  json["tokenizer_hash"] = state.tokenizer_hash;
  json["config"] = Json::parse(state.config_json);
  json["files"] = hashes;
  return json;
}

TrainerState from_json(const Json& json) {
  TrainerState state;
  state.step = json.at("step").get<std::int64_t>();
  state.next_window = json.at("next_window").get<std::int64_t>();
  state.metrics_bytes = json.at("metrics_bytes").get<std::uint64_t>();
  state.diagnostics_bytes = json.at("diagnostics_bytes").get<std::uint64_t>();
  state.earlier_updates = json.at("earlier_updates").get<std::int64_t>();
  const Json& noise = json.at("noise");
  state.noise.moment_signal = noise.at("moment_signal").get<double>();
  state.noise.moment_noise = noise.at("moment_noise").get<double>();
  state.noise.signal = noise.at("signal").get<double>();
  state.noise.noise = noise.at("noise").get<double>();
  state.train_seconds = json.at("train_seconds").get<double>();
  state.val_sample = {json.at("val_tokens").get<std::int64_t>(), json.at("val_fingerprint").get<std::string>()};
  state.first_val_loss = read_optional(json.at("first_val_loss"));
  state.best_val_loss = read_optional(json.at("best_val_loss"));
  state.last_val_loss = read_optional(json.at("last_val_loss"));
  if (const Json& pending = json.at("pending"); !pending.is_null()) {
    StepRecord record;
    record.step = pending.at("step").get<std::int64_t>();
    record.tokens = pending.at("tokens").get<std::int64_t>();
    record.loss = read_optional(pending.at("loss"));
    record.grad_norm = read_optional(pending.at("grad_norm"));
    record.learning_rate = pending.at("lr").get<double>();
    record.update = pending.at("update").get<std::vector<std::pair<std::string, double>>>();
    state.pending = record;
  }
  state.data_fingerprint = json.at("data_fingerprint").get<std::string>();
  state.tokenizer_hash = json.at("tokenizer_hash").get<std::string>();
  state.config_json = json.at("config").dump(2);
  return state;
}

std::size_t bytes_of(const Optimizer::State& state) { return static_cast<std::size_t>(state.shape.numel()) * sizeof(float); }

std::string save_optimizer(const fs::path& path, const Optimizer& optimizer, Ops& ops, const WholeState& whole) {
  const std::vector<Optimizer::State>& states = optimizer.states();
  std::vector<TensorEntry> entries;
  for (const Optimizer::State& state : states) {
    TensorEntry entry;
    entry.name = state.name;
    entry.dtype = "F32";
    for (int axis = 0; axis < state.shape.rank(); ++axis) entry.shape.push_back(state.shape[axis]);
    entries.push_back(std::move(entry));
  }
  SafetensorsWriter writer(path, std::move(entries), {{"format", "pt"}});
  std::vector<float> values;
  auto state = states.begin();
  for (std::size_t number = 0; number < optimizer.state_buffers().size(); ++number) {
    const Optimizer::StateBuffer& buffer = optimizer.state_buffers()[number];
    const ConstTensorView all = whole(buffer);
    require(all.dtype == DType::f32 && all.numel() == buffer.shards.back(), "CheckpointFolder: a buffer of states is not whole");
    for (; state != states.end() && state->buffer == number; ++state) {
      values.resize(static_cast<std::size_t>(state->shape.numel()));
      ops.copy_to_host(values.data(), all.as<float>() + state->offset, bytes_of(*state));
      writer.write(values.data(), bytes_of(*state));
    }
  }
  return writer.close();
}

/// Sets what of a state lies in this rank's part of its buffer.
void load_state(const Optimizer& optimizer, const Optimizer::State& state, const std::vector<float>& values, Ops& ops) {
  const Optimizer::StateBuffer& buffer = optimizer.state_buffers()[state.buffer];
  const auto rank = static_cast<std::size_t>(optimizer.place().rank);
  const std::int64_t first = std::max(state.offset, buffer.shards[rank]);
  const std::int64_t end = std::min(state.offset + state.shape.numel(), buffer.shards[rank + 1]);
  if (first >= end) return;
  ops.copy_to_device(buffer.values.as<float>() + (first - buffer.shards[rank]), values.data() + (first - state.offset),
                     static_cast<std::size_t>(end - first) * sizeof(float));
  ops.synchronize();
}

/// Absent where all are here.
ConstTensorView masters_of(const Weights& weights, const Optimizer& optimizer, const WholeState& whole) {
  if (weights.has_all_masters()) return {};
  return whole({"master weights", weights.master(), optimizer.place().begins});
}

std::uint64_t estimated_bytes(const Weights& weights, const Optimizer& optimizer) {
  std::uint64_t bytes =
      static_cast<std::uint64_t>(weights.layout().flat_size()) * sizeof(float) + (std::uint64_t{8} << 20);  // tokenizer and headers
  for (const Optimizer::State& state : optimizer.states()) bytes += bytes_of(state);
  return bytes;
}

/// Gives the finished folder its name. When a checkpoint of that step exists (an evaluation interrupted twice, or a damaged one
/// passed over), the two are exchanged in one atomic step, so that at no moment there is none.
void commit(const fs::path& temporary, const fs::path& target) {
  if (!fs::exists(target)) {
    fs::rename(temporary, target);
    return;
  }
  if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) != 0)
    throw fs::filesystem_error("exchanging two checkpoints", temporary, target, std::error_code(errno, std::generic_category()));
}

void remove_all_or_throw(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) throw Error(ExitCode::io, path.string() + ": could not be removed: " + error.message());
}

}  // namespace

CheckpointFolder::CheckpointFolder(fs::path folder, std::int64_t keep) : folder_(std::move(folder)), keep_(keep) {
  make_inner_folder(folder_);
}

fs::path CheckpointFolder::save(const TrainerState& state, const Weights& weights, Optimizer& optimizer, Ops& ops,
                                const Tokenizer* tokenizer, const WholeState& whole) {
  optimizer.average().show();
  remove_leftovers();
  const std::uint64_t needed = estimated_bytes(weights, optimizer);
  const std::uint64_t available = free_bytes(folder_);
  if (available < needed + needed / 10)
    throw Error(ExitCode::io, folder_.string() + ": a checkpoint takes about " + std::to_string(needed >> 20) + " MiB and only " +
                                  std::to_string(available >> 20) +
                                  " MiB are free; make room or lower checkpoint.keep. Earlier checkpoints are intact.");

  fs::path target = folder_ / folder_name(state.step);
  const fs::path temporary = target.string() + temporary_suffix;
  try {
    make_inner_folder(temporary);
    const ModelConfig& model = weights.config();
    const std::uint32_t end_of_text =
        tokenizer != nullptr ? tokenizer->end_of_text() : static_cast<std::uint32_t>(model.vocab_size - 1);
    std::map<std::string, std::string> hashes =
        save_hf_model(temporary, weights, end_of_text, masters_of(weights, optimizer, whole));
    hashes[optimizer_file] = save_optimizer(temporary / optimizer_file, optimizer, ops, whole);
    if (tokenizer != nullptr) {
      tokenizer->save(temporary, model.n_ctx);
      for (const fs::directory_entry& entry : fs::directory_iterator(temporary)) {
        const std::string name = entry.path().filename().string();
        if (!hashes.contains(name)) hashes[name] = hash_file(entry.path());
      }
    }
    Json json = to_json(state, hashes);
    json["hash"] = hash_bytes(json.dump());
    write_file_atomically(temporary / state_file, json.dump(2) + "\n");
    sync_folder(temporary);

    commit(temporary, target);
    sync_folder(folder_);
    remove_all_or_throw(temporary);  // what commit() exchanged the new checkpoint for, if anything
  } catch (const fs::filesystem_error& error) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw Error(ExitCode::io, std::string("saving a checkpoint failed: ") + error.what() + ". Earlier checkpoints are intact.");
  } catch (const Error& error) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw Error(error.code(), std::string("saving a checkpoint failed: ") + error.what() + ". Earlier checkpoints are intact.");
  }
  remove_old(target);
  return target;
}

void contribute_to_checkpoint(const Weights& weights, const Optimizer& optimizer, const WholeState& whole) {
  masters_of(weights, optimizer, whole);
  for (const Optimizer::StateBuffer& buffer : optimizer.state_buffers()) whole(buffer);
}

std::vector<fs::path> CheckpointFolder::list() const {
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_))
    if (entry.is_directory() && is_checkpoint_name(entry.path().filename().string())) found.push_back(entry.path());
  std::sort(found.begin(), found.end(), older);
  return found;
}

std::optional<fs::path> CheckpointFolder::newest_good() const {
  const std::vector<fs::path> found = list();
  for (auto it = found.rbegin(); it != found.rend(); ++it) {
    try {
      if (fs::is_symlink(*it))
        throw Error(ExitCode::checkpoint, it->string() + ": is a symbolic link, which is not followed in a run");
      verify_checkpoint(*it);
      return *it;
    } catch (const Error& error) {
      std::fprintf(stderr, "warning: skipping %s\n", error.what());
    }
  }
  if (!found.empty())
    throw Error(ExitCode::checkpoint,
                folder_.string() + ": none of the " + std::to_string(found.size()) +
                    " checkpoints is intact, so there is nothing to resume from; start again with another --out");
  return std::nullopt;
}

void CheckpointFolder::remove_leftovers() const {
  const std::string suffix = temporary_suffix;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    std::string name = entry.path().filename().string();
    if (name.starts_with(trash_prefix)) {
      name.erase(0, std::string(trash_prefix).size());
    } else if (name.ends_with(suffix)) {
      name.erase(name.size() - suffix.size());
    } else {
      continue;
    }
    if (is_checkpoint_name(name)) remove_all_or_throw(entry.path());
  }
}

void CheckpointFolder::remove_old(const fs::path& newest) const {
  // Later ones are damaged ones that a resumed run passed over: the newest must not have to make room for them.
  std::vector<fs::path> found = list();
  std::erase_if(found, [&](const fs::path& path) { return older(newest, path); });
  const auto surplus = static_cast<std::int64_t>(found.size()) - keep_;
  for (std::int64_t i = 0; i < surplus; ++i) {
    // The name goes first, so that a half-removed checkpoint is never taken for one.
    const fs::path victim = found[static_cast<std::size_t>(i)];
    const fs::path trash = folder_ / (trash_prefix + victim.filename().string());
    std::error_code error;
    fs::rename(victim, trash, error);
    if (!error) fs::remove_all(trash, error);
    if (error)
      std::fprintf(stderr, "warning: %s: old checkpoint could not be removed: %s\n", victim.c_str(), error.message().c_str());
  }
}

TrainerState verify_checkpoint(const fs::path& checkpoint, bool with_files) {
  const auto damaged = [&](const std::string& what) { return Error(ExitCode::checkpoint, checkpoint.string() + ": " + what); };
  if (!fs::is_regular_file(checkpoint / state_file))
    throw damaged(std::string("no ") + state_file + " in it: not a checkpoint of a training run");
  try {
    Json json = Json::parse(read_file(checkpoint / state_file));
    if (const std::string problem = format_problem(json.at("format_version").get<std::int64_t>()); !problem.empty())
      throw damaged("format_version: it " + problem);
    const std::string expected = json.at("hash").get<std::string>();
    json.erase("hash");
    if (hash_bytes(json.dump()) != expected)
      throw damaged(std::string(state_file) + " does not match its own hash: it was altered");
    for (const char* name : {"config.json", "model.safetensors", optimizer_file})
      if (!json.at("files").contains(name)) throw damaged(std::string(state_file) + " has no hash of " + name);
    for (const auto& [name, hash] : json.at("files").items()) {
      if (!with_files) break;
      const fs::path file = checkpoint / name;
      if (!fs::is_regular_file(file)) throw damaged(name + " is missing");
      if (hash_file(file) != hash.get<std::string>())
        throw damaged(name + " does not match its hash in trainer.json: damaged or altered");
    }
    TrainerState state = from_json(json);
    if (state.step < 0 || state.next_window < 0)
      throw damaged(std::string(state_file) + ": step " + std::to_string(state.step) + ", next_window " +
                    std::to_string(state.next_window) + ": neither may be negative");
    return state;
  } catch (const Json::exception& error) {
    throw damaged(std::string(state_file) + " is damaged: " + error.what());
  }
}

std::string tokenizer_of_model(const fs::path& folder) {
  if (fs::exists(folder / state_file)) {
    if (std::string hash = verify_checkpoint(folder, false).tokenizer_hash; !hash.empty()) return hash;
  }
  if (!fs::exists(folder / "tokenizer.json") && !fs::exists(folder / "merges.txt") && !fs::exists(folder / "vocab.bpe")) return "";
  try {
    return Tokenizer::load(folder).hash();
  } catch (const Error&) {
    return "";
  }
}

void load_checkpoint(const fs::path& checkpoint, Weights& weights, Optimizer& optimizer, Ops& ops) {
  load_hf_model(checkpoint, weights);
  const SafetensorsFile file(checkpoint / optimizer_file);
  const std::size_t expected = optimizer.states().size();
  if (file.tensors().size() != expected)
    throw Error(ExitCode::checkpoint, (checkpoint / optimizer_file).string() + ": holds " + std::to_string(file.tensors().size()) +
                                          " tensors where this run's optimizer has " + std::to_string(expected));
  for (const Optimizer::State& state : optimizer.states()) {
    const std::vector<float> values = file.read_f32(state.name);
    if (static_cast<std::int64_t>(values.size()) != state.shape.numel())
      throw Error(ExitCode::checkpoint, (checkpoint / optimizer_file).string() + ": " + state.name + " has " +
                                            std::to_string(values.size()) + " values, expected " +
                                            std::to_string(state.shape.numel()));
    load_state(optimizer, state, values, ops);
  }
  optimizer.average().restored();
}

}  // namespace temper
