"""Tables of what was run: volumes, runs by kind, every run."""

import numpy as np

from voxmix.report.content import ReportContent, mixture_of
from voxmix.report.table import Cell, Column, Table
from voxmix.runs import RunResult


def volumes_table(content: ReportContent) -> Table:
    """Return modality, anatomy and counts of volumes per domain, and medians of what they consist of."""
    measured = any(d.padding is not None for d in content.domains)
    shares = tuple(Column(name=name, kind="percent") for name in ("padding", "one value", "at 0", "at 1"))
    return Table(
        name="volumes",
        title="Volumes per domain",
        columns=(
            Column(name="domain"),
            Column(name="modality"),
            Column(name="anatomy"),
            Column(name="training", kind="count"),
            Column(name="validation", kind="count"),
            Column(name="set aside", kind="count"),
            *(shares if measured else ()),
        ),
        rows=tuple(
            (
                d.name,
                d.modality or None,
                d.anatomy or None,
                d.training,
                d.validation,
                sum(d.set_aside.values()),
                *((d.padding, d.one_value, d.at_low, d.at_high) if measured else ()),
            )
            for d in content.domains
        ),
        note="Medians of the prepared volumes: padding, and of the voxels that exist the shares of the commonest value, "
        "at 0 and at 1."
        if measured
        else "",
    )


def set_aside_table(content: ReportContent) -> Table | None:
    """Return how many volumes were set aside per domain and reason; None when there were none."""
    rows = tuple(
        (domain.name, reason, count)
        for domain in content.domains
        for reason, count in domain.set_aside.items()
    )
    if not rows:
        return None
    return Table(
        name="set-aside",
        title="Volumes that were set aside",
        columns=(Column(name="domain"), Column(name="reason"), Column(name="volumes", kind="count")),
        rows=rows,
    )


def kinds_table(content: ReportContent) -> Table:
    """Return runs by kind, or strategy, and budget: how many, seeds, draws, time."""
    groups: dict[tuple[str, int], list[RunResult]] = {}
    for run in content.runs:
        kind = content.kinds.get(run.spec.run_id) or _name(content, run)
        groups.setdefault((kind, run.budget), []).append(run)
    rows: list[tuple[Cell, ...]] = [
        (
            kind,
            budget,
            len(runs),
            ", ".join(str(seed) for seed in sorted({run.spec.seed for run in runs})),
            sum(sum(run.draws.values()) for run in runs),
            sum(run.seconds for run in runs),
        )
        for (kind, budget), runs in groups.items()
    ]
    rows.append(
        (
            "all",
            None,
            len(content.runs),
            None,
            sum(sum(run.draws.values()) for run in content.runs),
            sum(run.seconds for run in content.runs),
        )
    )
    return Table(
        name="runs-by-kind",
        title="Runs by kind and budget",
        columns=(
            Column(name="kind"),
            Column(name="budget", kind="count"),
            Column(name="runs", kind="count"),
            Column(name="seeds"),
            Column(name="draws in all", kind="count"),
            Column(name="seconds in all", kind="count"),
        ),
        rows=tuple(rows),
        note="Seconds are summed over runs; runs made at the same time took less clock time.",
    )


def runs_table(content: ReportContent) -> Table:
    """Return every run with its draws, the most that any volume was repeated, and its time."""
    return Table(
        name="runs",
        title="Every run",
        columns=(
            Column(name="run"),
            Column(name="mixture"),
            Column(name="budget", kind="count"),
            Column(name="seed", kind="count"),
            Column(name="unique volumes", kind="count"),
            Column(name="most draws per volume", kind="number"),
            Column(name="in domain"),
            Column(name="seconds", kind="number"),
        ),
        rows=tuple(
            (
                run.run_id,
                _name(content, run),
                run.budget,
                run.spec.seed,
                sum(run.unique_volumes.values()),
                *most_repeated(run),
                run.seconds,
            )
            for run in content.runs
        ),
    )


def most_repeated(run: RunResult) -> tuple[float | None, str | None]:
    """Return the largest mean number of draws per unique volume over the domains, and which domain it is."""
    repeats = {
        name: draws / run.unique_volumes[name]
        for name, draws in run.draws.items()
        if run.unique_volumes.get(name, 0) > 0
    }
    if not repeats:
        return None, None
    name = max(repeats, key=lambda key: repeats[key])
    return repeats[name], name


def _name(content: ReportContent, run: RunResult) -> str:
    for strategy, item in content.strategies.items():
        mixture = mixture_of(item)
        same = mixture.domains == run.spec.mixture.domains
        if same and np.allclose(mixture.weights, run.spec.mixture.weights, atol=1e-9):
            return strategy
    return run.spec.mixture.label
