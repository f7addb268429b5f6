// Do the headers that this was compiled with describe the libraries that were
// loaded? A wrong pair would crash later, or silently misread tensors.
//
// llama.h carries no version, and its structs change between releases without a
// new library name. So: let the library fill its structs in a larger buffer of
// known bytes, see how many bytes it wrote, and see whether the fields hold
// defaults that they can have. Run in a process of its own.
#pragma once
#include "common.hpp"
#include "ggml.h"
#include "llama.h"
#include "tensor.hpp"
#include <cmath>
#include <new>

#define ABI_MISMATCH "the headers are of another version than the library: "

// written lets make() fill a T in a buffer and returns the offset after the
// last byte that it wrote, seen by filling the buffer with two patterns.
template <class T, class F> size_t written(F make, T & out) {
    constexpr size_t room = sizeof(T) + 4096;
    alignas(64) static unsigned char a[room], b[room];
    memset(a, 0xa5, room);
    memset(b, 0x5a, room);
    // The result is constructed in place: the library writes into the buffer.
    out = *new (a) T(make());
    new (b) T(make());
    size_t end = room;
    while (end > 0 && a[end - 1] == 0xa5 && b[end - 1] == 0x5a) end--;
    return end;
}

// check_size fails unless end lies in the last bytes of T, which may be padding.
template <class T> void check_size(const char * name, size_t end) {
    if (end > sizeof(T) || end + alignof(T) <= sizeof(T))
        fail(exit_abi, ABI_MISMATCH "the library's %s takes %s %zu bytes, the headers' takes %zu", name,
             end > sizeof(T) ? "at least" : "about", end, sizeof(T));
}

inline void check_field(bool ok, const char * field) {
    if (!ok) fail(exit_abi, ABI_MISMATCH "the default of %s makes no sense", field);
}

