"""Arithmetic of an engine: what is rounded, to which type, and in which order sums run.

A Profile says how one engine computes. Products and sums are made in `compute`
(float64 or float32); the other fields say where a value is rounded to a
narrower type. Two profiles of one precision compute the same function: what
they differ in is what engines are free to choose.
"""
from dataclasses import dataclass, replace

import numpy as np


def to_f16(x):
    return x.astype(np.float16).astype(x.dtype)


def to_bf16(x):
    """Rounds to bfloat16, ties to even, and returns x's own type."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    odd = (bits >> 16) & 1
    bits = (bits + np.uint32(0x7FFF) + odd) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(x.dtype, copy=False)


ROUND = {"f64": lambda x: x, "f32": lambda x: x, "f16": to_f16, "bf16": to_bf16}


@dataclass(frozen=True)
class Profile:
    name: str
    compute: type = np.float32
    weights: str = "f32"  # type the weights are held in
    act: str = "f32"  # type of the result of every operation
    residual: str = "f32"  # type of the residual stream
    kv: str = "f32"  # type of cached keys and values
    matmul_in: str = "f32"  # type of the left operand of a product with weights
    order: str = "blas"  # blas | chunk16 | chunk32 | reversed | wide (float64 sums)
    softmax: str = "max"  # max | plain (no subtraction) | online (blocks of 16 keys)
    fused: bool = False  # scores and probabilities stay in `compute`
    norm: str = "twice"  # twice: x/rms, then the product with the weight; once: only the latter
    rope: str = "once"  # once: the rotated pair; parts: cosine, sine and both products too
    table: str = "direct"  # direct | iterative (frequency i is frequency i−1 times a constant)
    scale_queries: bool = False  # attention's scale is applied to queries, not to scores
    logits: str = "f32"  # type of the logits
    gelu: str = "direct"  # direct | f16 (argument and result rounded, as a lookup table has them)

    def round(self, x, where):
        return ROUND[getattr(self, where)](x)

    def contract(self, a, b):
        """a @ b over a's last axis, summed in this profile's order."""
        n = a.shape[-1]
        if self.order == "blas":
            return a @ b
        if self.order == "reversed":
            return np.ascontiguousarray(a[..., ::-1]) @ np.ascontiguousarray(b[..., ::-1, :])
        if self.order == "wide":
            return (a.astype(np.float64) @ b.astype(np.float64)).astype(self.compute)
        step = int(self.order.removeprefix("chunk"))
        total = a[..., :step] @ b[..., :step, :]
        for i in range(step, n, step):
            total = total + a[..., i : i + step] @ b[..., i : i + step, :]
        return total

    def mean(self, x):
        """Mean over the last axis, axis kept."""
        if self.order == "blas":
            return x.mean(axis=-1, keepdims=True)
        return self.contract(x, np.full((x.shape[-1], 1), 1 / x.shape[-1], x.dtype))


def _rounded(kind):
    return Profile(kind, weights=kind, act=kind, residual=kind, kv=kind, matmul_in=kind)


F64 = Profile("f64", compute=np.float64)
CLEAN = {"f64": F64, "f32": Profile("f32"), "f16": _rounded("f16"), "bf16": _rounded("bf16")}


def twins(kind, arch):
    """{name: profile} of engines that compute the same at this precision in other ways."""
    base = CLEAN[kind]
    out = {
        "split_k16": dict(order="chunk16"),
        "split_k32": dict(order="chunk32"),
        "reversed_sums": dict(order="reversed"),
        "softmax_without_max": dict(softmax="plain"),
        "online_softmax": dict(softmax="online"),
    }
    if kind == "f32":
        out["float64_sums"] = dict(order="wide")
        out["split_k32_online"] = dict(order="chunk32", softmax="online")
        if arch != "gpt2":
            out["iterative_rope"] = dict(table="iterative")
    else:
        out["logits_rounded"] = dict(logits=kind)
        out["scaled_queries"] = dict(scale_queries=True)
        out["fused_attention"] = dict(fused=True)
        out["fused_split_k16"] = dict(fused=True, order="chunk16", norm="once")
        out["norm_rounded_once"] = dict(norm="once")
        out["f32_residual"] = dict(residual="f32")
        out["only_kv"] = dict(weights="f32", act="f32", residual="f32", matmul_in="f32")
        out["only_matmul_inputs"] = dict(act="f32", residual="f32", norm="once")
        if arch != "gpt2":
            out["rope_rounded_parts"] = dict(rope="parts")
        elif kind == "f16":
            out["gelu_table"] = dict(gelu="f16")
    return {name: replace(base, name=name, **change) for name, change in out.items()}
