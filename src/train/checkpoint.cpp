#include "train/checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <memory>
#include <span>
#include <system_error>

#include "config/resolved.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/text.h"
#include "kernels/check.h"
#include "model/hf_format.h"

namespace temper {

namespace fs = std::filesystem;
namespace {

constexpr const char* optimizer_file = "optimizer.safetensors";
constexpr const char* trash_prefix = ".trash-";
constexpr const char* temporary_suffix = ".tmp";

/// True for exactly "step-" and eight or more digits: a temporary or a foreign folder is never taken for a checkpoint.
bool is_checkpoint_name(const std::string& name) {
  return name.size() >= 13 && name.starts_with("step-") && name.find_first_not_of("0123456789", 5) == std::string::npos;
}

std::string checkpoint_name(std::int64_t step) { return fmt::format("step-{:08}", step); }

/// By step: numbers of equal length sort as text.
bool older(const fs::path& a, const fs::path& b) {
  const std::string left = a.filename().string();
  const std::string right = b.filename().string();
  return left.size() != right.size() ? left.size() < right.size() : left < right;
}

constexpr bool is_younger = true;  // than the oldest checkpoints of this format, which lack it

/// Calls field(place, value) for all that trainer.json has of the state, but for the configuration, and with is_younger behind
/// these where it may lack it. `State` is const or not.
template <typename State, typename Field>
void for_each_field(State& state, Field field) {
  field("/step", state.step);
  field("/next_window", state.next_window);
  field("/metrics_bytes", state.log_bytes.metrics);
  field("/diagnostics_bytes", state.log_bytes.diagnostics);
  field("/earlier_updates", state.earlier_updates);
  field("/train_seconds", state.train_seconds);
  field("/val_tokens", state.val_sample.tokens);
  field("/val_fingerprint", state.val_sample.fingerprint);
  field("/first_val_loss", state.first_val_loss);
  field("/best_val_loss", state.best_val_loss);
  field("/last_val_loss", state.last_val_loss);
  if (state.pending) {
    field("/pending/step", state.pending->step);
    field("/pending/tokens", state.pending->tokens);
    field("/pending/loss", state.pending->loss);
    field("/pending/grad_norm", state.pending->grad_norm);
    field("/pending/learning_rate", state.pending->learning_rate);
    field("/pending/update", state.pending->update);
    field("/pending/spike", state.pending->spike, is_younger);
  }
  field("/data_fingerprint", state.data_fingerprint);
  field("/tokenizer_hash", state.tokenizer_hash);
  field("/noise_averages/updates", state.noise.updates, is_younger);
  field("/noise_averages/means", state.noise.means, is_younger);
  field("/recent_losses/losses", state.recent_losses.losses, is_younger);
  field("/recent_losses/spikes_in_row", state.recent_losses.spikes_in_row, is_younger);
  field("/incidents", state.incidents, is_younger);
  field("/inputs", state.inputs, is_younger);
  field("/choices", state.choices, is_younger);
  field("/last_val_loss_average", state.last_val_loss_average, is_younger);
}

Json to_json(const TrainerState& state, const std::map<std::string, std::string>& hashes) {
  Json json = {{"format_version", run_format}, {"pending", nullptr}};
  for_each_field(state, [&](const char* place, const auto& value, bool = false) { json[Json::json_pointer(place)] = value; });
  json["config"] = parse_json(state.config_json, "config", ExitCode::checkpoint);
  json["files"] = hashes;
  return json;
}

TrainerState from_json(const Json& json) {
  TrainerState state;
  if (!json.at("pending").is_null()) state.pending.emplace();
  for_each_field(state, [&](const char* place, auto& value, bool may_lack = false) {
    if (const Json::json_pointer at(place); !may_lack || json.contains(at)) json.at(at).get_to(value);
  });
  state.config_json = json_text(json.at("config"), 2);
  return state;
}

/// What no run comes to would be worked out for hours, or overflow.
template <typename Damaged>
void check_ranges(const TrainerState& state, Damaged damaged) {
  for_each_field(state, [&]<typename Value>(std::string_view place, const Value& value, bool = false) {
    if constexpr (std::is_arithmetic_v<Value>) {
      constexpr std::int64_t most_windows = std::int64_t{1} << 42;  // times the longest context fits an integer
      const bool steps = place == "/step" || place == "/earlier_updates" || place == "/pending/step";
      const std::int64_t most = steps ? most_steps : place == "/next_window" ? most_windows : most_tokens;
      const bool is_count = std::is_integral_v<Value> || place == "/train_seconds";
      if (is_count && (value < Value{0} || static_cast<double>(value) > static_cast<double>(most)))
        throw damaged(fmt::format("{}: {} is {}; allowed are 0 to {}", state_file_name, place, value, most));
    }
  });
}

std::size_t bytes_of(const Optimizer::State& state) { return static_cast<std::size_t>(state.shape.numel()) * sizeof(float); }

std::vector<TensorEntry> entries_of(const std::vector<Optimizer::State>& states) {
  std::vector<TensorEntry> entries;
  for (const Optimizer::State& state : states) {
    TensorEntry entry;
    entry.name = state.name;
    entry.dtype = "F32";
    for (int axis = 0; axis < state.shape.rank(); ++axis) entry.shape.push_back(state.shape[axis]);
    entries.push_back(std::move(entry));
  }
  return entries;
}

/// All of a checkpoint that lies in device memory, in the order in which it is written: visit(number, f32 values) of the master
/// weights, of each buffer of states, and of the average where there is one. Every rank goes this way, those that write nothing as
/// well, since it may take all of them to collect a buffer, which is there until the next is.
template <typename Visit>
void walk(const SavedParts& parts, Visit visit) {
  const Weights& weights = parts.weights;
  parts.optimizer.average().show();
  visit(0, weights.has_all_masters() ? ConstTensorView(weights.master())
                                     : parts.whole({"master weights", weights.master(), parts.optimizer.place().begins}));
  std::size_t number = 0;
  for (const Optimizer::StateBuffer& buffer : parts.optimizer.state_buffers()) {
    const ConstTensorView all = parts.whole(buffer);
    require(all.dtype == DType::f32 && all.numel() == buffer.shards.back(), "CheckpointFolder: a buffer of states is not whole");
    visit(++number, all);
  }
  if (parts.average != nullptr) visit(number + 1, ConstTensorView(parts.average->values()));
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

/// The files of a checkpoint, written as their buffers come.
class CheckpointFiles {
 public:
  CheckpointFiles(const fs::path& folder, const SavedParts& parts)
      : folder_(folder), parts_(parts), states_(folder / optimizer_file, entries_of(parts.optimizer.states()), {{"format", "pt"}}) {
    const ModelConfig& model = parts.weights.config();
    end_of_text_ = parts.tokenizer != nullptr ? parts.tokenizer->end_of_text() : static_cast<std::uint32_t>(model.vocab_size - 1);
  }

  /// By their numbers as walk() has them, in its order.
  void write(std::size_t number, const ReadValues& read) {
    const ModelConfig& model = parts_.weights.config();
    if (number == 0)
      hashes_ = save_hf_model(folder_, model, end_of_text_, read);
    else if (number <= parts_.optimizer.state_buffers().size())
      write_states(number - 1, read);
    else
      hashes_[average_file_name] = save_hf_weights(folder_ / average_file_name, model, read);
  }

  void finish(const TrainerState& state) {
    hashes_[optimizer_file] = states_.close();
    if (parts_.tokenizer != nullptr) parts_.tokenizer->save(folder_, parts_.weights.config().n_ctx);
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      if (!hashes_.contains(name)) hashes_[name] = hash_file(entry.path());
    }
    Json json = to_json(state, hashes_);
    json["hash"] = hash_bytes(json_text(json));
    write_file_atomically(folder_ / state_file_name, json_text(json, 2) + "\n");
    sync_folder(folder_);
  }

 private:
  void write_states(std::size_t buffer, const ReadValues& read) {
    for (const Optimizer::State& one : parts_.optimizer.states()) {  // buffer by buffer
      if (one.buffer != buffer) continue;
      values_.resize(static_cast<std::size_t>(one.shape.numel()));
      read(one.offset, values_);
      refuse_to_save_nonfinite(values_, one.name);
      states_.write(values_.data(), bytes_of(one));
    }
  }

  const fs::path& folder_;
  const SavedParts& parts_;
  std::uint32_t end_of_text_ = 0;
  SafetensorsWriter states_;
  std::vector<float> values_;
  std::map<std::string, std::string> hashes_;
};

/// Gives the finished folder its name. When a checkpoint of that step exists (an evaluation interrupted twice, or a damaged one
/// passed over), the two are exchanged in one atomic step, so that at no moment there is none.
void give_name(const fs::path& temporary, const fs::path& target) {
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

CheckpointFolder::CheckpointFolder(fs::path folder, const CheckpointConfig& config, bool writes)
    : folder_(std::move(folder)), keep_(config.keep), keep_every_(config.keep_every), writes_(writes) {
  make_inner_folder(folder_);
}

CheckpointBytes checkpoint_bytes(const Weights& weights, const Optimizer& optimizer, bool with_average) {
  CheckpointBytes bytes{static_cast<std::uint64_t>(weights.layout().flat_size()) * sizeof(float), 0, 0, 0};
  if (with_average) bytes.average = bytes.weights;
  bytes.copy = bytes.weights + bytes.average;
  for (const Optimizer::State& state : optimizer.states()) bytes.states += bytes_of(state);
  for (const Optimizer::StateBuffer& buffer : optimizer.state_buffers())
    bytes.copy += static_cast<std::uint64_t>(buffer.shards.back()) * sizeof(float);
  return bytes;
}

fs::path CheckpointFolder::place_of(std::int64_t step) const { return folder_ / checkpoint_name(step); }

fs::path CheckpointFolder::save(const TrainerState& state, const SavedParts& parts) {
  if (writes_)
    return commit(state, parts, [&](CheckpointFiles& files) {
      walk(parts, [&](std::size_t number, ConstTensorView values) { files.write(number, read_from(parts.ops, values)); });
    });
  walk(parts, [](std::size_t, ConstTensorView) {});
  return place_of(state.step);
}

void CheckpointFolder::copy(const TrainerState& state, const SavedParts& parts, CheckpointCopy& copy) const {
  if (!writes_) return walk(parts, [](std::size_t, ConstTensorView) {});
  copy.state = state;
  if (!copy.values)
    copy.values = std::make_unique_for_overwrite<float[]>(
        checkpoint_bytes(parts.weights, parts.optimizer, parts.average != nullptr).copy / sizeof(float));
  copy.begins = {0};
  walk(parts, [&](std::size_t, ConstTensorView values) {
    parts.ops.copy_to_host(copy.values.get() + copy.begins.back(), values.data, values.bytes());
    copy.begins.push_back(copy.begins.back() + values.numel());
  });
}

fs::path CheckpointFolder::write(const CheckpointCopy& copy, const SavedParts& parts) {
  return commit(copy.state, parts, [&](CheckpointFiles& files) {
    for (std::size_t number = 0; number + 1 < copy.begins.size(); ++number)
      files.write(number, [&](std::int64_t first, std::span<float> to) {
        std::copy_n(copy.values.get() + copy.begins[number] + first, to.size(), to.data());
      });
  });
}

/// The way of a checkpoint onto the disk; fill(files) writes its tensors.
template <typename Fill>
fs::path CheckpointFolder::commit(const TrainerState& state, const SavedParts& parts, Fill fill) const {
  fs::path target = place_of(state.step);
  remove_leftovers();
  const std::uint64_t needed = checkpoint_bytes(parts.weights, parts.optimizer, parts.average != nullptr).all();
  const std::uint64_t available = free_bytes(folder_);
  if (available < needed + needed / 10)
    throw Error(ExitCode::io,
                "{}: a checkpoint takes about {} MiB and only {} MiB are free; make room or lower checkpoint.keep. Earlier "
                "checkpoints are intact.",
                folder_.string(), needed >> 20, available >> 20);

  const fs::path temporary = target.string() + temporary_suffix;
  const auto failed = [&](ExitCode code, const std::exception& error) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    return Error(code, std::string("saving a checkpoint failed: ") + error.what() + ". Earlier checkpoints are intact.");
  };
  try {
    make_inner_folder(temporary);
    CheckpointFiles files(temporary, parts);
    fill(files);
    files.finish(state);
    give_name(temporary, target);
    sync_folder(folder_);
    remove_all_or_throw(temporary);  // what give_name() exchanged the new checkpoint for, if anything
  } catch (const fs::filesystem_error& error) {
    throw failed(ExitCode::io, error);
  } catch (const Error& error) {
    throw failed(error.code(), error);
  }
  remove_old(target);
  return target;
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
      tell(std::string("warning: skipping ") + error.what());
    }
  }
  if (!found.empty())
    throw Error(ExitCode::checkpoint,
                "{}: none of the {} checkpoints is intact, so there is nothing to resume from; begin again with another --out, or "
                "here with --start-over in place of --resume",
                folder_.string(), found.size());
  return std::nullopt;
}

