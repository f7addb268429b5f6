"""Writes traces of engines with planted bugs, and of sound ones, for paritygate to judge.

    python generate.py --out DIR [--split tune|test] [--prec f32,f16,bf16] [--arch llama,gpt2]

DIR/ref holds references (float64 as F64, float32 as F32), DIR/cand the candidates,
DIR/pairs.json one entry a pair:

    id, arch, split, prompt, precision, kind ("bug" or "twin"), bug, magnitude,
    layer and detail (null when the bug has none), planted (null for twins),
    reference, reference_f32, candidate: paths inside DIR,
    effect: {checkpoint: rel_l2 of the bug in float64 against the sound float64},
    noise: {checkpoint: rel_l2 of the sound candidate of that precision against float64},
    ratio_planted, ratio_max: effect/noise at the planted checkpoint, and its maximum,
    above_noise: ratio_max > 1, argmax_flips: positions whose top token differs, positions
"""
import argparse
import json
import multiprocessing
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import bugs
import prompts
import st
from forward import ARCHS, Forward, load, rel_l2
from numerics import CLEAN, twins

HUGE = 1e30  # stands for effect over zero noise: JSON has no infinity


def stored(profile, trace):
    """Each checkpoint with the dtype that holds it without loss."""
    wide = {"f64": "F64", "f32": "F32", "f16": "F16", "bf16": "BF16"}
    hidden = wide["f32" if "f32" in (profile.act, profile.residual) and profile.name != "f64" else profile.residual]
    hidden = "F64" if profile.compute is np.float64 else hidden
    return {c: ("F64" if hidden == "F64" else "F32" if c == "logits" else hidden, x) for c, x in trace.items()}


def write(out, path, arch, precision, profile, prompt, tokens, trace):
    meta = {
        "paritygate": "1", "engine": "zoo", "model": arch, "compute_dtype": precision,
        "prompt": prompt, "tokens": json.dumps(tokens),
    }
    st.write(os.path.join(out, path), stored(profile, trace), meta)
    return path


def ratio(effect, noise):
    return 0.0 if effect == 0 else HUGE if noise == 0 else min(effect / noise, HUGE)


def flips(a, b):
    return int((a["logits"].argmax(-1) != b["logits"].argmax(-1)).sum())


def against(trace, ref):
    return {c: rel_l2(trace[c], ref[c]) for c in ref}


def job(task):
    """All pairs of one architecture and prompt; returns (entries, complaints)."""
    out, arch, split, name, index, count, precisions = task
    np.seterr(over="ignore", invalid="ignore")
    tokens, model = prompts.tokens(prompts.SPLITS[split][name]), load(arch)
    base = f"{arch}-{split}-{name}"
    refs = {kind: Forward(model, CLEAN[kind]).run(tokens) for kind in ("f64", "f32")}
    paths = {
        kind: write(out, f"ref/{base}-{kind}.safetensors", arch, kind, CLEAN[kind], name, tokens, refs[kind]) for kind in refs
    }
    common = {"arch": arch, "split": split, "prompt": name, "positions": len(tokens)}
    common |= {"reference": paths["f64"], "reference_f32": paths["f32"]}
    entries, complaints, noise = [], [], {}

    def add(precision, profile, trace, label, **more):
        path = f"cand/{base}-{precision}-{label}.safetensors"
        write(out, path, arch, precision, profile, name, tokens, trace)
        entry = common | {"id": f"{split}/{arch}/{name}/{precision}/{label}", "precision": precision, "candidate": path}
        entries.append(entry | {"noise": noise[precision], "argmax_flips": flips(trace, refs["f64"])} | more)

    for precision in precisions:
        clean = CLEAN[precision]
        for label, profile in {"clean": clean, **twins(precision, arch)}.items():
            trace = Forward(model, profile).run(tokens)
            if label == "clean":
                noise[precision] = against(trace, refs["f64"])
            add(precision, profile, trace, "twin-" + label, kind="twin", bug=label, magnitude=None, layer=None, detail=None,
                planted=None, effect=against(trace, refs["f64"]), ratio_planted=0.0, ratio_max=0.0, above_noise=False)

    # Every variant runs on one of the prompts, in turn.
    for variant in bugs.variants(arch, split)[index::count]:
        broken = variant.apply(model, tokens)
        effect = against(Forward(broken).run(tokens), refs["f64"])
        first = next((c for c in effect if effect[c] > 0), None)
        if first != variant.planted:
            complaints.append(f"{base}: {variant.name} says {variant.planted}, first change at {first}")
        if max(effect.values()) < 1e-9:
            complaints.append(f"{base}: {variant.name} changes nothing ({max(effect.values()):.1e})")
        for precision in precisions:
            trace = Forward(broken, CLEAN[precision]).run(tokens)
            over = {c: ratio(effect[c], noise[precision][c]) for c in effect}
            add(precision, CLEAN[precision], trace, variant.name.replace(" ", "_"), kind="bug", bug=variant.kind.name,
                magnitude=variant.size, layer=variant.layer, detail=variant.what, planted=variant.planted, effect=effect,
                ratio_planted=over[variant.planted], ratio_max=max(over.values()), above_noise=max(over.values()) > 1)
    return entries, complaints


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", required=True)
    args.add_argument("--split", choices=list(prompts.SPLITS), help="one split (default: both)")
    args.add_argument("--prec", default="f32,f16,bf16")
    args.add_argument("--arch", default=",".join(ARCHS))
    args.add_argument("--jobs", type=int, default=os.cpu_count())
    args = args.parse_args()
    for folder in ("ref", "cand"):
        os.makedirs(os.path.join(args.out, folder), exist_ok=True)
    start, tasks = time.time(), []
    for split in [args.split] if args.split else prompts.SPLITS:
        names = list(prompts.SPLITS[split])
        for arch in args.arch.split(","):
            tasks += [(args.out, arch, split, name, i, len(names), args.prec.split(",")) for i, name in enumerate(names)]
    with multiprocessing.Pool(args.jobs) as pool:
        results = pool.map(job, tasks, chunksize=1)
    pairs = [entry for entries, _ in results for entry in entries]
    with open(os.path.join(args.out, "pairs.json"), "w") as f:
        json.dump(pairs, f, indent=0)
    for split in prompts.SPLITS:
        for precision in args.prec.split(","):
            here = [p for p in pairs if p["split"] == split and p["precision"] == precision]
            planted = [p for p in here if p["kind"] == "bug"]
            if here:
                print(f"{split} {precision}: {len(planted)} bugs, {sum(p['above_noise'] for p in planted)} above the noise, {len(here) - len(planted)} twins")
    print(f"{len(pairs)} pairs in {time.time() - start:.0f} s")
    complaints = [c for _, cs in results for c in cs]
    if complaints:
        raise SystemExit("bugs that do not do what they say:\n" + "\n".join(complaints))


if __name__ == "__main__":
    main()
