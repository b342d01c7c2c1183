#include "distributed/stacks.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

namespace temper {
namespace {

TEST(Stacks, ShowEveryThread) {
  std::atomic<bool> go_on = false, waits = false;
  std::thread stuck([&] {
    waits = true;
    while (!go_on) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  while (!waits) std::this_thread::yield();
  testing::internal::CaptureStderr();
  print_stacks();
  const std::string text = testing::internal::GetCapturedStderr();
  go_on = true;
  stuck.join();
  // Its lines are of the kind that addr2line takes: "FILE(NAME+0x1) [0x2]".
  std::size_t threads = 0, with_frames = 0;
  for (std::size_t at = text.find("thread "); at != std::string::npos; at = text.find("\nthread ", at + 1)) {
    ++threads;
    const std::size_t line = text.find('\n', at + 1);
    with_frames +=
        line != std::string::npos && text.compare(line + 1, 7, "thread ") != 0 && text.find("[0x", line) != std::string::npos;
  }
  EXPECT_EQ(threads, 2u) << text;
  EXPECT_EQ(with_frames, 2u) << text;
}

}  // namespace
}  // namespace temper
