"""Time and memory of every verb that goes through a whole study, cache or data set, against its size.

    python benchmarks/scale.py [--domains 6 20 60] [--runs 100 300 1000] [--volumes 1000 10000 100000]
        [--sources 1000 10000 100000] [--bootstrap 0] [--only fit report] [--folder DIR] [--json FILE] [--plot FILE]

Nothing is trained. Studies are made from finished runs whose losses a known law gives, with noise; caches from an index, and
volumes of a few bytes; data sets from NIfTI files of 8 x 8 x 8 voxels, which are really read and prepared. Each verb
has a process of its own; seconds are those of its processor (of the clock, too, which other work on the machine
prolongs), memory is its largest resident set. With --json, what was measured before in that file is kept and drawn too.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxmix._io import canonical_json, digest, write_json
from voxmix.design import StudyDesign
from voxmix.errors import VoxmixWarning
from voxmix.law.forms import LawParameters, predict
from voxmix.run_settings import ModelSettings
from voxmix.runs.files import PRETRAINING_FORMAT, PRETRAINING_KIND, RESULT_FILE, SPEC_FILE
from voxmix.study.config import DataSettings, FitSettings, StudyAllocation, StudyConfig
from voxmix.study.folder import Study
from voxmix.study.view import StudyView
from voxmix.volumes.auditing.fill import Fill
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.recipe import Recipe

BUDGETS = (500, 1000, 2000, 4000)
SEEDS = 3
NOISE = 0.01


def names_of(domains: int) -> tuple[str, ...]:
    """Return names of made domains."""
    return tuple(f"ABD-CT-{k:02d}" for k in range(domains))


def made_volumes(domains: int, volumes: int) -> tuple[PreparedVolume, ...]:
    """Return the entries of an index, one in five held out; no array is there."""
    fill = Fill(
        size=(200, 180, 160),
        padding=0.0,
        commonest=0.31,
        value=0.0,
        at_low=0.31,
        at_high=0.01,
        percentiles=(-900.0, 20.0, 410.0),
        voxel_mm=(0.8, 0.8, 2.5),
        offset=0.0,
    )
    names = names_of(domains)
    keys = [digest(["made", k]) for k in range(volumes)]
    return tuple(
        PreparedVolume(
            key=key,
            domain=names[k % domains],
            subject=digest(["subject", k]),
            split="validation" if k // domains % 5 == 0 else "train",
            shape=(200, 180, 160),
            spacing_mm=1.5,
            file=f"volumes/{key}.npy",
            fill=fill,
        )
        for k, key in enumerate(keys)
    )


def make_cache(root: Path, *, domains: int, volumes: int, files: bool) -> None:
    """Write an index, and with ``files`` arrays of some bytes and their side files, and as many that are not named."""
    from hashlib import sha256

    recipe = Recipe().resolved(names_of(domains))
    cache = PreparedCache(root=root, volumes=made_volumes(domains, volumes), recipe=recipe)
    (root / "volumes").mkdir(parents=True, exist_ok=True)
    cache.write_index()
    if not files:
        return
    for number, volume in enumerate(cache.volumes):
        content = number.to_bytes(8, "little")
        (root / volume.file).write_bytes(content)
        side = {"checksum": sha256(content).hexdigest(), "file": Path(volume.file).name}
        (root / volume.file).with_suffix(".json").write_text(canonical_json(side), encoding="utf-8")


def true_law(domains: int) -> LawParameters:
    """Return the law that made studies follow."""
    rng = np.random.default_rng(domains)
    transfer = rng.random((domains, domains)) ** 4
    np.fill_diagonal(transfer, 1.0)
    return LawParameters.make(
        irreducible_loss=rng.uniform(0.05, 0.2, domains),
        amplitude=rng.uniform(2, 7, domains),
        exponent=rng.uniform(0.2, 0.6, domains),
        transfer=transfer,
        rho=np.full(domains, 0.7),
    )


def make_sources(root: Path, *, domains: int, count: int) -> None:
    """Write small NIfTI files in a folder per domain, old enough that a later change would show, and a recipe."""
    import nibabel

    head = nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.diag([1.5, 1.5, 1.5, 1])).to_bytes()[:352]
    rng = np.random.default_rng(0)
    for name in names_of(domains):
        (root / "data" / name).mkdir(parents=True)
    for k in range(count):
        path = root / "data" / names_of(domains)[k % domains] / f"p{k:06d}.nii"
        path.write_bytes(head + rng.integers(1, 1000, 512).astype(np.int16).tobytes())
        os.utime(path, (1e9, 1e9))
    (root / "recipe.yaml").write_text("spacing_mm: 1.5\nmin_shape: [4, 4, 4]\n", encoding="utf-8")


def make_study(root: Path, *, domains: int, volumes: int, bootstrap: int, seeds: int = SEEDS) -> Study:
    """Write a study whose volumes are prepared and whose proxy runs are finished."""
    config = StudyConfig(
        name=f"{domains} domains",
        data=DataSettings(path=".."),
        allocation=StudyAllocation(budget=100_000, min_weight=min(0.05, 0.5 / domains)),
        model=ModelSettings(crop=96),
        design=StudyDesign(budgets=BUDGETS, seeds=seeds),
        fit=FitSettings(bootstrap=bootstrap),
    )
    study = Study.create(root, config)
    make_cache(study.cache_dir, domains=domains, volumes=volumes, files=False)
    study.mark_made("prepare", study.preparation_inputs)
    view = StudyView.of(study)
    law, rng = true_law(domains), np.random.default_rng(0)
    for spec in view.proxies:
        weights = np.array(spec.mixture.weights)[None]
        loss = predict(law, weights, np.array([float(spec.budget)]))[0, 0]
        loss = loss * np.exp(NOISE * rng.standard_normal(domains))
        write_run(study, spec, dict(zip(view.domains, loss.tolist(), strict=True)), view.counts)
    return study


def write_run(study: Study, spec, losses: dict[str, float], counts: dict[str, int]) -> None:
    """Write what a finished run leaves, but for its weights and pictures."""
    folder = study.runs_dir / spec.run_id
    draws = {name: int(spec.budget * share) for name, share in spec.mixture.as_dict().items() if share > 0}
    draws[next(iter(draws))] += spec.budget - sum(draws.values())
    each = {"loss_se": 0.001, "adapter": "own", "crops": 64, "volumes": 16, "mean_loss": 0.9, "own": None}
    result = {
        "kind": PRETRAINING_KIND,
        "format": PRETRAINING_FORMAT,
        "run_id": spec.run_id,
        "spec": spec.as_dict(),
        "losses": {target: {"loss": loss, **each} for target, loss in losses.items()},
        "draws": draws,
        "unique_volumes": {name: min(count, counts[name]) for name, count in draws.items()},
        "repeats": {name: count / counts[name] for name, count in draws.items()},
        "volumes": counts,
        "parameters": 1_000_000,
        "flops": spec.budget * 1e9,
        "seconds": 60.0,
        "shared": {"draws": 0, "flops": 0, "seconds": 0.0},
        "adapter": "one per source domain",
        "evaluation": "0" * 16,
        "computed": {"device": "cpu", "precision": "32-true", "threads": 1},
        "versions": {},
        "machine": "a machine",
        "finished": "2026-01-01T00:00:00+00:00",
        "code": "0",
    }
    folder.mkdir(parents=True)
    write_json(folder / SPEC_FILE, spec.as_dict())
    steps = (
        json.dumps({"step": k, "draws": 8 * (k + 1), "loss": 1 / (k + 1), "seconds": 0.1 * k})
        for k in range(spec.budget // 8)
    )
    (folder / "metrics.jsonl").write_text("\n".join(steps) + "\n", encoding="utf-8")
    write_json(folder / RESULT_FILE, result)


def _table(study: Path) -> None:
    view = StudyView.of(Study.open(study))
    view.table.to_csv(view.study.measurements_path)


def _read_table(study: Path) -> None:
    from voxmix.measurement import MeasurementTable

    MeasurementTable.read_csv(Study.open(study).measurements_path)


def _fit(study: Path) -> None:
    from voxmix.study.laws import fit_laws

    fit_laws(Study.open(study))


def _allocate(study: Path) -> None:
    from voxmix.study.mixtures import allocate_strategies

    allocate_strategies(Study.open(study))


def _report(study: Path) -> None:
    from voxmix.study.report_contents import make_report

    make_report(Study.open(study))


def _verb(*words: str) -> Callable[[Path], None]:
    """Return what gives a command line to this process, the folder last but for flags."""

    def call(folder: Path) -> None:
        flags = [word for word in words if word.startswith("-")]
        names = [word for word in words if not word.startswith("-")]
        _main([*names, str(folder), *flags])

    return call


def _main(words: Sequence[str]) -> None:
    """Give a command line to this process."""
    from voxmix.cli import main

    sys.argv = ["voxmix", *words]
    kept, sys.stdout = sys.stdout, open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        main()
    except SystemExit as error:
        if error.code not in (0, None):
            raise
    finally:
        sys.stdout = kept


def _on_sources(*words: str) -> Callable[[Path], None]:
    """Return what gives a command line to this process, its words that begin with / relative to the data set's folder."""
    return lambda folder: _main([f"{folder}{word}" if word.startswith("/") else word for word in words])


