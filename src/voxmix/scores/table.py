"""ScoreTable: the finetuning runs, or the probes, of a study; which are there, unfinished, unreadable or missing."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from voxmix import _frames, _html
from voxmix.allocation.strategies import listed_place
from voxmix.errors import InputError
from voxmix.runs.files import RESULT_FILE
from voxmix.runs.unfinished import finetuning_runs
from voxmix.scores.metric import main_score
from voxmix.scores.result import DownstreamResult, read_result

_SHOWN = 20  # rows in a notebook


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ScoreTable:
    """Finished runs that fit into one table; equal protocol for every initialization of a task.

    Attributes:
        results: finished runs, by task, initialization, control and seed.
        unfinished: folders, below the one that was read, of runs without a result yet.
        set_aside: (folder, reason) of results that cannot be read.

    Raises:
        InputError: runs of one task that cannot be compared: another protocol, other draws, classes or kind;
            or one run twice.
    """

    results: tuple[DownstreamResult, ...]
    unfinished: tuple[str, ...] = ()
    set_aside: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        ordered = sorted(self.results, key=_place)
        object.__setattr__(self, "results", tuple(ordered))
        for task in self.tasks:
            _check_comparable(self.select(task))

    def __repr__(self) -> str:
        left = f", {len(self.unfinished)} unfinished" if self.unfinished else ""
        aside = f", {len(self.set_aside)} set aside" if self.set_aside else ""
        return (
            f"ScoreTable({len(self.results)} runs{left}{aside}; tasks {list(self.tasks)}; "
            f"initializations {list(self.inits)})"
        )

    def _repr_html_(self) -> str:
        rows = [
            (run.task, run.name, f"{run.seed}", "–" if (score := main_score(run)) is None else f"{score:.4f}")
            for run in self.results[:_SHOWN]
        ]
        left = len(self.results) - len(rows)
        more = (f"and {left} more runs: to_frame() gives all",) if left else ()
        missing = tuple(f"missing: {name}" for name in self.missing())
        table = _html.table(("task", "initialization", "seed", "main score"), rows)
        return _html.paragraph(repr(self)) + table + _html.items((*more, *missing[:_SHOWN]))

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one record per run: task, initialization, control, seed, its main score (None where nothing was scored)."""
        return [
            {
                "task": run.task,
                "init": run.init,
                "control": run.control,
                "seed": run.seed,
                "score": main_score(run),
                "cases": len(run.cases),
            }
            for run in self.results
        ]

    def to_frame(self, *, library: str | None = None) -> Any:
        """Return :meth:`to_rows` as a DataFrame of pandas, Polars or PyArrow: the first that is installed, without ``library``."""
        return _frames.frame_of(self.to_rows(), library=library)

    @classmethod
    def read(cls, folder: Path, *, tasks: Iterable[str] | None = None) -> "ScoreTable":
        """Return what lies in ``<folder>/<task>/<init>[+control]/seed-<s>/``; of ``tasks`` alone, if given.

        A result that cannot be read is set aside with the reason; a run without a result is unfinished.

        Raises:
            InputError: a task that was asked for has no folder; runs that do not fit into one table.
        """
        there = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
        wanted = set(tasks) if tasks is not None else there
        unknown = sorted(wanted - there)
        if unknown:
            raise InputError(f"no finetuning run of {unknown} in {folder}; there are {sorted(there)}")
        results, unfinished, set_aside = [], [], []
        for run in finetuning_runs(folder):
            if run.relative_to(folder).parts[0] not in wanted:
                continue
            name = run.relative_to(folder).as_posix()
            if not (run / RESULT_FILE).is_file():
                unfinished.append(name)
                continue
            try:
                results.append(replace(read_result(run / RESULT_FILE), folder=name))
            except InputError as error:
                set_aside.append((name, str(error).replace(f"{run / RESULT_FILE}", RESULT_FILE)))
        return cls(results=tuple(results), unfinished=tuple(unfinished), set_aside=tuple(set_aside))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, sorted."""
        return tuple(sorted({result.task for result in self.results}))

    @property
    def inits(self) -> tuple[str, ...]:
        """Names of the initializations of any task, in the order of the paper's table 3; others follow by name."""
        return tuple(dict.fromkeys(r.init for r in sorted(self.results, key=lambda r: listed_place(r.init))))

    def select(
        self, task: str, *, init: str | None = None, control: str | None = None
    ) -> tuple[DownstreamResult, ...]:
        """Return the runs of a task by rising seed; with ``init`` only those of it and of ``control``."""
        return tuple(
            r
            for r in self.results
            if r.task == task and (init is None or (r.init, r.control) == (init, control))
        )

    def missing(self) -> tuple[str, ...]:
        """Name every run that the others make one expect: each initialization on each task, with each seed.

        Of a reference, such as open weights, one seed is enough.
        """
        absent = []
        references = {r.init: r.judged is not None and r.judged.is_reference for r in self.results}
        for task in self.tasks:
            runs = self.select(task)
            ways = {(init, None) for init in self.inits} | {(r.init, r.control) for r in runs}
            there = {(r.init, r.control, r.seed) for r in runs}
            met = {(r.init, r.control) for r in runs}
            absent += [
                f"{task}: {init}{', ' + control if control else ''}, seed {seed}"
                for (init, control), seed in product(
                    sorted(ways, key=lambda way: (listed_place(way[0]), way[1] or "")),
                    sorted({r.seed for r in runs}),
                )
                if (init, control, seed) not in there and not (references[init] and (init, control) in met)
            ]
        return tuple(absent)


