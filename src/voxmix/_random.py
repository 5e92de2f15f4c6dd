"""Random numbers by purpose: the same numbers for the same seed and purpose, in any process and in any order."""

import hashlib

import numpy as np

_WORD = (1 << 64) - 1


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return the generator of one purpose; different purposes never share numbers.

    Numbers come from a counter (Philox, Salmon et al. 2011).
    """
    name = "/".join(str(p) for p in purpose)
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.Philox(key=np.array([seed & _WORD, key], dtype=np.uint64)))
