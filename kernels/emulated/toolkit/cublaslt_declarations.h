// What temper uses of cuBLASLt; see cuda_declarations.h.
TEMPER_VALUE(cublasStatus_t, CUBLAS_STATUS_SUCCESS, 0);
TEMPER_VALUE(cublasStatus_t, CUBLAS_STATUS_INVALID_VALUE, 7);
TEMPER_VALUE(cublasStatus_t, CUBLAS_STATUS_EXECUTION_FAILED, 13);
TEMPER_VALUE(cublasStatus_t, CUBLAS_STATUS_NOT_SUPPORTED, 15);
TEMPER_VALUE(cublasOperation_t, CUBLAS_OP_N, 0);
TEMPER_VALUE(cublasOperation_t, CUBLAS_OP_T, 1);
TEMPER_VALUE(cublasComputeType_t, CUBLAS_COMPUTE_32F, 68);
TEMPER_VALUE(cublasComputeType_t, CUBLAS_COMPUTE_32F_FAST_TF32, 77);
TEMPER_VALUE(cublasLtEpilogue_t, CUBLASLT_EPILOGUE_DEFAULT, 1);
TEMPER_VALUE(cublasLtEpilogue_t, CUBLASLT_EPILOGUE_BIAS, 4);
TEMPER_VALUE(cublasLtEpilogue_t, CUBLASLT_EPILOGUE_GELU_AUX, 160);
TEMPER_VALUE(cublasLtEpilogue_t, CUBLASLT_EPILOGUE_GELU_AUX_BIAS, 164);
TEMPER_VALUE(cublasLtEpilogue_t, CUBLASLT_EPILOGUE_DGELU, 192);
TEMPER_VALUE(cublasLtEpilogue_t, CUBLASLT_EPILOGUE_BGRADB, 512);
TEMPER_VALUE(cublasLtReductionScheme_t, CUBLASLT_REDUCTION_SCHEME_INPLACE, 1);
TEMPER_VALUE(cublasLtReductionScheme_t, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 2);
TEMPER_VALUE(cublasLtMatmulDescAttributes_t, CUBLASLT_MATMUL_DESC_TRANSA, 3);
TEMPER_VALUE(cublasLtMatmulDescAttributes_t, CUBLASLT_MATMUL_DESC_TRANSB, 4);
TEMPER_VALUE(cublasLtMatmulDescAttributes_t, CUBLASLT_MATMUL_DESC_EPILOGUE, 7);
TEMPER_VALUE(cublasLtMatmulDescAttributes_t, CUBLASLT_MATMUL_DESC_BIAS_POINTER, 8);
TEMPER_VALUE(cublasLtMatmulDescAttributes_t, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, 11);
TEMPER_VALUE(cublasLtMatmulDescAttributes_t, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, 12);
TEMPER_VALUE(cublasLtMatmulDescAttributes_t, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, 22);
TEMPER_VALUE(cublasLtMatmulDescAttributes_t, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, 26);
TEMPER_VALUE(cublasLtMatmulPreferenceAttributes_t, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, 1);
TEMPER_VALUE(cublasLtMatmulPreferenceAttributes_t, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, 3);
TEMPER_VALUE(cublasLtMatmulPreferenceAttributes_t, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 5);
TEMPER_VALUE(cublasLtMatmulPreferenceAttributes_t, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, 6);
TEMPER_VALUE(cublasLtMatmulPreferenceAttributes_t, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, 7);
TEMPER_VALUE(cublasLtMatmulPreferenceAttributes_t, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, 8);

TEMPER_FIELD(cublasLtMatmulAlgo_t, std::uint64_t[8], data);
TEMPER_FIELD(cublasLtMatmulHeuristicResult_t, cublasLtMatmulAlgo_t, algo);
TEMPER_FIELD(cublasLtMatmulHeuristicResult_t, std::size_t, workspaceSize);
TEMPER_FIELD(cublasLtMatmulHeuristicResult_t, cublasStatus_t, state);
TEMPER_FIELD(cublasLtMatmulHeuristicResult_t, float, wavesCount);

TEMPER_FUNCTION(cublasStatus_t, cublasLtCreate, (cublasLtHandle_t * handle));
TEMPER_FUNCTION(cublasStatus_t, cublasLtDestroy, (cublasLtHandle_t handle));
TEMPER_FUNCTION(const char*, cublasLtGetStatusString, (cublasStatus_t status));
TEMPER_FUNCTION(std::size_t, cublasLtGetVersion, ());
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatrixLayoutCreate,
                (cublasLtMatrixLayout_t * layout, cudaDataType type, std::uint64_t rows, std::uint64_t columns, std::int64_t ld));
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatrixLayoutDestroy, (cublasLtMatrixLayout_t layout));
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatmulDescCreate,
                (cublasLtMatmulDesc_t * operation, cublasComputeType_t compute, cudaDataType_t scale));
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatmulDescDestroy, (cublasLtMatmulDesc_t operation));
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatmulDescSetAttribute,
                (cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const void* value, std::size_t bytes));
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatmulPreferenceCreate, (cublasLtMatmulPreference_t * preference));
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatmulPreferenceDestroy, (cublasLtMatmulPreference_t preference));
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatmulPreferenceSetAttribute,
                (cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                 std::size_t bytes));
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatmulAlgoGetHeuristic,
                (cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                 cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int requested,
                 cublasLtMatmulHeuristicResult_t* results, int* found));
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatmulAlgoCheck,
                (cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                 cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t* algorithm,
                 cublasLtMatmulHeuristicResult_t* result));
TEMPER_FUNCTION(cublasStatus_t, cublasLtMatmul,
                (cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
                 cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                 cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm,
                 void* workspace, std::size_t workspace_bytes, cudaStream_t stream));
