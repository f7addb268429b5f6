"""Runs one prompt through a Hugging Face model and writes what its layers gave.

Started by paritygate with the path of a JSON file that says everything. Writes a
folder of safetensors, one file a checkpoint, row after row as they come, and
last of all a JSON file with the result or with what stood in the way. Works with
transformers 4.45 and newer; needs only what transformers itself needs.
"""
import hashlib
import json
import os
import platform
import re
import sys

KNOWN_LAYERS = (
    "model.layers", "model.decoder.layers", "model.language_model.layers", "language_model.model.layers",
    "transformer.h", "transformer.blocks", "transformer.layers", "transformer.encoder.layers", "gpt_neox.layers", "backbone.layers",
)
KNOWN_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f", "layer_norm")
# Parts of a layer, by the names that architectures give them.
ATTENTION = ("self_attn", "attn", "attention", "self_attention")
FEED_FORWARD = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe")
FIRST_NORM = ("input_layernorm", "ln_1", "norm_1", "attention_norm")
# post_attention_layernorm stands last: where the third exists, it is another norm.
SECOND_NORM = ("pre_feedforward_layernorm", "ln_2", "norm_2", "ffn_norm", "post_attention_layernorm")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")


class Failure(Exception):
    """What paritygate tells its user; kind is one of its kinds of failure."""

    def __init__(self, kind, detail):
        super().__init__(detail)
        self.kind, self.detail = kind, detail


def libraries():
    """torch and transformers, or what to install."""
    install = f"install both with: {sys.executable} -m pip install torch transformers"
    try:
        import torch
        import transformers
    except ImportError as e:
        raise Failure("not started", f"{sys.executable} (Python {platform.python_version()}) cannot import {e.name or 'torch'}: {e}; "
                      f"{install}; or name another interpreter with python:") from e
    if version(transformers) < (4, 45):
        raise Failure("not started", f"transformers {transformers.__version__} is too old: want 4.45 or newer; {install} --upgrade")
    transformers.utils.logging.disable_progress_bar()
    return torch, transformers


def version(module):
    return tuple(int(n) for n in re.findall(r"\d+", module.__version__)[:2])


def brief(e):
    """An exception in one line."""
    return f"{type(e).__name__}: {' '.join(str(e).split())[:1000]}"


