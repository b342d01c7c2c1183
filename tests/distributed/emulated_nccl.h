// The communicator over NCCL on emulated GPUs: several ranks are threads of the test.
#pragma once

#include <memory>
#include <string>

#include "distributed/communicator.h"

namespace temper {

/// As make_nccl_communicator; `ops` is an emulated backend that this thread made.
std::unique_ptr<Communicator> make_emulated_communicator(const Launch& launch, const std::string& key,
                                                         const CommunicatorSettings& settings, Ops& ops);

}  // namespace temper
