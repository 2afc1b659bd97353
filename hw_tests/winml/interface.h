/* As much of onnxruntime's C interface as golden.c calls. Functions stand at their places in the table, which never
 * change from release to release (onnxruntime_c_api.h: "do not reorder"); what is not called is skipped. */
#ifndef INTERFACE_H
#define INTERFACE_H

#include <stddef.h>
#include <stdint.h>
#include <wchar.h>

#define API_VERSION 7 /* since onnxruntime 1.7; newer libraries go on giving it */

enum { LOGGING_WARNING = 2, ARENA_ALLOCATOR = 1, MEMORY_DEFAULT = 0 };

typedef struct Opaque Opaque; /* of the library's own making */

typedef struct {
    void *from_0[2];
    const char *(*get_error_message)(const Opaque *status);
    Opaque *(*create_env)(int level, const char *name, Opaque **out);
    void *from_4[3];
    Opaque *(*create_session)(const Opaque *env, const wchar_t *path, const Opaque *options, Opaque **out);
    void *from_8[1];
    Opaque *(*run)(Opaque *session, const Opaque *options, const char *const *names, const Opaque *const *inputs,
                   size_t count, const char *const *wanted, size_t wanted_count, Opaque **outputs);
    Opaque *(*create_session_options)(Opaque **out);
    void *from_11[13];
    Opaque *(*set_intra_op_num_threads)(Opaque *options, int threads);
    void *from_25[6];
    Opaque *(*session_get_output_count)(const Opaque *session, size_t *out);
    void *from_32[5];
    Opaque *(*session_get_output_name)(const Opaque *session, size_t index, Opaque *allocator, char **out);
    void *from_38[11];
    Opaque *(*create_tensor)(const Opaque *memory, void *data, size_t size, const int64_t *shape, size_t rank,
                             int type, Opaque **out);
    void *from_50[1];
    Opaque *(*get_tensor_data)(Opaque *value, void **out);
    void *from_52[8];
    Opaque *(*get_element_type)(const Opaque *info, int *out);
    Opaque *(*get_dimensions_count)(const Opaque *info, size_t *out);
    Opaque *(*get_dimensions)(const Opaque *info, int64_t *dimensions, size_t count);
    void *from_63[1];
    Opaque *(*get_element_count)(const Opaque *info, size_t *out);
    Opaque *(*get_type_and_shape)(const Opaque *value, Opaque **out);
    void *from_66[3];
    Opaque *(*create_cpu_memory_info)(int allocator, int memory, Opaque **out);
    void *from_70[8];
    Opaque *(*get_default_allocator)(Opaque **out);
} Api;

typedef struct {
    const Api *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} ApiBase;

#endif
