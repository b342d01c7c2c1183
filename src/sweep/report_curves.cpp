#include "sweep/report_curves.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "config/validate.h"
#include "optim/measurements.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Line = nlohmann::json;  // of a log: parsed a third faster than where order is kept

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

/// Kinds of tensors by how their names end; what is none of these is "other".
constexpr std::pair<std::string_view, std::string_view> kinds[] = {
    {"wte.weight", "token embedding"},
    {"wpe.weight", "position embedding"},
    {"attn.c_attn.weight.q", "query"},
    {"attn.c_attn.weight.k", "key"},
    {"attn.c_attn.weight.v", "value"},
    {"attn.c_proj.weight", "attention out"},
    {"mlp.c_fc.weight", "MLP in"},
    {"mlp.c_proj.weight", "MLP out"},
    {"ln_1.weight", "layer norms"},
    {"ln_2.weight", "layer norms"},
    {"ln_f.weight", "layer norms"},
    {".bias", "biases"},
    {"", "other"},
};

/// Index of the first of kinds[] with that tensor's kind.
std::size_t kind_of(std::string_view tensor) {
  std::size_t kind = 0;
  while (!tensor.ends_with(kinds[kind].first)) ++kind;
  while (kind > 0 && kinds[kind - 1].second == kinds[kind].second) --kind;
  return kind;
}

/// A member of an object; null where there is none.
const Line& member(const Line& object, std::string_view key) {
  static const Line none;
  if (!object.is_object()) return none;
  const auto at = object.find(key);
  return at != object.end() ? *at : none;
}

double number_or_missing(const Line& object, std::string_view key) {
  const Line& number = member(object, key);
  return number.is_number() ? number.get<double>() : missing;
}

/// Six digits: more than a picture shows, and half the bytes.
Json rounded(double number) {
  if (!std::isfinite(number)) return {};
  char text[40];
  std::snprintf(text, sizeof(text), "%.6g", number);
  return std::strtod(text, nullptr);
}

Json rounded(const std::vector<double>& numbers) {
  Json list = Json::array();
  for (const double number : numbers) list.push_back(rounded(number));
  return list;
}

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Of what is measured at step 1, every so many steps, and at the end: not more than `limit` and both ends.
class Thinning {
 public:
  Thinning(std::int64_t total, std::int64_t every, std::int64_t limit)
      : total_(total), stride_(every), last_(every > 0 ? total - total % every : 0) {
    thin(limit);
  }
  /// Fewer of the same.
  Thinning coarser(std::int64_t limit) const {
    Thinning other = *this;
    other.thin(limit);
    return other;
  }

  bool keeps(std::int64_t step) const { return stride_ > 0 && (step == 1 || step % stride_ == 0 || step >= last_); }

 private:
  void thin(std::int64_t limit) {
    if (stride_ > 0) stride_ *= divide_up(std::max<std::int64_t>(1, total_ / stride_), limit);
  }

  std::int64_t total_, stride_, last_;
};

/// Calls visit(line, step) for each line of a run's log whose step is in the run and behind the one before.
template <class Visit>
void for_each_line(const fs::path& path, const RunConfig& config, Visit visit) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return;  // a device in its place may never end
  const std::int64_t total = total_steps(config);
  std::ifstream file(path, std::ios::binary);
  std::int64_t before = -1;
  for (std::string line; std::getline(file, line);) {
    // Looked at before the line is parsed: diagnostics have tens of kilobytes a line, and most are thinned away.
    constexpr std::string_view begin = "{\"step\":";
    if (!line.starts_with(begin)) continue;
    const std::int64_t step = std::strtoll(line.c_str() + begin.size(), nullptr, 10);
    if (step <= before || step > total) continue;
    before = step;
    visit(line, step);
  }
}

struct MeanAround {
  explicit MeanAround(const std::vector<double>& values) : sums(values.size() + 1), counts(values.size() + 1), values_(values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const bool there = std::isfinite(values[i]);
      sums[i + 1] = sums[i] + (there ? values[i] : 0.0);
      counts[i + 1] = counts[i] + (there ? 1.0 : 0.0);
    }
  }
  /// Fewer values at the begin, as many on both sides, so that the falling curve is not shifted; at the end none ahead. Missing
  /// where value i is.
  double at(std::size_t i, std::size_t half) const {
    if (!std::isfinite(values_[i])) return missing;
    const std::size_t back = std::min(half, i), ahead = std::min(back, values_.size() - 1 - i);
    return (sums[i + ahead + 1] - sums[i - back]) / (counts[i + ahead + 1] - counts[i - back]);
  }

 private:
  std::vector<double> sums, counts;
  const std::vector<double>& values_;
};