class Run:
    """One model and one prompt."""

    def __init__(self, job):
        self.job = job
        self.torch, self.transformers = libraries()
        self.warnings = []
        torch = self.torch
        self.dtypes = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

    def settings(self):
        """Threads and device, and for a reference no shortcut in products."""
        torch, job = self.torch, self.job
        if job["threads"]:
            torch.set_num_threads(job["threads"])
        if job["strict"]:
            torch.set_float32_matmul_precision("highest")
            torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
            torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
            torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            self.device = torch.device(job["device"])
            torch.empty(1, device=self.device).cpu()
        except (RuntimeError, AssertionError, NotImplementedError) as e:
            raise Failure("not started", f"device {job['device']}: torch {torch.__version__} cannot use it: {brief(e)}") from e

    def load(self):
        """The model with every weight from its files: none is left as it was initialised."""
        job = self.job
        dtype_key = "dtype" if version(self.transformers) >= (4, 56) else "torch_dtype"
        wanted = {dtype_key: self.dtypes[job["dtype"]] if job["dtype"] else "auto", "attn_implementation": job["attention"]}
        try:
            model, info = self.transformers.AutoModelForCausalLM.from_pretrained(
                job["model"], local_files_only=True, use_safetensors=True, output_loading_info=True,
                trust_remote_code=job["trust_remote_code"], **wanted)
        except MemoryError:
            raise
        except Exception as e:  # it raises nearly everything
            raise Failure("not started", f"cannot load {job['model']}: {brief(e)}") from e
        for key, what in (("missing_keys", "the files lack"), ("mismatched_keys", "other shapes than the config wants have")):
            if info.get(key):
                names = sorted(str(k[0] if isinstance(k, tuple) else k) for k in info[key])
                raise Failure("not started", f"{job['model']}: {what} {few(names)}; transformers would put random numbers there")
        if info.get("unexpected_keys"):
            self.warnings.append(f"weights that the model does not use: {few(sorted(info['unexpected_keys']))}")
        if self.device.type != "cpu":
            model = model.to(self.device)
        self.model = model.eval()
        self.config = model.config.get_text_config()

    def prompt(self):
        """The token ids to run."""
        job, vocabulary = self.job, self.model.get_input_embeddings().num_embeddings
        ids = job["tokens"] or self.tokenize()
        bad = [i for i in ids if not 0 <= i < vocabulary]
        if bad:
            raise Failure("not started", f"token id {bad[0]} is outside the model's vocabulary of {vocabulary}")
        most = getattr(self.config, "max_position_embeddings", None)
        if most and len(ids) + job["generate"] > most:
            self.warnings.append(f"{len(ids) + job['generate']} tokens, but the model was made for {most}")
        return ids + self.generate(ids, job["generate"])

    def tokenize(self):
        job = self.job
        if not any(os.path.exists(os.path.join(job["model"], f)) for f in TOKENIZERS) and not job["trust_remote_code"]:
            raise Failure("not started", f"{job['model']} has no tokenizer ({', '.join(TOKENIZERS)}): give the prompt as tokens")
        try:
            tokenizer = self.transformers.AutoTokenizer.from_pretrained(
                job["model"], local_files_only=True, trust_remote_code=job["trust_remote_code"])
            ids = tokenizer(job["text"])["input_ids"]
        except Exception as e:
            raise Failure("not started", f"the tokenizer of {job['model']}: {brief(e)}; give the prompt as tokens") from e
        if not ids:
            raise Failure("not started", "the tokenizer makes no token of the prompt")
        return [int(i) for i in ids]

    def forward(self, ids, past=None, cache=False):
        return self.model(input_ids=self.torch.tensor([ids], device=self.device), past_key_values=past, use_cache=cache)

    def generate(self, ids, count):
        """The greedy continuation, the lowest id of equal logits."""
        new, past, step = [], None, ids
        for _ in range(count):
            out = self.forward(step, past, True)
            row, past = out.logits[0, -1], self.kept(out)
            if not bool(self.torch.isfinite(row).all()):
                raise Failure("crashed", f"the logits behind token {len(ids) + len(new)} are not finite: there is no greedy continuation")
            new.append(int(row.argmax()))
            step = new[-1:]
        return new

    def kept(self, out):
        past = getattr(out, "past_key_values", None)
        if past is None:
            raise Failure("not started", f"{type(self.model).__name__} gives no KV cache back: decode and generate need one")
        return past

    def evaluate(self, ids, take):
        """Runs the ids and hands the logits to take, whole or token by token."""
        if not self.job["decode"]:
            take(self.forward(ids).logits)
            return
        past = None
        for i in ids:
            out = self.forward([i], past, True)
            past = self.kept(out)
            take(out.logits)

    def metadata(self, ids):
        job = self.job
        return {
            "paritygate": "1", "engine": "transformers", "engine_version": self.versions(), "model": job["model_name"],
            "weights_sha256": job["weights_sha256"], "compute_dtype": self.compute_dtype(), "device": self.device_name(),
            "prompt": job["prompt"], "tokens": json.dumps(ids, separators=(",", ":")),
        }

    def versions(self):
        return f"{self.transformers.__version__}, torch {self.torch.__version__}"

    def device_name(self):
        if self.device.type == "cuda":
            return self.torch.cuda.get_device_name(self.device)
        if self.device.type == "cpu":
            capability = getattr(self.torch.backends.cpu, "get_cpu_capability", lambda: platform.machine())()
            return f"CPU ({capability})"
        return str(self.device)

    def compute_dtype(self):
        """The type that most of the weights have, and how they are quantised."""
        sizes = {}
        for p in self.model.parameters():
            sizes[p.dtype] = sizes.get(p.dtype, 0) + p.numel()
        names = {v: k for k, v in self.dtypes.items()}
        floats = {d: n for d, n in sizes.items() if d in names}
        words = names[max(floats, key=floats.get)] if floats else str(self.model.dtype)
        if words == "f32" and self.device.type == "cuda" and self.torch.get_float32_matmul_precision() != "highest":
            words += ", products in tf32"
        q = getattr(self.model.config, "quantization_config", None)
        if q is None:
            return words
        q = q if isinstance(q, dict) else q.to_dict()
        told = [str(q.get("quant_method", "quantised"))]
        told += [f"int{q['bits']}"] if q.get("bits") else []
        told += ["int8"] if q.get("load_in_8bit") else []
        told += [str(q.get("bnb_4bit_quant_type", "int4"))] if q.get("load_in_4bit") else []
        return f"{words}, weights {' '.join(told)}"

    def run(self):
        job = self.job
        self.settings()
        self.load()
        with self.torch.inference_mode():
            ids = self.prompt()
            plain, hooked = hashlib.sha256(), hashlib.sha256()
            if job["prove"]:
                self.evaluate(ids, lambda logits: plain.update(memoryview(raw(self.torch, logits))))
            recorder = Recorder(self.torch, job["trace"], self.metadata(ids), len(ids))
            taps = Taps(self, recorder)

            def take(logits):
                recorder.add("logits", logits)
                if job["prove"]:
                    hooked.update(memoryview(raw(self.torch, logits)))

            self.evaluate(ids, take)
            taps.remove()
        recorder.check(taps.expected + ["logits"])
        capture = "" if not job["prove"] else "exact" if plain.digest() == hooked.digest() else "disturbs"
        return {"version": self.versions(), "device": self.device_name(), "compute_dtype": self.compute_dtype(),
                "capture": capture, "tokens": ids, "warnings": self.warnings}