void CheckpointFolder::remove_leftovers() const {
  const std::string suffix = temporary_suffix;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) {
    std::string name = entry.path().filename().string();
    if (name.starts_with(trash_prefix))
      name.erase(0, std::string(trash_prefix).size());
    else if (name.ends_with(suffix))
      name.erase(name.size() - suffix.size());
    else
      continue;
    if (is_checkpoint_name(name)) remove_all_or_throw(entry.path());
  }
}

void CheckpointFolder::remove_old(const fs::path& newest) const {
  // Later ones are damaged ones that a resumed run passed over: the newest must not have to make room for them.
  std::vector<fs::path> found = list();
  std::erase_if(found, [&](const fs::path& path) {
    return older(newest, path) || (keep_every_ > 0 && std::stoll(path.filename().string().substr(5)) % keep_every_ == 0);
  });
  const auto surplus = static_cast<std::int64_t>(found.size()) - keep_;
  for (std::int64_t i = 0; i < surplus; ++i) {
    // The name goes first, so that a half-removed checkpoint is never taken for one.
    const fs::path victim = found[static_cast<std::size_t>(i)];
    const fs::path trash = folder_ / (trash_prefix + victim.filename().string());
    std::error_code error;
    fs::rename(victim, trash, error);
    if (!error) fs::remove_all(trash, error);
    if (error) tell(fmt::format("warning: {}: old checkpoint could not be removed: {}", victim.string(), error.message()));
  }
}

