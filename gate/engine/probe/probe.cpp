// The llama.cpp probe: evaluates a prompt through llama.cpp's public API and
// writes the checkpoints of the forward pass as safetensors.
//
// paritygate compiles it with the user's compiler against the user's headers
// and links it to the user's libraries; it works on any version whose API has
// llama_model_load_from_file and llama_memory_clear (b5600 and newer).
//
//	probe --check                        exit 21 when headers and library disagree
//	probe --model M --tokens-file F --out T.safetensors --result R.json [options]
#include "abi.hpp"
#include "capture.hpp"
#include "common.hpp"
#include "model.hpp"
#include "tracefile.hpp"
#include <chrono>
#include <cmath>

static void on_log(ggml_log_level level, const char * text, void * data) {
    if (level == GGML_LOG_LEVEL_ERROR) {
        last_error() = text;
        while (!last_error().empty() && last_error().back() == '\n') last_error().pop_back();
    }
    if (level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN || *(bool *) data) fputs(text, stderr);
}

static int64_t to_int(const std::string & flag, const std::string & s, int64_t least, int64_t most) {
    char *  end;
    errno     = 0;
    int64_t n = strtoll(s.c_str(), &end, 10);
    if (s.empty() || *end || errno || n < least || n > most)
        fail(exit_usage, "%s %s: want a number from %lld to %lld", flag.c_str(), s.c_str(), (long long) least, (long long) most);
    return n;
}

static options parse(int argc, char ** argv) {
    options o;
    const std::map<std::string, std::string *> texts = {
        {"--model", &o.model}, {"--library-dir", &o.library_dir}, {"--backend", &o.backend}, {"--tokens-file", &o.tokens_file},
        {"--text-file", &o.text_file}, {"--out", &o.out}, {"--result", &o.result}, {"--prompt", &o.prompt}, {"--version", &o.version},
        {"--weights-sha256", &o.weights_sha256}, {"--model-name", &o.model_name}, {"--flash-attention", &o.flash_attention}, {"--kv-type", &o.kv_type}};
    const std::map<std::string, int *> numbers = {
        {"--gpu-layers", &o.gpu_layers}, {"--threads", &o.threads}, {"--batch", &o.batch}, {"--ubatch", &o.ubatch},
        {"--generate", &o.generate}, {"--bench", &o.bench}};
    const std::map<std::string, std::pair<bool *, bool>> switches = {
        {"--decode", {&o.decode, true}}, {"--sublayers", {&o.sublayers, true}}, {"--no-proof", {&o.prove, false}},
        {"--no-repack", {&o.no_repack, true}}, {"--strict", {&o.strict, true}}, {"--no-special", {&o.parse_special, false}},
        {"--verbose", {&o.verbose, true}}};
    for (int i = 1; i < argc; i++) {
        std::string a = argv[i];
        if (auto s = switches.find(a); s != switches.end()) {
            *s->second.first = s->second.second;
            continue;
        }
        if (i + 1 == argc) fail(exit_usage, "unknown option, or one without its value: %s", a.c_str());
        std::string v = argv[++i];
        if (auto t = texts.find(a); t != texts.end()) *t->second = v;
        else if (auto n = numbers.find(a); n != numbers.end()) *n->second = (int) to_int(a, v, a == "--gpu-layers" ? -1 : 0, 1 << 30);
        else if (a == "--max-bytes") o.max_bytes = (uint64_t) to_int(a, v, 0, INT64_MAX);
        else fail(exit_usage, "unknown option %s", a.c_str());
    }
    return o;
}

// prompt_tokens are the ids of the prompt, checked against the vocabulary.
static std::vector<int32_t> prompt_tokens(const options & o, const llama_vocab * vocab) {
    std::vector<int32_t> ids;
    if (!o.text_file.empty()) {
        std::string text = read_file(o.text_file);
        if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) fail(exit_input, "the model has no vocabulary: give the prompt as tokens");
        int n = -llama_tokenize(vocab, text.data(), (int) text.size(), nullptr, 0, true, o.parse_special);
        ids.resize(n > 0 ? n : 0);
        if (n > 0) llama_tokenize(vocab, text.data(), (int) text.size(), ids.data(), n, true, o.parse_special);
    } else {
        std::string text = read_file(o.tokens_file);
        for (size_t i = 0, j; i < text.size(); i = j + 1) {
            j = std::min(text.find(',', i), text.size());
            ids.push_back((int32_t) to_int("token", text.substr(i, j - i), INT32_MIN, INT32_MAX));
        }
    }
    if (ids.empty()) fail(exit_input, "the prompt has no tokens");
    for (size_t i = 0; i < ids.size(); i++)
        if (ids[i] < 0 || ids[i] >= llama_vocab_n_tokens(vocab))
            fail(exit_input, "token %d at position %zu is not in the vocabulary of %d", ids[i], i, llama_vocab_n_tokens(vocab));
    return ids;
}