class Taps:
    """The hooks on one model."""

    def __init__(self, run, recorder):
        self.model, self.config, self.warnings = run.model, run.config, run.warnings
        self.record, self.handles, self.expected = recorder.add, [], ["embedding"]
        path, layers = self.layers()
        self.before(layers[0], "embedding")
        for i, layer in enumerate(layers):
            if run.job["sublayers"]:
                self.sublayers(i, layer)
            self.after(layer, f"layer_{i}_output")
            self.expected.append(f"layer_{i}_output")
        norm = self.final_norm(path)
        if norm is None:
            self.warnings.append(f"no final norm was found beside {path}: final_norm is left out")
        else:
            self.after(norm, "final_norm")
            self.expected.append("final_norm")

    def layers(self):
        """The one list of modules that has as many entries as the config has layers."""
        from torch.nn import ModuleList
        lists = {name: m for name, m in self.model.named_modules() if isinstance(m, ModuleList) and len(m)}
        outer = {n: m for n, m in lists.items() if not any(n.startswith(o + ".") for o in lists)}
        count = getattr(self.config, "num_hidden_layers", None)
        fit = {n: m for n, m in outer.items() if len(m) == count}
        known = [n for n in KNOWN_LAYERS if n in fit]
        if len(fit) == 1 or known:
            path = known[0] if known else next(iter(fit))
            return path, fit[path]
        have = ", ".join(f"{n} ({len(m)})" for n, m in outer.items()) or "none"
        modules = [n for n, _ in self.model.named_modules() if n and n.count(".") < 2]
        raise Failure("not started", f"{type(self.model).__name__}: no list of {count} decoder layers was found; "
                      f"lists of modules: {have}; modules: {', '.join(modules[:60])}")

    def final_norm(self, path):
        parent, _, name = path.rpartition(".")
        children = list(self.model.get_submodule(parent).named_children())
        by_name = dict(children)
        for known in KNOWN_NORMS:
            if known in by_name:
                return by_name[known]
        at = [n for n, _ in children].index(name)
        norms = [m for _, m in children[at + 1:] if "norm" in type(m).__name__.lower()]
        return norms[0] if len(norms) == 1 else None

    def sublayers(self, i, layer):
        parts = dict(layer.named_children())

        def part(names, what):
            found = next((parts[n] for n in names if n in parts), None)
            if found is None and i == 0:
                self.warnings.append(f"{type(layer).__name__} has no {what} ({', '.join(names)}): its checkpoints are left out")
            return found

        first = part(FIRST_NORM, "norm before attention")
        # Without a norm before attention, the one behind it is no norm of the feed-forward's input.
        second = part(SECOND_NORM if first is not None else SECOND_NORM[:-1], "norm before feed-forward")
        entered = []
        self.handles.append(layer.register_forward_pre_hook(lambda _, a, k: entered.__setitem__(slice(None), [given(a, k)]), with_kwargs=True))
        self.after(first, f"layer_{i}_attn_norm")
        self.after(part(ATTENTION, "attention"), f"layer_{i}_attn_output")
        # Where attention and feed-forward are parallel, both norms see what entered the layer.
        self.before(second, f"layer_{i}_ffn_input", lambda x: entered[0] is not x)
        self.after(second, f"layer_{i}_ffn_norm")
        self.after(part(FEED_FORWARD, "feed-forward"), f"layer_{i}_ffn_output")

    def before(self, module, name, wanted=lambda x: True):
        def hook(_, args, kwargs):
            x = given(args, kwargs)
            if wanted(x):
                self.record(name, x)
        if module is not None:
            self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def after(self, module, name):
        def hook(_, args, out):
            self.record(name, out[0] if isinstance(out, (tuple, list)) else out)
        if module is not None:
            self.handles.append(module.register_forward_hook(hook))

    def remove(self):
        for h in self.handles:
            h.remove()


