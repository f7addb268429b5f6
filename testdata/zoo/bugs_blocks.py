"""Bugs in norms, layers, matrices, activations, embedding and logits."""
import numpy as np

from numerics import to_f16
from planting import FIRST, GATED, LAST, at, bug, edit, from_position, pick, put, scaled, tap

# --- norms -----------------------------------------------------------------------


@bug(tune=[(None, 1e-3, None), (None, 1e-4, None), (1, 1e-2, None), (LAST, 1e-3, None)],
     test=[(None, 2e-3, None), (None, 1.5e-5, None), (2, 1e-3, None), (LAST, 1e-2, None)])
def norm_eps(m, tokens, layer, size, what):
    put(m.eps, m, layer, size)


@bug("final_norm", tune=[(None, 1e-3, None), (None, 1.2e-5, None)], test=[(None, 1e-2, None), (None, 9e-6, None)])
def final_norm_eps(m, tokens, layer, size, what):
    m.eps[-1] = size


@bug(tune=[(None, 1.01, "attn_norm"), (1, 1.01, "ffn_norm"), (1, 1.1, "attn_norm"), (LAST, 1.05, "ffn_norm"), (LAST, 1.01, "attn_norm")],
     test=[(None, 1.01, "ffn_norm"), (2, 1.01, "attn_norm"), (2, 1.1, "ffn_norm"), (LAST, 1.1, "attn_norm"), (FIRST, 1.02, "ffn_norm")])
def norm_weight(m, tokens, layer, size, what):
    edit(m, layer, what, lambda w: w * size)


@bug(tune=[(1, 1, "attn_norm"), (LAST, 0.1, "ffn_norm")], test=[(2, 0.1, "attn_norm"), (FIRST, 1, "ffn_norm")])
def norm_weight_shift(m, tokens, layer, size, what):
    """1 + w where w is meant, or part of it."""
    edit(m, layer, what, lambda w: w + size)


@bug(tune=[(1, 1.5, "ffn_norm")], test=[(2, 0, "ffn_norm"), (FIRST, 1.3, "attn_norm")])
def norm_weight_element(m, tokens, layer, size, what):
    edit(m, layer, what, scaled(pick(m.hidden, layer), size))


@bug("final_norm", tune=[(None, 1.01, None), (None, 1.5, "element")], test=[(None, 1.05, None), (None, 1.3, "element")])
def final_norm_weight(m, tokens, layer, size, what):
    index = pick(m.hidden, 0) if what == "element" else slice(None)
    m.final["w"] = scaled(index, size)(m.final["w"].copy())


@bug(archs=("gpt2",), tune=[(1, None, "attn_norm"), (LAST, None, "ffn_norm")], test=[(2, None, "ffn_norm"), (FIRST, None, "attn_norm")])
def norm_bias_dropped(m, tokens, layer, size, what):
    edit(m, layer, what + ".b", lambda b: 0 * b)


# --- layers and residuals ------------------------------------------------------------


@bug(tune=[(1, None, None)], test=[(2, None, None), (FIRST, None, None)])
def layers_swapped(m, tokens, layer, size, what):
    m.plan[layer], m.plan[layer + 1] = m.plan[layer + 1], m.plan[layer]


@bug(tune=[(1, None, None), (LAST, None, None)], test=[(2, None, None), (FIRST, None, None)])
def layer_skipped(m, tokens, layer, size, what):
    m.plan[layer] = []


@bug(tune=[(1, None, None), (FIRST, None, None)], test=[(2, None, None), (LAST, None, None)])
def layer_twice(m, tokens, layer, size, what):
    m.plan[layer] = [layer, layer]


@bug(tune=[(1, 0, "attn_residual"), (LAST, 1.01, "ffn_residual"), (2, 0.99, "attn_residual")],
     test=[(2, 0, "ffn_residual"), (FIRST, 1.01, "attn_residual"), (LAST, 1.02, "ffn_residual")])
def residual(m, tokens, layer, size, what):
    """The stream is dropped (0) or scaled where a block's result is added."""
    tap(m, layer, what, lambda x: x * size)


@bug(archs=("granite",), tune=[(None, 0.25, None), (1, 1, None)], test=[(None, 1, None), (2, 0.225, None)])
def residual_multiplier(m, tokens, layer, size, what):
    put(m.residual_scale, m, layer, size)


