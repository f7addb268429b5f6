// The eval callback: which graph nodes are checkpoints, and what the graph
// really gathered.
//
// The scheduler asks before computing a node whether its value is wanted and
// splits the graph there; each split costs a synchronisation, so nothing more
// is asked for than is written. Inputs are read while being asked: they are
// set before the graph runs and live until their node has run.
#pragma once
#include "common.hpp"
#include "tensor.hpp"
#include "tracefile.hpp"

// layer_of is N when name is prefix + N, else -1. "Kcur-0 (view)" is not Kcur-0.
inline int layer_of(std::string_view name, std::string_view prefix) {
    if (name.substr(0, prefix.size()) != prefix) return -1;
    name.remove_prefix(prefix.size());
    if (name.empty() || name.size() > 6) return -1;
    int n = 0;
    for (char c : name) {
        if (c < '0' || c > '9') return -1;
        n = n * 10 + (c - '0');
    }
    return n;
}

struct capture {
    trace_file *                 file = nullptr;
    const std::vector<int32_t> * tokens = nullptr; // what the graph must gather
    int64_t                      width = 0;        // of a hidden state
    bool                         sublayers = false;

    // What was seen.
    bool flash_attention = false;
    bool gelu_table      = false; // ggml's CPU code computes GELU from a table of f16 values
    bool tf32            = false; // ggml gives f32 products on CUDA to tensor cores, as TF32
    bool embedding_known = true;

    void restart() {
        done_ = first_ = n_ = 0;
        open_ = false;
        embedding_ = nullptr;
        file->restart();
    }

    // rows is how many positions were captured.
    int64_t rows() const { return done_; }

    static bool callback(ggml_tensor * t, bool ask, void * data) {
        capture & c = *(capture *) data;
        if (ask) return c.ask(t);
        c.take(t);
        return true;
    }

  private:
    bool ask(ggml_tensor * t) {
        if (t->op == GGML_OP_GET_ROWS) gathered(t);
        else if (t->op == GGML_OP_FLASH_ATTN_EXT) flash_attention = true;
        else if (t->op == GGML_OP_MUL_MAT) tf32 = tf32 || (t->src[0]->type == GGML_TYPE_F32 && on_cuda(t));
        else if (!gelu_table) note_gelu(t);
        return enters_layer_0(t) || !checkpoint(t).empty();
    }

    // gathered holds the rows that the graph picks against those that were sent.
    void gathered(const ggml_tensor * t) {
        const ggml_tensor * table = t->src[0];
        const ggml_tensor * index = t->src[1];
        if (!index || index->type != GGML_TYPE_I32) return;
        if (base_name(table) == "token_embd.weight") {
            std::vector<int32_t> ids = read_ids(index);
            if (!open_) { // a new ubatch; some graphs look tokens up twice
                open_      = true;
                embedding_ = nullptr;
                layer_0_seen_ = false;
                attn_      = nullptr;
                first_     = done_;
                n_         = (int64_t) ids.size();
                done_ += n_;
            }
            for (int64_t i = 0; i < n_; i++) {
                if (first_ + i < (int64_t) tokens->size() && (int64_t) ids.size() == n_ && ids[i] == (*tokens)[first_ + i]) continue;
                fail(exit_capture, "the graph gathered other tokens than were sent, or in another order: row %lld of %lld rows from position %lld on",
                     (long long) i, (long long) ids.size(), (long long) first_);
            }
            return;
        }
        // The rows whose outputs are computed by the last layer.
        if (computed(table) && index->op == GGML_OP_NONE && table->ne[0] == width && table->ne[1] == n_ && ggml_nrows(table) == n_) {
            std::vector<int32_t> ids = read_ids(index);
            for (size_t i = 0; i < ids.size(); i++)
                if (ids[i] != (int32_t) i)
                    fail(exit_capture, "the last layer's rows are in another order than the tokens: row %zu is token %d of the batch", i, ids[i]);
        }
    }

    void note_gelu(const ggml_tensor * t) {
        const char * op = ggml_op_desc(t); // GELU, GELU_QUICK, GEGLU, GEGLU_QUICK; the ERF kinds use no table
        if ((!strncmp(op, "GELU", 4) || !strncmp(op, "GEGLU", 5)) && !strstr(op, "ERF") && on_host(t)) gelu_table = true;
    }

