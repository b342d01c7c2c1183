// What temper uses of NCCL; see cuda_declarations.h.
TEMPER_VALUE(ncclResult_t, ncclSuccess, 0);
TEMPER_VALUE(ncclResult_t, ncclInvalidArgument, 4);
TEMPER_VALUE(ncclResult_t, ncclInvalidUsage, 5);
TEMPER_VALUE(ncclResult_t, ncclInProgress, 7);
TEMPER_VALUE(ncclRedOp_t, ncclSum, 0);
TEMPER_VALUE(ncclDataType_t, ncclChar, 0);
TEMPER_VALUE(ncclDataType_t, ncclFloat, 7);
TEMPER_VALUE(ncclDataType_t, ncclDouble, 8);

TEMPER_FIELD(ncclUniqueId, char[128], internal);
TEMPER_FIELD(ncclConfig_t, int, blocking);

TEMPER_FUNCTION(ncclResult_t, ncclGetVersion, (int* version));
TEMPER_FUNCTION(const char*, ncclGetErrorString, (ncclResult_t result));
TEMPER_FUNCTION(const char*, ncclGetLastError, (ncclComm_t communicator));
TEMPER_FUNCTION(ncclResult_t, ncclGetUniqueId, (ncclUniqueId * id));
TEMPER_FUNCTION(ncclResult_t, ncclCommInitRankConfig,
                (ncclComm_t * communicator, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config));
TEMPER_FUNCTION(ncclResult_t, ncclCommGetAsyncError, (ncclComm_t communicator, ncclResult_t* state));
TEMPER_FUNCTION(ncclResult_t, ncclCommFinalize, (ncclComm_t communicator));
TEMPER_FUNCTION(ncclResult_t, ncclCommDestroy, (ncclComm_t communicator));
TEMPER_FUNCTION(ncclResult_t, ncclCommAbort, (ncclComm_t communicator));
TEMPER_FUNCTION(ncclResult_t, ncclGroupStart, ());
TEMPER_FUNCTION(ncclResult_t, ncclGroupEnd, ());
TEMPER_FUNCTION(ncclResult_t, ncclAllReduce,
                (const void* send, void* receive, std::size_t count, ncclDataType_t type, ncclRedOp_t operation,
                 ncclComm_t communicator, cudaStream_t stream));
TEMPER_FUNCTION(ncclResult_t, ncclReduce,
                (const void* send, void* receive, std::size_t count, ncclDataType_t type, ncclRedOp_t operation, int root,
                 ncclComm_t communicator, cudaStream_t stream));
TEMPER_FUNCTION(ncclResult_t, ncclBroadcast,
                (const void* send, void* receive, std::size_t count, ncclDataType_t type, int root, ncclComm_t communicator,
                 cudaStream_t stream));
