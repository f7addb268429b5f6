"""What the comparison costs in Python: the peer of `make bench`.

    numpy_peer.py safetensors REF CAND --runs N [--block N] [--checkpoints N] [--rows N]
    numpy_peer.py jsonl       REF CAND --runs N [--block N]

measures what paritygate measures: per row the sums, maxima with their index
and counts, the distances in units in the last place, garbage; per layer what it
added; per channel four sums; of logits KL, both top tens, and Spearman over the
reference's hundred largest. Hidden states are taken --block rows at a time, and
what one layer needs of the one before is kept, not computed again.

Prints one JSON object: the median of the runs after a warm-up in seconds, for
the whole trace (of safetensors a part is measured and scaled), and the figures
found, so that the caller can see that both measured the same.
"""
import argparse
import json
import struct
import sys
import time

import numpy as np

TOP, DEPTH = 10, 100


class Sums:
    """What is kept of one checkpoint."""

    def __init__(self, width):
        self.n = 0  # elements
        self.rows = []  # by block: the arrays of elements(), one figure a row
        self.added = []  # by block: Σ added², Σ step² of each row
        self.flips = []  # |r| where the signs differ
        self.ulp = np.zeros(34, np.int64)
        self.channels = np.zeros((4, width))
        self.logits = []


def largest(x):
    """The largest of each row, and where."""
    at = x.argmax(axis=1)
    return x[np.arange(len(x)), at], at


def many(x):
    """How many of each row are true."""
    return np.count_nonzero(x, axis=1) if len(x) > 1 else np.array([np.count_nonzero(x)])


def elements(s, r, c):
    """Everything that two blocks of float32 rows say of themselves; returns the
    float64 difference and reference."""
    size_r, size_c = np.abs(r), np.abs(c)
    size_d = np.abs(c - r)
    rel = size_d / np.maximum(size_r, np.float32(1e-8))
    ten = np.float32(10)
    close = many((ten * size_c >= size_r) & (ten * size_r >= size_c))
    s.flips.append(size_r[r * c < 0])
    s.n += r.size
    garbage = [many(x) for x in (~np.isfinite(r), ~np.isfinite(c), size_r > 1e10, size_c > 1e10)]

    bits_r, bits_c = r.view(np.int32), c.view(np.int32)
    line_r = np.where(bits_r < 0, -(bits_r & 0x7FFFFFFF), bits_r)
    line_c = np.where(bits_c < 0, -(bits_c & 0x7FFFFFFF), bits_c)
    apart = np.abs(line_r.astype(np.int64) - line_c)
    s.ulp += np.bincount(np.frexp(apart.astype(np.float64))[1].ravel(), minlength=34)

    r64, c64 = r.astype(np.float64), c.astype(np.float64)
    d64 = c64 - r64
    s.rows.append((np.abs(d64).sum(axis=1), np.vecdot(d64, d64), np.vecdot(r64, r64), np.vecdot(c64, c64), np.vecdot(r64, c64),
                   *largest(size_d), *largest(rel), many(rel > np.float32(0.01)), many(rel > np.float32(0.1)), close, *garbage))
    return d64, r64


def hidden(s, r, c, before):
    d, r64 = elements(s, r, c)
    column = lambda x, y: np.einsum("ij,ij->j", x, y)
    s.channels[0] += column(d, d)
    s.channels[1] += column(r64, r64)
    s.channels[2] += d.sum(axis=0)
    s.channels[3] += column(d, r64)
    if before is not None:
        e, step = d - before[0], r64 - before[1]
        s.added.append((np.vecdot(e, e), np.vecdot(step, step)))
    return d, r64


def ranks(x):
    out = np.empty(len(x))
    out[np.argsort(x)] = np.arange(len(x))
    return out


def logits(s, r, c):
    elements(s, r, c)
    for a, b in zip(r.astype(np.float64), c.astype(np.float64)):
        p = a - a.max()
        p -= np.log(np.exp(p).sum())
        q = b - b.max()
        q -= np.log(np.exp(q).sum())
        kl = float(np.sum(np.exp(p) * (p - q)))
        top = np.argpartition(a, -DEPTH)[-DEPTH:]
        ten_a = top[np.argsort(a[top])[-TOP:]]
        ten_b = np.argpartition(b, -TOP)[-TOP:]
        overlap = len(np.intersect1d(ten_a, ten_b)) / TOP
        rank = np.corrcoef(ranks(a[top]), ranks(b[top]))[0, 1]
        best_a, best_b = ten_a[-1], ten_b[b[ten_b].argmax()]
        s.logits.append((kl, best_a == best_b, overlap, rank, a[best_a] - a[ten_a[-2]], a[best_a] - a[best_b]))


