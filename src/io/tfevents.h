// TensorBoard's event files: TFRecord frames (length, masked CRC-32C, payload, masked CRC-32C) around hand-encoded Event
// messages (tensorflow/core/util/event.proto): scalars and histograms.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace temper {

/// Counts of values in bins; bin i ends at limits[i] and begins where the one before ends (the first at `min`).
struct EventHistogram {
  double min = 0.0, max = 0.0;  ///< of the values
  double sum = 0.0, sum_squares = 0.0;
  std::vector<double> limits;
  std::vector<double> counts;
};

class EventFile {
 public:
  /// Opens `folder`/events.out.tfevents.SECONDS.HOST.PID.N, and makes the folder. Failing to: Error(ExitCode::io). `first_step`:
  /// the first step still to be written. Above 0, or behind older files, the first event after the version is a SessionLog START at
  /// that step, which makes TensorBoard drop first_step and all later steps of those.
  EventFile(const std::filesystem::path& folder, std::int64_t first_step);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  /// One event with all values of a step. A disk that is full or gone is reported once on stderr and never throws:
  /// training must not die of a log.
  void scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& values);
  void histograms(std::int64_t step, const std::vector<std::pair<std::string, EventHistogram>>& values);
  /// Each event reaches the file at once; this waits until the disk has them.
  void flush();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// CRC-32C (Castagnoli), as TFRecord frames need it.
std::uint32_t crc32c(std::string_view bytes);

}  // namespace temper
