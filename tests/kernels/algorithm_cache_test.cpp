#include "kernels/algorithm_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace temper {
namespace {

namespace fs = std::filesystem;
using Algorithm = AlgorithmCache::Algorithm;

class AlgorithmCacheTest : public testing::Test {
 protected:
  AlgorithmCacheTest() {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::path(testing::TempDir()) / ("temper_algorithm_cache_" + name);
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    path_ = (folder_ / "algorithms").string();
  }
  ~AlgorithmCacheTest() override { fs::remove_all(folder_); }

  std::string contents() const {
    std::ostringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

  static Algorithm algorithm(int first) {
    Algorithm bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(static_cast<std::size_t>(first) + 5 * i);
    return bytes;
  }

  fs::path folder_;
  std::string path_;
};

constexpr const char* gpu = "NVIDIA H200, 132 multiprocessors, cuBLASLt 13.1.0";
constexpr const char* product = "m=65536 n=768 k=3072";

TEST_F(AlgorithmCacheTest, ChoicesOutliveTheProcess) {
  AlgorithmCache first(path_, gpu);
  EXPECT_EQ(first.find(product), std::nullopt);
  EXPECT_EQ(first.keep(product, algorithm(0)), algorithm(0));
  first.keep("another", algorithm(200));  // bytes above 127, and a second line
  EXPECT_EQ(first.find(product), algorithm(0));

  const AlgorithmCache second(path_, gpu);
  EXPECT_EQ(second.find(product), algorithm(0));
  EXPECT_EQ(second.find("another"), algorithm(200));
  EXPECT_EQ(second.find("m=65536 n=768 k=307"), std::nullopt);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1) << "a temporary file was left";
}

TEST_F(AlgorithmCacheTest, AnotherGpuHasChoicesOfItsOwn) {
  AlgorithmCache(path_, gpu).keep(product, algorithm(1));
  AlgorithmCache other(path_, "NVIDIA H100");
  EXPECT_EQ(other.find(product), std::nullopt);
  other.keep(product, algorithm(2));
  EXPECT_EQ(AlgorithmCache(path_, gpu).find(product), algorithm(1));
  EXPECT_EQ(AlgorithmCache(path_, "NVIDIA H100").find(product), algorithm(2));
}

// Two processes of one run: the file must hold what both compute with.
TEST_F(AlgorithmCacheTest, TheFirstChoiceStands) {
  AlgorithmCache first(path_, gpu), second(path_, gpu);
  first.keep(product, algorithm(1));
  EXPECT_EQ(second.keep(product, algorithm(2)), algorithm(1));
  EXPECT_EQ(second.find(product), algorithm(1));
  second.keep("another", algorithm(3));
  EXPECT_EQ(AlgorithmCache(path_, gpu).find(product), algorithm(1));
  EXPECT_EQ(AlgorithmCache(path_, gpu).find("another"), algorithm(3));
}

TEST_F(AlgorithmCacheTest, ADamagedByteCostsNoMoreThanItsLine) {
  AlgorithmCache cache(path_, gpu);
  cache.keep("first", algorithm(1));
  cache.keep("second", algorithm(2));
  const std::string whole = contents();
  for (std::size_t place = 0; place < whole.size(); ++place) {
    const char damage = std::string("0\t\n\0\xff", 5)[place % 5];
    if (whole[place] == damage) continue;
    std::string text = whole;
    text[place] = damage;
    write(text);
    const AlgorithmCache damaged(path_, gpu);
    const auto one = damaged.find("first"), two = damaged.find("second");
    EXPECT_TRUE(one == std::nullopt || one == algorithm(1)) << place;
    EXPECT_TRUE(two == std::nullopt || two == algorithm(2)) << place;
    const bool in_a_line = place > whole.find('\n') && whole[place] != '\n';
    if (in_a_line) {
      EXPECT_NE(one.has_value(), two.has_value()) << place;
    }
  }
}

TEST_F(AlgorithmCacheTest, AFileCutShortKeepsItsWholeLinesAndIsMended) {
  AlgorithmCache cache(path_, gpu);
  cache.keep("first", algorithm(1));
  cache.keep("second", algorithm(2));
  const std::string whole = contents();
  for (std::size_t length = 0; length < whole.size(); length += 5) {
    write(whole.substr(0, length));
    EXPECT_NO_THROW(AlgorithmCache(path_, gpu));
  }
  write(whole.substr(0, whole.size() - 9));
  AlgorithmCache cut(path_, gpu);
  EXPECT_EQ(cut.find("first"), algorithm(1));
  EXPECT_EQ(cut.find("second"), std::nullopt);
  cut.keep("second", algorithm(2));
  EXPECT_EQ(contents(), whole);
}

TEST_F(AlgorithmCacheTest, SomebodyElsesFileStaysAsItIs) {
  const std::string foreign = "{\"model\": \"gpt2\"}\n";
  write(foreign);
  AlgorithmCache cache(path_, gpu);
  EXPECT_EQ(cache.keep(product, algorithm(1)), algorithm(1));
  EXPECT_EQ(cache.find(product), algorithm(1)) << "stands for this process";
  EXPECT_EQ(contents(), foreign);
}

TEST_F(AlgorithmCacheTest, WithoutAPlaceToWriteAChoiceStandsForTheProcess) {
  for (const std::string& path : {folder_.string(), (folder_ / "missing" / "algorithms").string(), std::string("/dev/full")}) {
    SCOPED_TRACE(path);
    AlgorithmCache cache(path, gpu);
    EXPECT_EQ(cache.keep(product, algorithm(1)), algorithm(1));
    EXPECT_EQ(cache.find(product), algorithm(1));
    EXPECT_EQ(AlgorithmCache(path, gpu).find(product), std::nullopt);
  }
  AlgorithmCache none("", gpu);
  EXPECT_FALSE(none.has_file());
  EXPECT_EQ(none.keep(product, algorithm(1)), algorithm(1));
}

TEST_F(AlgorithmCacheTest, NamesCannotBreakLines) {
  AlgorithmCache(path_, "GPU\twith\ntabs").keep("pro\tduct\n", algorithm(1));
  EXPECT_EQ(AlgorithmCache(path_, "GPU\twith\ntabs").find("pro\tduct\n"), algorithm(1));
}

}  // namespace
}  // namespace temper
