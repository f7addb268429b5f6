// Loading backends, model and contexts; fields that a version of llama.h lacks
// are found out while compiling.
#pragma once
#include "common.hpp"
#include "ggml-backend.h"
#include "ggml.h"
#include "gguf.h"
#include "llama.h"
#include <algorithm>
#include <cctype>
#include <dlfcn.h>
#include <map>
#include <thread>

struct options {
    std::string model, library_dir, backend, tokens_file, text_file, out, result, prompt, version, weights_sha256, model_name;
    std::string flash_attention, kv_type; // "" is the library's default
    int  gpu_layers = INT32_MIN;
    int  threads = 0, batch = 0, ubatch = 0, generate = 0, bench = 0;
    bool decode = false, sublayers = false, prove = true, no_repack = false, strict = false, parse_special = true, verbose = false;
    uint64_t max_bytes = 0;
};

inline const char * symbol_text(const char * name) {
    auto f = (const char * (*) ()) dlsym(RTLD_DEFAULT, name);
    return f ? f() : nullptr;
}

// version is what is known of the library: the release in its name or what it
// says itself, and ggml's version and commit.
inline std::string library_version(const options & o) {
    std::string v = o.version;
    if (const char * s = v.empty() ? symbol_text("llama_version") : nullptr) v = s;
    const char * ggml = symbol_text("ggml_version"), * commit = symbol_text("ggml_commit");
    if (!ggml) return v;
    std::string g = std::string("ggml ") + ggml + (commit && strcmp(commit, "unknown") ? std::string(" ") + commit : "");
    return v.empty() ? g : v + " (" + g + ")";
}

// load_backends loads one backend library, or all of the folder. Builds without
// loadable backends have theirs already.
inline std::vector<ggml_backend_dev_t> load_backends(const options & o) {
    std::vector<ggml_backend_dev_t> chosen;
    if (o.backend.empty()) {
        if (o.library_dir.empty()) ggml_backend_load_all();
        else ggml_backend_load_all_from_path(o.library_dir.c_str());
    } else {
        void * h = dlopen(o.backend.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!h) fail(exit_library, "cannot load the backend: %s", dlerror());
        auto score = (int (*)()) dlsym(h, "ggml_backend_score");
        if (score && score() == 0) fail(exit_library, "this machine lacks the instructions that the backend %s needs", o.backend.c_str());
        ggml_backend_reg_t reg = ggml_backend_load(o.backend.c_str());
        if (!reg) fail(exit_library, "cannot use %s as a backend", o.backend.c_str());
        for (size_t i = 0; i < ggml_backend_reg_dev_count(reg); i++) {
            ggml_backend_dev_t d = ggml_backend_reg_dev_get(reg, i);
            if (ggml_backend_dev_type(d) != GGML_BACKEND_DEVICE_TYPE_CPU) chosen.push_back(d);
        }
        // A GPU's backend alone cannot run: parts of every model stay on the CPU.
        if (!ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU)) ggml_backend_load_all_from_path(o.library_dir.c_str());
    }
    if (!ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU))
        fail(exit_library, "no backend for the CPU found%s%s", o.library_dir.empty() ? "" : " in ", o.library_dir.c_str());
    if (!chosen.empty()) chosen.push_back(nullptr);
    return chosen;
}

template <class P> bool set_repack(P & p, bool on) {
    if constexpr (requires { p.use_extra_bufts; }) {
        p.use_extra_bufts = on;
        return true;
    }
    return false;
}

