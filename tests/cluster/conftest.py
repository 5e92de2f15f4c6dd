"""A Slurm of two nodes for these tests alone, and what one process makes of the study that they share."""

import getpass
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_slurm import SmallSlurm, free_ports, missing
from tiny_study import until


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).resolve().parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def slurm() -> Iterator[SmallSlurm]:
    """A small Slurm, stopped in the end; the tests are skipped where this machine has none."""
    if lacking := missing():
        pytest.skip(f"this machine has no {', '.join(lacking)} (Debian: slurm-wlm and munge)")
    made = SmallSlurm(Path(tempfile.mkdtemp(prefix="voxmix-slurm-", dir="/tmp")), port=free_ports())
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def quiet(slurm: SmallSlurm) -> Iterator[SmallSlurm]:
    """The small Slurm with both nodes idle and no job; jobs that a test leaves behind are canceled."""
    yield slurm
    slurm.call("scancel", "--user", getpass.getuser(), check=False)
    until(lambda: not slurm.call("squeue", "-h", check=False).strip(), seconds=90)