TrainerState verify_checkpoint(const fs::path& checkpoint, bool with_files) {
  const auto damaged = [&](const std::string& what) { return Error(ExitCode::checkpoint, checkpoint.string() + ": " + what); };
  if (!fs::is_regular_file(checkpoint / state_file_name))
    throw damaged(std::string("no ") + state_file_name + " in it: not a checkpoint of a training run");
  try {
    Json json = read_json(checkpoint / state_file_name, ExitCode::checkpoint);
    if (const std::string problem = format_problem(json.at("format_version").get<std::int64_t>()); !problem.empty())
      throw damaged("format_version: it " + problem);
    const std::string expected = json.at("hash").get<std::string>();
    json.erase("hash");
    if (hash_bytes(json_text(json)) != expected)
      throw damaged(std::string(state_file_name) + " does not match its own hash: it was altered");
    for (const char* name : {"config.json", "model.safetensors", optimizer_file})
      if (!json.at("files").contains(name)) throw damaged(std::string(state_file_name) + " has no hash of " + name);
    for (const auto& [name, hash] : json.at("files").items()) {
      if (!with_files) break;
      if (fs::path(name).filename() != name)
        throw damaged(fmt::format("{} lists \"{}\", which is no file of its own", state_file_name, name));
      const fs::path file = checkpoint / name;
      if (!fs::is_regular_file(file)) throw damaged(name + " is missing");
      if (hash_file(file) != hash.get<std::string>())
        throw damaged(name + " does not match its hash in trainer.json: damaged or altered");
    }
    TrainerState state = from_json(json);
    check_ranges(state, damaged);
    const std::string name = checkpoint.filename().string(), own_name = checkpoint_name(state.step);
    if (is_checkpoint_name(name) && name != own_name)
      throw damaged("holds step " + std::to_string(state.step) + ": it was renamed or copied; in a run it must be called " +
                    own_name);
    return state;
  } catch (const Json::exception& error) {
    throw damaged(std::string(state_file_name) + " is damaged: " + error.what());
  }
}