inline bool is_gpu(ggml_backend_dev_t d) {
    auto t = ggml_backend_dev_type(d);
    return t != GGML_BACKEND_DEVICE_TYPE_CPU && t != GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

// require_gpu fails where layers were asked onto a GPU and there is none: the
// library would run them on the CPU without a word.
inline void require_gpu(const options & o) {
    if (o.gpu_layers <= 0) return;
    std::string have;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t d = ggml_backend_dev_get(i);
        if (is_gpu(d)) return;
        have += std::string(have.empty() ? "" : ", ") + ggml_backend_dev_name(d);
    }
    fail(exit_library, "gpu_layers %d: the library found no GPU, only %s. A backend whose own libraries are missing is left out: see ldd libggml-cuda.so%s%s",
         o.gpu_layers, have.c_str(), o.library_dir.empty() ? "" : " in ", o.library_dir.c_str());
}

inline llama_model * load_model(const options & o, std::vector<ggml_backend_dev_t> & devices) {
    llama_model_params p = llama_model_default_params();
    if (o.gpu_layers != INT32_MIN) p.n_gpu_layers = o.gpu_layers;
    // Without layers on it, a GPU still computes the products of a prefill, with
    // weights that are copied there each time. No layers means no GPU.
    if (o.gpu_layers == 0) devices = {nullptr};
    if (!devices.empty()) p.devices = devices.data();
    if (o.no_repack && !set_repack(p, false)) fail(exit_usage, "no_repack: this version of llama.cpp cannot turn repacking off");
    llama_model * m = llama_model_load_from_file(o.model.c_str(), p);
    if (!m) fail(exit_model, "cannot load the model %s", o.model.c_str());
    return m;
}

inline ggml_type kv_type(const std::string & name) {
    for (ggml_type t : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q5_1})
        if (name == ggml_type_name(t)) return t;
    fail(exit_usage, "kv_type %s: want f32, f16, bf16 or q8_0", name.c_str());
}

template <class P> void set_flash_attention(P & p, const std::string & s) {
    if (s.empty()) return;
    if constexpr (requires { p.flash_attn_type; }) {
        // LLAMA_FLASH_ATTN_TYPE_ENABLED, _DISABLED, _AUTO: names that older headers lack even here.
        p.flash_attn_type = decltype(p.flash_attn_type)(s == "on" ? 1 : s == "off" ? 0 : -1);
    } else {
        if (s == "auto") fail(exit_usage, "flash_attention auto: this version of llama.cpp knows on and off only");
        p.flash_attn = s == "on";
    }
}

// context_params are the options over the library's defaults. Strict: as few
// sources of difference as can be had; one ubatch holds up to 512 tokens.
inline llama_context_params context_params(const options & o, int n_tokens) {
    llama_context_params p = llama_context_default_params();
    const int cores = std::max(1u, std::thread::hardware_concurrency());
    p.n_ctx = o.strict ? n_tokens : std::max<uint32_t>(p.n_ctx, n_tokens);
    if (o.strict) p.n_batch = p.n_ubatch = std::min(n_tokens, 512);
    if (o.batch) p.n_batch = o.batch;
    if (o.ubatch) p.n_ubatch = o.ubatch;
    if (o.batch && !o.ubatch) p.n_ubatch = std::min(p.n_ubatch, p.n_batch);
    if (p.n_ubatch > p.n_batch) p.n_batch = p.n_ubatch;
    p.n_threads       = o.threads ? o.threads : std::min(p.n_threads, cores);
    p.n_threads_batch = o.threads ? o.threads : std::min(p.n_threads_batch, cores);
    p.n_seq_max       = 1;
    std::string kv = !o.kv_type.empty() ? o.kv_type : o.strict ? "f32" : "";
    if (!kv.empty()) p.type_k = p.type_v = kv_type(kv);
    set_flash_attention(p, !o.flash_attention.empty() ? o.flash_attention : o.strict ? "off" : "");
    return p;
}

// context is a llama_context with a thread pool of its own. Without one, ggml
// makes and ends its threads for every piece of the graph, and the capture's
// pieces would cost more than its bytes. It changes no result.
struct context {
    llama_context * ctx = nullptr;

