// What temper uses of CUDA's run time. Read twice, with other meanings of the three macros: by cuda_runtime.h, which declares it,
// and by toolkit_check.cpp, behind NVIDIA's header.
TEMPER_VALUE(cudaError_t, cudaSuccess, 0);
TEMPER_VALUE(cudaError_t, cudaErrorInvalidValue, 1);
TEMPER_VALUE(cudaError_t, cudaErrorMemoryAllocation, 2);
TEMPER_VALUE(cudaError_t, cudaErrorInvalidConfiguration, 9);
TEMPER_VALUE(cudaError_t, cudaErrorInsufficientDriver, 35);
TEMPER_VALUE(cudaError_t, cudaErrorNoDevice, 100);
TEMPER_VALUE(cudaError_t, cudaErrorInvalidDevice, 101);
TEMPER_VALUE(cudaError_t, cudaErrorInvalidResourceHandle, 400);
TEMPER_VALUE(cudaError_t, cudaErrorNotReady, 600);
TEMPER_VALUE(cudaError_t, cudaErrorLaunchFailure, 719);
TEMPER_VALUE(cudaError_t, cudaErrorSystemNotReady, 802);
TEMPER_VALUE(cudaError_t, cudaErrorStreamCaptureUnsupported, 900);
TEMPER_VALUE(cudaError_t, cudaErrorStreamCaptureInvalidated, 901);
TEMPER_VALUE(cudaError_t, cudaErrorStreamCaptureIsolation, 905);
TEMPER_VALUE(cudaError_t, cudaErrorCapturedEvent, 907);
TEMPER_VALUE(cudaError_t, cudaErrorStreamCaptureWrongThread, 908);
TEMPER_VALUE(cudaMemcpyKind, cudaMemcpyDefault, 4);
TEMPER_VALUE(cudaFuncAttribute, cudaFuncAttributeMaxDynamicSharedMemorySize, 8);
TEMPER_VALUE(cudaStreamCaptureMode, cudaStreamCaptureModeThreadLocal, 1);
TEMPER_VALUE(cudaStreamCaptureStatus, cudaStreamCaptureStatusNone, 0);
TEMPER_VALUE(cudaStreamCaptureStatus, cudaStreamCaptureStatusActive, 1);
TEMPER_VALUE(cudaStreamCaptureStatus, cudaStreamCaptureStatusInvalidated, 2);
TEMPER_VALUE(cudaDataType_t, CUDA_R_32F, 0);
TEMPER_VALUE(cudaDataType_t, CUDA_R_16BF, 14);
TEMPER_VALUE(unsigned, cudaStreamNonBlocking, 1);
TEMPER_VALUE(unsigned, cudaEventDisableTiming, 2);

TEMPER_FIELD(cudaDeviceProp, char[256], name);
TEMPER_FIELD(cudaDeviceProp, std::size_t, totalGlobalMem);
TEMPER_FIELD(cudaDeviceProp, int, major);
TEMPER_FIELD(cudaDeviceProp, int, minor);
TEMPER_FIELD(cudaDeviceProp, int, multiProcessorCount);
TEMPER_FIELD(cudaDeviceProp, std::size_t, sharedMemPerBlockOptin);
TEMPER_FIELD(cudaFuncAttributes, std::size_t, sharedSizeBytes);
TEMPER_FIELD(cudaFuncAttributes, int, maxDynamicSharedSizeBytes);
TEMPER_FIELD(cudaLaunchConfig_t, dim3, gridDim);
TEMPER_FIELD(cudaLaunchConfig_t, dim3, blockDim);
TEMPER_FIELD(cudaLaunchConfig_t, std::size_t, dynamicSmemBytes);
TEMPER_FIELD(cudaLaunchConfig_t, cudaStream_t, stream);
TEMPER_FIELD(cudaLaunchConfig_t, cudaLaunchAttribute*, attrs);
TEMPER_FIELD(cudaLaunchConfig_t, unsigned, numAttrs);

