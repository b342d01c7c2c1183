#include "sweep/report_text.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "config/validate.h"
#include "sweep/report.h"
#include "sweep/tables.h"

namespace temper {
namespace {

constexpr std::size_t most_columns = 12, most_rows = 30;  // of a map; what is larger is a picture

/// Bytes that continue a character of UTF-8 take no place.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

/// Text from a file for a terminal: without control characters, which could do anything to it, and not too long.
std::string shown(const std::string& text) {
  constexpr std::size_t longest = 32;
  std::string result;
  for (const char c : text) {
    if ((c & 0xC0) != 0x80 && width(result) == longest) return result + "…";
    result += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  }
  return result;
}

std::string right(const std::string& text, std::size_t columns) {
  return std::string(columns - std::min(columns, width(text)), ' ') + text;
}

/// Columns as wide as their widest cell, aligned right; the last one, of notes, left.
std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i + 1 < row.size(); ++i) line += right(row[i], widths[i]) + "  ";
    line += row.back();
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

/// What stands behind a figure: one character, so that columns stay aligned.
char mark(const SweepResult& result) {
  return result.tied_for_best ? '~' : result.place == 1 ? '*' : result.failed > 0 ? '!' : ' ';
}

std::string legend(const std::vector<SweepResult>& results) {
  std::string text = results.front().tied_for_best ? "~ tied for the best" : "* best";
  if (std::any_of(results.begin(), results.end(), [](const auto& one) { return one.failed > 0; })) text += "   ! trials failed";
  return text + "\n";
}

/// The parameters that vary, as columns of columns(); ties follow from them.
std::vector<std::size_t> varying(const Sweep& sweep) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < sweep.file.parameters.size(); ++i) {
    if (column_values(sweep, i).size() > 1) found.push_back(i);
  }
  return found;
}

/// The best result with these labels; results are ranked.
const SweepResult* find_result(const Sweep& sweep, const std::vector<SweepResult>& results,
                               const std::vector<std::pair<std::size_t, const Value*>>& labels) {
  const auto at = std::find_if(results.begin(), results.end(), [&](const SweepResult& result) {
    return std::all_of(labels.begin(), labels.end(), [&](const auto& label) {
      return sweep.configurations[result.configuration].labels[label.first] == *label.second;
    });
  });
  return at == results.end() ? nullptr : &*at;
}

/// Colours of a map from best to worst, from light to dark: readable in black, then in white.
std::string painted(const std::string& text, double share) {
  constexpr int ramp[] = {185, 149, 114, 72, 66, 60, 54};
  constexpr int first_dark = 4;
  const auto step = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * (std::size(ramp) - 1)));
  return "\033[48;5;" + std::to_string(ramp[step]) + (step < first_dark ? "m\033[38;5;16m" : "m\033[38;5;231m") + text + "\033[0m";
}

/// Places of the means between the best, 0, and the worst that is not far off, 1: at most ten times as far behind as the median, so
/// that the few that diverged do not flatten all others.
class Scale {
 public:
  Scale(const std::vector<SweepResult>& results, bool maximize)
      : best_(results.front().metric->mean), sign_(maximize ? -1.0 : 1.0) {
    std::vector<double> behind;
    for (const SweepResult& result : results) {
      if (result.metric) behind.push_back(sign_ * (result.metric->mean - best_));
    }
    std::sort(behind.begin(), behind.end());
    const double usual = behind[behind.size() / 2];
    for (const double one : behind) {
      if (one <= 10.0 * usual) worst_ = one;
    }
  }
  /// Below 0 is what is ranked behind the best for another reason, as trials that failed.
  double place(double mean) const { return worst_ > 0 ? sign_ * (mean - best_) / worst_ : 0.0; }

 private:
  double best_, sign_, worst_ = 0.0;
};

