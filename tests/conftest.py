"""Run-time shape checks for every test, where the real volumes lie, and a study of which every step is done."""

import dataclasses
import functools
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import jaxtyping
import numpy as np
import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# The hook wants the name of a checker. Ours takes an int where a float is asked for, as PEP 484 does.
_checker = ModuleType("voxmix_shape_checker")
_checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
sys.modules[_checker.__name__] = _checker
_hook = install_import_hook("voxmix", f"{_checker.__name__}.check")

# A check takes tens of microseconds, and a search calls its functions a hundred thousand times with arrays of the same
# shapes: in every test the first calls of each function are checked, and the rest are not.
CHECKED_CALLS = 100
_calls: Counter[int] = Counter()
_checked_always = jaxtyping.jaxtyped


def _checked_first(fn: Any = None, *, typechecker: Any) -> Any:
    """Do as jaxtyped does, which the hook puts on every function and class of voxmix."""
    if fn is None:
        return functools.partial(_checked_first, typechecker=typechecker)
    if isinstance(fn, FunctionType):
        if _calls[id(fn.__code__)] >= CHECKED_CALLS:  # a function inside another, made once more
            return fn
        return _sparing(fn, _checked_always(fn, typechecker=typechecker))
    plain = getattr(fn, "__init__", None)
    checked = _checked_always(fn, typechecker=typechecker)
    if isinstance(fn, type) and fn.__init__ is not plain:
        fn.__init__ = _sparing(plain, fn.__init__)
    return checked


def _sparing(plain: Any, checked: Callable[..., Any]) -> Callable[..., Any]:
    key = id(plain.__code__)

    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _calls[key] >= CHECKED_CALLS:
            return plain(*args, **kwargs)
        _calls[key] += 1
        return checked(*args, **kwargs)

    return call


jaxtyping.jaxtyped = _checked_first


@pytest.fixture(autouse=True)
def _count_calls_anew() -> None:
    _calls.clear()


# In an environment without an extra, the folders that test it are left out, and the header says so.
_NEEDS = {
    "torch": (
        "cluster",
        "training",
        "objectives",
        "downstream",
        "engines",
        "encoders",
        "probes",
        "generation",
    ),
    "nibabel": ("volumes", "datasets", "cases"),
}
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


STUDY_DOMAINS = ("ABD-CT", "BRAIN-T1", "HN-CT")


def _result(study: Any, spec: Any) -> None:
    from voxmix._io import write_json

    rng = np.random.default_rng([spec.budget, spec.seed, *(spec.mixture.weights * 1e4).astype(int)])
    shares = np.array([spec.mixture.as_dict().get(name, 0.0) for name in STUDY_DOMAINS])
    worth = (np.eye(3) * 0.8 + 0.2).T @ (shares * spec.budget)
    losses = (0.02 + worth**-0.5) * np.exp(0.02 * rng.standard_normal(3))
    folder = study.run_dir(spec)
    write_json(
        folder / "result.json",
        {
            "kind": "run",
            "format": 1,
            "run_id": spec.run_id,
            "spec": spec.as_dict(),
            "losses": {
                name: {"loss": float(loss), "loss_se": 0.001}
                for name, loss in zip(STUDY_DOMAINS, losses, strict=True)
            },
            "draws": dict(zip(spec.mixture.domains, spec.mixture.draws(spec.budget).tolist(), strict=True)),
            "unique_volumes": dict.fromkeys(STUDY_DOMAINS, 8),
            "volumes": dict.fromkeys(STUDY_DOMAINS, 8),
            "seconds": 1.0,
        },
    )
    write_json(folder / "spec.json", spec.as_dict())


def _finetuned(study: Any, init: str, seed: int) -> None:
    from voxmix._io import write_json

    value = {
        "format": 1,
        "task": "organs",
        "kind": "segmentation",
        "init": init,
        "control": None,
        "seed": seed,
        "protocol_digest": "p",
        "checkpoint": None,
        "draws": 10,
        "flops": 1.0,
        "seconds": 1.0,
        "classes": ["liver"],
        "curve": [],
        "cases": [
            {
                "case": f"c{i}",
                "subject": f"s{i}",
                "domain": "ABD-CT",
                "scores": {"dice": {"liver": 0.5 + 0.01 * i + 0.001 * seed}},
            }
            for i in range(4)
        ],
    }
    write_json(study.downstream_dir / "organs" / init / f"seed-{seed}" / "result.json", value)