// evaluate feeds ids from position first on, with an output for each, in pieces
// of n_batch tokens (one when decoding), and calls after(start, n) for each piece.
template <class F> static void evaluate(llama_context * ctx, const std::vector<int32_t> & ids, int first, bool decode, F after) {
    const int piece = decode ? 1 : (int) llama_n_batch(ctx), total = (int) ids.size();
    llama_batch b = llama_batch_init(piece, 0, 1);
    for (int start = first; start < total; start += b.n_tokens) {
        b.n_tokens = std::min(piece, total - start);
        for (int i = 0; i < b.n_tokens; i++) {
            b.token[i]     = ids[start + i];
            b.pos[i]       = start + i;
            b.n_seq_id[i]  = 1;
            b.seq_id[i][0] = 0;
            b.logits[i]    = 1;
        }
        if (int rc = llama_decode(ctx, b)) fail(exit_run, "llama_decode failed with %d at position %d", rc, start);
        llama_synchronize(ctx);
        after(start, b.n_tokens);
    }
    llama_batch_free(b);
}

static const float * logits_of(llama_context * ctx, int i) {
    const float * l = llama_get_logits_ith(ctx, i);
    if (!l) fail(exit_run, "the library has no logits for token %d of the batch", i);
    return l;
}

// generate appends the greedy continuation: the largest logit, the lowest id of equals.
static void generate(llama_model * m, const options & o, std::vector<int32_t> & ids) {
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(m));
    context   c(m, context_params(o, (int) ids.size() + o.generate));
    int       fed = 0;
    for (int k = 0; k < o.generate; k++) {
        const float * l = nullptr;
        evaluate(c.ctx, ids, fed, o.decode, [&](int, int n) { l = logits_of(c.ctx, n - 1); });
        fed      = (int) ids.size();
        int best = -1;
        for (int i = 0; i < n_vocab; i++)
            if (!std::isnan(l[i]) && (best < 0 || l[i] > l[best])) best = i;
        if (best < 0) fail(exit_capture, "all logits at position %d are NaN: there is no token to go on with", fed - 1);
        ids.push_back(best);
    }
}

// prove runs again without the callback and compares all logits bit for bit.
static bool prove(llama_model * m, const options & o, const std::vector<int32_t> & ids, const trace_file & file, std::string & difference) {
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(m));
    context   c(m, context_params(o, (int) ids.size()));
    std::vector<float> captured;
    bool same = true;
    evaluate(c.ctx, ids, 0, o.decode, [&](int start, int n) {
        for (int i = 0; same && i < n; i++) {
            if (!file.get("logits", start + i, 1, captured) || (int) captured.size() < n_vocab) fail(exit_capture, "the graph computed no result_output");
            const float * l = logits_of(c.ctx, i);
            if (!memcmp(l, captured.data(), size_t(n_vocab) * 4)) continue;
            same       = false;
            difference = "position " + std::to_string(start + i);
        }
    });
    return same;
}

static double milliseconds(std::chrono::steady_clock::time_point since) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since).count();
}

// bench times the same evaluation with and without capture, in turns, and
// prints the shortest times in milliseconds: on a busy machine they are the
// ones that say what the work itself takes.
static void bench(llama_model * m, const options & o, const std::vector<int32_t> & ids, capture & cap) {
    llama_context_params p = context_params(o, (int) ids.size());
    context plain(m, p);
    p.cb_eval           = capture::callback;
    p.cb_eval_user_data = &cap;
    context captured(m, p);
    for (bool decode : {false, true}) {
        double with = INFINITY, without = INFINITY;
        for (int r = 0; r <= o.bench; r++)
            for (bool on : {false, true}) {
                context & c = on ? captured : plain;
                llama_memory_clear(llama_get_memory(c.ctx), true);
                if (on) cap.restart();
                auto since = std::chrono::steady_clock::now();
                evaluate(c.ctx, ids, 0, decode, [&](int, int) {
                    double & best = on ? with : without;
                    if (r > 0) best = std::min(best, milliseconds(since)); // the first is a warm-up
                    since = std::chrono::steady_clock::now();
                });
            }
        printf("{\"run\":\"%s\",\"tokens\":%zu,\"plain_ms\":%.3f,\"captured_ms\":%.3f,\"ratio\":%.4f}\n", decode ? "decode" : "prefill", ids.size(),
               without, with, with / without);
    }
}

// check_size_bound fails before the work when the trace would be too large.
static void check_size_bound(const options & o, const llama_model * m, size_t n) {
    const uint64_t hidden = (uint64_t) llama_model_n_embd(m) * (llama_model_n_layer(m) * (o.sublayers ? 6 : 1) + 2);
    const uint64_t bytes  = 4 * (uint64_t) n * (hidden + llama_vocab_n_tokens(llama_model_get_vocab(m)));
    if (o.max_bytes && bytes > o.max_bytes)
        fail(exit_size, "the trace of %zu tokens would take %llu bytes, over the bound of %llu", n, (unsigned long long) bytes, (unsigned long long) o.max_bytes);
}

struct outcome {
    std::string              version, device, dtype, capture;
    std::vector<std::string> warnings;
};

