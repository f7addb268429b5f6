"""The forward pass of llama, qwen2, qwen3, phi3, granite and gpt2 in NumPy.

Written from the architectures' formulas and independent of paritygate, whose
judgement is measured against what this computes. Weights come from safetensors
files with Hugging Face names; load() brings them to one layout:
layers[l] = {"attn_norm", "q", "k", "v", "o", "ffn_norm", "gate", "up", "down"},
matrices as [out, in], biases beside them as "q.b" and so on, qwen3's norms of
each head as "q_norm" and "k_norm".

    python forward.py --selftest
"""
import argparse
import copy
import json
import math
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import st
from numerics import CLEAN, F64

HERE = os.path.dirname(os.path.abspath(__file__))
ARCHS = ("llama", "qwen2", "phi3", "granite", "gpt2")  # of the trained models in this folder
BOS = 256


class Model:
    """Weights and everything of the configuration that the formulas use.

    What may differ by layer is a list with an entry a layer. `plan` holds, for
    each slot, the layers that run there: [[0], [1], [2], [3]]. `taps` maps
    (point, layer) to a function that replaces the value at that point.
    """

    def copy(self):
        """A model whose lists and tables may be changed; arrays are shared."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, dict):
                setattr(other, name, dict(value))
            elif isinstance(value, list):
                setattr(other, name, [copy.copy(v) for v in value])
        return other

    def tap(self, point, layer, value):
        change = self.taps.get((point, layer))
        return value if change is None else change(value)


def load(arch, folder=HERE):
    tensors, meta = st.read(os.path.join(folder, arch + ".safetensors"))
    cfg = json.loads(meta["config"])
    tensors = {name: t.astype(np.float64) for name, t in tensors.items()}
    m = Model()
    m.arch, m.taps = arch, {}
    if arch == "gpt2":
        _load_gpt2(m, cfg, tensors)
    else:
        _load_llama_like(m, cfg, tensors)
    n = len(m.layers)
    group = m.n_head // m.n_kv
    m.head_dim = cfg.get("head_dim") or m.hidden // m.n_head
    m.plan = [[layer] for layer in range(n)]
    m.theta = [float(cfg.get("rope_theta", 0))] * n
    m.rope_dims = [m.head_dim if m.theta[0] else 0] * n
    m.rope_style = ["half"] * n
    m.scale = [cfg.get("attention_multiplier", m.head_dim**-0.5)] * n
    m.residual_scale = [cfg.get("residual_multiplier", 1.0)] * n
    m.embedding_scale = cfg.get("embedding_multiplier", 1.0)
    m.logits_divisor = cfg.get("logits_scaling", 1.0)
    m.eps = [m.eps0] * (n + 1)  # the last one is the final norm's
    m.k_of_head = [[h // group for h in range(m.n_head)] for _ in range(n)]
    m.v_of_head = [list(heads) for heads in m.k_of_head]
    return m


def _load_llama_like(m, cfg, t):
    m.hidden, m.n_head, m.n_kv = cfg["hidden_size"], cfg["num_attention_heads"], cfg["num_key_value_heads"]
    m.eps0, m.act, m.layernorm = cfg["rms_norm_eps"], ["silu"] * cfg["num_hidden_layers"], False
    m.positions = None
    m.embedding = t["model.embed_tokens.weight"]
    m.head = m.embedding if cfg["tie_word_embeddings"] else t["lm_head.weight"]
    m.final = {"w": t["model.norm.weight"]}
    kv = m.n_kv * m.hidden // m.n_head
    m.layers = []
    for layer in range(cfg["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        w = {
            "attn_norm": t[p + "input_layernorm.weight"],
            "ffn_norm": t[p + "post_attention_layernorm.weight"],
            "o": t[p + "self_attn.o_proj.weight"],
            "down": t[p + "mlp.down_proj.weight"],
        }
        if m.arch == "phi3":
            w["q"], w["k"], w["v"] = np.split(t[p + "self_attn.qkv_proj.weight"], [m.hidden, m.hidden + kv])
            w["gate"], w["up"] = np.split(t[p + "mlp.gate_up_proj.weight"], 2)
        else:
            for name in "qkv":
                w[name] = t[p + f"self_attn.{name}_proj.weight"]
                if p + f"self_attn.{name}_proj.bias" in t:
                    w[name + ".b"] = t[p + f"self_attn.{name}_proj.bias"]
            if m.arch == "qwen3":
                w["q_norm"], w["k_norm"] = t[p + "self_attn.q_norm.weight"], t[p + "self_attn.k_norm.weight"]
            w["gate"], w["up"] = t[p + "mlp.gate_proj.weight"], t[p + "mlp.up_proj.weight"]
        m.layers.append(w)


def _load_gpt2(m, cfg, t):
    m.hidden, m.n_head, m.n_kv = cfg["n_embd"], cfg["n_head"], cfg["n_head"]
    m.eps0, m.act, m.layernorm = cfg["layer_norm_epsilon"], ["gelu_tanh"] * cfg["n_layer"], True
    m.positions = t["transformer.wpe.weight"]
    m.embedding = m.head = t["transformer.wte.weight"]
    m.final = {"w": t["transformer.ln_f.weight"], "b": t["transformer.ln_f.bias"]}
    names = {"o": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj"}
    m.layers = []
    for layer in range(cfg["n_layer"]):
        p = f"transformer.h.{layer}."
        w = {"attn_norm": t[p + "ln_1.weight"], "attn_norm.b": t[p + "ln_1.bias"]}
        w |= {"ffn_norm": t[p + "ln_2.weight"], "ffn_norm.b": t[p + "ln_2.bias"]}
        # Conv1D holds [in, out], and q, k, v side by side.
        w["q"], w["k"], w["v"] = np.split(t[p + "attn.c_attn.weight"].T, 3)
        w["q.b"], w["k.b"], w["v.b"] = np.split(t[p + "attn.c_attn.bias"], 3)
        for name, source in names.items():
            w[name], w[name + ".b"] = t[p + source + ".weight"].T, t[p + source + ".bias"]
        m.layers.append(w)


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x):
    return x * (0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))).astype(x.dtype)


ACTIVATIONS = {"silu": silu, "gelu_tanh": gelu_tanh, "gelu_erf": gelu_erf, "relu": lambda x: np.maximum(x, 0)}


class Forward:
    """One engine: a model computed under a profile."""

    def __init__(self, model, profile=F64):
        self.m, self.p = model, profile
        self.held = {}

    def weight(self, array):
        """The array as this engine holds it: rounded to its weights' type."""
        key = id(array)
        if key not in self.held:
            # The source is kept beside it so that its id is not given to another array.
            self.held[key] = (self.p.round(array.astype(self.p.compute), "weights"), array)
        return self.held[key][0]

    def run(self, tokens, sub=False):
        """{checkpoint: [positions, width]} in forward order, for token ids."""
        m, p, out = self.m, self.p, {}
        x = self.embed(np.asarray(tokens))
        out["embedding"] = x
        for slot, layers in enumerate(m.plan):
            for layer in layers:
                x, attn, ffn = self.layer(x, layer)
                if sub:
                    out[f"layer_{slot}_attn_output"], out[f"layer_{slot}_ffn_output"] = attn, ffn
            out[f"layer_{slot}_output"] = x
        x = self.norm(x, m.final["w"], m.final.get("b"), m.eps[-1])
        x = out["final_norm"] = m.tap("final_norm", None, x)
        logits = p.contract(p.round(x, "matmul_in"), self.weight(m.head).T)
        out["logits"] = p.round(m.tap("logits", None, logits / p.compute(m.logits_divisor)), "logits")
        return out

    def embed(self, tokens):
        m, p = self.m, self.p
        tokens = m.tap("tokens", None, tokens)
        x = self.weight(m.embedding)[tokens]
        if m.embedding_scale != 1:
            x = p.round(x * p.compute(m.embedding_scale), "residual")
        if m.positions is not None:
            where = m.tap("positions", None, np.arange(len(tokens)))
            x = p.round(x + m.tap("position_rows", None, self.weight(m.positions)[where]), "residual")
        return m.tap("embedding", None, x)

    def norm(self, x, weight, bias, eps):
        m, p = self.m, self.p
        if m.layernorm:
            x = x - p.mean(x)
        x = x / np.sqrt(p.mean(x * x) + p.compute(eps))
        if p.norm == "twice" and not m.layernorm:
            x = p.round(x, "act")
        x = x * self.weight(weight)
        if bias is not None:
            x = x + self.weight(bias)
        return p.round(x, "act")

    def linear(self, x, layer, name):
        w, p = self.m.layers[layer], self.p
        x, weight = p.round(x, "matmul_in"), self.weight(w[name]).T
        product = self.m.taps.get(("product:" + name, layer))
        y = product(x, weight) if product else p.contract(x, weight)
        if name + ".b" in w:
            y = y + self.weight(w[name + ".b"])
        return self.m.tap(name, layer, p.round(y, "act"))

    def layer(self, x, layer):
        """Returns the residual stream after the layer, and what attention and FFN added."""
        m, p, w = self.m, self.p, self.m.layers[layer]
        h = self.norm(x, w["attn_norm"], w.get("attn_norm.b"), m.eps[layer])
        attn = self.linear(self.attention(h, layer), layer, "o")
        x = self.add(x, attn, layer, "attn_residual")
        h = self.norm(x, w["ffn_norm"], w.get("ffn_norm.b"), m.eps[layer])
        ffn = self.linear(self.ffn(h, layer), layer, "down")
        x = self.add(x, ffn, layer, "ffn_residual")
        return m.tap("layer_output", layer, x), attn, ffn

    def add(self, x, y, layer, point):
        m, p = self.m, self.p
        x = m.tap(point, layer, x)
        if m.residual_scale[layer] != 1:
            y = p.round(y * p.compute(m.residual_scale[layer]), "act")
        return p.round(x + y, "residual")

    def ffn(self, h, layer):
        m, p = self.m, self.p
        up = self.linear(h, layer, "up")
        x = self.linear(h, layer, "gate") if "gate" in m.layers[layer] else up
        if p.gelu == "f16":
            x = x.astype(np.float16).astype(x.dtype)
        x = ACTIVATIONS[m.act[layer]](x)
        x = x.astype(np.float16).astype(x.dtype) if p.gelu == "f16" else p.round(x, "act")
        if "gate" in m.layers[layer]:
            x = p.round(x * up, "act")
        return m.tap("ffn_hidden", layer, x)

    def heads(self, x):
        return x.reshape(len(x), -1, self.m.head_dim).transpose(1, 0, 2)

    def attention(self, h, layer):
        m, p, n = self.m, self.p, len(h)
        q, k, v = (self.heads(self.linear(h, layer, name)) for name in "qkv")
        if "q_norm" in m.layers[layer]:  # RMS norm over each head alone, one weight for all heads
            q = self.norm(q, m.layers[layer]["q_norm"], None, m.eps[layer])
            k = self.norm(k, m.layers[layer]["k_norm"], None, m.eps[layer])
        if m.theta[layer]:
            at = np.arange(n)
            q = self.rotate(q, m.tap("q_positions", layer, at), layer)
            k = self.rotate(k, m.tap("k_positions", layer, at), layer)
        scale = p.compute(m.scale[layer])
        if p.scale_queries:
            q, scale = p.round(q * scale, "act"), p.compute(1)
        k = m.tap("k_cache", layer, p.round(k, "kv"))[m.k_of_head[layer]]
        v = m.tap("v_cache", layer, p.round(v, "kv"))[m.v_of_head[layer]]
        scores = self.keep(p.contract(q, np.ascontiguousarray(k.transpose(0, 2, 1))))
        scores = self.keep(scores * scale)
        scores = m.tap("scores", layer, scores)
        seen = m.tap("mask", layer, np.tril(np.ones((n, n), bool)))
        x = self.weighted(np.where(seen, scores, p.compute(-np.inf)), v)
        x = m.tap("attn_hidden", layer, p.round(x, "act"))
        return x.transpose(1, 0, 2).reshape(n, -1)

    def keep(self, x):
        """Rounds an intermediate of attention unless attention is one fused kernel."""
        return x if self.p.fused else self.p.round(x, "act")

    def weighted(self, scores, v):
        """softmax(scores) @ v."""
        p = self.p
        if p.softmax == "online":
            return self.weighted_online(scores, v)
        if p.softmax == "max":
            scores = scores - scores.max(-1, keepdims=True)
        e = np.exp(scores)
        return p.contract(self.keep(e / e.sum(-1, keepdims=True)), v)

    def weighted_online(self, scores, v):
        """The same in blocks of 16 keys with a running maximum, as flash attention has it."""
        top = np.full(scores.shape[:2] + (1,), -1e30, scores.dtype)
        total, x = np.zeros_like(top), np.zeros(scores.shape[:2] + v.shape[-1:], scores.dtype)
        for i in range(0, v.shape[1], 16):
            block = scores[..., i : i + 16]
            new = np.maximum(top, block.max(-1, keepdims=True))
            e, shrink = np.exp(block - new), np.exp(top - new)
            total = total * shrink + e.sum(-1, keepdims=True)
            x = x * shrink + self.p.contract(self.keep(e), v[:, i : i + 16])
            top = new
        return x / total

    def rotate(self, x, positions, layer):
        """Rotary embedding of [heads, positions, head_dim]; pairs are (i, i + d/2)."""
        m, p, d = self.m, self.p, self.m.rope_dims[layer]
        base, real = m.theta[layer], p.compute
        at = positions[:, None].astype(real)
        if p.table == "iterative":
            steps = np.full((len(at), d // 2 - 1), real(base) ** real(-2 / d), real)
            angle = np.multiply.accumulate(np.hstack([at, steps]), axis=1)
        else:
            angle = at * m.tap("frequencies", layer, (base ** (-np.arange(0, d, 2) / d)).astype(real))
        cos, sin = np.cos(angle), np.sin(angle)
        part = (lambda y: p.round(y, "act")) if p.rope == "parts" else (lambda y: y)
        cos, sin = part(cos), part(sin)
        if m.rope_style[layer] == "half":
            first, second = slice(0, d // 2), slice(d // 2, d)
        else:
            first, second = slice(0, d, 2), slice(1, d, 2)
        a, b, out = x[..., first], x[..., second], x.copy()
        out[..., first] = part(a * cos) - part(b * sin)
        out[..., second] = part(b * cos) + part(a * sin)
        return p.round(out, "act")


def rel_l2(c, r):
    """√(Σ(c−r)²/Σr²); 0 when both are zero."""
    c, r = c.astype(np.float64), r.astype(np.float64)
    d, n = np.sum((c - r) ** 2), np.sum(r * r)
    return 0.0 if d == 0 else float(np.sqrt(d / n)) if n else math.inf


SNIPPET = '''    def read(self, size=-1):
        """Read and return up to size bytes."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if size is None or size < 0:
            return self.readall()
        for i in range(len(self)):
            yield self.data[i]
'''


def selftest():
    tokens = [BOS] + list(SNIPPET.encode())
    bad = 0
    for arch in ARCHS:
        model = load(arch)
        ref = Forward(model).run(tokens)
        z = ref["logits"][:-1]
        z = z - z.max(-1, keepdims=True)
        logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
        right = np.array(tokens[1:])
        top1 = float((z.argmax(-1) == right).mean())
        ppl = float(np.exp(-logp[np.arange(len(right)), right].mean()))
        line = f"{arch:8} top-1 {top1:.1%}  perplexity {ppl:.2f} a byte"
        worst = {}
        for kind in ("f32", "f16", "bf16"):
            got = Forward(model, CLEAN[kind]).run(tokens)
            worst[kind] = max(rel_l2(got[c], ref[c]) for c in ref)
            line += f"  {kind} {worst[kind]:.1e}"
        ok = top1 >= 0.45 and ppl < 8 and worst["f32"] < 1e-5 and worst["f16"] < 2e-2 and worst["bf16"] < 0.15
        bad += not ok
        print(line, "" if ok else " WRONG", flush=True)
    return bad


if __name__ == "__main__":
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--selftest", action="store_true", required=True, help="check the forward pass on built-in text")
    args.parse_args()
    sys.exit(1 if selftest() else 0)
