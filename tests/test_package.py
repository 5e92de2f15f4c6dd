"""What the package says of itself agrees, wherever it is said."""

import ast
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
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


README_MAKER = runpy.run_path(str(ROOT / "docs" / "readme_for_pypi.py"))["readme_for_pypi"]


@pytest.mark.parametrize("source", [None, "https://example.org/group/voxmix/"])
def test_the_readme_of_an_index_has_no_link_that_leads_nowhere(source: str | None) -> None:
    shown = README_MAKER((ROOT / "README.md").read_text(encoding="utf-8"), source)
    targets = re.findall(r"\]\(([^)]*)\)", shown)
    assert all(re.match("https://", target) or (source and target.startswith("#")) for target in targets)
    if source is None:
        assert "`docs/images/report.png` in the source" in shown
        return
    assert "](https://example.org/group/voxmix/raw/main/docs/images/report.png)" in shown
    assert "](https://example.org/group/voxmix/blob/main/LICENSE)" in shown


@pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling is not installed")
def test_the_sdist_holds_what_the_tests_need_and_its_readme(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (made,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(made) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
        info = archive.extractfile(next(name for name in archive.getnames() if name.endswith("PKG-INFO")))
        assert info is not None
        told = info.read().decode("utf-8")
    assert {
        "LICENSE",
        "CITATION.cff",
        "docs/readme_for_pypi.py",
        "tests/conftest.py",
        "src/voxmix/py.typed",
    } <= held
    assert not [name for name in held if name.startswith((".venv", "site/", "dist/", ".git/"))]
    assert "Description-Content-Type: text/markdown" in told


def test_workflows_call_make_targets_alone() -> None:
    """What runs there runs on any machine: every `run` is `make` and a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    pages = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert [page.stem for page in pages] == ["docs", "release", "tests"]
    for page in pages:
        jobs = yaml.safe_load(page.read_text(encoding="utf-8"))["jobs"]
        for job in jobs.values():
            runs = [step["run"] for step in job["steps"] if "run" in step]
            matrix = job.get("strategy", {}).get("matrix", {}).get("target", [])
            assert set(matrix) <= targets
            for line in runs:
                program, target, *_ = line.split(maxsplit=2)
                assert program == "make"
                assert target in targets or target == "${{"


def test_the_version_names_the_commit_of_a_checkout(tmp_path: Path) -> None:
    from voxmix.cli.version import version_text

    assert version_text(tmp_path / "lib" / "voxmix") == f"voxmix {voxmix.__version__}"
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a checkout")
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    named = re.fullmatch(
        rf"voxmix {re.escape(voxmix.__version__)} \(commit (\w+)(, changed)?\)", version_text(SOURCE)
    )
    assert named is not None
    assert head.startswith(named[1])
