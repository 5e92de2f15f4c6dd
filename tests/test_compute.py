"""How many threads a process gets."""

import pytest

from voxmix.compute import ComputeSettings
from voxmix.errors import InputError


@pytest.mark.parametrize(
    ("asked", "processes", "cores", "threads"),
    [
        (None, 1, 8, 8),
        (None, 3, 8, 2),
        (None, 16, 8, 1),
        ("1", 1, 8, 1),
        ("3", 1, 8, 3),
        ("3", 4, 8, 2),
        ("64", 1, 8, 8),
        ("4,2", 1, 8, 4),
        ("", 1, 8, 8),
        ("many", 1, 8, 8),
        ("0", 1, 8, 8),
    ],
)
def test_cores_are_shared_out_and_what_was_asked_is_not_exceeded(
    asked, processes, cores, threads, monkeypatch
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert ComputeSettings().threads_of_each(processes, cores=cores) == threads
    assert ComputeSettings(threads=5).threads_of_each(processes, cores=cores) == 5


def test_no_threads_are_refused():
    with pytest.raises(InputError, match="threads must be at least 1, got 0; leave it out"):
        ComputeSettings(threads=0)
