#include "bench/device_check.h"

#include <algorithm>

#include "bench/report.h"
#include "config/fields.h"
#include "kernels/cases/case_check.h"

namespace temper {

namespace {

constexpr std::string_view right = "right", bad = "bad: ";

// What the reference does for a case on one processor, as it were in operations.
double work_of(const OpCase& op_case) {
  double elements = 0;
  for (const TensorSpec& spec : op_case.tensors) elements += static_cast<double>(spec.shape.numel());
  return op_case.flops + 10 * elements;
}

std::vector<Fast> ways_of(const std::string& operation) {
  std::vector<Fast> ways;
  for (std::size_t i = 0; i < fast_ways.size(); ++i)
    if (fast_ways[i].operation == operation) ways.push_back(static_cast<Fast>(i));
  return ways;
}

std::string line_name(Precision precision, std::string_view name) {
  return "check " + std::string(name_of(precision)) + " " + std::string(name);
}

std::string_view name_of_way(Fast way) { return fast_ways[static_cast<std::size_t>(way)].name; }

}  // namespace

std::vector<Fast> DeviceFindings::without() const {
  std::vector<Fast> ways;
  for (const auto& [way, why] : bad_ways) ways.push_back(way);
  return ways;
}

const OperationFinding* DeviceFindings::wrong() const {
  const auto found = std::ranges::find_if(operations, [](const OperationFinding& each) { return !each.wrong.empty(); });
  return found == operations.end() ? nullptr : &*found;
}

std::vector<std::string> operations_of(DeviceUse use) {
  if (use == DeviceUse::inference)
    return {"cast",
            "copy",
            "zero",
            "embedding_forward",
            "layernorm_forward",
            "linear_forward",
            "gelu",
            "attention_forward",
            "attention_cached",
            "cross_entropy",
            "sum"};
  std::vector<std::string> names;
  for (const OpCase& each : all_cases(Size::small_odd))
    if (each.op != "attention_cached" && std::ranges::find(names, each.op) == names.end()) names.push_back(each.op);
  return names;
}

OperationFinding check_operation(const std::string& operation, Precision precision, Ops& ops, double most_work) {
  OperationFinding finding{operation};
  const Stopwatch watch;
  for (const OpCase& each : all_cases(Size::small_odd)) {
    if (each.op != operation || work_of(each) > most_work) continue;
    const DType activation = precision == Precision::bf16 && each.has_activations() ? DType::bf16 : DType::f32;
    const CaseFinding found = hold_against_reference(each, activation, ops);
    if (found.wrong.empty() && found.error * finding.bound < finding.error * found.bound) continue;
    finding.error = found.error;
    finding.bound = found.bound;
    if (found.wrong.empty()) continue;
    finding.wrong = each.shape + ", " + found.wrong;
    break;
  }
  finding.seconds = watch.elapsed(1).seconds;
  return finding;
}

DeviceFindings check_device(const std::vector<std::string>& operations, const CheckOperations& check) {
  DeviceFindings findings{check(operations, {}), {}, {}};
  for (OperationFinding& each : findings.operations) {
    if (each.wrong.empty()) continue;
    const std::vector<Fast> ways = ways_of(each.operation);
    std::vector<std::vector<Fast>> trials;
    trials.reserve(ways.size() + 1);
    for (const Fast way : ways) trials.push_back({way});
    if (ways.size() > 1) trials.push_back(ways);  // more than one of them may be bad
    for (const std::vector<Fast>& trial : trials) {
      const OperationFinding plain = check({each.operation}, trial).front();
      if (!plain.wrong.empty()) continue;
      for (const Fast way : trial) findings.bad_ways.emplace_back(way, each.wrong);
      each = plain;
      break;
    }
  }
  return findings;
}

DeviceFindings recorded_findings(ChoiceCache& record, Precision precision, const std::vector<std::string>& operations) {
  DeviceFindings findings;
  const auto why = [](const std::string& value) { return value.starts_with(bad) ? value.substr(bad.size()) : ""; };
  for (const std::string& name : operations) {
    const std::optional<std::string> value = record.find(line_name(precision, name));
    if (!value || (*value != right && !value->starts_with(bad))) {
      findings.missing.push_back(name);
      continue;
    }
    findings.operations.push_back({name, why(*value)});
    for (const Fast way : ways_of(name))
      if (const auto said = record.find(line_name(precision, name_of_way(way))); said && said->starts_with(bad))
        findings.bad_ways.emplace_back(way, why(*said));
  }
  return findings;
}

void record_findings(ChoiceCache& record, Precision precision, const DeviceFindings& findings) {
  const auto put = [&](std::string_view name, const std::string& wrong) {
    record.put(line_name(precision, name), wrong.empty() ? std::string(right) : std::string(bad) + wrong);
  };
  for (const OperationFinding& each : findings.operations) {
    for (const Fast way : ways_of(each.operation)) {  // before the operation: what says that it is right, says so without them
      const auto found = std::ranges::find(findings.bad_ways, way, &std::pair<Fast, std::string>::first);
      put(name_of_way(way), found == findings.bad_ways.end() ? "" : found->second);
    }
    put(each.operation, each.wrong);
  }
}

}  // namespace temper
