/* ggml's own conversions, for comparison:
 *   ggml types                     every type: number, name, elements and bytes of a block
 *   ggml decode TYPE               blocks on stdin -> float32 on stdout
 *   ggml list FILE                 metadata keys (type, element type, elements), tensors (type, first byte)
 *   ggml encode TYPE ROW_ELEMENTS  float32 on stdin -> blocks on stdout
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ggml.h"
#include "gguf.h"

static void fail(const char * what) {
    fprintf(stderr, "ggml: %s\n", what);
    exit(1);
}

static void * read_all(size_t * size) {
    size_t cap = 1 << 20;
    char * buf = malloc(cap);
    *size = 0;
    for (size_t n; buf && (n = fread(buf + *size, 1, cap - *size, stdin)) > 0;) {
        *size += n;
        if (*size == cap) {
            buf = realloc(buf, cap *= 2);
        }
    }
    if (!buf) {
        fail("out of memory");
    }
    return buf;
}

static void types(void) {
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const struct ggml_type_traits * t = ggml_get_type_traits(i);
        if (t->type_size > 0) {
            printf("%d %s %d %d\n", i, t->type_name, (int) t->blck_size, (int) t->type_size);
        }
    }
}

static void decode(enum ggml_type type) {
    const struct ggml_type_traits * t = ggml_get_type_traits(type);
    if (!t->to_float) {
        fail("type has no to_float");
    }
    size_t size;
    void * blocks = read_all(&size);
    int64_t n = (int64_t) (size / t->type_size) * t->blck_size;
    float * values = malloc(n * sizeof(float) + 1);
    t->to_float(blocks, values, n);
    fwrite(values, sizeof(float), n, stdout);
}

static void encode(enum ggml_type type, int64_t row) {
    size_t size;
    float * values = read_all(&size);
    int64_t n = size / sizeof(float);
    void * blocks = malloc(ggml_row_size(type, n) + 1);
    size_t written = ggml_quantize_chunk(type, values, blocks, 0, n / row, row, NULL);
    fwrite(blocks, 1, written, stdout);
}

static void list(const char * path) {
    struct gguf_context * g = gguf_init_from_file(path, (struct gguf_init_params) { .no_alloc = true });
    if (!g) {
        fail("cannot read the file");
    }
    for (int64_t i = 0; i < gguf_get_n_kv(g); i++) {
        enum gguf_type type = gguf_get_kv_type(g, i);
        if (type == GGUF_TYPE_ARRAY) {
            printf("%s array %d %d\n", gguf_get_key(g, i), gguf_get_arr_type(g, i), (int) gguf_get_arr_n(g, i));
        } else {
            printf("%s %d\n", gguf_get_key(g, i), type);
        }
    }
    for (int64_t i = 0; i < gguf_get_n_tensors(g); i++) {
        printf("%s %d %zu\n", gguf_get_tensor_name(g, i), gguf_get_tensor_type(g, i), gguf_get_data_offset(g) + gguf_get_tensor_offset(g, i));
    }
    gguf_free(g);
}

int main(int argc, char ** argv) {
    if (argc == 2 && !strcmp(argv[1], "types")) {
        types();
    } else if (argc == 3 && !strcmp(argv[1], "decode")) {
        decode(atoi(argv[2]));
    } else if (argc == 3 && !strcmp(argv[1], "list")) {
        list(argv[2]);
    } else if (argc == 4 && !strcmp(argv[1], "encode")) {
        encode(atoi(argv[2]), atoll(argv[3]));
    } else {
        fail("want types, decode TYPE, list FILE or encode TYPE ROW_ELEMENTS");
    }
    return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
