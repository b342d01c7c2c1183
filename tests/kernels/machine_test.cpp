#include "kernels/machine.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>

#include "kernels/check.h"

namespace temper {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

// A root with the files that the kernel would show to a process.
class Root {
 public:
  explicit Root(const std::map<std::string, std::string>& files)
      : path_(fs::temp_directory_path() / ("machine_test." + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    for (const auto& [name, contents] : files) {
      fs::create_directories((path_ / name).parent_path());
      std::ofstream(path_ / name) << contents;
    }
  }
  ~Root() { fs::remove_all(path_); }
  GroupLimits limits() const { return group_limits(path_); }

 private:
  fs::path path_;
};

const std::string version_2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";

TEST(GroupLimits, TheNarrowestOfTheGroupAndAllAboveIt) {
  const Root root({{"proc/self/cgroup", "0::/system.slice/slurmstepd.scope/job_7/step_0\n"},
                   {"proc/self/mountinfo", version_2},
                   {"sys/fs/cgroup/system.slice/memory.max", "max\n"},
                   {"sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max", "4000\n"},
                   {"sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.current", "1500\n"},
                   {"sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.stat", "anon 200\ninactive_file 500\n"},
                   {"sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/memory.max", "5000\n"},
                   {"sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/cpu.max", "150000 100000\n"},
                   {"sys/fs/cgroup/system.slice/pids.max", "70\n"},
                   {"sys/fs/cgroup/system.slice/slurmstepd.scope/pids.max", "max\n"},
                   {"sys/fs/cgroup/cpu.max", "max 100000\n"}});
  const GroupLimits limits = root.limits();
  EXPECT_EQ(limits.memory, 4000u);
  EXPECT_EQ(limits.available, 3000u);  // the page cache can be dropped
  EXPECT_EQ(limits.processors, 1.5);
  EXPECT_EQ(limits.tasks, 70u);
}

TEST(GroupLimits, VersionOneHasAHierarchyPerController) {
  const Root root({{"proc/self/cgroup", "9:memory:/user/a\n7:cpu,cpuacct:/user\n0::/\n"},
                   {"proc/self/mountinfo",
                    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                    "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"},
                   {"sys/fs/cgroup/memory/user/a/memory.limit_in_bytes", "9223372036854771712\n"},  // none, as the kernel says it
                   {"sys/fs/cgroup/memory/user/memory.limit_in_bytes", "8000\n"},
                   {"sys/fs/cgroup/memory/user/memory.usage_in_bytes", "9000\n"},
                   {"sys/fs/cgroup/cpu,cpuacct/user/cpu.cfs_quota_us", "50000\n"},
                   {"sys/fs/cgroup/cpu,cpuacct/user/cpu.cfs_period_us", "100000\n"},
                   {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"},
                   {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"}});
  const GroupLimits limits = root.limits();
  EXPECT_EQ(limits.memory, 8000u);
  EXPECT_EQ(limits.available, 0u);
  EXPECT_EQ(limits.processors, 0.5);
}

TEST(GroupLimits, InAContainerTheGroupIsWhatIsMounted) {
  const Root root({{"proc/self/cgroup", "0::/docker/abc/run\n"},
                   {"proc/self/mountinfo", "31 23 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"},
                   {"sys/fs/cgroup/memory.max", "6000\n"},
                   {"sys/fs/cgroup/run/memory.max", "7000\n"}});
  EXPECT_EQ(root.limits().memory, 6000u);
}

TEST(GroupLimits, NothingLimitsWhereNothingIsSaid) {
  for (const std::map<std::string, std::string>& files :
       {std::map<std::string, std::string>{{"proc/self/cgroup", "0::/a\n"}},
        std::map<std::string, std::string>{{"proc/self/mountinfo", version_2}},
        std::map<std::string, std::string>{{"proc/self/cgroup", "0::/../outside\n"}, {"proc/self/mountinfo", version_2}}}) {
    const GroupLimits limits = Root(files).limits();
    EXPECT_EQ(limits.memory, unlimited);
    EXPECT_EQ(limits.available, unlimited);
    EXPECT_TRUE(std::isinf(limits.processors));
  }
}

// Threads whose stacks are larger than the address space cannot be made, and of those that are a third of what is left of it only two.
TEST(Threads, ThatCannotBeMadeAreAnErrorThatSaysHowMany) {
  if (mallinfo2().arena == 0) GTEST_SKIP() << "a sanitizer's own maps take address space, which is limited here";
  pthread_attr_t before, large;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  pthread_attr_init(&large);
  rlimit space{};
  getrlimit(RLIMIT_AS, &space);
  const auto count_error = [&](std::size_t stack, rlim_t most) {
    pthread_attr_setstacksize(&large, stack);
    pthread_setattr_default_np(&large);
    rlimit less = space;
    less.rlim_cur = most;
    setrlimit(RLIMIT_AS, &less);
    std::string said;
    try {
      require_threads(3);
    } catch (const OutOfMemory& error) {
      said = error.what();
    }
    setrlimit(RLIMIT_AS, &space);
    return said;
  };
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const std::size_t stack = std::size_t{1} << 30;
  EXPECT_EQ(count_error(std::size_t{1} << 47, space.rlim_cur).find("cannot start 3 threads, only 0 "), 0u);
  EXPECT_EQ(count_error(stack, pages * 4096 + 5 * stack / 2).find("cannot start 3 threads, only 2 "), 0u);
  EXPECT_EQ(count_error(stack, space.rlim_cur), "");
  pthread_setattr_default_np(&before);
}

TEST(Machine, SaysSomethingOfThisOne) {
  EXPECT_GE(usable_processors(), 1);
  EXPECT_GT(memory_limit(), std::size_t{1} << 20);
  EXPECT_LE(memory_available(), memory_limit());
}

}  // namespace
}  // namespace temper
