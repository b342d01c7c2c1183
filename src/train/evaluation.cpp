#include "train/evaluation.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <numeric>

#include "io/error.h"
#include "kernels/check.h"

namespace temper {

DeviceBatch::DeviceBatch(std::int64_t sequences, std::int64_t positions, Ops* ops, DeviceMemory& memory)
    : ops_(ops),
      tokens_(memory.add("batch", DType::i32, {sequences, positions})),
      targets_(memory.add("batch", DType::i32, {sequences, positions})) {}

void DeviceBatch::upload(const Batch& batch, std::int64_t sequences, std::int64_t positions) {
  const auto count = static_cast<std::size_t>(sequences * positions);
  require(batch.inputs.size() == count && batch.targets.size() == count && sequences * positions <= tokens_.numel(),
          "DeviceBatch: the batch does not have the announced size");
  ops_->copy_to_device(tokens_.data, batch.inputs.data(), count * sizeof(std::int32_t));
  ops_->copy_to_device(targets_.data, batch.targets.data(), count * sizeof(std::int32_t));
  sequences_ = sequences;
  positions_ = positions;
}

namespace {

/// Runs the batch and returns each token's loss.
void token_losses(Gpt2& model, const DeviceBatch& device_batch, Ops& ops, TensorView unused_loss, std::vector<float>& losses) {
  model.forward_loss(device_batch.tokens(), device_batch.targets(), 1.0f, Write::overwrite, unused_loss);
  losses.resize(static_cast<std::size_t>(device_batch.tokens().numel()));
  ops.copy_to_host(losses.data(), model.token_losses().data, losses.size() * sizeof(float));
}

/// What each rank measured, added up on all ranks; a number that one rank alone sets stays as it is. Nothing where one of them
/// abandoned its part.
bool add_over_ranks(std::vector<double>& values, bool abandoned, Ops& ops, Communicator& ranks, const std::string& what) {
  if (ranks.size() == 1) return !abandoned;
  values.push_back(abandoned ? 1.0 : 0.0);
  const std::size_t bytes = values.size() * sizeof(double);
  DeviceMemory scratch(&ops);
  const TensorView sums = scratch.add("evaluation", DType::f32, {static_cast<std::int64_t>(2 * values.size())});
  ops.copy_to_device(sums.data, values.data(), bytes);
  ranks.all_reduce(static_cast<double*>(sums.data), static_cast<std::int64_t>(values.size()), what);
  ranks.wait();
  ops.copy_to_host(values.data(), sums.data, bytes);
  ranks.check();
  abandoned = values.back() > 0.0;
  values.pop_back();
  return !abandoned;
}

}  // namespace

ValidationSample validation_sample(const BatchSource& source, std::int64_t n_ctx, std::int64_t tokens) {
  const std::int64_t all = source.windows_per_epoch(), asked = tokens / n_ctx + (tokens % n_ctx > 0 ? 1 : 0);
  return {(tokens == 0 ? all : std::min(all, asked)) * n_ctx, source.fingerprint()};
}

std::optional<double> validation_loss(Gpt2& model, const BatchSource& source, std::int64_t sequences, std::int64_t n_ctx,
                                      const ValidationSample& sample, DeviceBatch& device_batch, Ops& ops, Communicator& ranks,
                                      const EvaluationProgress& progress) {
  const std::int64_t windows = sample.tokens / n_ctx;
  DeviceMemory scratch(&ops);
  const TensorView loss = scratch.add("evaluation", DType::f32, {1});
  Batch batch;
  std::vector<float> losses;
  std::vector<double> sums(static_cast<std::size_t>(windows), 0.0);  // of each window
  bool abandoned = false;
  std::exception_ptr lost;  // the others are told first
  for (std::int64_t first = ranks.rank() * sequences; first < windows; first += ranks.size() * sequences) {
    abandoned = !progress(static_cast<double>(first) / static_cast<double>(windows));
    if (abandoned) break;
    const std::int64_t count = std::min(sequences, windows - first);
    try {
      source.read(first, count, batch);
    } catch (const Error&) {
      lost = std::current_exception();
      abandoned = true;
      break;
    }
    device_batch.upload(batch, count, n_ctx);
    token_losses(model, device_batch, ops, loss, losses);
    for (std::int64_t i = 0; i < count * n_ctx; ++i)
      sums[static_cast<std::size_t>(first + i / n_ctx)] += losses[static_cast<std::size_t>(i)];
  }
  const bool whole = add_over_ranks(sums, abandoned, ops, ranks, "the validation loss");
  if (lost) std::rethrow_exception(lost);
  if (!whole) return std::nullopt;
  return std::accumulate(sums.begin(), sums.end(), 0.0) / static_cast<double>(sample.tokens);
}

std::optional<MultipleChoiceScore> multiple_choice_score(Gpt2& model, const std::vector<MultipleChoiceItem>& items,
                                                         std::int64_t limit, const Tokenizer& tokenizer, std::int64_t n_ctx,
                                                         std::int64_t max_sequences, DeviceBatch& device_batch, Ops& ops,
                                                         Communicator& ranks, const EvaluationProgress& progress) {
  const std::size_t count = limit == 0 ? items.size() : std::min(items.size(), static_cast<std::size_t>(limit));
  DeviceMemory scratch(&ops);
  const TensorView unused = scratch.add("evaluation", DType::f32, {1});
  std::vector<double> right = {0.0, 0.0};  // by summed loss, by mean loss per token
  std::vector<float> losses;
  bool abandoned = false;

  for (auto i = static_cast<std::size_t>(ranks.rank()); i < count; i += static_cast<std::size_t>(ranks.size())) {
    abandoned = !progress(static_cast<double>(i) / static_cast<double>(count));
    if (abandoned) break;
    const MultipleChoiceItem& item = items[i];
    const std::vector<std::uint32_t> context = tokenizer.encode(item.context);

    // One row per ending: context, ending, padding; only the ending's tokens are targets.
    std::vector<std::vector<std::uint32_t>> rows;
    std::vector<std::size_t> ending_tokens;
    std::size_t longest = 0;
    for (const std::string& ending : item.endings) {
      const std::vector<std::uint32_t> tail = tokenizer.encode(" " + ending);
      if (tail.empty() || static_cast<std::int64_t>(tail.size()) > n_ctx)
        throw Error(ExitCode::data, "multiple-choice item {}: an ending of {} tokens does not fit in n_ctx = {}", i, tail.size(),
                    n_ctx);
      std::vector<std::uint32_t> row = context;
      row.insert(row.end(), tail.begin(), tail.end());
      const auto room = static_cast<std::size_t>(n_ctx) + 1;
      if (row.size() > room) row.erase(row.begin(), row.end() - static_cast<std::ptrdiff_t>(room));
      if (row.size() == tail.size()) row.insert(row.begin(), tokenizer.end_of_text());
      longest = std::max(longest, row.size() - 1);
      ending_tokens.push_back(tail.size());
      rows.push_back(std::move(row));
    }

    std::vector<double> sums(rows.size());
    for (std::size_t first = 0; first < rows.size(); first += static_cast<std::size_t>(max_sequences)) {
      const std::size_t group = std::min(rows.size() - first, static_cast<std::size_t>(max_sequences));
      Batch batch;
      batch.inputs.assign(group * longest, static_cast<std::int32_t>(tokenizer.end_of_text()));
      batch.targets.assign(group * longest, -1);
      for (std::size_t r = 0; r < group; ++r) {
        const std::vector<std::uint32_t>& row = rows[first + r];
        for (std::size_t t = 0; t + 1 < row.size(); ++t) {
          batch.inputs[r * longest + t] = static_cast<std::int32_t>(row[t]);
          if (t + 1 >= row.size() - ending_tokens[first + r])
            batch.targets[r * longest + t] = static_cast<std::int32_t>(row[t + 1]);
        }
      }
      device_batch.upload(batch, static_cast<std::int64_t>(group), static_cast<std::int64_t>(longest));
      token_losses(model, device_batch, ops, unused, losses);
      for (std::size_t r = 0; r < group; ++r)
        for (std::size_t t = 0; t < longest; ++t) sums[first + r] += losses[r * longest + t];
    }

    if (!std::all_of(sums.begin(), sums.end(), [](double sum) { return std::isfinite(sum); })) {
      right.assign(2, std::numeric_limits<double>::quiet_NaN());  // which has no place in an order
      continue;
    }
    const auto best = [&] { return std::min_element(sums.begin(), sums.end()) - sums.begin(); };
    right[0] += best() == item.label ? 1.0 : 0.0;
    for (std::size_t r = 0; r < sums.size(); ++r) sums[r] /= static_cast<double>(ending_tokens[r]);
    right[1] += best() == item.label ? 1.0 : 0.0;
  }
  if (!add_over_ranks(right, abandoned, ops, ranks, "the HellaSwag score")) return std::nullopt;

  MultipleChoiceScore score;
  score.items = static_cast<std::int64_t>(count);
  if (count > 0) {
    score.accuracy = right[0] / static_cast<double>(count);
    score.accuracy_normalized = right[1] / static_cast<double>(count);
  }
  return score;
}

}  // namespace temper
