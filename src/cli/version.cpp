// By itself, since it is compiled anew for every commit.
#include "cli/commands.h"

namespace temper {

const char* const version = TEMPER_VERSION;
const char* const version_and_build = TEMPER_VERSION ", " TEMPER_BUILD;

}  // namespace temper