@pytest.fixture(scope="session")
def made_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of three domains, made without a volume and without torch."""
    from voxmix._io import write_json
    from voxmix.design import StudyDesign
    from voxmix.run_settings import ModelSettings, TrainingSettings
    from voxmix.study import (
        DataSettings,
        FitSettings,
        Study,
        StudyAllocation,
        StudyConfig,
        StudyView,
        allocate_strategies,
        fit_laws,
        make_report,
    )
    from voxmix.volumes import PreparedCache, Recipe
    from voxmix.volumes.preparing.cache import PreparedVolume

    root = tmp_path_factory.mktemp("made") / "study"
    recipe = Recipe(spacing_mm=4.0, min_shape=(16, 16, 16)).resolved(STUDY_DOMAINS)
    config = StudyConfig(
        name="study",
        data=DataSettings(path="volumes"),
        recipe=dataclasses.asdict(recipe),
        model=ModelSettings(
            crop=16, patch=8, width=12, depth=1, heads=1, decoder_width=12, decoder_depth=1, decoder_heads=1
        ),
        training=TrainingSettings(batch_size=4, warmup_steps=1),
        design=StudyDesign(budgets=(100, 200, 400, 800), anchor_seeds=0),
        fit=FitSettings(bootstrap=0),
        allocation=StudyAllocation(budget=2000, seeds=1),
    )
    study = Study.create(root, config)
    volumes = tuple(
        PreparedVolume(
            key=f"{name}{i:02}",
            domain=name,
            subject=f"s{name}{i}",
            split="train" if i < 8 else "validation",
            shape=(16, 16, 16),
            spacing_mm=4.0,
            file=f"volumes/{name}{i:02}.npy",
        )
        for name in STUDY_DOMAINS
        for i in range(10)
    )
    cache = PreparedCache(root=study.cache_dir, volumes=volumes, recipe=recipe)
    write_json(study.cache_dir / "index.json", cache.as_dict())
    (study.cache_dir / "volumes").mkdir()
    (root / "volumes").mkdir()
    reopened = Study.open(root)
    reopened.mark_made("prepare", reopened.preparation_inputs)
    for spec in StudyView(reopened).proxies:
        _result(reopened, spec)
    StudyView(reopened).table.to_csv(reopened.measurements_path)
    fit_laws(reopened)
    allocate_strategies(reopened)
    for spec in StudyView(reopened).checks:
        _result(reopened, spec)
    for init in ("scratch", "transfer-aware"):
        for seed in range(2):
            _finetuned(reopened, init, seed)
    make_report(reopened)
    return root


@pytest.fixture
def finished_study(made_study: Path, tmp_path: Path) -> Path:
    """A study in which every step is done; free to be damaged."""
    root = tmp_path / "study"
    shutil.copytree(made_study, root)
    return root


def _finisher(root: Path, which: str) -> Callable[[], int]:
    def finish() -> int:
        from voxmix.study import Study, StudyView

        view = StudyView(Study.open(root))
        left = view.study.pending(getattr(view, which))
        for spec in left:
            _result(view.study, spec)
        return len(left)

    return finish


@pytest.fixture
def finish_proxies(finished_study: Path) -> Callable[[], int]:
    """Finish the proxy runs that are pending, as the others of the study were, and return how many there were."""
    return _finisher(finished_study, "proxies")


@pytest.fixture
def train_without_torch() -> Callable[..., None]:
    """Stand in for voxmix.study.training.train_runs: the runs are finished, as the others of the study were."""

    def train(view: Any, specs: Any, *others: object) -> None:
        for spec in view.study.pending(specs):
            _result(view.study, spec)

    return train


@pytest.fixture
def finish_checks(finished_study: Path) -> Callable[[], int]:
    """Finish the mixture runs that are pending, as the others of the study were, and return how many there were."""
    return _finisher(finished_study, "checks")


@pytest.fixture
def edit(finished_study: Path) -> Callable[[str, str], None]:
    """Replace a text of the study's file, which must be there."""

    def replace(old: str, new: str) -> None:
        path = finished_study / "study.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return replace