# --- matrices ------------------------------------------------------------------------


@bug(tune=[(1, 1.15, "up"), (1, 0, "up"), (LAST, 1.5, "up"), (LAST, 1.15, "down"), (1, 1.5, "down")],
     test=[(2, 1.15, "up"), (2, 0, "up"), (FIRST, 1.5, "up"), (2, 1.15, "down"), (LAST, 0, "down")])
def ffn_channel(m, tokens, layer, size, what):
    """One channel of the hidden FFN vector (up) or of its result (down)."""
    edit(m, layer, what, scaled(pick(len(m.layers[layer][what]), layer), size))


@bug(tune=[(1, 1.1, "down"), (LAST, 1.02, "o")], test=[(2, 1.02, "down"), (LAST, 1.05, "v"), (FIRST, 1.1, "o")])
def matrix_scaled(m, tokens, layer, size, what):
    edit(m, layer, what, lambda w: w * size)


@bug(tune=[(1, None, "q"), (2, None, "o"), (LAST, None, "v")], test=[(2, None, "k"), (1, None, "v"), (LAST, None, "o")])
def row_zero(m, tokens, layer, size, what):
    edit(m, layer, what, scaled(pick(len(m.layers[layer][what]), layer), 0))


@bug(tune=[(1, None, "k"), (LAST, None, "down")], test=[(2, None, "q"), (LAST, None, "up")])
def column_zero(m, tokens, layer, size, what):
    edit(m, layer, what, scaled((slice(None), pick(m.hidden, layer, 1)), 0))


@bug(tune=[(1, None, "q"), (LAST, None, "o")], test=[(2, None, "o"), (LAST, None, "q")])
def transposed(m, tokens, layer, size, what):
    edit(m, layer, what, lambda w: w.T)


@bug(archs=GATED, tune=[(None, None, None), (1, None, None)], test=[(2, None, None), (LAST, None, None)])
def up_gate_swapped(m, tokens, layer, size, what):
    for i in at(m, layer):
        w = m.layers[i]
        w["up"], w["gate"] = w["gate"], w["up"]


def quantised(w, bits):
    """Groups of 32 along a row, one scale a group, values rounded to integers."""
    groups, top = w.reshape(len(w), -1, 32), 2 ** (bits - 1) - 1
    scale = np.abs(groups).max(-1, keepdims=True) / top
    return (np.round(groups / np.where(scale == 0, 1, scale)) * scale).reshape(w.shape)


@bug(tune=[(1, 4, "down"), (LAST, 8, "o"), (2, 8, "down")], test=[(2, 4, "o"), (FIRST, 8, "down"), (LAST, 4, "up")])
def quantised_by_mistake(m, tokens, layer, size, what):
    edit(m, layer, what, lambda w: quantised(w, int(size)))


@bug(tune=[(1, None, "down"), (LAST, None, "o")], test=[(2, None, "down"), (FIRST, None, "o")])
def f16_accumulator(m, tokens, layer, size, what):
    """Every partial sum of a product is rounded to f16."""
    def product(x, w):
        total = np.zeros((len(x), w.shape[1]), x.dtype)
        for i in range(w.shape[0]):
            total = to_f16(total + x[:, i : i + 1] * w[i])
        return total

    tap(m, layer, "product:" + what, product)


@bug(archs=("qwen2", "gpt2"), tune=[(None, None, "q"), (1, None, "v"), (LAST, None, "q")], test=[(None, None, "v"), (2, None, "q"), (LAST, None, "v")])
def bias_dropped(m, tokens, layer, size, what):
    edit(m, layer, what + ".b", lambda b: 0 * b)


@bug(archs=("gpt2",), tune=[(1, None, "o"), (LAST, None, "up")], test=[(2, None, "up"), (LAST, None, "down")])
def block_bias_dropped(m, tokens, layer, size, what):
    edit(m, layer, what + ".b", lambda b: 0 * b)


@bug(archs=("qwen2", "gpt2"), tune=[(1, 0, "v"), (2, 2, "q")], test=[(2, 0, "v"), (1, 3, "q")])
def bias_element(m, tokens, layer, size, what):
    edit(m, layer, what + ".b", scaled(pick(len(m.layers[layer][what + ".b"]), layer), size))


