#include "kernels/choice_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace temper {
namespace {

namespace fs = std::filesystem;

class ChoiceCacheTest : public testing::Test {
 protected:
  ChoiceCacheTest() {
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = fs::path(testing::TempDir()) / ("temper_choice_cache_" + name);
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    path_ = (folder_ / "algorithms").string();
  }
  ~ChoiceCacheTest() override { fs::remove_all(folder_); }

  std::string contents() const {
    std::ostringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }

  static std::string algorithm(int first) { return "a0 7f ff " + std::to_string(first); }

  fs::path folder_;
  std::string path_;
};

constexpr const char* gpu = "NVIDIA H200, 132 multiprocessors, cuBLASLt 13.1.0";
constexpr const char* product = "m=65536 n=768 k=3072";

TEST_F(ChoiceCacheTest, ChoicesOutliveTheProcess) {
  ChoiceCache first(path_, gpu);
  EXPECT_EQ(first.find(product), std::nullopt);
  EXPECT_EQ(first.keep(product, algorithm(0)), algorithm(0));
  first.keep("another", algorithm(200));  // bytes above 127, and a second line
  EXPECT_EQ(first.find(product), algorithm(0));

  ChoiceCache second(path_, gpu);
  EXPECT_EQ(second.find(product), algorithm(0));
  EXPECT_EQ(second.find("another"), algorithm(200));
  EXPECT_EQ(second.find("m=65536 n=768 k=307"), std::nullopt);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1) << "a temporary file was left";
}

TEST_F(ChoiceCacheTest, AnotherGpuHasChoicesOfItsOwn) {
  ChoiceCache(path_, gpu).keep(product, algorithm(1));
  ChoiceCache other(path_, "NVIDIA H100");
  EXPECT_EQ(other.find(product), std::nullopt);
  other.keep(product, algorithm(2));
  EXPECT_EQ(ChoiceCache(path_, gpu).find(product), algorithm(1));
  EXPECT_EQ(ChoiceCache(path_, "NVIDIA H100").find(product), algorithm(2));
}

// Two processes of one run: the file must hold what both compute with.
TEST_F(ChoiceCacheTest, TheFirstChoiceStands) {
  ChoiceCache first(path_, gpu), second(path_, gpu);
  first.keep(product, algorithm(1));
  EXPECT_EQ(second.keep(product, algorithm(2)), algorithm(1));
  EXPECT_EQ(second.find(product), algorithm(1));
  second.keep("another", algorithm(3));
  EXPECT_EQ(ChoiceCache(path_, gpu).find(product), algorithm(1));
  EXPECT_EQ(ChoiceCache(path_, gpu).find("another"), algorithm(3));
}

TEST_F(ChoiceCacheTest, WhatIsPutStandsInItsPlace) {
  ChoiceCache(path_, "another GPU").keep(product, algorithm(1));
  ChoiceCache cache(path_, gpu);
  cache.keep(product, algorithm(2));
  ChoiceCache(path_, gpu).put(product, algorithm(3));
  EXPECT_EQ(ChoiceCache(path_, gpu).find(product), algorithm(3));
  cache.put(product, algorithm(4));
  EXPECT_EQ(cache.find(product), algorithm(4));
  EXPECT_EQ(ChoiceCache(path_, gpu).find(product), algorithm(4));
  EXPECT_EQ(ChoiceCache(path_, "another GPU").find(product), algorithm(1));

  write("somebody else's\n");
  cache.put(product, algorithm(5));
  EXPECT_EQ(cache.find(product), algorithm(5));
  EXPECT_EQ(contents(), "somebody else's\n");
  ChoiceCache nowhere("", gpu);
  nowhere.put(product, algorithm(6));
  EXPECT_EQ(nowhere.find(product), algorithm(6));
}

TEST_F(ChoiceCacheTest, ADamagedByteCostsNoMoreThanItsLine) {
  ChoiceCache cache(path_, gpu);
  cache.keep("first", algorithm(1));
  cache.keep("second", algorithm(2));
  const std::string whole = contents();
  for (std::size_t place = 0; place < whole.size(); ++place) {
    const char damage = std::string("0\t\n\0\xff", 5)[place % 5];
    if (whole[place] == damage) continue;
    std::string text = whole;
    text[place] = damage;
    write(text);
    ChoiceCache damaged(path_, gpu);
    const auto one = damaged.find("first"), two = damaged.find("second");
    EXPECT_TRUE(one == std::nullopt || one == algorithm(1)) << place;
    EXPECT_TRUE(two == std::nullopt || two == algorithm(2)) << place;
    const bool in_a_line = place > whole.find('\n') && whole[place] != '\n';
    if (in_a_line) {
      EXPECT_NE(one.has_value(), two.has_value()) << place;
    }
  }
}

