"""Scores of judged encoders as people and other tools read them: a row per encoder, a column per task; comparisons of a few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from voxmix._io import mean_text
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.scaling import Scored
    from voxmix.scores import ScoreTable
    from voxmix.scores.result import DownstreamResult

COLUMNS = (
    "task", "metric", "score", "outside", "name", "objective", "start", "samples", "compute", "control", "seed", "run", "encoder",
    "cases", "persons",
)  # fmt: skip
"""Columns of ``scores.csv``: one row per probe."""


def score_rows(results: Sequence[DownstreamResult]) -> Iterator[dict[str, Any]]:
    """Yield the row of each probe: what was judged, on what, and its main score; nothing in it names a person."""
    from voxmix.scores import main_score
    from voxmix.scores.metric import metrics_of

    for result in results:
        judged = result.judged
        assert judged is not None
        yield {
            "task": result.task,
            "metric": metrics_of([result])[0].name,
            "score": main_score(result),
            "outside": int(result.outside),
            "name": judged.name,
            "objective": judged.objective,
            "start": judged.start,
            "samples": judged.samples,
            "compute": judged.compute,
            "control": judged.control,
            "seed": judged.seed,
            "run": judged.run,
            "encoder": judged.encoder,
            "cases": len(result.cases),
            "persons": len({case.subject for case in result.cases}),
        }


def scored_of(results: Sequence[DownstreamResult]) -> tuple[Scored, ...]:
    """Return the scores of probes as a law of scores takes them: main metric, with the cases to resample."""
    import numpy as np

    from voxmix.scaling import Scored
    from voxmix.scores.metric import metrics_of, weighted

    found = []
    for result in results:
        metric = metrics_of([result])[0]
        cases = tuple(case.case for case in result.cases)
        score = weighted(result, metric, cases)
        assert result.judged is not None
        found.append(
            Scored(
                task=result.task,
                metric=metric.name,
                outside=result.outside,
                judged=result.judged,
                cases=cases,
                subjects=tuple(case.subject for case in result.cases),
                weighted=score,
                score=float(score(np.ones((1, len(cases))))[0]),
            )
        )
    return tuple(found)


def scores_wide(results: Sequence[DownstreamResult]) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows: a row per encoder, a column per task with the mean over seeds and half their range."""
    rows = list(score_rows(results))
    tasks = {row["task"]: row["metric"] for row in rows}
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        cell = found.setdefault(row["name"], {}).setdefault(row["task"], [])
        if row["score"] is not None:
            cell.append(row["score"])
    headers = ["encoder", *(f"{task}, {metric}" for task, metric in tasks.items())]
    return headers, [
        [name, *(mean_text(cells.get(task, [])) for task in tasks)] for name, cells in found.items()
    ]


def chosen_for_comparison(
    table: ScoreTable, *, samples: int | None = None, every: bool = False
) -> ScoreTable:
    """Return the encoders that are compared in pairs: at equal compute on one subset, the largest by default, and references.

    All pairs of a whole study would be so many that no difference is left after correcting for their number.

    Raises:
        InputError: no encoder was trained on so many images.
    """
    if every:
        return table
    sizes = sorted({r.judged.samples for r in table.results if r.judged and not r.judged.is_reference})
    if samples is not None and samples not in sizes:
        told = ", ".join(f"{size:,}" for size in sizes)
        raise InputError(f"no judged encoder learned from {samples:,} images; --samples is one of {told}")
    wanted = samples if samples is not None else max(sizes, default=0)
    kept = tuple(
        r
        for r in table.results
        if r.judged is not None
        and (r.judged.is_reference or (r.judged.samples == wanted and not r.judged.control))
    )
    return replace(table, results=kept, unfinished=())
