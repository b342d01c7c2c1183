// What a person sees of a run: a progress line that rewrites itself on a terminal, one readable line a step elsewhere, and a
// chart of the losses at the end. All of it goes to stderr, of several ranks only rank 0's; each of those has a log of its own
// beside that. None of it can stop a run.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/append_log.h"
#include "io/text.h"
#include "train/step_record.h"

namespace temper {

class Progress {
 public:
  /// `total_steps` of the run; `log_every`: steps between plain lines (a terminal's line is always fresh). `speaks`: to stderr.
  /// Plain lines are added to the file `log` as well, unless it is empty or cannot be written.
  Progress(std::int64_t total_steps, std::int64_t log_every, bool speaks = true, const std::filesystem::path& log = {});

  void step(const StepRecord& record, double tokens_per_second, double seconds_left);
  /// A long-running part of a step, e.g. "validating", share in [0, 1]. Shown on a terminal only.
  void activity(const std::string& what, double share);
  /// Takes the progress line off the terminal.
  void clear();
  /// A line of its own that stays, made harmless: a note may quote names.
  void note(const std::string& message);
  /// Lines that stay, as they are.
  void print(const std::string& text);

 private:
  void rewrite(const std::string& line);

  std::int64_t total_steps_;
  std::int64_t log_every_;
  bool speaks_;
  bool terminal_;
  std::optional<AppendLog> log_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_rewrite_{};
};

/// A chart of one or two series over the same axis in block characters: `columns` x `rows` characters plus axes and legend. Points
/// that are not finite are left out.
struct ChartSeries {
  std::string name;
  char mark;
  std::vector<std::pair<double, double>> points;
};
std::string draw_chart(const std::vector<ChartSeries>& series, int columns, int rows, const std::string& x_label);

}  // namespace temper
