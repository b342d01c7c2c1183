#include <memory>

#include "distributed/collective_arguments.h"
#include "distributed/communicator.h"
#include "distributed/rank_order_sum.h"

namespace temper {
namespace {

class SelfCommunicator final : public Communicator {
 public:
  explicit SelfCommunicator(std::int64_t planned = 1) : size_(planned) {}

  std::int64_t rank() const override { return 0; }
  std::int64_t size() const override { return size_; }
  std::string description() const override { return size_ == 1 ? "one rank" : std::to_string(size_) + " ranks, as planned"; }

  // The arguments are checked as for many ranks, so that a run by itself finds the same defects.
  void all_reduce(TensorView values, const std::string& /*what*/) override { check_sum(values); }
  void all_reduce(double* /*values*/, std::int64_t /*count*/, const std::string& /*what*/) override {}
  void reduce_scatter(TensorView values, const Shards& shards, const std::string& /*what*/) override {
    check_sum(values);
    check_shards(shards, 1, values.numel());
  }
  void accumulate(TensorView values, const Shards& shards, TensorView sum, const std::string& /*what*/) override {
    check_accumulation(values, shards, sum, 0);
    sum_in_rank_order({sum.as<float>(), values.as<float>()}, sum.as<float>(), sum.numel());
  }
  void all_gather(TensorView values, const Shards& shards, const std::string& /*what*/) override {
    check_shards(shards, 1, values.numel());
  }
  void wait() override {}
  void check() override {}
  std::vector<std::string> exchange(const std::string& mine, const std::string& /*what*/) override { return {mine}; }
  void meet(const std::string& /*what*/) override {}
  void fail(const std::string& /*reason*/) noexcept override {}

 private:
  std::int64_t size_;
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator() { return std::make_unique<SelfCommunicator>(); }

std::unique_ptr<Communicator> make_planned_communicator(std::int64_t ranks) { return std::make_unique<SelfCommunicator>(ranks); }

}  // namespace temper
