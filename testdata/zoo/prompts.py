"""The prompts: Python-like text as bytes after BOS. The splits share none."""

TUNE = {
    "closed_file": 'def read(self, size=-1):\n    if self.closed:\n        raise ValueError("closed")\n',
    "loop": "for key, value in sorted(items):\n    result[key] = value\n",
    "import": "import os\nimport sys\n\ntry:\n    import threading\nexcept ImportError:\n    threading = None\n\n",
}
TEST = {
    "class": "class Reader(object):\n    def __init__(self, stream):\n        self.stream = stream\n",
    "while": "    while not self._done:\n        line = self.readline()\n        if not line:\n            break\n",
    "return": "        return isinstance(other, Fraction)\n",
}
SPLITS = {"tune": TUNE, "test": TEST}


def tokens(text):
    return [256] + list(text.encode())
