"""What of a study is done, what is out of date and what comes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxmix.errors import StepPendingError
from voxmix.runs import is_finished
from voxmix.runs.files import RESULT_FILE
from voxmix.study import Study
from voxmix.study.steps import allocation_inputs, check_runs, fit_inputs, proxy_runs, study_cache

if TYPE_CHECKING:
    from voxmix.volumes.auditing.fitness import Fitness


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a study: its verb, whether it is done and up to date, and how far it is."""

    name: str
    done: bool
    detail: str


def study_status(study: Study) -> tuple[Step, ...]:
    """Return the steps of a study in order, each with whether it is done and how far it is."""
    try:
        cache = study_cache(study)
    except StepPendingError:
        return tuple(Step(name=name, done=False, detail="not begun") for name in _STEPS)
    count = sum(cache.counts().values())
    steps = [Step(name="prepare", done=True, detail=f"{count} volumes, {len(cache.set_aside)} set aside")]
    proxies = proxy_runs(study)
    left = len(study.pending(proxies))
    steps.append(
        Step(name="run", done=not left, detail=f"{len(proxies) - left} of {len(proxies)} proxy runs")
    )
    fitted = study.is_made("fit", fit_inputs(study)) and not left
    steps.append(Step(name="fit", done=fitted, detail="up to date" if fitted else "to be fitted"))
    allocated = fitted and study.is_made("allocate", allocation_inputs(study))
    steps.append(Step(name="allocate", done=allocated, detail="up to date" if allocated else "to be found"))
    checks = tuple({spec.run_id: spec for spec in check_runs(study)}.values()) if allocated else ()
    waiting = len(study.pending(checks))
    trained = allocated and not waiting
    detail = f"{len(checks) - waiting} of {len(checks)} mixture runs" if allocated else "after allocate"
    steps.append(Step(name="pretrain", done=trained, detail=detail))
    reported = trained and study.report_path.exists() and _is_newer(study)
    steps.append(Step(name="report", done=reported, detail="report.html" if reported else "to be written"))
    return tuple(steps)


def study_fitness(study: Study) -> tuple[Fitness, ...]:
    """Return how fit the prepared volumes of every domain are for training; empty before they are prepared."""
    try:
        found: tuple[Fitness, ...] = study_cache(study).fitness(crop=study.config.model.crop)
    except StepPendingError:
        return ()
    return found


def finetuning_counts(study: Study) -> tuple[int, int]:
    """Return how many finetuning runs are finished and how many are not."""
    runs = [path for path in study.downstream_dir.glob("*/*/seed-*") if path.is_dir()]
    finished = sum(is_finished(path) for path in runs)
    return finished, len(runs) - finished


_STEPS = ("prepare", "run", "fit", "allocate", "pretrain", "report")


def _is_newer(study: Study) -> bool:
    written = study.report_path.stat().st_mtime
    made = (*study.runs_dir.glob(f"*/{RESULT_FILE}"), *study.downstream_dir.glob(f"*/*/*/{RESULT_FILE}"))
    return all(path.stat().st_mtime <= written for path in made)
