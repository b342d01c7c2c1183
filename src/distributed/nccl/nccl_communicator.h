// Collectives over NCCL beside the work of one stream. Compiled for CUDA and, by tests, for the emulation.
#pragma once

#include <memory>
#include <string>

#include "distributed/communicator.h"

namespace temper::TEMPER_BACKEND {

/// `stream` is the cudaStream_t of the device's work. Throws as make_nccl_communicator.
std::unique_ptr<Communicator> make_communicator(const Launch& launch, const std::string& key, const CommunicatorSettings& settings,
                                                void* stream);

}  // namespace temper::TEMPER_BACKEND