    // enters_layer_0 is true for the first node of layer 0 when the tensor that
    // it reads was not captured by its name.
    bool enters_layer_0(const ggml_tensor * t) {
        if (layer_0_seen_ || !open_) return false;
        std::string_view n(t->name);
        size_t           dash = n.rfind("-0");
        if (dash == n.npos || dash + 2 != n.size()) return false;
        layer_0_seen_ = true;
        for (const ggml_tensor * s : t->src) {
            if (!s || !embedding_) continue;
            if (s == embedding_ || s->view_src == embedding_ || base_name(s) == embedding_->name) return false;
        }
        entry_ = t;
        return true;
    }

    // checkpoint is the canonical name of the node, "" when it is none.
    std::string checkpoint(const ggml_tensor * t) {
        std::string_view n(t->name);
        if (n == "embd" || n == "inp_embd" || n == "inpL" || n == "inp_scaled") return layer_0_seen_ ? "" : "embedding";
        if (n == "result_norm") return "final_norm";
        if (n == "result_output") return "logits";
        if (int l = layer_of(n, "l_out-"); l >= 0) return "layer_" + std::to_string(l) + "_output";
        if (!sublayers) return "";
        static const std::pair<const char *, const char *> subs[] = {
            {"attn_norm-", "_attn_norm"}, {"attn_out-", "_attn_output"}, {"ffn_inp-", "_ffn_input"},
            {"ffn_norm-", "_ffn_norm"},   {"ffn_moe_out-", "_ffn_output"}, {"ffn_out-", "_ffn_output"},
        };
        for (auto & s : subs)
            if (int l = layer_of(n, s.first); l >= 0) return "layer_" + std::to_string(l) + s.second;
        if (follows_attention(t)) return "layer_" + std::to_string(attn_layer_) + "_attn_output";
        return "";
    }

    // follows_attention finds the output projection, which many graphs leave
    // unnamed: the product with kqv_out-N, and its bias or scale after it.
    bool follows_attention(const ggml_tensor * t) {
        if (t->op == GGML_OP_MUL_MAT && t->src[1]) {
            int l = layer_of(base_name(t->src[1]), "kqv_out-");
            if (l < 0) return false;
            attn_       = t;
            attn_layer_ = l;
            return true;
        }
        if (attn_ && t != attn_ && (t->op == GGML_OP_ADD || t->op == GGML_OP_MUL) && t->src[0] == attn_ && !computed(t->src[1])) attn_ = t;
        return attn_ == t;
    }

    void take(ggml_tensor * t) {
        if (t == entry_) {
            take_entry(t);
            entry_ = nullptr;
        }
        std::string name = checkpoint(t);
        if (name.empty()) return;
        write(name, t);
        if (name == "embedding") embedding_ = t;
        if (name == "logits") open_ = false; // the ubatch is over
    }

    // take_entry writes what the first node of layer 0 read: its memory lives as
    // long as the residual connection needs it, unless the node overwrote it.
    void take_entry(const ggml_tensor * t) {
        for (const ggml_tensor * s : t->src) {
            if (!s || !computed(s) || s->ne[0] != width || ggml_nrows(s) != n_ || s->data == t->data) continue;
            write("embedding", s);
            return;
        }
        embedding_known = false;
    }

    void write(const std::string & name, const ggml_tensor * t) {
        if (!open_) fail(exit_capture, "%s was computed before the graph gathered any token", t->name);
        if (ggml_nrows(t) != n_)
            fail(exit_capture, "%s has %lld rows for %lld tokens", t->name, (long long) ggml_nrows(t), (long long) n_);
        for_rows(t, [&](int64_t r, int64_t n, const float * values) { file->put(name, t->ne[0], first_ + r, n, values); });
    }

    int64_t             done_ = 0, first_ = 0, n_ = 0; // positions captured; first and number of the ubatch's
    bool                open_ = false;                 // a ubatch is being computed
    bool                layer_0_seen_ = false;
    const ggml_tensor * embedding_ = nullptr; // the last tensor written as the embedding
    const ggml_tensor * entry_     = nullptr; // the first node of layer 0, when its input must be read from it
    const ggml_tensor * attn_      = nullptr; // the last node of an attention block so far
    int                 attn_layer_ = 0;
};