/// The squares of several tensors' numbers.
struct KindSums {
  double gradient = 0.0, weight = 0.0, update = 0.0, angle = 0.0;
  std::int64_t tensors = 0;

  void add(const Line& tensor) {
    const auto square = [&](std::string_view key) {
      const double number = number_or_missing(tensor, key);
      return number * number;
    };
    gradient += square("grad_norm");
    weight += square("weight_norm");
    update += square("update_norm");
    angle += square("step_row_angle");
    ++tensors;
  }
};

/// Columns of numbers over steps, in the order in which they first came.
class Part {
 public:
  void begin(std::int64_t step) { steps_.push_back(step); }
  void add(std::string_view key, double number) {
    auto at = std::find_if(columns_.begin(), columns_.end(), [&](const auto& column) { return column.first == key; });
    if (at == columns_.end()) at = columns_.insert(at, {std::string(key), {}});
    at->second.resize(steps_.size(), missing);
    at->second.back() = number;
  }
  Json to_json() const {
    Json json;
    json["step"] = steps_;
    for (auto [key, numbers] : columns_) {
      numbers.resize(steps_.size(), missing);
      json[key] = rounded(numbers);
    }
    return json;
  }

 private:
  std::vector<std::int64_t> steps_;
  std::vector<std::pair<std::string, std::vector<double>>> columns_;
};

class DiagnosticsReader {
 public:
  explicit DiagnosticsReader(std::int64_t layers) : layers_(layers) {}

  void read_model(const Line& line, std::int64_t step) {
    if (member(line, "all").is_null()) return;
    Part& all = part("all");
    all.begin(step);
    for (const auto& one : update_measurements) all.add(one.name, number_or_missing(member(line, "all"), one.name));
    for (const auto& one : noise_measurements) all.add(one.name, number_or_missing(member(line, "noise"), one.name));
  }

  void read_parts(const Line& line, std::int64_t step) {
    for (std::int64_t i = 0; i < layers_; ++i) {
      const std::string name = "layer " + std::to_string(i);
      const Line& layer = member(member(line, "layers"), name);
      if (layer.is_null()) continue;
      part(name).begin(step);
      for (const auto& one : update_measurements)
        if (one.of_parts) part(name).add(one.name, number_or_missing(layer, one.name));
    }
    std::map<std::size_t, KindSums> sums;
    for (const auto& [name, tensor] : member(line, "tensors").items()) sums[kind_of(name)].add(tensor);
    for (const auto& [kind, sum] : sums) {
      Part& one = part(std::string(kinds[kind].second));
      one.begin(step);
      one.add("grad_norm", std::sqrt(sum.gradient));
      one.add("weight_norm", std::sqrt(sum.weight));
      one.add("update_norm", std::sqrt(sum.update));
      one.add("relative_update", std::sqrt(sum.update / sum.weight));
      one.add("step_row_angle", std::sqrt(sum.angle / static_cast<double>(sum.tensors)));
    }
  }

  /// The root mean square over the matrices, as metrics.jsonl has it.
  void read_representation(const Line& line, std::int64_t step) {
    const Line& matrices = member(line, "representation");
    if (!matrices.is_object() || matrices.empty()) return;
    double squares = 0.0;
    for (const auto& [name, matrix] : matrices.items()) squares += std::pow(number_or_missing(matrix, representation_change), 2.0);
    part("representation").begin(step);
    part("representation").add(representation_change, std::sqrt(squares / static_cast<double>(matrices.size())));
  }

  Json to_json() const {
    Json json = Json::object();
    for (const auto& [name, one] : parts_) json[name] = one.to_json();
    return json;
  }

 private:
  Part& part(const std::string& name) {
    const auto at = std::find_if(parts_.begin(), parts_.end(), [&](const auto& entry) { return entry.first == name; });
    return at != parts_.end() ? at->second : parts_.emplace_back(name, Part{}).second;
  }

  std::int64_t layers_;
  std::vector<std::pair<std::string, Part>> parts_;
};

}  // namespace

