"""Writes float64 checkpoints of the zoo models from the NumPy forward pass in
testdata/zoo: ARCH.safetensors in the folder given, as traces that paritygate reads.

    python golden.py DIR [--all] [--also FOLDER ...]

--all: every position, not three of them. --also: a further model, ARCH.safetensors
in FOLDER with its configuration as the metadata's "config"; it is written as
the folder's name.

Scalars are those of the GGUF file: float32 values of the configuration's
decimal numbers.
"""
import argparse
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "testdata", "zoo"))

import numpy as np

import forward
import st

TOKENS = [256] + list(b"def f(x):\n ")
POSITIONS = [0, 5, 11]


def single(x):
    return float(np.float32(x))


def model(arch, folder):
    m = forward.load(arch, folder)
    m.eps = [single(e) for e in m.eps]
    m.residual_scale = [single(s) for s in m.residual_scale]
    m.embedding_scale, m.logits_divisor = single(m.embedding_scale), single(m.logits_divisor)
    m.theta = [single(t) for t in m.theta]
    if arch == "granite":
        m.scale = [single(s) for s in m.scale]
    return m


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("dir")
    args.add_argument("--all", action="store_true")
    args.add_argument("--also", action="append", default=[])
    o = args.parse_args()
    rows = range(len(TOKENS)) if o.all else POSITIONS
    models = {arch: model(arch, forward.HERE) for arch in forward.ARCHS}
    for folder in o.also:
        for name in os.listdir(folder):
            arch, kind = os.path.splitext(name)
            if kind == ".safetensors":
                models[os.path.basename(folder)] = model(arch, folder)
    for name, m in models.items():
        out = forward.Forward(m).run(TOKENS, sub=o.all)
        meta = {"paritygate": "1", "engine": "zoo forward.py", "model": name, "compute_dtype": "f64", "tokens": json.dumps(TOKENS)}
        meta["positions"] = json.dumps(list(rows))
        st.write(os.path.join(o.dir, name + ".safetensors"), {n: ("F64", v[list(rows)]) for n, v in out.items()}, meta)


if __name__ == "__main__":
    main()
