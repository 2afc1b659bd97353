// As much of onnxruntime's C interface as generated clients call; README.md beside this file says why.
#ifndef ONNXRUNTIME_C_API_H
#define ONNXRUNTIME_C_API_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION 16

typedef struct OrtEnv OrtEnv;
typedef struct OrtStatus OrtStatus;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtValue OrtValue;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };
enum ONNXTensorElementDataType {
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32,
    ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64
};

// Functions stand at their places in the library's table; what is not called is skipped.
struct OrtApi {
    void* from_0[2];
    const char*(*GetErrorMessage)(const OrtStatus* status);
    OrtStatus*(*CreateEnv)(OrtLoggingLevel level, const char* name, OrtEnv** out);
    void* from_4[3];
    OrtStatus*(*CreateSession)(const OrtEnv* env, const char* path, const OrtSessionOptions* options, OrtSession** out);
    void* from_8[1];
    OrtStatus*(*Run)(OrtSession* session, const OrtRunOptions* options, const char* const* names, const OrtValue* const* inputs, size_t count, const char* const* wanted, size_t wanted_count, OrtValue** outputs);
    OrtStatus*(*CreateSessionOptions)(OrtSessionOptions** out);
    void* from_11[13];
    OrtStatus*(*SetIntraOpNumThreads)(OrtSessionOptions* options, int threads);
    void* from_25[6];
    OrtStatus*(*SessionGetOutputCount)(const OrtSession* session, size_t* out);
    void* from_32[5];
    OrtStatus*(*SessionGetOutputName)(const OrtSession* session, size_t index, OrtAllocator* allocator, char** out);
    void* from_38[10];
    OrtStatus*(*CreateTensorAsOrtValue)(OrtAllocator* allocator, const int64_t* shape, size_t rank, ONNXTensorElementDataType type, OrtValue** out);
    OrtStatus*(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo* info, void* data, size_t size, const int64_t* shape, size_t rank, ONNXTensorElementDataType type, OrtValue** out);
    void* from_50[1];
    OrtStatus*(*GetTensorMutableData)(OrtValue* value, void** out);
    OrtStatus*(*FillStringTensor)(OrtValue* value, const char* const* texts, size_t count);
    OrtStatus*(*GetStringTensorDataLength)(const OrtValue* value, size_t* out);
    OrtStatus*(*GetStringTensorContent)(const OrtValue* value, void* texts, size_t size, size_t* starts, size_t count);
    void* from_55[5];
    OrtStatus*(*GetTensorElementType)(const OrtTensorTypeAndShapeInfo* info, ONNXTensorElementDataType* out);
    OrtStatus*(*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo* info, size_t* out);
    OrtStatus*(*GetDimensions)(const OrtTensorTypeAndShapeInfo* info, int64_t* sizes, size_t count);
    void* from_63[2];
    OrtStatus*(*GetTensorTypeAndShape)(const OrtValue* value, OrtTensorTypeAndShapeInfo** out);
    void* from_66[3];
    OrtStatus*(*CreateCpuMemoryInfo)(OrtAllocatorType allocator, OrtMemType memory, OrtMemoryInfo** out);
    void* from_70[6];
    OrtStatus*(*AllocatorFree)(OrtAllocator* allocator, void* place);
    void* from_77[1];
    OrtStatus*(*GetAllocatorWithDefaultOptions)(OrtAllocator** out);
    void* from_79[13];
    void (*ReleaseEnv)(OrtEnv* each);
    void (*ReleaseStatus)(OrtStatus* each);
    void (*ReleaseMemoryInfo)(OrtMemoryInfo* each);
    void (*ReleaseSession)(OrtSession* each);
    void (*ReleaseValue)(OrtValue* each);
    void* from_97[2];
    void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo* each);
    void (*ReleaseSessionOptions)(OrtSessionOptions* each);
};

struct OrtApiBase {
    const OrtApi*(*GetApi)(uint32_t version);
    const char*(*GetVersionString)(void);
};

extern "C" const OrtApiBase* OrtGetApiBase(void);

#endif