TEST_F(ChoiceCacheTest, AFileCutShortKeepsItsWholeLinesAndIsMended) {
  ChoiceCache cache(path_, gpu);
  cache.keep("first", algorithm(1));
  cache.keep("second", algorithm(2));
  const std::string whole = contents();
  for (std::size_t length = 0; length < whole.size(); length += 5) {
    write(whole.substr(0, length));
    EXPECT_NO_THROW(ChoiceCache(path_, gpu));
  }
  write(whole.substr(0, whole.size() - 9));
  ChoiceCache cut(path_, gpu);
  EXPECT_EQ(cut.find("first"), algorithm(1));
  EXPECT_EQ(cut.find("second"), std::nullopt);
  cut.keep("second", algorithm(2));
  EXPECT_EQ(contents(), whole);
}

TEST_F(ChoiceCacheTest, SomebodyElsesFileStaysAsItIs) {
  const std::string foreign = "{\"model\": \"gpt2\"}\n";
  write(foreign);
  ChoiceCache cache(path_, gpu);
  EXPECT_EQ(cache.keep(product, algorithm(1)), algorithm(1));
  EXPECT_EQ(cache.find(product), algorithm(1)) << "stands for this process";
  EXPECT_EQ(contents(), foreign);
}

TEST_F(ChoiceCacheTest, WithoutAPlaceToWriteAChoiceStandsForTheProcess) {
  for (const std::string& path : {folder_.string(), (folder_ / "missing" / "algorithms").string(), std::string("/dev/full")}) {
    SCOPED_TRACE(path);
    ChoiceCache cache(path, gpu);
    EXPECT_EQ(cache.keep(product, algorithm(1)), algorithm(1));
    EXPECT_EQ(cache.find(product), algorithm(1));
    EXPECT_EQ(ChoiceCache(path, gpu).find(product), std::nullopt);
  }
  ChoiceCache none("", gpu);
  EXPECT_FALSE(none.wants_more());
  EXPECT_EQ(none.keep(product, algorithm(1)), algorithm(1));
}

TEST_F(ChoiceCacheTest, NamesCannotBreakLines) {
  ChoiceCache(path_, "GPU\twith\ntabs").keep("pro\tduct\n", algorithm(1));
  EXPECT_EQ(ChoiceCache(path_, "GPU\twith\ntabs").find("pro\tduct\n"), algorithm(1));
}

// A run fixes its choices: what the file says does not count any more, and nothing is added to it.
TEST_F(ChoiceCacheTest, ARunsChoicesAreThoseItWasMadeWith) {
  std::string text;
  {
    ChoiceCache first(path_, gpu);
    first.keep(product, algorithm(1));
    first.keep("not met again", algorithm(7));
    text = first.text();
  }
  fs::remove(path_);
  ChoiceCache(path_, gpu).keep(product, algorithm(2));
  const std::string file = contents();

  ChoiceCache resumed(path_, gpu);
  EXPECT_TRUE(resumed.wants_more());
  EXPECT_TRUE(resumed.fix(text));
  EXPECT_FALSE(resumed.wants_more());
  EXPECT_EQ(resumed.find(product), algorithm(1));
  EXPECT_EQ(resumed.find("another"), std::nullopt);
  EXPECT_EQ(resumed.keep("another", algorithm(3)), algorithm(3));
  EXPECT_EQ(resumed.text(), text) << "the next checkpoint keeps what this one had";
  EXPECT_EQ(contents(), file);
}

TEST_F(ChoiceCacheTest, OnAnotherGpuARunChoosesAnewAndForgetsNothing) {
  ChoiceCache first(path_, "NVIDIA H100");
  first.keep(product, algorithm(1));
  ChoiceCache moved(path_, gpu);
  EXPECT_FALSE(moved.fix(first.text()));
  EXPECT_TRUE(moved.wants_more());
  moved.keep(product, algorithm(2));
  const std::string both = moved.text();
  ChoiceCache back(path_, "NVIDIA H100");
  EXPECT_TRUE(back.fix(both));
  EXPECT_EQ(back.find(product), algorithm(1));
  EXPECT_EQ(back.text(), both);
}

TEST_F(ChoiceCacheTest, DamagedLinesOfARunAreNoChoices) {
  ChoiceCache first(path_, gpu);
  first.keep(product, algorithm(1));
  std::string text = first.text();
  text[text.size() / 2] ^= 1;
  ChoiceCache resumed(path_, gpu);
  EXPECT_FALSE(resumed.fix(text));
  EXPECT_EQ(resumed.text(), "");
}

}  // namespace
}  // namespace temper
