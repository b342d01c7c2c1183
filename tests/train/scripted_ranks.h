// A communicator without anybody at the other end, for what one rank makes of what others say.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "distributed/communicator.h"

namespace temper {

/// One of several ranks, rank 1 of three unless told otherwise; `others` makes of what it says what all say.
class ScriptedRanks final : public Communicator {
 public:
  using Answer = std::function<std::vector<std::string>(const std::string& mine)>;
  explicit ScriptedRanks(Answer others, std::int64_t rank = 1, std::int64_t size = 3)
      : others_(std::move(others)), rank_(rank), size_(size) {}

  std::int64_t rank() const override { return rank_; }
  std::int64_t size() const override { return size_; }
  std::string description() const override { return "scripted"; }
  void all_reduce(TensorView values, const std::string& what) override {
    if (on_all_reduce) on_all_reduce(values, what);
  }
  void all_reduce(double* values, std::int64_t count, const std::string& what) override {
    if (on_sum) on_sum({values, static_cast<std::size_t>(count)}, what);
  }
  void reduce_scatter(TensorView values, const Shards& /*shards*/, const std::string& what) override {
    if (on_reduce_scatter) on_reduce_scatter(values, what);
  }
  void accumulate(TensorView /*values*/, const Shards& /*shards*/, TensorView /*sum*/, const std::string& /*what*/) override {}
  void all_gather(TensorView /*values*/, const Shards& /*shards*/, const std::string& /*what*/) override {}
  void wait() override {}
  void check() override {
    if (on_check) on_check();
  }
  std::vector<std::string> exchange(const std::string& mine, const std::string& /*what*/) override { return others_(mine); }
  void meet(const std::string& /*what*/) override {}
  void fail(const std::string& /*reason*/) noexcept override {}

  std::function<void(TensorView values, const std::string&what)> on_all_reduce, on_reduce_scatter;
  std::function<void(std::span<double> values, const std::string& what)> on_sum;
  std::function<void()> on_check;  ///< at each check(): once a step, where a trainer asks

 private:
  Answer others_;
  std::int64_t rank_, size_;
};

}  // namespace temper