def _place(result: DownstreamResult) -> tuple[object, ...]:
    return (result.task, listed_place(result.init), result.control or "", result.seed)


def _check_same_probe(first: DownstreamResult, run: DownstreamResult) -> None:
    """Refuse probes whose test images differ, and a probe beside a finetuning run."""
    if first.judged is None and run.judged is None:
        return
    if (first.judged is None) != (run.judged is None):
        raise InputError(
            f"task {run.task}: {first.name} and {run.name} are a probe and a finetuning run; they are not compared. Keep them "
            "in folders of their own"
        )
    cases = [{case.case for case in each.cases} for each in (first, run)]
    if cases[0] != cases[1]:
        raise InputError(
            f"task {run.task}: {run.name}, seed {run.seed} is scored on another test set than {first.name}, seed {first.seed} "
            f"({len(cases[0] ^ cases[1])} images are in one of the two alone); scores of different test sets are not compared. "
            "Probe again what was made before the images changed"
        )
    if first.protocol != run.protocol:
        raise InputError(
            f"task {run.task}: {run.name}, seed {run.seed} was probed with another task or other settings than {first.name}, "
            f"seed {first.seed}; their scores are not compared. Probe again what was made under the old ones"
        )


def _check_comparable(runs: tuple[DownstreamResult, ...]) -> None:
    first = runs[0]
    for run in runs[1:]:
        _check_same_probe(first, run)
        for what, was, here in (
            ("protocol", first.protocol, run.protocol),
            ("draws", first.draws, run.draws),
            ("kind", first.kind, run.kind),
            ("classes", list(first.classes), list(run.classes)),
        ):
            if was != here:
                raise InputError(
                    f"task {run.task}: {first.name}, seed {first.seed} has {what} {was}, {run.name}, seed "
                    f"{run.seed} has {here}; scores of different protocols are not compared. Finetune again what "
                    "was made under the old one, or leave the task out"
                )
    seen: set[tuple[object, ...]] = set()
    for run in runs:
        key = (run.init, run.control, run.seed)
        if key in seen:
            raise InputError(f"task {run.task}: {run.name}, seed {run.seed} occurs twice; keep one result")
        seen.add(key)