_PREPARE = _on_sources(
    "prepare", "/data.csv", "--recipe", "/recipe.yaml", "--out", "/cache", "--workers", "1"
)
STUDY_VERBS: dict[str, Callable[[Path], None]] = {
    "table": _table,
    "read table": _read_table,
    "status": _verb("status"),
    "fit": _fit,
    "allocate": _allocate,
    "report": _report,
    "status at the end": _verb("status"),
}
CACHE_VERBS: dict[str, Callable[[Path], None]] = {
    "open": lambda folder: PreparedCache.open(folder) and None,
    "list": _verb("cache", "list"),
    "verify": _verb("cache", "verify"),
    "prune": _verb("cache", "prune", "--dry-run"),
}
SOURCE_VERBS: dict[str, Callable[[Path], None]] = {
    "manifest": _on_sources("manifest", "/data", "--out", "/data.csv", "--workers", "1"),
    "audit": _on_sources("audit", "/data.csv", "--recipe", "/recipe.yaml", "--workers", "1"),
    "prepare": _PREPARE,
    "prepare again": _PREPARE,
}
VERBS = STUDY_VERBS | CACHE_VERBS | SOURCE_VERBS
DOMAINS = 60
"""Of studies whose runs are counted, of caches and of data sets."""
KINDS = {"domains": STUDY_VERBS, "runs": STUDY_VERBS, "volumes": CACHE_VERBS, "sources": SOURCE_VERBS}


