"""What a planted bug is: the register of kinds, and the tools they are written with.

A bug is a function bug(m, tokens, layer, size, what) that changes m, a copy.
layer is None when every layer has the bug. Variant.planted is the checkpoint whose
rows change first: it is where a tool has to point. Each kind lists its variants
for two splits: limits are chosen on "tune" and reported on "test", and no
variant that has a size or a choice of place is in both.
"""
from dataclasses import dataclass

ROPE = ("llama", "qwen2", "phi3", "granite")
GATED = ROPE
GQA = ("llama", "qwen2", "granite")
ALL = ROPE + ("gpt2",)
FIRST, LAST = 0, 3


@dataclass(frozen=True)
class Kind:
    name: str
    plant: callable
    place: str  # "layer", or the checkpoint itself
    archs: tuple
    tune: list  # of (layer, size, what)
    test: list


@dataclass(frozen=True)
class Variant:
    kind: Kind
    layer: int | None
    size: float | None
    what: str | None

    @property
    def planted(self):
        return f"layer_{self.layer or 0}_output" if self.kind.place == "layer" else self.kind.place

    @property
    def name(self):
        parts = [self.kind.name]
        parts += [self.what] if self.what else []
        parts += [f"{self.size:g}"] if self.size is not None else []
        parts += [f"L{self.layer}"] if self.layer is not None else []
        return "-".join(parts)

    def apply(self, model, tokens):
        m = model.copy()
        self.kind.plant(m, tokens, self.layer, self.size, self.what)
        return m


KINDS = []


def bug(place="layer", archs=ALL, *, tune, test):
    def register(plant):
        KINDS.append(Kind(plant.__name__, plant, place, archs, tune, test))
        return plant

    return register


def variants(arch, split):
    """The split's variants that mean something for the architecture."""
    return [Variant(k, *v) for k in KINDS if arch in k.archs for v in getattr(k, split)]


def at(m, layer):
    return range(len(m.layers)) if layer is None else (layer,)


def put(values, m, layer, value):
    for i in at(m, layer):
        values[i] = value


def edit(m, layer, name, change):
    """Replaces weight `name` by change(copy of it)."""
    for i in at(m, layer):
        m.layers[i][name] = change(m.layers[i][name].copy())


def tap(m, layer, point, change):
    for i in at(m, layer):
        m.taps[point, i] = change


def pick(n, layer, salt=0):
    """An arbitrary index below n, the same in every run."""
    return (37 * ((layer or 0) + 1) + 11 + 53 * salt) % n


def scaled(index, factor):
    def change(w):
        w[index] *= factor
        return w

    return change


def from_position(share):
    """The first position of the tail that begins at this share of n positions."""
    return lambda n: max(1, int(n * share))
