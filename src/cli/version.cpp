// By itself, since it is compiled anew for every commit.
#include <commit.h>

#include "cli/commands.h"

namespace temper {

const char* const version = TEMPER_VERSION;
const char* const commit = TEMPER_COMMIT;
const char* const version_and_build = TEMPER_VERSION ", commit " TEMPER_COMMIT ", " TEMPER_COMPILER;

}  // namespace temper