std::string map_text(const Sweep& sweep, const std::vector<SweepResult>& results, std::size_t down, std::size_t across,
                     bool colour) {
  const std::vector<Value> rows = column_values(sweep, down), tops = column_values(sweep, across);
  if (tops.size() > most_columns || rows.size() > most_rows) return "";
  if (2 * results.size() < rows.size() * tops.size()) return "";  // drawn at random: most cells would be empty
  const std::vector<std::string> names = columns(sweep.file);
  const Scale scale(results, sweep.file.metric.maximize);
  const std::string corner = shown(names[down]);
  std::size_t left = width(corner), cell = 7;
  for (const Value& value : rows) left = std::max(left, width(shown(label_text(value))));
  for (const Value& value : tops) cell = std::max(cell, width(shown(label_text(value))));

  std::string text = std::string(left + 2, ' ') + shown(names[across]) + "\n" + right(corner, left);
  for (const Value& value : tops) text += "  " + right(shown(label_text(value)), cell) + " ";
  text += "\n";
  for (const Value& row : rows) {
    text += right(shown(label_text(row)), left);
    for (const Value& top : tops) {
      const SweepResult* result = find_result(sweep, results, {{down, &row}, {across, &top}});
      const bool failed = result != nullptr && !result->metric && result->failed > 0;
      const std::string figure = result != nullptr && result->metric ? number_text(result->metric->mean) : failed ? "failed" : "-";
      const char note = result != nullptr && result->metric ? mark(*result) : ' ';
      const std::string whole = " " + right(figure, cell) + note;
      text += " " + (colour && result != nullptr && result->metric ? painted(whole, scale.place(result->metric->mean)) : whole);
    }
    text += "\n";
  }
  return text;
}

/// A line per value, with a dot where its mean lies and the standard deviation to both sides.
std::string dots_text(const Sweep& sweep, const std::vector<SweepResult>& results, std::size_t column) {
  constexpr int places = 48;
  const std::vector<Value> values = column_values(sweep, column);
  if (values.size() > most_rows) return "";
  const Scale scale(results, sweep.file.metric.maximize);
  const std::string name = shown(columns(sweep.file)[column]);
  std::size_t left = width(name);
  for (const Value& value : values) left = std::max(left, width(shown(label_text(value))));
  const auto place = [&](double mean) {
    return static_cast<int>(std::lround(3 + std::clamp(scale.place(mean), -1.0, 2.0) * (places - 7)));
  };

  std::string text = right(name, left) + "  " + right(sweep.file.metric.name, 8) + "   better ─── worse\n";
  for (const Value& value : values) {
    const SweepResult* result = find_result(sweep, results, {{column, &value}});
    text += right(shown(label_text(value)), left) + "  ";
    if (result == nullptr || !result->metric) {
      text += right(result != nullptr && result->failed > 0 ? "failed" : "-", 8) + "\n";
      continue;
    }
    const double sd = result->metric->sd.value_or(0.0), mean = result->metric->mean;
    const int at = place(mean);
    const int one_end = place(mean - sd), other_end = place(mean + sd);
    const int low = std::min(one_end, other_end), high = std::max(one_end, other_end);
    std::string line = right(number_text(result->metric->mean), 8) + " " + mark(*result) + " ";
    for (int i = 0; i < places && at < places; ++i) line += i == at ? "●" : i >= low && i <= high ? "─" : " ";
    if (at >= places) line += std::string(places - 1, ' ') + "»";
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace

std::string ranking_text(const Sweep& sweep, const SweepPlan& plan, std::size_t rows) {
  const std::vector<SweepResult> results = rank_configurations(sweep, plan);
  std::string text = table(result_rows(sweep, results, rows, shown));
  if (results.size() > rows) text += "... and " + std::to_string(results.size() - rows) + " more in results.md\n";
  return text + verdict_text(sweep, results);
}

std::string run_text(const Sweep& sweep, const SweepPlan& plan) {
  const TrialStatus& status = plan.rungs.front().front().status;
  std::string text = sweep.file.base.name + ": " + std::string(to_string(status.state)) + ", " + std::to_string(status.steps) +
                     " of " + std::to_string(total_steps(sweep.file.base)) + " steps";
  if (status.metric) text += ", " + sweep.file.metric.name + " " + number_text(status.metric);
  return text + "\n";
}

std::string sweep_chart(const Sweep& sweep, const SweepPlan& plan, bool colour) {
  const std::vector<SweepResult> results = rank_configurations(sweep, plan);
  const std::vector<std::size_t> keys = varying(sweep);
  if (!results.front().metric || keys.empty() || keys.size() > 2) return "";
  const std::string text =
      keys.size() == 2 ? map_text(sweep, results, keys[0], keys[1], colour) : dots_text(sweep, results, keys[0]);
  return text.empty() ? "" : text + legend(results);
}

}  // namespace temper
