"""Judges the pairs of generate.py by the default rules of other tools.

    python peers.py DIR

Writes DIR/peers.json: {tool: {pair id: first failing checkpoint in forward order,
or null}}, and prints caught, placed and false alarms. Each rule compares a float64
reference r with a candidate c; a value that is NaN passes no rule.

    torch.testing  every checkpoint: |c − r| ≤ atol + rtol·|r| for each element, with
                   assert_close's defaults for the precision
    polygraphy     every checkpoint: cosine ≥ 0.997, the default of its distance_metrics.
                   The same function's limit of 1e-5 on the absolute L2 distance is left
                   out: it fails sound engines
    msprobe        every checkpoint: cosine ≥ 0.99
    msprobe reach  every checkpoint: its column "Accuracy Reached or Not": fails when
                   cosine < 0.99 and max |c − r| > 0.001, or cosine < 0.9, or max > 1
    sglang         every checkpoint: 1 − 2Σcr/(Σc² + Σr²) ≤ 1e-3
    llama.cpp      every checkpoint: Σ(c − r)²/Σr² ≤ 5e-4, the limit of its matrix products
    max            logits: mean KL(r ‖ c) over positions ≤ 1e-3
    argmax         logits: the same top token at every position
    1 %            every checkpoint: mean|c − r| ≤ 1 % of mean|r|; logits: argmax as well
"""
import json
import multiprocessing
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import st

TORCH = {"f32": (1.3e-6, 1e-5), "f16": (1e-3, 1e-5), "bf16": (1.6e-2, 1e-5)}


def cosine(c, r):
    return (c * r).sum() / np.sqrt((c * c).sum() * (r * r).sum())


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def mean_kl(c, r):
    c, r = log_softmax(c), log_softmax(r)
    return (np.exp(r) * (r - c)).sum(-1).mean()


def same_top(c, r):
    return bool((c.argmax(-1) == r.argmax(-1)).all())


def torch_close(c, r, precision):
    rtol, atol = TORCH[precision]
    return bool((np.abs(c - r) <= atol + rtol * np.abs(r)).all())


def msprobe_reached(c, r):
    similar, worst = cosine(c, r), np.abs(c - r).max()
    return (similar >= 0.99 or worst <= 0.001) and similar >= 0.9 and worst <= 1


def one_percent(c, r, name):
    return np.abs(c - r).mean() <= 0.01 * np.abs(r).mean() and (name != "logits" or same_top(c, r))


# Each rule says whether checkpoint `name` passes.
RULES = {
    "torch.testing": lambda c, r, name, precision: torch_close(c, r, precision),
    "polygraphy": lambda c, r, name, precision: cosine(c, r) >= 0.997,
    "msprobe": lambda c, r, name, precision: cosine(c, r) >= 0.99,
    "msprobe reach": lambda c, r, name, precision: msprobe_reached(c, r),
    "sglang": lambda c, r, name, precision: 1 - 2 * (c * r).sum() / ((c * c).sum() + (r * r).sum()) <= 1e-3,
    "llama.cpp": lambda c, r, name, precision: ((c - r) ** 2).sum() / (r * r).sum() <= 5e-4,
    "max": lambda c, r, name, precision: name != "logits" or mean_kl(c, r) <= 1e-3,
    "argmax": lambda c, r, name, precision: name != "logits" or same_top(c, r),
    "1 %": lambda c, r, name, precision: one_percent(c, r, name),
}


def first_failures(task):
    """{tool: first failing checkpoint or None} of one pair."""
    folder, pair = task
    np.seterr(all="ignore")
    reference, _ = st.read(os.path.join(folder, pair["reference"]))
    candidate, _ = st.read(os.path.join(folder, pair["candidate"]))
    first = dict.fromkeys(RULES)
    for name, r in reference.items():
        r, c = r.astype(np.float64), candidate[name].astype(np.float64)
        for tool, passes in RULES.items():
            if first[tool] is None and not passes(c, r, name, pair["precision"]):
                first[tool] = name
    return pair["id"], first


def table(pairs, judged):
    """Prints each tool's share of bugs above the noise caught and placed, and its false alarms."""
    for split in ("tune", "test"):
        for precisions in (("f32",), ("f16",), ("bf16",), ("f32", "f16", "bf16")):
            here = [p for p in pairs if p["split"] == split and p["precision"] in precisions]
            bugs = [p for p in here if p["kind"] == "bug" and p["above_noise"]]
            twins = [p for p in here if p["kind"] == "twin"]
            if not bugs:
                continue
            print(f"{split} {'+'.join(precisions)}: {len(bugs)} bugs above the noise, {len(twins)} twins")
            for tool, first in judged.items():
                caught = sum(first[p["id"]] is not None for p in bugs)
                placed = sum(first[p["id"]] == p["planted"] for p in bugs)
                false = sum(first[p["id"]] is not None for p in twins)
                print(f"  {tool:14} caught {caught / len(bugs):6.1%}  placed {placed / len(bugs):6.1%}  false alarms {false}")


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: python peers.py DIR (the folder that generate.py wrote)")
    folder = sys.argv[1]
    with open(os.path.join(folder, "pairs.json")) as f:
        pairs = json.load(f)
    with multiprocessing.Pool() as pool:
        results = pool.map(first_failures, [(folder, p) for p in pairs], chunksize=32)
    judged = {tool: {pair: first[tool] for pair, first in results} for tool in RULES}
    with open(os.path.join(folder, "peers.json"), "w") as f:
        json.dump(judged, f, indent=0)
    table(pairs, judged)


if __name__ == "__main__":
    main()
