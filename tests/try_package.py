"""Build wheel and sdist, install each in a clean environment of every declared Python that is here, and try them: make dist.

    python tests/try_package.py [--tag v1.2.3] [--only wheel]

What a Python is missing for is said, not passed over. Sizes and times are printed beside what they should be; they end
nothing, since they depend on the machine and on the libraries of the day.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
_TOOLS = ("pip", "setuptools", "pkg_resources")
LIGHT_MB, HELP_SECONDS = 200, 0.4
TABLE = "run,seed,budget,source,target,loss\n" + "".join(
    f"{a}{n},0,{n},{a},{b},{0.02 + 0.9 * (n * (1 if a == b else 0.3)) ** -0.5:.6f}\n"
    for a in "AB"
    for b in "AB"
    for n in (500, 1000, 2000, 4000)
)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def pythons() -> dict[str, str | None]:
    """Return every declared Python with the program that runs it here; None where there is none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [line.rsplit(" ", 1)[1] for line in project["classifiers"] if ":: Python :: 3." in line]
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {name: sys.executable if name == own else shutil.which(f"python{name}") for name in declared}


def build() -> dict[str, Path]:
    """Return the built wheel and sdist; dist/ holds nothing else afterwards."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(DIST)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def broken_links(wheel: Path) -> list[str]:
    """Return the links of the package's description that lead nowhere outside the repository."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        text = archive.read(name).decode("utf-8").split("\n\n", 1)[1]
    return re.findall(r"\]\((?![a-z]+://)[^)]*\)", text)


def weights(site: Path) -> list[tuple[str, float]]:
    """Return every library in a folder of packages with its size in MB, the heaviest first; NAME.libs is part of NAME."""
    found: dict[str, float] = {}
    for path in site.iterdir():
        name = path.name.removesuffix(".libs").split("-")[0].lower()
        files = path.rglob("*") if path.is_dir() else [path]
        found[name] = found.get(name, 0) + sum(each.stat().st_size for each in files if each.is_file()) / 1e6
    return sorted(found.items(), key=lambda row: -row[1])


def try_one(package: Path, python: str, place: Path) -> None:
    """Install a package in a clean environment and run what needs the light core alone."""
    subprocess.run([python, "-m", "venv", str(place)], check=True)
    scripts = place / "bin"
    subprocess.run(
        [
            str(scripts / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            str(package),
        ],
        check=True,
    )
    held = sum(path.stat().st_size for path in (place / "lib").rglob("*") if path.is_file()) / 1e6
    tools = sum(
        path.stat().st_size
        for name in _TOOLS
        for path in (place / "lib").glob(f"*/site-packages/{name}*/**/*")
        if path.is_file()
    )
    (site,) = (place / "lib").glob("*/site-packages")
    heaviest = [f"{name} {size:.0f}" for name, size in weights(site) if size >= 2 and name not in _TOOLS]
    voxmix = str(scripts / "voxmix")
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }  # no checkout on the path
    version = subprocess.run(
        [voxmix, "--version"], check=True, capture_output=True, text=True, env=clean
    ).stdout.strip()
    walls = []
    for _ in range(3):
        begun = time.perf_counter()
        subprocess.run([voxmix, "--help"], check=True, capture_output=True, env=clean)
        walls.append(time.perf_counter() - begun)
    (place / "runs.csv").write_text(TABLE, encoding="utf-8")
    for words in (["fit", "runs.csv", "-o", "law.json"], ["allocate", "law.json", "--budget", "8000"]):
        subprocess.run([voxmix, *words], check=True, capture_output=True, cwd=place, env=clean)
    typed = list((place / "lib").glob("*/site-packages/voxmix/py.typed"))
    assert typed, "py.typed is missing"
    say(
        f"  {package.name}: {version}; {held - tools / 1e6:.0f} MB without pip (wanted: {LIGHT_MB}); help in {min(walls):.2f} s "
        f"(wanted: {HELP_SECONDS}); fit and allocate work"
    )
    say(f"  in MB: {', '.join(heaviest)}")


def main() -> int:
    """Build, install, try; the exit code is 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tag", help="the tag of a release, which must name the version")
    parser.add_argument("--only", choices=["wheel", "sdist"], help="try this one alone")
    asked = parser.parse_args()
    packages = build()
    version = packages["wheel"].name.split("-")[1]
    if asked.tag and asked.tag != f"v{version}":
        say(
            f"the tag is {asked.tag}, and the version of the code is {version}; set one of them (CONTRIBUTING.md)"
        )
        return 1
    if found := broken_links(packages["wheel"]):
        say(f"the description has links that lead nowhere on an index: {found}")
        return 1
    for name, python in pythons().items():
        if python is None:
            say(f"Python {name}: skipped, since there is no python{name} on this machine")
            continue
        say(f"Python {name}:")
        for kind, package in packages.items():
            if asked.only in (None, kind):
                with tempfile.TemporaryDirectory() as folder:
                    try_one(package, python, Path(folder) / "venv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
