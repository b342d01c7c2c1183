#include "cli/config_plot.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "config/fields.h"
#include "config/run_config.h"
#include "config/validate.h"
#include "kernels/host_device.h"
#include "optim/hyperparameters.h"
#include "train/engine.h"
#include "train/progress.h"

namespace temper {

namespace {

constexpr std::int64_t most_points = 1000;

std::string choice_name(const char* path, const RunConfig& config) {
  return std::get<std::string>(get_field(*find_field(path), config).data);
}

std::string headline(const RunConfig& config, std::int64_t steps) {
  const std::int64_t warmup = warmup_steps(config);
  return fmt::format("{}, {} over {} steps ({} tokens), {}\n", choice_name("optimizer.name", config),
                     choice_name("schedule.name", config), steps, format_count(static_cast<double>(tokens_before(config, steps))),
                     warmup > 0 ? fmt::format("{} of them warmup", warmup) : "no warmup");
}

std::string decay_label(DecayMode decay) {
  if (decay == DecayMode::none) return "weight decay: none";
  const bool in_gradient = decay == DecayMode::l2 || decay == DecayMode::scale_adjusted;
  return in_gradient ? "weight decay: coefficient of the weight in the gradient"
                     : "weight decay: share of a weight that an update removes";
}

}  // namespace

std::vector<SchedulePoint> schedule_points(const RunConfig& config) {
  const std::int64_t steps = total_steps(config), stride = ceil_div(steps, most_points);
  const Hyperparameters numbers(optimizer_of(config), Schedule(config.schedule, steps, config.batch.tokens_per_step));
  std::vector<SchedulePoint> points;
  const auto add = [&](std::int64_t k) {
    points.push_back({k, numbers.learning_rate(k), numbers.decay(k), numbers.momentum(k),
                      micro_batches_at(config, k) * tokens_of_micro_batch(config), context_at(config, k)});
  };
  for (std::int64_t k = 0; k < steps; k += stride) add(k);
  if (points.back().step != steps - 1) add(steps - 1);
  return points;
}

std::string schedule_table(const std::vector<SchedulePoint>& points) {
  std::string table;
  for (const SchedulePoint& point : points) {
    const nlohmann::ordered_json line = {
        {"step", point.step},         {"learning_rate", point.learning_rate}, {"decay", point.decay},
        {"momentum", point.momentum}, {"step_tokens", point.step_tokens},     {"context", point.context}};
    table += line.dump() + "\n";
  }
  return table;
}

std::string schedule_charts(const RunConfig& config, const std::vector<SchedulePoint>& points) {
  std::string text = headline(config, total_steps(config));
  const auto chart = [&](const std::string& name, auto value) {
    ChartSeries series{name, '*', {}};
    for (const SchedulePoint& point : points) series.points.emplace_back(static_cast<double>(point.step), value(point));
    text += "\n" + draw_chart({std::move(series)}, 72, 7, "steps");
  };
  chart("learning rate", [](const SchedulePoint& point) { return point.learning_rate; });
  chart(decay_label(*resolved_optimizer(config.optimizer).decay), [](const SchedulePoint& point) { return point.decay; });
  chart("momentum: decay rate of the first moment", [](const SchedulePoint& point) { return point.momentum; });
  if (config.schedule.batch_warmup_steps > 0)
    chart("tokens per step", [](const SchedulePoint& point) { return static_cast<double>(point.step_tokens); });
  if (config.schedule.context_warmup_steps > 0)
    chart("tokens per sequence", [](const SchedulePoint& point) { return static_cast<double>(point.context); });
  return text;
}

}  // namespace temper
