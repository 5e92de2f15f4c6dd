"""Run-time shape checks for every test, and where the real volumes lie."""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# The hook wants the name of a checker. Ours takes an int where a float is asked for, as PEP 484 does.
_checker = ModuleType("voxmix_shape_checker")
_checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
sys.modules[_checker.__name__] = _checker
_hook = install_import_hook("voxmix", f"{_checker.__name__}.check")

# In an environment without an extra, the folders that test it are left out, and the header says so.
_NEEDS = {"torch": ("training", "downstream", "engines"), "nibabel": ("volumes", "datasets", "cases")}
_MISSING = [library for library in _NEEDS if find_spec(library) is None]
collect_ignore_glob = [folder for library in _MISSING for folder in _NEEDS[library]]

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real volumes; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("the real volumes (../shared/data) are not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def dies_at() -> Callable[[int], Callable[[int, int], None]]:
    """Return a function that gives a callback of progress under which a run dies once so many draws are done.

    With ``checkpoint_seconds`` 0 it dies right after the state at these draws was written.
    """

    def at(draws: int) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            if done >= draws:
                raise RuntimeError("killed")

        return progress

    return at


def pytest_report_header() -> list[str]:
    return [f"not installed, left out: {', '.join(_MISSING)}"] if _MISSING else []
