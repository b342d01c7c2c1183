// What NVIDIA's profilers would see of this process: ranges, and which of them lie between cudaProfilerStart and cudaProfilerStop.
#pragma once

#include <string>
#include <vector>

namespace temper::emulated {

/// Of this thread's ranges the one that was opened last; empty outside of any.
std::string innermost_range();

struct Profile {
  int starts = 0, stops = 0;
  bool idle = true;                 ///< the GPU had nothing left to do at any of them
  std::vector<std::string> ranges;  ///< opened in between, each behind those around it: "step 3/forward/layer 0"
  int graphs = 0;                   ///< launched in between
  int other_graphs = 0;             ///< launched before or after
};

/// What there was since the last call.
Profile take_profile();

void count_graph_launch();

}  // namespace temper::emulated
