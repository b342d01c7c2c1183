#include "sweep/report_curves.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/validate.h"
#include "io/file.h"
#include "io/json.h"
#include "kernels/host_device.h"
#include "optim/measurements.h"

namespace temper {
namespace {

namespace fs = std::filesystem;
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
Json rounded(double number) { return json_number(number, 6); }

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
    if (stride_ > 0) stride_ *= ceil_div(std::max<std::int64_t>(1, total_ / stride_), limit);
  }

  std::int64_t total_, stride_, last_;
};

/// Calls visit(line, step) for each line of a run's log whose step is in the run and behind the one before.
template <class Visit>
void for_each_line(const fs::path& path, const RunConfig& config, Visit visit) {
  const std::int64_t total = total_steps(config);
  std::int64_t before = -1;
  for_lines(path, [&](const std::string& line) {
    // Looked at before the line is parsed: diagnostics have tens of kilobytes a line, and most are thinned away.
    constexpr std::string_view begin = "{\"step\":";
    if (!line.starts_with(begin)) return;
    const std::int64_t step = std::strtoll(line.c_str() + begin.size(), nullptr, 10);
    if (step <= before || step > total) return;
    before = step;
    visit(line, step);
  });
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

void add(Json& curves, std::string_view key, const Json& value) { curves[std::string(key)].push_back(value); }

/// Adds these measurements of an object, a point to the curve of each.
void add_members(Json& curves, const Line& object, const auto& measurements, bool only_of_parts = false) {
  for (const auto& one : measurements)
    if (one.of_parts || !only_of_parts) add(curves, one.name, rounded(number_or_missing(object, one.name)));
}

void add_model(Json& parts, const Line& line, std::int64_t step) {
  if (member(line, "all").is_null()) return;
  add(parts["all"], "step", step);
  add_members(parts["all"], member(line, "all"), update_measurements);
  add_members(parts["all"], member(line, "all"), noise_measurements);
}

void add_layers(Json& parts, const Line& line, std::int64_t step, std::int64_t layers) {
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string name = "layer " + std::to_string(i);
    const Line& layer = member(member(line, "layers"), name);
    if (layer.is_null()) continue;
    add(parts[name], "step", step);
    add_members(parts[name], layer, update_measurements, true);
    add_members(parts[name], layer, noise_measurements, true);
  }
}

/// Norms of the tensors of each kind together, and the root mean square of their angles.
void add_kinds(Json& parts, const Line& line, std::int64_t step) {
  struct Sums {
    double gradient = 0.0, weight = 0.0, update = 0.0, angle = 0.0, tensors = 0.0;
  };
  std::map<std::size_t, Sums> sums;
  for (const auto& [name, tensor] : member(line, "tensors").items()) {
    const auto square = [&tensor = tensor](std::string_view key) {
      const double number = number_or_missing(tensor, key);
      return number * number;
    };
    Sums& sum = sums[kind_of(name)];
    sum.gradient += square("grad_norm");
    sum.weight += square("weight_norm");
    sum.update += square("update_norm");
    sum.angle += square("step_row_angle");
    sum.tensors += 1.0;
  }
  for (const auto& [kind, sum] : sums) {
    Json& curves = parts[std::string(kinds[kind].second)];
    add(curves, "step", step);
    add(curves, "grad_norm", rounded(std::sqrt(sum.gradient)));
    add(curves, "weight_norm", rounded(std::sqrt(sum.weight)));
    add(curves, "update_norm", rounded(std::sqrt(sum.update)));
    add(curves, "relative_update", rounded(std::sqrt(sum.update / sum.weight)));
    add(curves, "step_row_angle", rounded(std::sqrt(sum.angle / sum.tensors)));
  }
}

/// The root mean squares over the matrices, as metrics.jsonl has them.
void add_representation(Json& parts, const Line& line, std::int64_t step) {
  const Line& matrices = member(line, "representation");
  if (!matrices.is_object() || matrices.empty()) return;
  add(parts["representation"], "step", step);
  for (const auto& one : representation_measurements) {
    double squares = 0.0;
    for (const auto& [name, matrix] : matrices.items()) squares += std::pow(number_or_missing(matrix, one.name), 2.0);
    add(parts["representation"], one.name, rounded(std::sqrt(squares / static_cast<double>(matrices.size()))));
  }
}

}  // namespace

CurveLimits curve_limits(std::size_t trials, std::int64_t layers) {
  constexpr std::int64_t numbers = 200'000;  // in all curves of a sort together: some 1.6 MB of text
  const auto limit = [&](std::int64_t curves) {
    return std::clamp<std::int64_t>(numbers / (static_cast<std::int64_t>(std::max<std::size_t>(1, trials)) * curves), 20, 300);
  };
  const auto measured = static_cast<std::int64_t>(std::size(update_measurements) + std::size(noise_measurements));
  const auto of_parts = [](const auto& measurements) {
    return std::count_if(std::begin(measurements), std::end(measurements), [](const auto& one) { return one.of_parts; });
  };
  return {limit(3), limit(measured),
          limit((layers + static_cast<std::int64_t>(std::size(kinds))) *
                (of_parts(update_measurements) + of_parts(noise_measurements)))};
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
  Json curves = {{"smoothed_over", 2 * half + 1},
                 {"step", Json::array()},
                 {"loss", Json::array()},
                 {"grad_norm", Json::array()},
                 {"learning_rate", Json::array()}};
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!thinning.keeps(steps[i]) && i + 1 != steps.size()) continue;  // where a run ended early, its curve shows it
    add(curves, "step", steps[i]);
    add(curves, "loss", rounded(mean_loss.at(i, half)));
    add(curves, "grad_norm", rounded(mean_norm.at(i, half)));
    add(curves, "learning_rate", rounded(rate[i]));
  }
  return curves;
}

Json validation_curve(const fs::path& run, const RunConfig& config, const CurveLimits& limits) {
  const std::int64_t total = total_steps(config);
  const Thinning thinning(total, config.eval.every, limits.run);
  Json curve = {{"step", Json::array()}, {"val_loss", Json::array()}};
  for_each_line(run / "metrics.jsonl", config, [&](const std::string& line, std::int64_t step) {
    if ((step != 0 && step != total && !thinning.keeps(step)) || line.find("\"val_loss\":") == std::string::npos) return;
    const double loss = number_or_missing(Line::parse(line, nullptr, false), "val_loss");
    if (!std::isfinite(loss)) return;
    add(curve, "step", step);
    add(curve, "val_loss", rounded(loss));
  });
  return curve;
}

Json diagnostics_curves(const fs::path& run, const RunConfig& config, const CurveLimits& limits) {
  const std::int64_t total = total_steps(config);
  const DiagnosticsConfig& measured = config.diagnostics;
  // A line has tens of kilobytes and parsing it is most of the work: what parts take are lines that the model takes anyway.
  const Thinning model(total, measured.every, limits.model), part = model.coarser(limits.part),
                                                             representation(total, measured.representation_every, limits.model);
  Json parts = Json::object();
  for_each_line(run / "diagnostics.jsonl", config, [&](const std::string& line, std::int64_t step) {
    const bool of_all = model.keeps(step), of_parts = part.keeps(step), changes = representation.keeps(step);
    if (!of_all && !of_parts && !changes) return;
    const Line json = Line::parse(line, nullptr, false);
    if (!json.is_object()) return;
    if (of_all) add_model(parts, json, step);
    if (of_parts) {
      add_layers(parts, json, step, config.model.n_layer);
      add_kinds(parts, json, step);
    }
    if (changes) add_representation(parts, json, step);
  });
  return parts;
}

}  // namespace temper
