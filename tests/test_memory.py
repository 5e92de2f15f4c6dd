"""What memory there is, and what was used."""

import numpy as np
import pytest

from voxmix import _memory


@pytest.mark.parametrize(("limit", "expected"), [(1 << 20, 1 << 20), (1 << 60, None), (None, None)])
def test_a_limit_below_what_the_machine_has_counts(monkeypatch, limit, expected):
    monkeypatch.setattr(_memory, "memory_limit", lambda: None)
    whole = _memory.installed_bytes()
    monkeypatch.setattr(_memory, "memory_limit", lambda: limit)
    assert whole is not None
    assert whole > 1 << 28
    assert _memory.installed_bytes() == (expected or whole)


def test_the_peak_counts_what_was_held_and_let_go():
    before = _memory.process_peak_bytes()
    held = np.ones(before // 8 + (32 << 20) // 8)  # as much as ever was held, and 32 MB more
    size = held.nbytes
    del held
    assert _memory.process_peak_bytes() >= size