# --- activations ---------------------------------------------------------------------


@bug(tune=[(None, None, "gelu_tanh"), (1, None, "gelu_erf")], test=[(None, None, "gelu_erf"), (2, None, "gelu_tanh"), (LAST, None, "gelu_erf")], archs=GATED)
def activation(m, tokens, layer, size, what):
    put(m.act, m, layer, what)


@bug(tune=[(None, None, "gelu_erf"), (1, None, "silu")], test=[(2, None, "gelu_erf"), (None, None, "silu"), (LAST, None, "relu")], archs=("gpt2",))
def activation_gpt2(m, tokens, layer, size, what):
    put(m.act, m, layer, what)


@bug(tune=[(1, 0.5, None), (LAST, 0.9, None)], test=[(2, 0.8, None), (FIRST, 0.6, None)])
def clamped(m, tokens, layer, size, what):
    """The hidden state saturates at a share of its largest value."""
    def clamp(x):
        top = size * np.abs(x).max()
        return np.clip(x, -top, top).astype(x.dtype)

    tap(m, layer, "layer_output", clamp)


@bug(tune=[(1, 0.5, "row"), (2, 0.7, "tail")], test=[(2, 0.3, "tail"), (LAST, 0.6, "row")])
def uninitialised(m, tokens, layer, size, what):
    """Rows from one position on (tail), or one row's end, hold what was there before."""
    def corrupt(x):
        x, p = x.copy(), from_position(size)(len(x))
        if what == "row":
            x[p, -16:] = x[p - 1, -16:]
        else:
            x[p:, -4:] = 0
        return x

    tap(m, layer, "layer_output", corrupt)


# --- embedding and logits -----------------------------------------------------------


@bug("embedding", tune=[(None, 1, None)], test=[(None, 2, None)])
def token_ids_shifted(m, tokens, layer, size, what):
    m.taps["tokens", None] = lambda t: np.where(t < 250, t + int(size), t)


@bug("embedding", tune=[(None, 1.1, "scale"), (None, None, "next")], test=[(None, 1.05, "scale"), (None, 0, "scale")])
def embedding_row(m, tokens, layer, size, what):
    """One token's row is its neighbour's, or scaled."""
    token = tokens[len(tokens) // 2]
    rows = m.embedding.copy()
    rows[token] = rows[token + 1] if what == "next" else rows[token] * size
    m.embedding = rows


@bug("embedding", tune=[(None, 1.02, None), (None, 0.5, None)], test=[(None, 1.01, None), (None, 1.1, None)])
def embedding_scaled(m, tokens, layer, size, what):
    m.embedding_scale *= size


@bug("embedding", ("granite",), tune=[(None, 11.9, None)], test=[(None, 1, None)])
def embedding_multiplier(m, tokens, layer, size, what):
    m.embedding_scale = size


@bug("embedding", tune=[(None, 1.15, None)], test=[(None, 0, None)])
def embedding_channel(m, tokens, layer, size, what):
    m.embedding = scaled((slice(None), pick(m.hidden, 1)), size)(m.embedding.copy())


@bug("logits", tune=[(None, 1.02, "row"), (None, 1.02, "all"), (None, None, "shifted")], test=[(None, 1.1, "row"), (None, 1.01, "all"), (None, 0, "row")])
def lm_head(m, tokens, layer, size, what):
    """The row of the prompt's commonest byte, all rows, or rows moved by one."""
    row = max(set(tokens[1:]), key=lambda t: (list(tokens).count(t), t))
    w = m.head.copy()
    if what == "shifted":
        w = np.roll(w, 1, axis=0)
    else:
        w[row if what == "row" else slice(None)] *= size
    m.head = w


@bug("logits", ("granite",), tune=[(None, 3.9, None)], test=[(None, 1, None)])
def logits_scaling(m, tokens, layer, size, what):
    m.logits_divisor = size


@bug("logits", tune=[(None, 30, None)], test=[(None, 50, None)])
def softcap_logits(m, tokens, layer, size, what):
    m.taps["logits", None] = lambda z: (size * np.tanh(z / size)).astype(z.dtype)
