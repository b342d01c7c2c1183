#include "train/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "io/error.h"
#include "io/text.h"

namespace temper {

namespace {

std::string bar(double share, int width) {
  const int full = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * width));
  std::string text;
  for (int i = 0; i < width; ++i) text += i < full ? "█" : "░";
  return text;
}

}  // namespace

Progress::Progress(std::int64_t total_steps, std::int64_t log_every, bool speaks, const std::filesystem::path& log)
    : total_steps_(total_steps), log_every_(log_every), speaks_(speaks), terminal_(speaks && isatty(STDERR_FILENO) == 1) {
  try {
    if (!log.empty()) log_.emplace(log, 0);
  } catch (const Error& error) {
    tell(std::string("warning: ") + error.what() + "; the run goes on without this log");
  }
}

void Progress::step(const StepRecord& record, double tokens_per_second, double seconds_left) {
  const std::string figures = fmt::format("loss {:.4f}  norm {:.3f}  lr {:.2e}  {} tok/s  {} left", record.loss.value_or(NAN),
                                          record.grad_norm.value_or(NAN), record.learning_rate, format_count(tokens_per_second),
                                          format_duration(seconds_left));
  const bool plain = record.step % log_every_ == 0 || record.step == total_steps_;
  const std::string place = fmt::format("{}/{}  {}", record.step, total_steps_, figures);
  const std::string line = "step " + place;
  if (plain && log_) log_->append(line + "\n");
  if (terminal_) {
    const double share = static_cast<double>(record.step) / static_cast<double>(std::max<std::int64_t>(total_steps_, 1));
    const auto now = std::chrono::steady_clock::now();
    if (record.step < total_steps_ && now - last_rewrite_ < std::chrono::milliseconds(50)) return;
    last_rewrite_ = now;
    rewrite(bar(share, 24) + " " + place);
  } else if (plain && speaks_) {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
}

void Progress::activity(const std::string& what, double share) {
  if (!terminal_) return;
  rewrite(bar(share, 24) + " " + what);
}

void Progress::clear() {
  if (terminal_ && shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

void Progress::note(const std::string& message) { print(shown_message(message)); }

void Progress::print(const std::string& text) {
  clear();
  if (log_) log_->append(text + "\n");
  if (speaks_) std::fprintf(stderr, "%s\n", text.c_str());
}

void Progress::rewrite(const std::string& line) {
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
  shown_ = true;
}

std::string draw_chart(const std::vector<ChartSeries>& series, int columns, int rows, const std::string& x_label) {
  // Sums and differences of what is shown stay finite and exact enough to place it; a run's floats and steps are all within.
  const auto fits = [](double x, double y) { return std::abs(x) < 1e15 && std::abs(y) < 1e100; };
  double x_low = std::numeric_limits<double>::max(), x_high = -x_low, y_low = x_low, y_high = -x_low;
  for (const ChartSeries& one : series) {
    for (const auto& [x, y] : one.points) {
      if (!fits(x, y)) continue;
      x_low = std::min(x_low, x);
      x_high = std::max(x_high, x);
      y_low = std::min(y_low, y);
      y_high = std::max(y_high, y);
    }
  }
  if (x_low > x_high) return "";
  if (x_high == x_low) x_high = x_low + 1.0;
  y_high = std::max(y_high, y_low + std::max(1e-9, 1e-9 * std::abs(y_low)));  // a flat line needs a height too

  std::vector<std::string> grid(static_cast<std::size_t>(rows), std::string(static_cast<std::size_t>(columns), ' '));
  for (const ChartSeries& one : series) {
    // Each column shows the mean of its points: a curve one can read whatever the number of steps.
    std::vector<double> total(static_cast<std::size_t>(columns), 0.0);
    std::vector<int> count(static_cast<std::size_t>(columns), 0);
    for (const auto& [x, y] : one.points) {
      if (!fits(x, y)) continue;
      const auto column = static_cast<std::size_t>(std::lround((x - x_low) / (x_high - x_low) * (columns - 1)));
      total[column] += y;
      ++count[column];
    }
    for (std::size_t column = 0; column < total.size(); ++column) {
      if (count[column] == 0) continue;
      const double y = total[column] / count[column];
      const auto row = static_cast<std::size_t>(std::lround((y_high - y) / (y_high - y_low) * (rows - 1)));
      grid[row][column] = one.mark;
    }
  }

  // Losses in decimals; rates and decays, which are small, and counts of tokens in powers of ten.
  const double largest = std::max(std::abs(y_low), std::abs(y_high));
  const bool decimals = largest >= 0.1 && largest < 1e4;
  std::string text;
  for (int row = 0; row < rows; ++row) {
    const double y = y_high - (y_high - y_low) * row / (rows - 1);
    text += row % 3 != 0 && row != rows - 1 ? "         │" : decimals ? fmt::format("{:8.3f} ┤", y) : fmt::format("{:8.2e} ┤", y);
    text += grid[static_cast<std::size_t>(row)] + "\n";
  }
  text += "         └";
  for (int column = 0; column < columns; ++column) text += "─";
  const std::string left = fmt::format("{:.0f}", x_low);
  const std::string right = fmt::format("{:.0f} {}", x_high, x_label);
  const int gap = std::max(1, columns - static_cast<int>(left.size() + right.size()));
  text += "\n          " + left + std::string(static_cast<std::size_t>(gap), ' ') + right + "\n          ";
  for (const ChartSeries& one : series)
    if (!one.points.empty()) text += fmt::format("{} {}   ", one.mark, one.name);
  return text + "\n";
}

}  // namespace temper
