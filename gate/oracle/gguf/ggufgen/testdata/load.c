/* load LIBRARIES MODEL: loads a model with llama.cpp and runs some tokens.
 * load LIBRARIES MODEL OUT FILE_TYPE: quantises it first, to the file OUT.
 * Prints parameters, vocabulary, and mean and standard deviation of the last
 * token's logits. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "ggml-backend.h"
#include "llama.h"

static void complain(enum ggml_log_level level, const char * text, void * data) {
    (void) data;
    if (level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN) {
        fputs(text, stderr);
    }
}

int main(int argc, char ** argv) {
    if (argc != 3 && argc != 5) {
        fprintf(stderr, "want LIBRARIES MODEL [OUT FILE_TYPE]\n");
        return 1;
    }
    llama_log_set(complain, NULL);
    ggml_backend_load_all_from_path(argv[1]);
    const char * path = argv[2];
    if (argc == 5) {
        struct llama_model_quantize_params q = llama_model_quantize_default_params();
        q.ftype = atoi(argv[4]);
        q.nthread = 1;
        path = argv[3];
        if (llama_model_quantize(argv[2], path, &q)) {
            return 1;
        }
    }
    struct llama_model * model = llama_model_load_from_file(path, llama_model_default_params());
    if (!model) {
        return 1;
    }
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 64;
    params.n_threads = params.n_threads_batch = 1;
    struct llama_context * context = llama_init_from_model(model, params);
    if (!context) {
        return 1;
    }
    llama_token tokens[16];
    for (int i = 0; i < 16; i++) {
        tokens[i] = 7 * i + 1;
    }
    if (llama_decode(context, llama_batch_get_one(tokens, 16))) {
        return 1;
    }
    const float * logits = llama_get_logits_ith(context, -1);
    int n = llama_vocab_n_tokens(llama_model_get_vocab(model));
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        sum += logits[i];
        squares += (double) logits[i] * logits[i];
    }
    printf("%llu %d %g %g\n", (unsigned long long) llama_model_n_params(model), n, sum / n, sqrt(squares / n - sum / n * sum / n));
    llama_free(context);
    llama_model_free(model);
    return 0;
}