def measure_here(verb: str, folder: Path) -> dict[str, float]:
    """Return what a verb takes in this process: seconds of the processor, of the clock, and MB."""
    warnings.simplefilter("ignore", VoxmixWarning)
    wall, cpu = time.perf_counter(), time.process_time()
    VERBS[verb](folder)
    return {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(verb: str, folder: Path) -> dict[str, float]:
    """Return what a verb takes in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--here", verb, "--folder", str(folder)],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _say(what: str, size: int, verb: str, took: dict[str, float], more: str = "") -> None:
    print(
        f"| {size:,} {what} | {verb} | {took['cpu']:.1f} | {took['wall']:.1f} | {took['mb']:.0f} | {more} |",
        flush=True,
    )


def _file_note(verb: str, folder: Path) -> str:
    path = {"report": folder / "report.html", "table": folder / "measurements.csv"}.get(verb)
    return "" if path is None else f"{path.name}: {path.stat().st_size / 1e6:.1f} MB"


def make(what: str, size: int, folder: Path, *, bootstrap: int) -> None:
    """Make the study, cache or data set of a size."""
    if what == "domains":
        make_study(folder, domains=size, volumes=200 * size, bootstrap=bootstrap)
    elif what == "runs":
        domains = 6 if size < 200 else 20 if size < 600 else DOMAINS
        seeds = max(1, round((size - 2 * len(BUDGETS)) / (domains * len(BUDGETS))))
        make_study(folder, domains=domains, volumes=100 * size, bootstrap=bootstrap, seeds=seeds)
    elif what == "volumes":
        make_cache(folder, domains=DOMAINS, volumes=size, files=True)
    else:
        make_sources(folder, domains=DOMAINS, count=size)


def plot(measured: Sequence[dict[str, Any]], path: str) -> None:
    """Draw seconds and memory of every verb against the size."""
    from matplotlib.figure import Figure

    sizes = {what: {row["size"] for row in measured if row["what"] == what} for what in KINDS}
    shown = [what for what in KINDS if len(sizes[what]) > 1]  # one size shows no growth
    figure = Figure(figsize=(4.2 * len(shown), 6.5), layout="constrained")
    grid = figure.subplots(2, len(shown), squeeze=False)
    for column, what in enumerate(shown):
        for row, (key, unit) in enumerate((("cpu", "processor seconds"), ("mb", "largest memory, MB"))):
            axes = grid[row][column]
            for verb in KINDS[what]:
                points = sorted(
                    (m["size"], m[key]) for m in measured if (m["what"], m["verb"]) == (what, verb)
                )
                if points:
                    axes.loglog(*zip(*points, strict=True), "o-", label=verb, markersize=4)
            axes.set_xlabel(
                {"sources": "files of a data set", "volumes": "volumes of a cache"}.get(what, what)
            )
            axes.set_ylabel(unit)
            axes.grid(alpha=0.3)
            if not row and axes.get_legend_handles_labels()[0]:
                axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domains", type=int, nargs="*", default=[6, 20, 60])
    parser.add_argument("--runs", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--volumes", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--sources", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--bootstrap", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(VERBS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--here", help="measure this verb in this process")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", default="")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure_here(options.here, options.folder)))
        return
    measured: list[dict[str, Any]] = []
    if options.json is not None and options.json.exists():
        measured = json.loads(options.json.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as made:
        root = options.folder or Path(made)
        print("| size | verb | cpu s | wall s | MB | file |\n|---|---|---|---|---|---|", flush=True)
        for what, verbs in KINDS.items():
            for size in getattr(options, what):
                folder = root / f"{what}-{size}"
                if not folder.exists():
                    make(what, size, folder, bootstrap=options.bootstrap)
                for verb in verbs:
                    if verb in options.only:
                        took = measure(verb, folder)
                        same = (what, size, verb)
                        measured = [m for m in measured if (m["what"], m["size"], m["verb"]) != same]
                        measured.append({"what": what, "size": size, "verb": verb, **took})
                        _say(what, size, verb, took, _file_note(verb, folder))
                        if options.json is not None:
                            options.json.write_text(json.dumps(measured, indent=1), encoding="utf-8")
    if options.plot:
        plot(measured, options.plot)


if __name__ == "__main__":
    main()