def given(args, kwargs):
    """What enters a module: its first argument, however it is passed."""
    return args[0] if args else kwargs["hidden_states"]


def raw(torch, tensor):
    """The tensor's values as bytes."""
    return tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy()


class Recorder:
    """Writes one safetensors file a checkpoint; only the number of rows is known ahead."""

    def __init__(self, torch, folder, metadata, rows):
        self.torch, self.folder, self.metadata, self.rows = torch, folder, metadata, rows
        self.codes = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
        self.files = {}  # name -> [path, dtype, width, rows so far]
        try:
            os.mkdir(folder)
        except OSError as e:
            raise Failure("not started", f"the trace cannot be written: {e}") from e

    def add(self, name, x):
        if not isinstance(x, self.torch.Tensor):
            raise Failure("bad trace", f"{name} is {type(x).__name__}, no tensor")
        shape = list(x.shape)
        if len(shape) == 3 and shape[0] == 1:
            shape = shape[1:]
        if len(shape) != 2 or x.dtype not in self.codes:
            raise Failure("bad trace", f"{name} is {x.dtype} of shape {list(x.shape)}: want [1, positions, width] in f64, f32, f16 or bf16")
        f = self.files.get(name)
        if f is None:
            f = self.files[name] = [os.path.join(self.folder, f"{len(self.files):04d}-{name}.safetensors"), x.dtype, shape[1], 0]
            self.begin(f, name, x)
        if (f[1], f[2]) != (x.dtype, shape[1]) or f[3] + shape[0] > self.rows:
            raise Failure("bad trace", f"{name}: {shape[0]} rows of {shape[1]} in {x.dtype} after {f[3]} of {self.rows} rows of {f[2]} in {f[1]}")
        self.write(f[0], raw(self.torch, x))
        f[3] += shape[0]

    def begin(self, f, name, x):
        size = self.rows * f[2] * x.element_size()
        header = json.dumps({"__metadata__": self.metadata,
                             name: {"dtype": self.codes[x.dtype], "shape": [self.rows, f[2]], "data_offsets": [0, size]}}).encode()
        header += b" " * (-len(header) % 8)
        self.write(f[0], len(header).to_bytes(8, "little") + header)

    def write(self, path, data):
        try:
            with open(path, "ab") as out:
                out.write(data)
        except OSError as e:
            raise Failure("not started", f"the trace cannot be written: {e}") from e

    def check(self, expected):
        """A row for every token at every checkpoint, or no trace at all."""
        for name in expected:
            if name not in self.files:
                raise Failure("bad trace", f"{name} never ran: its module is not on the way of the forward pass")
        for name, f in self.files.items():
            if f[3] != self.rows:
                raise Failure("bad trace", f"{name} has {f[3]} rows for {self.rows} tokens")


def few(names):
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        job = json.load(f)
    if sys.byteorder != "little":
        raise SystemExit("traces are little-endian, and this machine is not")
    code = 0
    try:
        result = Run(job).run()
    except Failure as e:
        result, code = {"failure": e.kind, "detail": e.detail}, 3
    aside = job["result"] + ".tmp"
    with open(aside, "w", encoding="utf-8") as f:
        json.dump(result, f)
    os.replace(aside, job["result"])
    sys.exit(code)


if __name__ == "__main__":
    main()
