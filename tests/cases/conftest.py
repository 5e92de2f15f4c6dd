"""Runs the generators of the shared cases; tests that need them are skipped where they are not."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"


def _write(name: str, folder: Path) -> Path:
    found = sorted(CASES.glob(f"{name}_*.py"))
    if not found:
        pytest.skip("the shared cases (../shared/cases) are not on this machine")
    sys.path.insert(0, str(CASES))
    try:
        spec = importlib.util.spec_from_file_location(found[0].stem, found[0])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        folder.parent.mkdir(parents=True, exist_ok=True)
        module.write(folder)
    finally:
        sys.path.remove(str(CASES))
    return folder


@pytest.fixture(scope="session")
def write_case() -> Callable[[str, Path], Path]:
    """Return the function from the name of a generator ("case14") and a folder to that folder with its files."""
    return _write
