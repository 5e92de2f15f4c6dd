"""Time and memory of every verb that goes through a whole study, cache or data set, against its size.

    python benchmarks/scale.py [--runs 100 300 1000] [--volumes 1000 10000 100000] [--sources 1000 10000 100000]
        [--only fit report] [--folder DIR] [--rows FILE] [--plot FILE]

Nothing is trained. Studies are made from finished runs whose losses a known law gives, with noise; caches from an index, and
volumes of a few bytes; data sets from NIfTI files of 8 x 8 x 8 voxels, which are really read and prepared. Each verb is
the command itself, in a process of its own. Seconds are those of the processor, user and system, with the start of Python and
imports (of the clock, too, which other work on the machine prolongs); memory is the largest resident set of a process.
Rows of other sizes and verbs that are in FILE are kept, and drawn too.
"""

import argparse
import compileall
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import voxmix

_LAUNCH = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
if done.returncode:
    sys.exit(done.stderr)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
took = {"cpu": used.ru_utime + used.ru_stime, "wall": time.perf_counter() - began, "mb": used.ru_maxrss / 1024}
print(json.dumps({name: round(value, 2) for name, value in took.items()}))
"""
"""Small, because a process counts as its own memory what the one that started it held."""
_OPEN = (
    "import sys; from pathlib import Path; from voxmix.volumes.preparing.cache import PreparedCache; "
    "PreparedCache.open(Path(sys.argv[1]))"
)
RESAMPLES = 1000
VERBS: dict[str, dict[str, tuple[str, ...]]] = {
    "runs": {
        "status": ("status", "{folder}"),
        "fit": ("fit", "{folder}"),
        "allocate": ("allocate", "{folder}"),
        "report": ("report", "{folder}"),
        "fit, resamples": ("fit", "{folder}"),
        "allocate, resamples": ("allocate", "{folder}"),
        "report, resamples": ("report", "{folder}"),
        "status at the end": ("status", "{folder}"),
    },
    "volumes": {
        "open": (_OPEN, "{folder}"),
        "cache list": ("cache", "list", "{folder}"),
        "cache verify": ("cache", "verify", "{folder}"),
        "cache prune": ("cache", "prune", "{folder}", "--dry-run"),
    },
    "sources": {
        "manifest": ("manifest", "{folder}/data", "--out", "{folder}/data.csv", "--workers", "1"),
        "audit": ("audit", "{folder}/data.csv", "--recipe", "{folder}/recipe.yaml", "--workers", "1"),
        "prepare": ("prepare", "{folder}"),
        "prepare again": ("prepare", "{folder}"),
        "cache list, prepared": ("cache", "list", "{folder}/cache"),
        "cache verify, prepared": ("cache", "verify", "{folder}/cache"),
        "cache prune, prepared": ("cache", "prune", "{folder}/cache", "--dry-run"),
        "status, prepared": ("status", "{folder}"),
    },
}
"""Verbs of each kind of size, in the order in which they are run; each needs those before it."""


def measure(words: Sequence[str], folder: Path) -> dict[str, float]:
    """Return what a command takes in a process of its own: seconds of the processor and of the clock, and MB."""
    filled = [word.format(folder=folder) for word in words]
    how = ["-c"] if filled[0] == _OPEN else ["-m", "voxmix"]
    command = [sys.executable, "-c", _LAUNCH, sys.executable, *how, *filled]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def make_in_its_own_process(what: str, size: int, folder: Path) -> int:
    """Make what is measured, and return its size as it is drawn."""
    code = "import sys, pathlib, scale_made as made; print(made.make(sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])))"
    done = subprocess.run(
        [sys.executable, "-c", code, what, str(size), str(folder)],
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd=Path(__file__).parent,
    )
    return int(done.stdout.split()[-1])


def with_resamples(folder: Path) -> None:
    """Ask for resamples in the settings of a study."""
    path = folder / "study.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"bootstrap: \d+", f"bootstrap: {RESAMPLES}", text), encoding="utf-8")


def run(
    options: argparse.Namespace, root: Path, rows: list[dict[str, Any]], keep: Path | None
) -> list[dict[str, Any]]:
    """Measure what the options name, print a row for each, and return the rows with those that were there."""
    print("| size | verb | processor s | clock s | MB | file |\n|---|---|---|---|---|---|", flush=True)
    for what, verbs in VERBS.items():
        for size in getattr(options, what):
            folder = (root / f"{what}-{size}").absolute()
            mark = folder.with_suffix(".size")
            if not folder.exists():
                mark.write_text(str(make_in_its_own_process(what, size, folder)), encoding="utf-8")
            for verb, words in verbs.items():
                if options.only and verb not in options.only:
                    continue
                if verb == "fit, resamples":
                    with_resamples(folder)
                row = {"what": what, "size": size, "verb": verb, "n": int(mark.read_text(encoding="utf-8"))}
                took = measure(words, folder)
                report = folder / "report.html"
                if verb.startswith("report"):
                    took["file_mb"] = round(report.stat().st_size / 1e6, 2)
                rows = [old for old in rows if any(old[key] != row[key] for key in ("what", "size", "verb"))]
                rows.append(row | took)
                more = f"{took['file_mb']} MB" if "file_mb" in took else ""
                print(
                    f"| {size:,} {what} | {verb} | {took['cpu']} | {took['wall']} | {took['mb']:.0f} | {more} |",
                    flush=True,
                )
                if keep is not None:
                    keep.write_text(
                        "[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n", encoding="utf-8"
                    )
    return rows


PANELS = (
    ("volumes of a data set or cache", ("volumes", "sources")),
    ("losses of a study (runs x targets)", ("runs",)),
)
LEFT_OUT = ("open", "status at the end", "allocate, resamples", "report, resamples")
"""Verbs that are not drawn, and those of what was prepared (", prepared"): caches of made arrays are drawn."""
MEASURES: tuple[tuple[str, str, Mapping[str, float]], ...] = (
    ("cpu", "processor time", {"1 s": 1, "10 s": 10, "1 min": 60, "10 min": 600}),
    ("mb", "largest memory", {"30 MB": 30, "100 MB": 100, "300 MB": 300, "1 GB": 1000}),
)


def _drawn(verb: str) -> bool:
    return verb not in LEFT_OUT and not verb.endswith(", prepared")


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw seconds and memory of every verb against the size, with a line of what grows in proportion."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.7, 9.2), layout="constrained")
    grid = figure.subplots(2, 2)
    for column, (name, kinds) in enumerate(PANELS):
        for line, (key, unit, ticks) in enumerate(MEASURES):
            axes = grid[line][column]
            _panel(axes, [r for r in rows if r["what"] in kinds and _drawn(r["verb"])], key)
            axes.set_yticks(list(ticks.values()), list(ticks))
            axes.set_yticks([], minor=True)
            axes.set_xlabel(name, fontsize=12)
            axes.set_title(unit, fontsize=13, loc="left")
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def _panel(axes: Any, rows: Sequence[dict[str, Any]], key: str) -> None:
    """Draw one line for each verb, its name at its end."""
    axes.set(xscale="log", yscale="log")
    places = sorted({row["n"] for row in rows})
    ends: list[tuple[int, float, str, str]] = []
    for number, verb in enumerate(dict.fromkeys(row["verb"] for row in rows)):
        points = sorted((row["n"], row[key]) for row in rows if row["verb"] == verb)
        color = f"C{number}"
        axes.plot(*zip(*points, strict=True), "o-", color=color, markersize=5, linewidth=1.6)
        ends.append((*points[-1], verb, color))
    high, low = max(row[key] for row in rows), min(row[key] for row in rows)
    top, bottom = high * 2, low / 1.6
    reach = places[-1] / places[0]
    axes.set_xlim(places[0] / 1.3, places[-1] * reach**0.75)
    axes.set_ylim(bottom, top)
    first = bottom * 1.15
    axes.plot([places[0], places[-1]], [first, first * reach], "--", color="0.6", linewidth=1, zorder=0)
    end = min(places[-1], places[0] * top / first)
    where = places[0] * (end / places[0]) ** 0.85
    around = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.text(
        where * 0.85,
        first * where / places[0],
        "in proportion",
        color="0.4",
        fontsize=10,
        ha="right",
        bbox=around,
        zorder=0,
    )
    axes.set_xticks([10**k for k in range(2, 6) if places[0] <= 10**k * 1.01 and 10**k <= places[-1] * 1.01])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xticks([], minor=True)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    spread, before = (top / bottom) ** 0.062, 0.0
    for n, value, verb, color in sorted(ends, key=lambda end: end[1]):
        before = at = max(value, before * spread)
        axes.plot([n, places[-1] * 1.22], [value, at], ":", color=color, linewidth=0.8)
        axes.text(places[-1] * 1.28, at, verb, color=color, fontsize=11, va="center")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--volumes", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--sources", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--only", nargs="*", help="verbs to measure; all")
    parser.add_argument("--folder", type=Path, help="where studies, caches and data sets are made and kept")
    parser.add_argument("--rows", type=Path, help="JSON file that rows are added to")
    parser.add_argument("--plot", type=Path, help="SVG file")
    options = parser.parse_args()
    compileall.compile_dir(Path(voxmix.__file__).parent, quiet=1)  # as an installed package is
    rows: list[dict[str, Any]] = []
    if options.rows is not None and options.rows.exists():
        rows = json.loads(options.rows.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as made:
        root = options.folder or Path(made)
        root.mkdir(parents=True, exist_ok=True)
        rows = run(options, root, rows, options.rows)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
