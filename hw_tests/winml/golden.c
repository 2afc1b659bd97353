/* Runs an ONNX file on given inputs by the onnxruntime.dll beside it, and writes what comes out.
 *
 *     golden.exe MODEL INPUTS OUTPUTS cpu|directml
 *
 * INPUTS and OUTPUTS are lists of calls: their number; for each the number of tensors; for each tensor the length of
 * its name, the name, its element type, its rank, its sizes, its bytes' number and its bytes. Numbers are 64 bits wide
 * and little-endian; element types are onnxruntime's. Prints the library's version; a failure ends with status 1 and
 * the reason. */
#include "interface.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#define MOST_TENSORS 64
#define MOST_SIZES 16

static const Api *api;

static void stop(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void check(const char *what, Opaque *status) {
    if (status) stop(what, api->get_error_message(status));
}

static int64_t read_number(FILE *file) {
    int64_t number;
    if (fread(&number, sizeof number, 1, file) != 1) stop("inputs", "the file ends early");
    return number;
}

static void write_number(FILE *file, int64_t number) {
    if (fwrite(&number, sizeof number, 1, file) != 1) stop("outputs", "the disk is full");
}

static void *read_bytes(FILE *file, size_t size, size_t more) {
    char *bytes = calloc(1, size + more + 1);
    if (!bytes || (size && fread(bytes, size, 1, file) != 1)) stop("inputs", "the file ends early");
    return bytes;
}

/* Bytes of an element; onnx.proto, TensorProto.DataType. */
static size_t width(int type) {
    static const size_t widths[] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8};
    return type > 0 && type < (int)(sizeof widths / sizeof *widths) ? widths[type] : 0;
}

static Opaque *read_tensor(FILE *file, const Opaque *memory, char **name) {
    int64_t shape[MOST_SIZES];
    *name = read_bytes(file, (size_t)read_number(file), 1);
    int type = (int)read_number(file);
    size_t rank = (size_t)read_number(file);
    if (rank > MOST_SIZES) stop("inputs", "a tensor has too many dimensions");
    for (size_t axis = 0; axis < rank; axis++) shape[axis] = read_number(file);
    size_t size = (size_t)read_number(file);
    Opaque *tensor = NULL;
    check(*name, api->create_tensor(memory, read_bytes(file, size, 0), size, shape, rank, type, &tensor));
    return tensor;
}

static void write_tensor(FILE *file, const char *name, Opaque *tensor) {
    Opaque *info = NULL;
    int type = 0;
    size_t rank = 0, count = 0;
    int64_t shape[MOST_SIZES];
    void *data = NULL;
    check(name, api->get_type_and_shape(tensor, &info));
    check(name, api->get_element_type(info, &type));
    check(name, api->get_dimensions_count(info, &rank));
    if (rank > MOST_SIZES || !width(type)) stop(name, "is of a kind that is not written");
    check(name, api->get_dimensions(info, shape, rank));
    check(name, api->get_element_count(info, &count));
    check(name, api->get_tensor_data(tensor, &data));
    write_number(file, (int64_t)strlen(name));
    fwrite(name, strlen(name), 1, file);
    write_number(file, type);
    write_number(file, (int64_t)rank);
    for (size_t axis = 0; axis < rank; axis++) write_number(file, shape[axis]);
    write_number(file, (int64_t)(count * width(type)));
    if (count && fwrite(data, count * width(type), 1, file) != 1) stop("outputs", "the disk is full");
}

static void call(Opaque *session, const Opaque *memory, FILE *inputs, FILE *outputs) {
    const char *names[MOST_TENSORS];
    const char *wanted[MOST_TENSORS];
    const Opaque *given[MOST_TENSORS];
    Opaque *got[MOST_TENSORS] = {NULL};
    Opaque *allocator = NULL;
    size_t results = 0;
    size_t count = (size_t)read_number(inputs);
    if (count > MOST_TENSORS) stop("inputs", "a call has too many tensors");
    for (size_t index = 0; index < count; index++) {
        char *name;
        given[index] = read_tensor(inputs, memory, &name);
        names[index] = name;
    }
    check("allocator", api->get_default_allocator(&allocator));
    check("outputs", api->session_get_output_count(session, &results));
    if (results > MOST_TENSORS) stop("outputs", "a call has too many tensors");
    for (size_t index = 0; index < results; index++) {
        char *name;
        check("outputs", api->session_get_output_name(session, index, allocator, &name));
        wanted[index] = name;
    }
    check("run", api->run(session, NULL, names, given, count, wanted, results, got));
    write_number(outputs, (int64_t)results);
    for (size_t index = 0; index < results; index++) write_tensor(outputs, wanted[index], got[index]);
}

int wmain(int argc, wchar_t **argv) {
    if (argc != 5) stop("usage", "golden.exe MODEL INPUTS OUTPUTS cpu|directml");
    HMODULE library = LoadLibraryW(L"onnxruntime.dll");
    if (!library) stop("onnxruntime.dll", "can't be loaded");
    const ApiBase *(*base)(void) = (const ApiBase *(*)(void))GetProcAddress(library, "OrtGetApiBase");
    if (!base) stop("onnxruntime.dll", "has no OrtGetApiBase");
    printf("%s\n", base()->get_version());
    fflush(stdout);
    api = base()->get_api(API_VERSION);
    if (!api) stop("onnxruntime.dll", "does not give the interface of version 7");
    Opaque *env = NULL, *options = NULL, *session = NULL, *memory = NULL;
    check("environment", api->create_env(LOGGING_WARNING, "golden", &env));
    check("options", api->create_session_options(&options));
    check("options", api->set_intra_op_num_threads(options, 1));
    if (!wcscmp(argv[4], L"directml")) {
        Opaque *(*append)(Opaque *, int) =
            (Opaque * (*)(Opaque *, int)) GetProcAddress(library, "OrtSessionOptionsAppendExecutionProvider_DML");
        if (!append) stop("onnxruntime.dll", "has no DirectML");
        check("DirectML", append(options, 0));
    }
    check("model", api->create_session(env, argv[1], options, &session));
    check("memory", api->create_cpu_memory_info(ARENA_ALLOCATOR, MEMORY_DEFAULT, &memory));
    FILE *inputs = _wfopen(argv[2], L"rb"), *outputs = _wfopen(argv[3], L"wb");
    if (!inputs || !outputs) stop("files", "can't be opened");
    int64_t calls = read_number(inputs);
    write_number(outputs, calls);
    for (int64_t index = 0; index < calls; index++) call(session, memory, inputs, outputs);
    if (fclose(outputs)) stop("outputs", "the disk is full");
    return 0;
}