TEMPER_FUNCTION(cudaError_t, cudaGetLastError, ());
TEMPER_FUNCTION(const char*, cudaGetErrorName, (cudaError_t error));
TEMPER_FUNCTION(const char*, cudaGetErrorString, (cudaError_t error));
TEMPER_FUNCTION(cudaError_t, cudaRuntimeGetVersion, (int* version));
TEMPER_FUNCTION(cudaError_t, cudaDriverGetVersion, (int* version));
TEMPER_FUNCTION(cudaError_t, cudaGetDeviceCount, (int* count));
TEMPER_FUNCTION(cudaError_t, cudaGetDevice, (int* device));
TEMPER_FUNCTION(cudaError_t, cudaSetDevice, (int device));
TEMPER_FUNCTION(cudaError_t, cudaGetDeviceProperties, (cudaDeviceProp * properties, int device));
TEMPER_FUNCTION(cudaError_t, cudaDeviceGetStreamPriorityRange, (int* least, int* greatest));

TEMPER_FUNCTION(cudaError_t, cudaMalloc, (void** memory, std::size_t bytes));
TEMPER_FUNCTION(cudaError_t, cudaFree, (void* memory));
TEMPER_FUNCTION(cudaError_t, cudaMallocHost, (void** memory, std::size_t bytes));
TEMPER_FUNCTION(cudaError_t, cudaFreeHost, (void* memory));
TEMPER_FUNCTION(cudaError_t, cudaMemGetInfo, (std::size_t * free, std::size_t* total));
TEMPER_FUNCTION(cudaError_t, cudaMemcpyAsync,
                (void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream));
TEMPER_FUNCTION(cudaError_t, cudaMemsetAsync, (void* memory, int value, std::size_t bytes, cudaStream_t stream));

TEMPER_FUNCTION(cudaError_t, cudaStreamCreateWithFlags, (cudaStream_t * stream, unsigned flags));
TEMPER_FUNCTION(cudaError_t, cudaStreamCreateWithPriority, (cudaStream_t * stream, unsigned flags, int priority));
TEMPER_FUNCTION(cudaError_t, cudaStreamDestroy, (cudaStream_t stream));
TEMPER_FUNCTION(cudaError_t, cudaStreamSynchronize, (cudaStream_t stream));
TEMPER_FUNCTION(cudaError_t, cudaStreamWaitEvent, (cudaStream_t stream, cudaEvent_t event, unsigned flags));
TEMPER_FUNCTION(cudaError_t, cudaStreamBeginCapture, (cudaStream_t stream, cudaStreamCaptureMode mode));
TEMPER_FUNCTION(cudaError_t, cudaStreamEndCapture, (cudaStream_t stream, cudaGraph_t* graph));
TEMPER_FUNCTION(cudaError_t, cudaStreamIsCapturing, (cudaStream_t stream, cudaStreamCaptureStatus* status));

TEMPER_FUNCTION(cudaError_t, cudaEventCreate, (cudaEvent_t * event));
TEMPER_FUNCTION(cudaError_t, cudaEventCreateWithFlags, (cudaEvent_t * event, unsigned flags));
TEMPER_FUNCTION(cudaError_t, cudaEventDestroy, (cudaEvent_t event));
TEMPER_FUNCTION(cudaError_t, cudaEventRecord, (cudaEvent_t event, cudaStream_t stream));
TEMPER_FUNCTION(cudaError_t, cudaEventSynchronize, (cudaEvent_t event));
TEMPER_FUNCTION(cudaError_t, cudaEventQuery, (cudaEvent_t event));
TEMPER_FUNCTION(cudaError_t, cudaEventElapsedTime, (float* milliseconds, cudaEvent_t start, cudaEvent_t end));

TEMPER_FUNCTION(cudaError_t, cudaGraphInstantiate, (cudaGraphExec_t * instance, cudaGraph_t graph, unsigned long long flags));
TEMPER_FUNCTION(cudaError_t, cudaGraphLaunch, (cudaGraphExec_t instance, cudaStream_t stream));
TEMPER_FUNCTION(cudaError_t, cudaGraphDestroy, (cudaGraph_t graph));
TEMPER_FUNCTION(cudaError_t, cudaGraphExecDestroy, (cudaGraphExec_t instance));

TEMPER_FUNCTION(cudaError_t, cudaFuncGetAttributes, (cudaFuncAttributes * attributes, const void* function));
TEMPER_FUNCTION(cudaError_t, cudaFuncSetAttribute, (const void* function, cudaFuncAttribute attribute, int value));

// The profilers' switch and NVTX.
TEMPER_FUNCTION(cudaError_t, cudaProfilerStart, ());
TEMPER_FUNCTION(cudaError_t, cudaProfilerStop, ());
TEMPER_FUNCTION(int, nvtxRangePushA, (const char* message));
TEMPER_FUNCTION(int, nvtxRangePop, ());
