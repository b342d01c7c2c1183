#include "train/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/error.h"

namespace temper {

namespace {

std::string bar(double share, int width) {
  const int full = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * width));
  std::string text;
  for (int i = 0; i < width; ++i) text += i < full ? "█" : "░";
  return text;
}

}  // namespace

std::string format_duration(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::max(0.0, seconds)));
  if (whole >= 3600) return formatted("%lldh %02lldm", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return formatted("%lldm %02llds", whole / 60, whole % 60);
  return formatted("%lld s", whole);
}

std::string format_count(double value) {
  if (value >= 1e9) return formatted("%.2fB", value / 1e9);
  if (value >= 1e6) return formatted("%.1fM", value / 1e6);
  if (value >= 1e4) return formatted("%.1fk", value / 1e3);
  return formatted("%.0f", value);
}

std::string format_bytes(std::size_t bytes) {
  const double mib = static_cast<double>(bytes) / 1048576.0;
  return mib >= 1024.0 ? formatted("%.2f GiB", mib / 1024.0) : formatted("%.1f MiB", mib);
}

Progress::Progress(std::int64_t total_steps, std::int64_t log_every, bool speaks, const std::filesystem::path& log)
    : total_steps_(total_steps), log_every_(log_every), speaks_(speaks), terminal_(speaks && isatty(STDERR_FILENO) == 1) {
  try {
    if (!log.empty()) log_.emplace(log, 0);
  } catch (const Error& error) {
    std::fprintf(stderr, "warning: %s; the run goes on without this log\n", error.what());
  }
}

void Progress::step(const StepRecord& record, double tokens_per_second, double seconds_left) {
  const std::string figures =
      formatted("loss %.4f  norm %.3f  lr %.2e  %s tok/s  %s left", record.loss.value_or(0.0), record.grad_norm.value_or(0.0),
                record.learning_rate, format_count(tokens_per_second).c_str(), format_duration(seconds_left).c_str());
  const bool plain = record.step % log_every_ == 0 || record.step == total_steps_;
  const std::string line = formatted("step %lld/%lld  ", record.step, total_steps_) + figures;
  if (plain && log_) log_->append(line + "\n");
  if (terminal_) {
    const double share = static_cast<double>(record.step) / static_cast<double>(std::max<std::int64_t>(total_steps_, 1));
    const auto now = std::chrono::steady_clock::now();
    if (record.step < total_steps_ && now - last_rewrite_ < std::chrono::milliseconds(50)) return;
    last_rewrite_ = now;
    rewrite(bar(share, 24) + formatted(" %lld/%lld  ", record.step, total_steps_) + figures);
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

void Progress::note(const std::string& text) {
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
  double x_low = std::numeric_limits<double>::max(), x_high = -x_low, y_low = x_low, y_high = -x_low;
  for (const ChartSeries& one : series) {
    for (const auto& [x, y] : one.points) {
      if (!std::isfinite(y)) continue;
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
      if (!std::isfinite(y)) continue;
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
  const char* label = largest >= 0.1 && largest < 1e4 ? "%8.3f ┤" : "%8.2e ┤";
  std::string text;
  for (int row = 0; row < rows; ++row) {
    const double y = y_high - (y_high - y_low) * row / (rows - 1);
    text += row % 3 == 0 || row == rows - 1 ? formatted(label, y) : std::string("         │");
    text += grid[static_cast<std::size_t>(row)] + "\n";
  }
  text += "         └";
  for (int column = 0; column < columns; ++column) text += "─";
  const std::string left = formatted("%.0f", x_low);
  const std::string right = formatted("%.0f", x_high) + " " + x_label;
  const int gap = std::max(1, columns - static_cast<int>(left.size() + right.size()));
  text += "\n          " + left + std::string(static_cast<std::size_t>(gap), ' ') + right + "\n          ";
  for (const ChartSeries& one : series)
    if (!one.points.empty()) text += formatted("%c %s   ", one.mark, one.name.c_str());
  return text + "\n";
}

}  // namespace temper