    context(llama_model * m, const llama_context_params & p) {
        ctx = llama_init_from_model(m, p);
        if (!ctx) fail(exit_model, "the model cannot be run with these options");
        ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
        ggml_backend_reg_t reg = cpu ? ggml_backend_dev_backend_reg(cpu) : nullptr;
        if (!reg || p.n_threads != p.n_threads_batch) return;
        auto make = (ggml_threadpool_t (*)(ggml_threadpool_params *)) ggml_backend_reg_get_proc_address(reg, "ggml_threadpool_new");
        free_     = (void (*)(ggml_threadpool_t)) ggml_backend_reg_get_proc_address(reg, "ggml_threadpool_free");
        if (!make || !free_) return;
        ggml_threadpool_params tp = ggml_threadpool_params_default(p.n_threads);
        if ((pool_ = make(&tp))) llama_attach_threadpool(ctx, pool_, pool_);
    }
    ~context() {
        llama_free(ctx);
        if (pool_) free_(pool_);
    }
    context(const context &) = delete;

  private:
    ggml_threadpool_t pool_ = nullptr;
    void (*free_)(ggml_threadpool_t) = nullptr;
};

// weights_type is the type that most of the weights have.
inline ggml_type weights_type(const std::string & path) {
    std::map<int, uint64_t> elements;
    auto count = [&](const char * file) {
        gguf_init_params gp{true, nullptr};
        gguf_context *   g = gguf_init_from_file(file, gp);
        if (!g) return int64_t(0);
        for (int64_t i = 0; i < gguf_get_n_tensors(g); i++) {
            ggml_type t = gguf_get_tensor_type(g, i);
            elements[t] += gguf_get_tensor_size(g, i) / ggml_type_size(t) * ggml_blck_size(t);
        }
        int64_t key = gguf_find_key(g, "split.count"), parts = key < 0 ? 1 : gguf_get_val_u16(g, key);
        gguf_free(g);
        return parts;
    };
    const int64_t parts = count(path.c_str());
    char prefix[4096], part[4096];
    if (parts > 1 && llama_split_prefix(prefix, sizeof prefix, path.c_str(), 0, (int) parts) > 0)
        for (int i = 1; i < parts; i++) {
            llama_split_path(part, sizeof part, prefix, i, (int) parts);
            count(part);
        }
    auto most = std::max_element(elements.begin(), elements.end(), [](auto & a, auto & b) { return a.second < b.second; });
    return most == elements.end() ? GGML_TYPE_F32 : ggml_type(most->first);
}

// coarser is the type with fewer significant bits: f32, f16, bf16, then the
// quantised ones by their bits a weight.
inline ggml_type coarser(ggml_type a, ggml_type b) {
    auto rank = [](ggml_type t) {
        if (t == GGML_TYPE_F32) return 0.0;
        if (t == GGML_TYPE_F16) return 1.0;
        if (t == GGML_TYPE_BF16) return 2.0;
        return 100.0 - 8.0 * ggml_type_size(t) / ggml_blck_size(t);
    };
    return rank(b) > rank(a) ? b : a;
}

inline std::string lower_type_name(ggml_type t) {
    std::string s = ggml_type_name(t);
    for (char & c : s) c = (char) tolower(c);
    return s;
}

// device_names are the devices that compute: the GPUs when layers are on them, and the CPU.
inline std::string device_names(const llama_model_params & defaults, const options & o, const std::vector<ggml_backend_dev_t> & chosen) {
    const int   layers = o.gpu_layers != INT32_MIN ? o.gpu_layers : defaults.n_gpu_layers;
    std::string out;
    auto add = [&](ggml_backend_dev_t d) { out += (out.empty() ? "" : ", ") + std::string(ggml_backend_dev_description(d)); };
    for (size_t i = 0; layers != 0 && i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t d = ggml_backend_dev_get(i);
        if (!is_gpu(d)) continue;
        if (chosen.empty() || std::find(chosen.begin(), chosen.end(), d) != chosen.end()) add(d);
    }
    add(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
    return out;
}