static void write_result(const options & o, const std::vector<int32_t> & ids, size_t prompt_tokens, const outcome & r) {
    std::string w;
    for (auto & s : r.warnings) w += (w.empty() ? "" : ",") + quote(s);
    std::string json = "{\"version\":" + quote(r.version) + ",\"device\":" + quote(r.device) + ",\"compute_dtype\":" + quote(r.dtype) +
                       ",\"capture\":" + quote(r.capture) + ",\"prompt_tokens\":" + std::to_string(prompt_tokens) + ",\"tokens\":" + json_ids(ids) +
                       ",\"warnings\":[" + w + "]}\n";
    FILE * f = fopen(o.result.c_str(), "wb");
    if (!f || fwrite(json.data(), 1, json.size(), f) != json.size() || fclose(f)) fail(exit_io, "cannot write %s", o.result.c_str());
}

static std::string compute_dtype(const options & o, const llama_context_params & p, const capture & cap) {
    const ggml_type weights = weights_type(o.model);
    ggml_type       t = coarser(weights, coarser(p.type_k, p.type_v));
    // TF32 has the fraction of f16.
    if (weights == GGML_TYPE_F32 && cap.tf32 && coarser(t, GGML_TYPE_F16) == GGML_TYPE_F16) return "tf32";
    // Flash attention and the GELU table round to f16 on the way.
    if (cap.flash_attention || cap.gelu_table) t = coarser(t, GGML_TYPE_F16);
    return lower_type_name(t);
}

static void record(const options & o, llama_model * m, std::vector<ggml_backend_dev_t> & devices) {
    std::vector<int32_t> ids = prompt_tokens(o, llama_model_get_vocab(m));
    const size_t n_prompt = ids.size(), n_final = n_prompt + o.generate;
    check_size_bound(o, m, n_final);
    if (o.generate) generate(m, o, ids);

    trace_file file;
    file.open(o.out, (int64_t) ids.size(), 16384 + 12 * ids.size() + 256 * (size_t) llama_model_n_layer(m) * (o.sublayers ? 6 : 1) + o.prompt.size() * 6);
    capture cap;
    cap.file      = &file;
    cap.tokens    = &ids;
    cap.width     = llama_model_n_embd(m);
    cap.sublayers = o.sublayers;
    if (o.bench) return bench(m, o, ids, cap);

    llama_context_params p = context_params(o, (int) ids.size());
    p.cb_eval              = capture::callback;
    p.cb_eval_user_data    = &cap;
    {
        context c(m, p);
        evaluate(c.ctx, ids, 0, o.decode, [](int, int) {});
    }
    if (cap.rows() != (int64_t) ids.size())
        fail(exit_capture, "the graph gathered %lld tokens, %zu were sent", (long long) cap.rows(), ids.size());
    if (!file.has("logits")) fail(exit_capture, "the graph computed no result_output: this model has no logits");

    outcome r;
    r.version = library_version(o);
    r.device  = device_names(llama_model_default_params(), o, devices);
    r.dtype   = compute_dtype(o, p, cap);
    if (!cap.embedding_known) {
        file.rename("embedding", "token_embedding");
        r.warnings.push_back("which tensor enters layer 0 is not known for this architecture; the looked-up rows are the checkpoint token_embedding");
    }
    if (o.prove) {
        std::string difference;
        r.capture = prove(m, o, ids, file, difference) ? "exact" : "disturbs";
        if (r.capture == "disturbs") r.warnings.push_back("the logits with and without capture differ, first at " + difference);
    }
    file.finish({{"paritygate", "1"}, {"engine", "llama.cpp"}, {"engine_version", r.version}, {"model", o.model_name},
                 {"weights_sha256", o.weights_sha256}, {"compute_dtype", r.dtype}, {"device", r.device}, {"prompt", o.prompt},
                 {"tokens", json_ids(ids)}, {"capture", r.capture}, {"flash_attention", cap.flash_attention ? "on" : "off"}, {"decode", o.decode ? "on" : "off"},
                 {"kv_type", lower_type_name(coarser(p.type_k, p.type_v))}, {"system_info", llama_print_system_info()}});
    write_result(o, ids, n_prompt, r);
}

int main(int argc, char ** argv) {
    if (argc == 2 && !strcmp(argv[1], "--check")) {
        check_abi();
        puts("ok");
        fflush(stdout);
        _exit(0); // the batch of the check was made by the library: nothing to tear down
    }
    options o = parse(argc, argv);
    if (o.model.empty() || o.out.empty() || (o.result.empty() && !o.bench) || o.tokens_file.empty() == o.text_file.empty())
        fail(exit_usage, "want --model, --out, --result and one of --tokens-file and --text-file");
    llama_log_set(on_log, &o.verbose);
    auto devices = load_backends(o);
    llama_backend_init();
    require_gpu(o);
    llama_model * m = load_model(o, devices);
    record(o, m, devices);
    llama_model_free(m);
    llama_backend_free();
    return 0;
}
