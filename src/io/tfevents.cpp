#include "io/tfevents.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <numeric>
#include <system_error>

#include "io/append_log.h"
#include "io/descriptor.h"
#include "io/file.h"

namespace temper {
namespace {

constexpr std::array<std::uint32_t, 256> crc32c_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0x82f63b78u : 0u);
    table[byte] = remainder;
  }
  return table;
}();

// Protocol buffers' wire format, of which four forms are needed.
enum class Wire : std::uint32_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void put_varint(std::string& message, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) message += static_cast<char>((value & 0x7f) | 0x80);
  message += static_cast<char>(value);
}

void put_key(std::string& message, std::uint32_t field, Wire wire) {
  put_varint(message, (field << 3) | static_cast<std::uint32_t>(wire));
}

template <typename Value>
void put_raw(std::string& message, Value value) {  // little-endian, as this machine's memory
  std::array<char, sizeof(Value)> bytes{};
  std::memcpy(bytes.data(), &value, sizeof(Value));
  message.append(bytes.data(), bytes.size());
}

void put_int64(std::string& message, std::uint32_t field, std::int64_t value) {
  put_key(message, field, Wire::varint);
  put_varint(message, static_cast<std::uint64_t>(value));
}

void put_double(std::string& message, std::uint32_t field, double value) {
  put_key(message, field, Wire::fixed64);
  put_raw(message, value);
}

void put_float(std::string& message, std::uint32_t field, float value) {
  put_key(message, field, Wire::fixed32);
  put_raw(message, value);
}

void put_bytes(std::string& message, std::uint32_t field, std::string_view value) {
  put_key(message, field, Wire::bytes);
  put_varint(message, value.size());
  message += value;
}

/// Repeated doubles, packed.
void put_doubles(std::string& message, std::uint32_t field, const std::vector<double>& values) {
  std::string all;
  for (const double value : values) put_raw(all, value);
  put_bytes(message, field, all);
}

// Field numbers of event.proto and summary.proto.
namespace event {
constexpr std::uint32_t wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7;
}
namespace session_log {
constexpr std::uint32_t status = 1;
constexpr std::int64_t start = 1;
}  // namespace session_log
namespace summary {
constexpr std::uint32_t value = 1;
}
namespace summary_value {
constexpr std::uint32_t tag = 1, simple_value = 2, histo = 5;
}
namespace histogram {
constexpr std::uint32_t min = 1, max = 2, num = 3, sum = 4, sum_squares = 5, bucket_limit = 6, bucket = 7;
}

double seconds_since_epoch() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string begin_event(std::int64_t step) {
  std::string message;
  put_double(message, event::wall_time, seconds_since_epoch());
  if (step != 0) put_int64(message, event::step, step);
  return message;
}

// CRCs are masked because a CRC over data that contain their own CRC is weak.
std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

std::string frame(const std::string& payload) {
  std::string record;
  put_raw(record, std::uint64_t{payload.size()});
  put_raw(record, masked_crc(record));
  record += payload;
  put_raw(record, masked_crc(payload));
  return record;
}

constexpr std::string_view name_prefix = "events.out.tfevents.";

// TensorBoard reads the files of a folder in the order of their names. So a new one must sort behind those of earlier starts,
// also when it begins within the same second or after the clock went back.
std::int64_t seconds_for_name(const std::filesystem::path& folder) {
  auto seconds = static_cast<std::int64_t>(seconds_since_epoch());
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(name_prefix)) continue;
    std::int64_t earlier = 0;
    std::from_chars(name.data() + name_prefix.size(), name.data() + name.size(), earlier);
    if (earlier < 9'999'999'999) seconds = std::max(seconds, earlier + 1);
  }
  return seconds;
}

std::int64_t event_files_in(const std::filesystem::path& folder) {
  std::error_code ignored;
  const std::filesystem::directory_iterator files(folder, ignored);
  return std::count_if(begin(files), end(files),
                       [](const auto& entry) { return entry.path().filename().string().starts_with(name_prefix); });
}

std::filesystem::path new_file_in(const std::filesystem::path& folder) {
  make_inner_folder(folder);
  return folder / fmt::format("{}{:010}.{}.{}.0", name_prefix, seconds_for_name(folder), host_name(), ::getpid());
}

}  // namespace

struct EventFile::State {
  AppendLog log;

  /// One event with all values of a step; put(message, value) writes one.
  template <typename Value, typename Put>
  void append_summary(std::int64_t step, const std::vector<std::pair<std::string, Value>>& values, Put put) {
    std::string all;
    for (const auto& [tag, value] : values) {
      std::string one;
      put_bytes(one, summary_value::tag, tag);
      put(one, value);
      put_bytes(all, summary::value, one);
    }
    std::string message = begin_event(step);
    put_bytes(message, event::summary, all);
    log.append(frame(message));
  }
};

EventFile::EventFile(const std::filesystem::path& folder, std::int64_t first_step)
    : state_(std::make_unique<State>(AppendLog(new_file_in(folder), O_EXCL))) {
  std::string version = begin_event(0);
  put_bytes(version, event::file_version, "brain.Event:2");
  state_->log.append(frame(version));
  if (first_step <= 0 && event_files_in(folder) == 1) return;
  std::string status;
  put_int64(status, session_log::status, session_log::start);
  std::string restart = begin_event(first_step);
  put_bytes(restart, event::session_log, status);
  state_->log.append(frame(restart));
}

EventFile::~EventFile() = default;

void EventFile::scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  state_->append_summary(
      step, values, [](std::string& one, double value) { put_float(one, summary_value::simple_value, static_cast<float>(value)); });
}

void EventFile::histograms(std::int64_t step, const std::vector<std::pair<std::string, EventHistogram>>& values) {
  state_->append_summary(step, values, [](std::string& one, const EventHistogram& value) {
    std::string histo;
    put_double(histo, histogram::min, value.min);
    put_double(histo, histogram::max, value.max);
    put_double(histo, histogram::num, std::accumulate(value.counts.begin(), value.counts.end(), 0.0));
    put_double(histo, histogram::sum, value.sum);
    put_double(histo, histogram::sum_squares, value.sum_squares);
    put_doubles(histo, histogram::bucket_limit, value.limits);
    put_doubles(histo, histogram::bucket, value.counts);
    put_bytes(one, summary_value::histo, histo);
  });
}

void EventFile::flush() { state_->log.sync(); }

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t remainder = 0xffffffffu;
  for (const char byte : bytes) remainder = (remainder >> 8) ^ crc32c_table[(remainder ^ static_cast<unsigned char>(byte)) & 0xff];
  return remainder ^ 0xffffffffu;
}

}  // namespace temper
