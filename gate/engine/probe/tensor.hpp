// Reading a tensor's values wherever it lies, whatever its type and strides.
#pragma once
#include "common.hpp"
#include "ggml-backend.h"
#include "ggml.h"
#include <algorithm>
#include <string_view>

// base_name is the tensor's name without what the scheduler adds to a copy on
// another device: "CUDA0#l_out-3#0" is l_out-3.
inline std::string_view base_name(const ggml_tensor * t) {
    std::string_view n(t->name);
    size_t           a = n.find('#');
    if (a == n.npos) return n;
    size_t b = n.rfind('#');
    return b > a ? n.substr(a + 1, b - a - 1) : n;
}

// computed says whether t is a result of the graph rather than a weight or an
// input; a copy of a result on another device counts as one.
inline bool computed(const ggml_tensor * t) {
    return t->op != GGML_OP_NONE || strchr(t->name, '#') != nullptr;
}

// on_host says whether t->data can be read directly.
inline bool on_host(const ggml_tensor * t) {
    ggml_backend_buffer_t b = t->view_src ? t->view_src->buffer : t->buffer;
    return !b || ggml_backend_buffer_is_host(b);
}

// on_cuda says whether t lies on an NVIDIA GPU.
inline bool on_cuda(const ggml_tensor * t) {
    ggml_backend_buffer_t b = t->view_src ? t->view_src->buffer : t->buffer;
    return b && std::string_view(ggml_backend_buft_name(ggml_backend_buffer_get_type(b))).substr(0, 4) == "CUDA";
}

inline void read_bytes(const ggml_tensor * t, void * dst, size_t offset, size_t n) {
    if (on_host(t)) memcpy(dst, (const char *) t->data + offset, n);
    else ggml_backend_tensor_get(t, dst, offset, n);
}

// read_ids reads a vector of token ids or row numbers.
inline std::vector<int32_t> read_ids(const ggml_tensor * t) {
    std::vector<int32_t> ids(ggml_nelements(t));
    if (!ids.empty()) read_bytes(t, ids.data(), 0, ids.size() * 4);
    return ids;
}

// to_floats turns n values of a contiguous row into floats.
inline void to_floats(const ggml_tensor * t, const void * src, float * dst, int64_t n) {
    if (t->type == GGML_TYPE_F32) {
        memcpy(dst, src, size_t(n) * 4);
        return;
    }
    auto to_float = ggml_get_type_traits(t->type)->to_float;
    if (!to_float) fail(exit_capture, "%s holds %s, which is no floating-point type", t->name, ggml_type_name(t->type));
    to_float(src, dst, n);
}

// for_rows calls sink(first, n, values) for all rows of t in order, in blocks
// of a few megabytes at most where t is contiguous.
template <class F> void for_rows(const ggml_tensor * t, F sink) {
    const int64_t width = t->ne[0], rows = ggml_nrows(t);
    if (rows == 0) return;
    const bool contiguous = ggml_is_contiguous(t);
    if (contiguous && t->type == GGML_TYPE_F32 && on_host(t)) {
        sink(int64_t(0), rows, (const float *) t->data); // no copy
        return;
    }
    static std::vector<char>  raw;
    static std::vector<float> values;
    if (contiguous) {
        const size_t  row_bytes = ggml_row_size(t->type, width);
        const int64_t block     = std::max<int64_t>(1, (4 << 20) / int64_t(row_bytes));
        for (int64_t r = 0; r < rows; r += block) {
            const int64_t n = std::min(block, rows - r);
            raw.resize(row_bytes * n);
            values.resize(size_t(width) * n);
            read_bytes(t, raw.data(), row_bytes * r, raw.size());
            to_floats(t, raw.data(), values.data(), width * n);
            sink(r, n, values.data());
        }
        return;
    }
    // Strided: fetch the span once and gather each row. Blocks of a quantised
    // type lie together along the row in every view that ggml makes.
    const int64_t per = ggml_blck_size(t->type);
    const size_t  size = ggml_type_size(t->type);
    std::vector<char> span(ggml_nbytes(t)), row(size_t(width / per) * size);
    read_bytes(t, span.data(), 0, span.size());
    values.resize(width);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t i1 = r % t->ne[1], i2 = r / t->ne[1] % t->ne[2], i3 = r / (t->ne[1] * t->ne[2]);
        const char *  p  = span.data() + i1 * t->nb[1] + i2 * t->nb[2] + i3 * t->nb[3];
        for (int64_t i = 0; i < width / per; i++) memcpy(row.data() + i * size, p + i * t->nb[0], size);
        to_floats(t, row.data(), values.data(), width);
        sink(r, int64_t(1), values.data());
    }
}