std::string tokenizer_of_model(const fs::path& folder) {
  if (fs::exists(folder / state_file_name)) {
    if (std::string hash = verify_checkpoint(folder, false).tokenizer_hash; !hash.empty()) return hash;
  }
  if (!fs::exists(folder / "tokenizer.json") && !fs::exists(folder / "merges.txt") && !fs::exists(folder / "vocab.bpe")) return "";
  try {
    return Tokenizer::load(folder).hash();
  } catch (const Error&) {
    return "";
  }
}

void load_checkpoint(const fs::path& checkpoint, Weights& weights, Optimizer& optimizer, Ops& ops, MovingAverage* average) {
  if (average != nullptr) {
    load_hf_model(checkpoint, weights, average_file_name);
    average->take();
  }
  load_hf_model(checkpoint, weights);
  const SafetensorsFile file(checkpoint / optimizer_file);
  const std::size_t expected = optimizer.states().size();
  if (file.tensors().size() != expected)
    throw Error(ExitCode::checkpoint,
                "{}: holds {} tensors where this run's optimizer has {}; give the optimizer that they are of (name, norm_control, "
                "rotation_gains, rate_correction), or start from the weights alone with train.init_from",
                (checkpoint / optimizer_file).string(), file.tensors().size(), expected);
  for (const Optimizer::State& state : optimizer.states()) {
    const std::vector<float> values = file.read_f32(state.name);
    if (static_cast<std::int64_t>(values.size()) != state.shape.numel())
      throw Error(ExitCode::checkpoint, "{}: {} has {} values, expected {}", (checkpoint / optimizer_file).string(), state.name,
                  values.size(), state.shape.numel());
    load_state(optimizer, state, values, ops);
  }
  optimizer.average().restored();
}

}  // namespace temper
