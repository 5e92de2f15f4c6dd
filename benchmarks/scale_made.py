"""Made studies, caches and data sets of any size, for scale.py: finished runs of a known law, an index, tiny files."""

import json
import os
from pathlib import Path

import numpy as np

from voxmix._io import canonical_json, digest, write_json
from voxmix.design import StudyDesign
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
NOISE = 0.01
DOMAINS = 60
"""Of the largest study, of caches and of data sets."""


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
    """Write a study of small NIfTI files in a folder per domain, old enough that a later change would show, and its recipe."""
    import nibabel

    recipe = {"spacing_mm": 1.5, "min_shape": [4, 4, 4]}
    config = StudyConfig(
        name=f"{count} files",
        data=DataSettings(path="data.csv"),
        recipe=recipe,
        allocation=StudyAllocation(budget=100_000, min_weight=0.5 / domains),
        model=ModelSettings(crop=8, patch=2),
        design=StudyDesign(budgets=BUDGETS),
        workers=1,
    )
    Study.create(root, config)
    head = nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.diag([1.5, 1.5, 1.5, 1])).to_bytes()[:352]
    rng = np.random.default_rng(0)
    for name in names_of(domains):
        (root / "data" / name).mkdir(parents=True)
    for k in range(count):
        path = root / "data" / names_of(domains)[k % domains] / f"p{k:06d}.nii"
        path.write_bytes(head + rng.integers(1, 1000, 512).astype(np.int16).tobytes())
        os.utime(path, (1e9, 1e9))
    write_json(root / "recipe.yaml", recipe)  # JSON is YAML


def domains_of(runs: int) -> int:
    """Return of how many domains a study of so many runs is."""
    return 6 if runs < 200 else 20 if runs < 600 else DOMAINS


def make_study(root: Path, *, runs: int) -> int:
    """Write a study whose volumes are prepared and whose proxy runs are finished; return how many losses they hold."""
    domains = domains_of(runs)
    seeds = max(1, round((runs - 2 * len(BUDGETS)) / (domains * len(BUDGETS))))
    config = StudyConfig(
        name=f"{domains} domains",
        data=DataSettings(path=".."),
        allocation=StudyAllocation(budget=100_000, min_weight=min(0.05, 0.5 / domains)),
        model=ModelSettings(crop=96),
        design=StudyDesign(budgets=BUDGETS, seeds=seeds),
        fit=FitSettings(bootstrap=0),
    )
    study = Study.create(root, config)
    make_cache(study.cache_dir, domains=domains, volumes=100 * runs, files=False)
    study.mark_made("prepare", study.preparation_inputs)
    view = StudyView.of(study)
    law, rng = true_law(domains), np.random.default_rng(0)
    for spec in view.proxies:
        weights = np.array(spec.mixture.weights)[None]
        loss = predict(law, weights, np.array([float(spec.budget)]))[0, 0]
        loss = loss * np.exp(NOISE * rng.standard_normal(domains))
        write_run(study, spec, dict(zip(view.domains, loss.tolist(), strict=True)), view.counts)
    return len(view.proxies) * domains


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


def make(what: str, size: int, folder: Path) -> int:
    """Make the study, cache or data set of a size; return what it is drawn against: losses, volumes or files."""
    if what == "runs":
        return make_study(folder, runs=size)
    if what == "volumes":
        make_cache(folder, domains=DOMAINS, volumes=size, files=True)
    else:
        make_sources(folder, domains=DOMAINS, count=size)
    return size
