"""Every planted bug. Run it to list the kinds, and to check that the splits are apart:

    python bugs.py
"""
import bugs_attention
import bugs_blocks
from planting import KINDS, variants

__all__ = ["KINDS", "bugs_attention", "bugs_blocks", "variants"]

if __name__ == "__main__":
    shared = []
    for kind in KINDS:
        print(f"{kind.name:24} {kind.place:10} {len(kind.tune)} tune, {len(kind.test)} test  {' '.join(kind.archs)}")
        shared += [(kind.name, v) for v in kind.tune if v in kind.test and v != (None, None, None)]
    if shared:
        raise SystemExit(f"variants in both splits: {shared}")