def figures(s):
    """The metrics by paritygate's names."""
    rows = [np.concatenate(x) for x in zip(*s.rows)]
    sum_abs, sq, ref2, cand2, cross = [float(x.sum()) for x in rows[:5]]
    max_abs, max_rel = float(rows[5].max()), float(rows[7].max())
    over1, over10, close = [float(x.sum()) for x in rows[9:12]]
    n = s.n
    flips = np.concatenate(s.flips)
    out = {"rel_l2": np.sqrt(sq / ref2), "nmse": sq / ref2, "max_abs": max_abs, "mean_abs": sum_abs / n,
           "rmse": np.sqrt(sq / n), "max_rel": max_rel, "over_1pct": over1 / n, "over_10pct": over10 / n,
           "cosine": cross / np.sqrt(ref2) / np.sqrt(cand2), "magnitude": close / n,
           "worst_position": np.sqrt(np.max(rows[1] / rows[2])), "position_rms": np.sqrt(np.mean(rows[1] / rows[2])),
           "scale": abs(cross / ref2 - 1), "sign_flips": np.count_nonzero(flips > np.sqrt(ref2 / n) * 1e-3) / n}
    if s.added:
        added, step = [float(np.concatenate(x).sum()) for x in zip(*s.added)]
        out["added"] = np.sqrt(added / step)
    if s.logits:
        kl, same, overlap, rank, _, _ = zip(*s.logits)
        out |= {"kl.mean": np.mean(kl), "kl.max": np.max(kl), "top1_agreement": np.mean(same),
                "topk_overlap": np.mean(overlap), "rank_correlation": np.mean(rank)}
    else:
        out["worst_channel"] = np.sqrt(np.max(s.channels[0] / s.channels[1]))
    return {k: float(v) for k, v in out.items()}


def measure(ref, cand, names, block):
    sums = {n: Sums(ref[n].shape[1] if n != "logits" else 0) for n in names}
    walked = [n for n in names if n != "logits"]
    for at in range(0, len(ref[walked[0]]) if walked else 0, block):
        before = None
        for n in walked:
            before = hidden(sums[n], ref[n][at:at + block], cand[n][at:at + block], before if n != "final_norm" else None)
    if "logits" in sums:
        for at in range(len(ref["logits"])):
            logits(sums["logits"], ref["logits"][at:at + 1], cand["logits"][at:at + 1])
    return sums


def open_safetensors(path):
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(n))
    data = np.memmap(path, np.uint8, "r", offset=8 + n)
    header.pop("__metadata__", None)
    forward = sorted(header.items(), key=lambda kv: kv[1]["data_offsets"])
    return {k: data[slice(*v["data_offsets"])].view(np.float32).reshape(v["shape"]) for k, v in forward}


def open_jsonl(path):
    rows = {}
    with open(path) as f:
        for line in f:
            row = json.loads(line)
            rows.setdefault(row["checkpoint"], []).append(np.array(row["values"], np.float32))
    return {k: np.stack(v) for k, v in rows.items()}


def median_of(runs, work):
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), result


def safetensors(args):
    ref, cand = open_safetensors(args.reference), open_safetensors(args.candidate)
    names = [n for n in ref if n != "logits"]
    part = names[:args.checkpoints]
    head = lambda side: {"logits": side["logits"][:args.rows]}
    layers, sums = median_of(args.runs, lambda: measure(ref, cand, part, args.block))
    vocabulary, _ = median_of(args.runs, lambda: measure(head(ref), head(cand), ["logits"], 1))
    rows = len(ref["logits"])
    return layers * len(names) / len(part) + vocabulary * rows / min(args.rows, rows), sums


def jsonl(args):
    def work():
        ref, cand = open_jsonl(args.reference), open_jsonl(args.candidate)
        return measure(ref, cand, list(ref), args.block)
    return median_of(args.runs, work)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("format", choices=["safetensors", "jsonl"])
    p.add_argument("reference")
    p.add_argument("candidate")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--checkpoints", type=int, default=8)
    p.add_argument("--rows", type=int, default=32)
    p.add_argument("--block", type=int, default=1)
    args = p.parse_args()
    seconds, sums = {"safetensors": safetensors, "jsonl": jsonl}[args.format](args)
    json.dump({"seconds": seconds, "python": sys.version.split()[0], "numpy": np.__version__,
               "metrics": {n: figures(s) for n, s in sums.items()}}, sys.stdout)


main()
