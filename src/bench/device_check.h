// Whether a GPU computes what it should, found out before it trains: each operation at small shapes with edges, against its reference
// in double precision. What is wrong in a fast way is done in the plain one. Here is what needs no process; cli/device_check.cpp
// starts those that may crash or hang, and keeps what was found.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "config/run_config.h"
#include "kernels/choice_cache.h"
#include "kernels/ops.h"

namespace temper {

struct OperationFinding {
  std::string operation;
  std::string wrong = {};           ///< the case and its error, or how the process ended that ran it; empty: nothing is
  double error = 0.0, bound = 0.0;  ///< of the output that comes nearest to its bound
  double seconds = 0.0;
};

struct DeviceFindings {
  std::vector<OperationFinding> operations;            ///< each without the ways that are bad
  std::vector<std::pair<Fast, std::string>> bad_ways;  ///< and what is wrong in them
  std::vector<std::string> missing;                    ///< operations of which nothing is known

  std::vector<Fast> without() const;
  /// The first operation that is wrong in every way; null: none is.
  const OperationFinding* wrong() const;
};

enum class DeviceUse { training, inference };
/// The operations that it may call.
std::vector<std::string> operations_of(DeviceUse use);

/// Cases of more work are left out: edges of tiles and of vectors are all met below, and some case's reference takes seconds.
inline constexpr double most_check_work = 7e6;
OperationFinding check_operation(const std::string& operation, Precision precision, Ops& ops, double most_work = most_check_work);

/// Checks these operations one after another, without these fast ways.
using CheckOperations =
    std::function<std::vector<OperationFinding>(const std::vector<std::string>& operations, const std::vector<Fast>& without)>;

/// Checks all, and what is wrong once more without each of its fast ways, to know which is bad.
DeviceFindings check_device(const std::vector<std::string>& operations, const CheckOperations& check);

/// What the file says of these operations.
DeviceFindings recorded_findings(ChoiceCache& record, Precision precision, const std::vector<std::string>& operations);
void record_findings(ChoiceCache& record, Precision precision, const DeviceFindings& findings);

}  // namespace temper