CurveLimits curve_limits(std::size_t trials, std::int64_t layers) {
  constexpr std::int64_t numbers = 200'000;  // in all curves of a sort together: some 1.6 MB of text
  const auto limit = [&](std::int64_t curves) {
    return std::clamp<std::int64_t>(numbers / (static_cast<std::int64_t>(std::max<std::size_t>(1, trials)) * curves), 20, 300);
  };
  const auto measured = static_cast<std::int64_t>(std::size(update_measurements) + std::size(noise_measurements));
  const auto of_parts =
      std::count_if(std::begin(update_measurements), std::end(update_measurements), [](const auto& one) { return one.of_parts; });
  return {limit(3), limit(measured), limit((layers + static_cast<std::int64_t>(std::size(kinds))) * of_parts)};
}

Json training_curve(const fs::path& run, const RunConfig& config, const CurveLimits& limits) {
  std::vector<std::int64_t> steps;
  std::vector<double> loss, norm, rate;
  for_each_line(run / "metrics.jsonl", config, [&](const std::string& line, std::int64_t step) {
    const Line json = Line::parse(line, nullptr, false);
    if (step == 0 || !json.is_object()) return;  // line 0 is the evaluation before the first step
    steps.push_back(step);
    loss.push_back(number_or_missing(json, "loss"));
    norm.push_back(number_or_missing(json, "grad_norm"));
    rate.push_back(number_or_missing(json, "learning_rate"));
  });
  const std::int64_t total = total_steps(config), logged = total / config.log.every;
  // Of the run's length, not of what is there of it: trials that differ in nothing else are smoothed alike.
  const auto half = static_cast<std::size_t>(logged / 100);
  const MeanAround mean_loss(loss), mean_norm(norm);
  const Thinning thinning(total, config.log.every, limits.run);
  std::vector<std::int64_t> kept;
  std::vector<double> kept_loss, kept_norm, kept_rate;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!thinning.keeps(steps[i]) && i + 1 != steps.size()) continue;  // where a run ended early, its curve shows it
    kept.push_back(steps[i]);
    kept_loss.push_back(mean_loss.at(i, half));
    kept_norm.push_back(mean_norm.at(i, half));
    kept_rate.push_back(rate[i]);
  }
  return {{"smoothed_over", 2 * half + 1},
          {"step", kept},
          {"loss", rounded(kept_loss)},
          {"grad_norm", rounded(kept_norm)},
          {"learning_rate", rounded(kept_rate)}};
}

Json validation_curve(const fs::path& run, const RunConfig& config, const CurveLimits& limits) {
  const std::int64_t total = total_steps(config);
  const Thinning thinning(total, config.eval.every, limits.run);
  std::vector<std::int64_t> steps;
  std::vector<double> losses;
  for_each_line(run / "metrics.jsonl", config, [&](const std::string& line, std::int64_t step) {
    if ((step != 0 && step != total && !thinning.keeps(step)) || line.find("\"val_loss\":") == std::string::npos) return;
    const double loss = number_or_missing(Line::parse(line, nullptr, false), "val_loss");
    if (!std::isfinite(loss)) return;
    steps.push_back(step);
    losses.push_back(loss);
  });
  return {{"step", steps}, {"val_loss", rounded(losses)}};
}

Json diagnostics_curves(const fs::path& run, const RunConfig& config, const CurveLimits& limits) {
  const std::int64_t total = total_steps(config);
  const DiagnosticsConfig& measured = config.diagnostics;
  // A line has tens of kilobytes and parsing it is most of the work: what parts take are lines that the model takes anyway.
  const Thinning model(total, measured.every, limits.model), part = model.coarser(limits.part),
                                                             representation(total, measured.representation_every, limits.model);
  DiagnosticsReader reader(config.model.n_layer);
  for_each_line(run / "diagnostics.jsonl", config, [&](const std::string& line, std::int64_t step) {
    const bool of_all = model.keeps(step), of_parts = part.keeps(step), changes = representation.keeps(step);
    if (!of_all && !of_parts && !changes) return;
    const Line json = Line::parse(line, nullptr, false);
    if (!json.is_object()) return;
    if (of_all) reader.read_model(json, step);
    if (of_parts) reader.read_parts(json, step);
    if (changes) reader.read_representation(json, step);
  });
  return reader.to_json();
}

}  // namespace temper
