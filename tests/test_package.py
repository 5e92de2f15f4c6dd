"""What the package says of itself agrees, wherever it is said."""

import ast
import runpy
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
from packaging.requirements import Requirement

import voxmix

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(voxmix.__file__).parent
LAZY = sorted(
    path.parent
    for path in SOURCE.rglob("__init__.py")
    if "def __getattr__" in path.read_text(encoding="utf-8")
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


def test_every_dependency_has_one_lower_bound() -> None:
    versions = runpy.run_path(str(ROOT / "tests" / "minimum_versions.py"))
    bounds = [versions["minimum"](one) for one in versions["requirements"]()]
    assert "torch==2.6" in bounds
    assert "pytest==8" in bounds
    with pytest.raises(ValueError, match="one lower bound"):
        versions["minimum"](Requirement("numpy<3"))


def test_python_versions_are_declared_as_they_are_required() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [line.rsplit(" ", 1)[1] for line in project["classifiers"] if ":: Python :: 3." in line]
    assert project["requires-python"] == f">={named[0]}"


@pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling is not installed")
def test_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = {
        path.relative_to(SOURCE.parent).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == source
    assert "voxmix/py.typed" in held


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
    submodules = {
        name: package
        for name in seen
        if name not in module._PUBLIC
        and any((folder / own).is_file() for own in (f"{name}.py", f"{name}/__init__.py"))
    }
    listed = {
        name: home if home.startswith("voxmix.") else f"{package}.{home}"
        for name, home in module._PUBLIC.items()
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
