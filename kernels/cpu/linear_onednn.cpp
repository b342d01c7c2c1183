#include "kernels/cpu/linear_common.h"

namespace temper::cpu {

std::unique_ptr<Linear> make_linear() { return std::make_unique<PanelLinear>(); }

}  // namespace temper::cpu