#define CHECK_FALSE_OR_TRUE(p, field)                                                                 \
    if constexpr (requires { (p).field; }) {                                                          \
        unsigned char c;                                                                              \
        memcpy(&c, &(p).field, 1);                                                                    \
        check_field(c <= 1, #field);                                                                  \
    }

// A field that this version may lack; templates, so that requires can reject it.
template <class P> void check_model_params(P & p) {
    check_field(p.progress_callback == nullptr && p.progress_callback_user_data == nullptr, "llama_model_params.progress_callback");
    check_field(p.kv_overrides == nullptr && p.tensor_split == nullptr, "llama_model_params.kv_overrides");
    check_field(p.main_gpu >= -1 && p.main_gpu < 1024, "llama_model_params.main_gpu");
    check_field(p.split_mode >= 0 && p.split_mode < 16, "llama_model_params.split_mode");
    check_field(p.n_gpu_layers >= -2 && p.n_gpu_layers <= 1000000, "llama_model_params.n_gpu_layers");
    check_field(!p.vocab_only && !p.check_tensors, "llama_model_params.vocab_only");
    CHECK_FALSE_OR_TRUE(p, use_mmap)
    CHECK_FALSE_OR_TRUE(p, use_mlock)
    CHECK_FALSE_OR_TRUE(p, use_extra_bufts)
    CHECK_FALSE_OR_TRUE(p, no_host)
    CHECK_FALSE_OR_TRUE(p, no_alloc)
}

template <class P> void check_context_params(P & p) {
    check_field(p.n_batch >= 32 && p.n_batch <= (1u << 20), "llama_context_params.n_batch");
    check_field(p.n_ubatch >= 32 && p.n_ubatch <= p.n_batch, "llama_context_params.n_ubatch");
    check_field(p.n_ctx <= (1u << 24), "llama_context_params.n_ctx");
    check_field(p.n_seq_max >= 1 && p.n_seq_max <= 4096, "llama_context_params.n_seq_max");
    check_field(p.n_threads >= 1 && p.n_threads <= 4096 && p.n_threads_batch >= 1 && p.n_threads_batch <= 4096, "llama_context_params.n_threads");
    check_field(p.rope_scaling_type >= -1 && p.rope_scaling_type <= 16, "llama_context_params.rope_scaling_type");
    check_field(p.rope_freq_base == 0 && p.rope_freq_scale == 0, "llama_context_params.rope_freq_base");
    check_field(std::isfinite(p.yarn_ext_factor) && std::fabs(p.yarn_ext_factor) < 1e6, "llama_context_params.yarn_ext_factor");
    check_field(p.cb_eval == nullptr && p.cb_eval_user_data == nullptr, "llama_context_params.cb_eval");
    check_field(p.type_k == GGML_TYPE_F16 && p.type_v == GGML_TYPE_F16, "llama_context_params.type_k");
    check_field(p.abort_callback == nullptr && p.abort_callback_data == nullptr, "llama_context_params.abort_callback");
    CHECK_FALSE_OR_TRUE(p, embeddings)
    CHECK_FALSE_OR_TRUE(p, offload_kqv)
    CHECK_FALSE_OR_TRUE(p, flash_attn)
    CHECK_FALSE_OR_TRUE(p, no_perf)
    CHECK_FALSE_OR_TRUE(p, op_offload)
    CHECK_FALSE_OR_TRUE(p, swa_full)
    CHECK_FALSE_OR_TRUE(p, kv_unified)
}

// check_tensor builds a small graph node and reads it through the headers'
// struct and through the library's functions.
inline void check_tensor() {
    ggml_init_params ip{};
    ip.mem_size       = 1 << 20;
    ggml_context * ctx = ggml_init(ip);
    check_field(ctx != nullptr, "ggml_init_params");
    ggml_tensor * table = ggml_new_tensor_3d(ctx, GGML_TYPE_F16, 4, 3, 2);
    ggml_tensor * index = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, 2);
    ggml_tensor * rows  = ggml_get_rows(ctx, ggml_view_2d(ctx, table, 4, 3, table->nb[1], 0), index);
    ggml_set_name(rows, "rows-7");
    check_field(table->ne[0] == 4 && table->ne[1] == 3 && table->ne[2] == 2 && table->ne[3] == 1 && ggml_nelements(table) == 24, "ggml_tensor.ne");
    check_field(table->nb[0] == 2 && table->nb[1] == 8 && table->nb[2] == 24 && ggml_nbytes(table) == 48, "ggml_tensor.nb");
    check_field(ggml_get_name(rows) == rows->name && !strcmp(rows->name, "rows-7"), "ggml_tensor.name");
    check_field(ggml_get_data(table) == table->data && table->data, "ggml_tensor.data");
    check_field(rows->src[1] == index && rows->src[0] && rows->src[0]->view_src == table, "ggml_tensor.src");
    check_field(table->op == GGML_OP_NONE && rows->op == GGML_OP_GET_ROWS && !strcmp(ggml_op_name(rows->op), "GET_ROWS"), "ggml_tensor.op");
    check_field(!strcmp(ggml_op_name(GGML_OP_MUL_MAT), "MUL_MAT") && !strcmp(ggml_op_name(GGML_OP_FLASH_ATTN_EXT), "FLASH_ATTN_EXT"), "ggml_op");
    check_field(!strcmp(ggml_type_name(GGML_TYPE_BF16), "bf16") && !strcmp(ggml_type_name(GGML_TYPE_Q8_0), "q8_0"), "ggml_type");

    // The reader itself, on a transposed view of f16 values 0, 1, 2 ...
    std::vector<float> in(24), out(24);
    for (int i = 0; i < 24; i++) in[i] = float(i);
    ggml_fp32_to_fp16_row(in.data(), (ggml_fp16_t *) table->data, 24);
    ggml_tensor * turned = ggml_permute(ctx, table, 1, 0, 2, 3); // 3 wide, 4 rows, 2 matrices
    int64_t       rows_read = 0;
    for_rows(turned, [&](int64_t r, int64_t n, const float * v) {
        for (int64_t i = 0; i < n * 3; i++) out[r * 3 + i] = v[i];
        rows_read += n;
    });
    check_field(rows_read == 8, "ggml_tensor rows");
    for (int r = 0; r < 8; r++)
        for (int i = 0; i < 3; i++) check_field(out[r * 3 + i] == float(r / 4 * 12 + i * 4 + r % 4), "ggml_tensor strides");
    ggml_free(ctx);
}

inline void check_abi() {
    llama_model_params   mp{};
    llama_context_params cp{};
    llama_batch          batch{};
    check_size<llama_model_params>("llama_model_params", written(llama_model_default_params, mp));
    check_size<llama_context_params>("llama_context_params", written(llama_context_default_params, cp));
    check_size<llama_batch>("llama_batch", written([] { return llama_batch_init(4, 0, 1); }, batch));
    check_model_params(mp);
    check_context_params(cp);
    check_field(batch.token && !batch.embd && batch.pos && batch.n_seq_id && batch.seq_id && batch.seq_id[3] && batch.logits, "llama_batch");
    llama_batch_free(batch);
    check_tensor();
}
