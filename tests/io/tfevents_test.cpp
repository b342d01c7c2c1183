#include "io/tfevents.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "io/file.h"
#include "temporary_folder.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

// A reader written from the format's description alone, so that writer and test do not share a mistake.
template <typename Value>
Value raw(const std::string& text, std::size_t place) {
  Value value;
  std::memcpy(&value, text.data() + place, sizeof(value));
  return value;
}

std::uint32_t unmask(std::uint32_t masked) {
  const std::uint32_t rotated = masked - 0xa282ead8u;
  return (rotated >> 17) | (rotated << 15);
}

std::vector<std::string> payloads(const fs::path& path) {
  const std::string text = read_file(path);
  std::vector<std::string> result;
  for (std::size_t place = 0; place < text.size();) {
    const auto length = raw<std::uint64_t>(text, place);
    EXPECT_EQ(unmask(raw<std::uint32_t>(text, place + 8)), crc32c(text.substr(place, 8)));
    result.push_back(text.substr(place + 12, length));
    EXPECT_EQ(result.back().size(), length);
    EXPECT_EQ(unmask(raw<std::uint32_t>(text, place + 12 + length)), crc32c(result.back()));
    place += 16 + length;
  }
  return result;
}

struct Field {
  std::uint64_t number = 0;
  std::uint64_t varint = 0;
  std::string bytes;
};

std::vector<Field> fields(const std::string& message) {
  std::vector<Field> result;
  std::size_t place = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(message.at(place++));
      value |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
  };
  while (place < message.size()) {
    const std::uint64_t key = varint();
    Field field{key >> 3, 0, ""};
    if ((key & 7) == 0) {
      field.varint = varint();
    } else {
      const std::size_t size = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : varint();
      field.bytes = message.substr(place, size);
      place += size;
    }
    result.push_back(field);
  }
  return result;
}

std::optional<Field> field(const std::string& message, std::uint64_t number) {
  for (const Field& candidate : fields(message)) {
    if (candidate.number == number) return candidate;
  }
  return std::nullopt;
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> result(fs::directory_iterator(folder), fs::directory_iterator{});
  std::sort(result.begin(), result.end());
  return result;
}

TEST(Crc32c, PublishedVectors) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);    // RFC 3720, B.4
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);  // RFC 3720, B.4
}

TEST(EventFile, FramesHoldVersionAndScalars) {
  const TemporaryFolder folder;
  {
    EventFile events(folder / "tensorboard", 0);
    events.scalars(300, {{"train/loss", 2.5}, {"opt/lr", 1e-4}});
    events.scalars(-1, {{"x", 0}});
    events.flush();
  }
  const std::vector<fs::path> files = files_in(folder / "tensorboard");
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].filename().string().find("events.out.tfevents."), 0u);
  const std::vector<std::string> events = payloads(files[0]);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(field(events[0], 3)->bytes, "brain.Event:2");
  EXPECT_GT(raw<double>(field(events[0], 1)->bytes, 0), 1.6e9);
  EXPECT_EQ(field(events[1], 2)->varint, 300u);
  const std::vector<Field> values = fields(field(events[1], 5)->bytes);
  ASSERT_EQ(values.size(), 2u);
  EXPECT_EQ(field(values[0].bytes, 1)->bytes, "train/loss");
  EXPECT_EQ(raw<float>(field(values[0].bytes, 2)->bytes, 0), 2.5f);
  EXPECT_EQ(raw<float>(field(values[1].bytes, 2)->bytes, 0), 1e-4f);
  EXPECT_EQ(static_cast<std::int64_t>(field(events[2], 2)->varint), -1);
}

TEST(EventFile, HistogramsArePackedDoubles) {
  const TemporaryFolder folder;
  EventFile(folder.path(), 0).histograms(4, {{"weights/a", {-1.0, 2.0, 3.0, 5.0, {0.0, 2.0}, {1.0, 4.0}}}});
  const std::string value = field(field(payloads(files_in(folder.path())[0])[1], 5)->bytes, 1)->bytes;
  EXPECT_EQ(field(value, 1)->bytes, "weights/a");
  const std::string histogram = field(value, 5)->bytes;
  const std::vector<double> numbers = {-1.0, 2.0, 5.0, 3.0, 5.0};  // min, max, count, sum, sum of squares
  for (std::uint64_t number = 1; number <= 5; ++number)
    EXPECT_EQ(raw<double>(field(histogram, number)->bytes, 0), numbers[number - 1]) << number;
  ASSERT_EQ(field(histogram, 6)->bytes.size(), 16u);
  EXPECT_EQ(raw<double>(field(histogram, 6)->bytes, 8), 2.0);
  ASSERT_EQ(field(histogram, 7)->bytes.size(), 16u);
  EXPECT_EQ(raw<double>(field(histogram, 7)->bytes, 8), 4.0);
}

TEST(EventFile, AResumedRunStartsWithASessionLog) {
  const TemporaryFolder folder;
  { EventFile(folder.path(), 0).scalars(7, {{"a", 1}}); }
  { EventFile(folder.path(), 5).scalars(5, {{"a", 2}}); }
  const std::vector<fs::path> files = files_in(folder.path());
  ASSERT_EQ(files.size(), 2u) << "two starts within a second need two names";
  const std::vector<std::string> events = payloads(files[1]);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(field(events[1], 2)->varint, 5u);
  EXPECT_EQ(field(field(events[1], 7)->bytes, 1)->varint, 1u);
  EXPECT_FALSE(field(payloads(files[0])[1], 7).has_value());
}

TEST(EventFile, ARunThatBeginsAgainDropsAllOfTheFirst) {
  const TemporaryFolder folder;
  { EventFile(folder.path(), 0).scalars(7, {{"a", 1}}); }
  { EventFile(folder.path(), 0).scalars(0, {{"a", 2}}); }
  const std::vector<std::string> events = payloads(files_in(folder.path())[1]);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_FALSE(field(events[1], 2).has_value()) << "step 0 is not written";
  EXPECT_EQ(field(field(events[1], 7)->bytes, 1)->varint, 1u);
}

TEST(EventFile, SortsBehindAFileOfTheFuture) {
  const TemporaryFolder folder;
  std::ofstream(folder / "events.out.tfevents.4000000000.host.1.0") << "";
  std::ofstream(folder / "events.out.tfevents.99999999999999.host.1.0") << "";  // not a time; ignored
  std::ofstream(folder / "events.out.tfevents.x") << "";
  EventFile(folder.path(), 0);
  EXPECT_NE(files_in(folder.path())[1].string().find("tfevents.4000000001."), std::string::npos);
}

TEST(EventFile, CannotBeginWhereNoFolderCanBe) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", "");
  EXPECT_THROW(EventFile(folder / "file" / "tensorboard", 0), std::runtime_error);
}

}  // namespace
}  // namespace temper
