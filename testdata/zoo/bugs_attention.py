"""Bugs in positions and attention."""
import numpy as np

from numerics import ROUND
from planting import GQA, LAST, ROPE, bug, edit, from_position, put, tap

# --- rotary embedding and positions ---------------------------------------------


@bug(archs=ROPE, tune=[(None, 1.001, None), (None, 1.1, None), (None, 10, None), (1, 1.01, None), (LAST, 50, None)],
     test=[(None, 1.0015, None), (None, 1.01, None), (None, 50, None), (2, 1.05, None), (LAST, 10, None)])
def rope_base(m, tokens, layer, size, what):
    put(m.theta, m, layer, m.theta[0] * size)


@bug(archs=ROPE, tune=[(None, 1, "keys"), (1, 2, "keys"), (LAST, 1, "queries")],
     test=[(None, 1, "queries"), (2, 1, "keys"), (LAST, 2, "keys")])
def rope_offset(m, tokens, layer, size, what):
    tap(m, layer, {"keys": "k_positions", "queries": "q_positions"}[what], lambda p: p + int(size))


@bug(archs=ROPE, tune=[(None, None, None), (1, None, None)], test=[(None, None, None), (2, None, None)])
def rope_interleaved(m, tokens, layer, size, what):
    put(m.rope_style, m, layer, "interleaved")


@bug(archs=ROPE, tune=[(None, 0.5, None), (1, 0.75, None)], test=[(None, 0.75, None), (2, 0.5, None)])
def rope_partial(m, tokens, layer, size, what):
    put(m.rope_dims, m, layer, int(m.head_dim * size))


@bug(archs=ROPE, tune=[(None, 1.02, None), (LAST, 0.5, None)], test=[(None, 1.01, None), (LAST, 2, None)])
def rope_scaled_positions(m, tokens, layer, size, what):
    for point in ("q_positions", "k_positions"):
        tap(m, layer, point, lambda p: p * size)


@bug(archs=ROPE, tune=[(None, 0.5, None), (2, 0.25, None)], test=[(None, 0.33, None), (1, 0.6, None)])
def rope_keys_restart(m, tokens, layer, size, what):
    """A chunk of the prompt numbers its keys from 0 again."""
    first = from_position(size)
    tap(m, layer, "k_positions", lambda p: np.where(p >= first(len(p)), p - first(len(p)), p))


@bug(archs=ROPE, tune=[(None, None, "bf16"), (1, None, "f16")], test=[(None, None, "f16"), (2, None, "bf16")])
def rope_frequencies_narrow(m, tokens, layer, size, what):
    """The table of frequencies is held in a narrow type."""
    tap(m, layer, "frequencies", ROUND[what])


@bug("embedding", ("gpt2",), tune=[(None, 1, None), (None, None, "tail")], test=[(None, 2, None), (None, None, "missing")])
def learned_positions(m, tokens, layer, size, what):
    if what == "missing":
        m.taps["position_rows", None] = np.zeros_like
    elif what == "tail":
        m.taps["positions", None] = lambda p: np.where(p >= len(p) // 2, p - len(p) // 2, p)
    else:
        m.taps["positions", None] = lambda p: p + int(size)


# --- attention -----------------------------------------------------------------------


def heads_reversed(m, w):
    return w.reshape(-1, m.head_dim, *w.shape[1:])[::-1].reshape(w.shape)


@bug(tune=[(None, None, "k"), (1, None, "k"), (LAST, None, "v")], test=[(None, None, "v"), (2, None, "k"), (2, None, "v"), (LAST, None, "k")])
def kv_heads_permuted(m, tokens, layer, size, what):
    for name in (what, what + ".b"):
        if name in m.layers[0]:
            edit(m, layer, name, lambda w: heads_reversed(m, w))


@bug(archs=GQA, tune=[(None, None, None), (1, None, None)], test=[(2, None, None), (LAST, None, None)])
def gqa_interleaved(m, tokens, layer, size, what):
    """Head h reads key-value head h mod n, not h div group."""
    heads = [h % m.n_kv for h in range(m.n_head)]
    put(m.k_of_head, m, layer, heads)
    put(m.v_of_head, m, layer, heads)


@bug(tune=[(None, 2, None), (LAST, 2, None)], test=[(1, 2, None), (2, 2, None)])
def kv_head_count(m, tokens, layer, size, what):
    """Half as many key-value heads are read as there are."""
    heads = [h * (m.n_kv // int(size)) // m.n_head for h in range(m.n_head)]
    put(m.k_of_head, m, layer, heads)
    put(m.v_of_head, m, layer, heads)


@bug(tune=[(None, 1.02, None), (None, None, "missing root"), (1, 1.1, None), (LAST, 1.02, None)],
     test=[(None, 1.01, None), (None, 1.1, None), (2, None, "missing root"), (2, 1.02, None), (LAST, 1.1, None)])
def attention_scale(m, tokens, layer, size, what):
    put(m.scale, m, layer, 1 / m.head_dim**0.25 if what else m.scale[0] * size)


@bug(tune=[(None, 1, None), (1, 1, None)], test=[(None, 2, None), (2, 1, None), (LAST, 1, None)])
def mask_sees_next(m, tokens, layer, size, what):
    tap(m, layer, "mask", lambda seen: np.tril(np.ones_like(seen), int(size)))


@bug(tune=[(None, 16, None), (1, 32, None)], test=[(None, 24, None), (2, 16, None), (LAST, 32, None)])
def window_too_short(m, tokens, layer, size, what):
    tap(m, layer, "mask", lambda seen: seen & ~np.tril(np.ones_like(seen), -int(size)))


@bug(tune=[(1, 0.5, None)], test=[(2, 0.6, None)])
def chunk_forgets(m, tokens, layer, size, what):
    """Positions of a later chunk do not see the earlier chunk."""
    def mask(seen):
        seen, first = seen.copy(), from_position(size)(len(seen))
        seen[first:, :first] = False
        return seen

    tap(m, layer, "mask", mask)


@bug(tune=[(1, 0.5, "v"), (LAST, 0.25, "k")], test=[(2, 0.4, "v"), (2, 0.3, "k"), (LAST, 0.6, "v")])
def cache_stale(m, tokens, layer, size, what):
    """One position reads its predecessor's key or value."""
    def stale(x):
        x, p = x.copy(), from_position(size)(x.shape[1])
        x[:, p] = x[:, p - 1]
        return x

    tap(m, layer, what + "_cache", stale)


@bug(tune=[(None, None, "f16"), (1, None, "bf16")], test=[(None, None, "bf16"), (2, None, "f16"), (LAST, None, "f16")])
def cache_narrow(m, tokens, layer, size, what):
    """Keys and values are cached in a narrower type than the engine says."""
    for point in ("k_cache", "v_cache"):
        tap(m, layer, point, ROUND[what])


@bug(tune=[(1, 5, "scores"), (LAST, 2, "scores")], test=[(2, 3, "scores")])
def softcap_attention(m, tokens, layer, size, what):
    tap(m, layer, "scores", lambda s: (size * np.tanh(s / size)).astype(s.dtype))
