"""What the package says of itself agrees, wherever it is said."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import voxmix

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(voxmix.__file__).parent
LAZY = sorted(
    path.parent for path in SOURCE.rglob("__init__.py") if "def __getattr__" in path.read_text(encoding="utf-8")
)
USER = """
from voxmix import Allocation, MeasurementTable, allocate, fit
from voxmix.study import Study

def best(table: MeasurementTable) -> Allocation:
    reveal_type(fit(table))
    reveal_type(Study.open)
    return allocate(fit(table), budget=100)
"""


def test_citation_names_the_version_of_the_code() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == voxmix.__version__


def test_type_checkers_of_users_see_the_annotations() -> None:
    assert files("voxmix").joinpath("py.typed").is_file()


@pytest.mark.parametrize("folder", LAZY, ids=lambda folder: folder.name)
def test_names_loaded_when_first_used_are_those_that_type_checkers_see(folder: Path) -> None:
    package = ".".join(("voxmix", *folder.relative_to(SOURCE).parts))
    module = import_module(package)
    seen = {
        alias.asname: node.module if hasattr(module, alias.name) else None
        for block in ast.parse((folder / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    submodules = {name: package for name in seen if (folder / f"{name}.py").is_file() and name not in module._PUBLIC}
    listed = {
        name: home if home.startswith("voxmix.") else f"{package}.{home}" for name, home in module._PUBLIC.items()
    }
    assert seen == submodules | listed
    assert set(module.__all__) - {"__version__"} == set(seen)


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_a_type_checker_sees_types_in_the_script_of_a_user(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER, encoding="utf-8")
    (tmp_path / "wrong.py").write_text("from voxmix import fitt\n", encoding="utf-8")
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n", encoding="utf-8")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "user.py", "wrong.py", "--follow-imports", "silent"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    notes = [line for line in checked.stdout.splitlines() if "Revealed type" in line]
    assert len(notes) == 2, checked.stdout + checked.stderr
    assert "voxmix.law.fitted.FittedLaw" in notes[0]
    assert not any("Any" in line for line in notes)
    errors = [line for line in checked.stdout.splitlines() if "error:" in line]
    assert len(errors) == 1, checked.stdout
    assert errors[0].startswith("wrong.py:1:")
    assert "fitt" in errors[0]
