#include "optim/schedule_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "config/schedule_config.h"
#include "io/error.h"
#include "io/file.h"
#include "io/json.h"

namespace temper {

namespace {

template <class Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const auto [stopped, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && stopped == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

class Reader {
 public:
  Reader(const std::filesystem::path& file, const std::string& column, std::int64_t total)
      : file_(file.string()), column_(column), total_(total) {}

  void take(const std::string& line) {
    ++line_;
    std::string_view text = line;
    if (line_ == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // as spreadsheets begin a CSV
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.starts_with('{'))
      take_json(text);
    else if (!text.empty())
      take_csv(text);
  }

  std::vector<RatePoint> finish() {
    const std::string what = "schedule.file " + file_;
    if (points_.empty())
      throw Error(ExitCode::data, "{}: no line has a step from 1 and a rate ({}); name another file or schedule.file_column", what,
                  column_);
    if (points_.front().step > 1)
      throw Error(
          ExitCode::data,
          "{}: begins at step {}, and the updates before it have no rate; it must begin at step 1 (a run with log.every 1, or "
          "diagnostics, logs that)",
          what, points_.front().step);
    if (points_.back().step < total_)
      throw Error(ExitCode::data, "{}: ends at step {}, and the run has {}; shorten the run or name a longer file", what,
                  points_.back().step, total_);
    if (!(largest_ > 0.0)) throw Error(ExitCode::data, "{}: every rate is 0; name another file or schedule.file_column", what);
    for (RatePoint& point : points_) point.rate /= largest_;
    return std::move(points_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ExitCode::data, "schedule.file {}, line {}: {}", file_, line_, what);
  }

  [[noreturn]] void refuse_step(const std::string& step) const {
    refuse("step " + step + " is not from 0 to " + std::to_string(most_steps));
  }

  void take_json(std::string_view text) {
    const Json line = parse_json_if_whole(text).value_or(nullptr);
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer())
      refuse("no JSON object with a whole number as \"step\"");
    const auto found = [&](const Json& object) -> const Json* {
      return object.is_object() && object.contains(column_) && !object[column_].is_null() ? &object[column_] : nullptr;
    };
    const Json* rate = found(line);
    if (rate == nullptr && line.contains("all")) rate = found(line["all"]);
    if (rate == nullptr) return;
    if (!rate->is_number()) refuse("\"" + column_ + "\" is no number");
    if (line["step"].is_number_unsigned() && line["step"].get<std::uint64_t>() > most_steps) refuse_step(line["step"].dump());
    add(line["step"].get<std::int64_t>(), rate->get<double>());
  }

  void take_csv(std::string_view text) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::optional<std::int64_t> step = number_of<std::int64_t>(text.substr(0, comma));
    const std::optional<double> rate = comma < text.size() ? number_of<double>(text.substr(comma + 1)) : std::nullopt;
    if (step && rate) return add(*step, *rate);
    if (line_ > 1 || comma == text.size() || step) refuse("neither a JSON object nor a step and a rate, \"100,3e-4\"");
  }

  void add(std::int64_t step, double rate) {
    if (step < 0 || step > most_steps) refuse_step(std::to_string(step));
    if (!std::isfinite(rate) || rate < 0.0) refuse("the rate is not a finite number of at least 0");
    if (step <= last_) refuse("step " + std::to_string(step) + " follows step " + std::to_string(last_) + "; steps must rise");
    last_ = step;
    if (step == 0) return;
    largest_ = std::max(largest_, rate);
    if (points_.empty() || points_.back().step < total_) points_.push_back({step, rate});
  }

  std::string file_, column_;
  std::int64_t total_, line_ = 0, last_ = -1;
  double largest_ = 0.0;
  std::vector<RatePoint> points_;
};

}  // namespace

std::vector<RatePoint> read_rates(const std::filesystem::path& file, const std::string& column, std::int64_t total) {
  std::error_code failed;
  const std::filesystem::file_status found = std::filesystem::status(file, failed);
  if (!std::filesystem::is_regular_file(found))
    throw Error(ExitCode::data, "schedule.file {}: {}; name a run's metrics.jsonl, or a CSV of step,rate", file.string(),
                found.type() == std::filesystem::file_type::not_found   ? "there is no such file"
                : found.type() == std::filesystem::file_type::none      ? failed.message()
                : found.type() == std::filesystem::file_type::directory ? "is a folder"
                                                                        : "is no regular file");
  Reader reader(file, column, total);
  for_lines(file, [&](const std::string& line) { reader.take(line); });
  return reader.finish();
}

double rate_at(const std::vector<RatePoint>& points, std::int64_t step) {
  const auto after = std::lower_bound(points.begin(), points.end(), step,
                                      [](const RatePoint& point, std::int64_t wanted) { return point.step < wanted; });
  if (after->step == step) return after->rate;
  const RatePoint before = *(after - 1);
  const double share = static_cast<double>(step - before.step) / static_cast<double>(after->step - before.step);
  return before.rate + share * (after->rate - before.rate);
}

}  // namespace temper
