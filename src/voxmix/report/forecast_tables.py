"""Tables of what laws had predicted of the measured strategies: per strategy and target, and how good each law was."""

from collections.abc import Sequence

import numpy as np

from voxmix.report.content import ReportContent
from voxmix.report.figures import forecasts
from voxmix.report.findings import guess_as_uniform, measured
from voxmix.report.table import Cell, Table, columns_of, number_text, relative
from voxmix.scores.forecast import Forecast


def judged_laws(content: ReportContent, *, budget: int) -> tuple[Forecast, ...]:
    """Return every law's predictions of the measured strategies, the law of the answer first, and the guess they have to beat.

    () without laws, or where no strategy was measured on all targets of one.
    """
    items = forecasts(content, budget=budget)
    guess = guess_as_uniform(content, budget=budget)
    if not any(item.decisions for item in items):
        return ()
    return items if guess is None or not guess.decisions else (*items, guess)


def judged_tables(content: ReportContent, *, budget: int) -> tuple[Table, ...]:
    """Return how well each law predicted the measured strategies, and what its choice cost; () without laws."""
    items = judged_laws(content, budget=budget)
    return (accuracy_table(items), choices_table(items)) if items else ()


def forecast_table(content: ReportContent, items: tuple[Forecast, ...]) -> Table:
    """Return measured and predicted loss per strategy and target, with the error of every law."""
    first = items[0]
    found = measured(content, budget=first.budget)
    columns = columns_of(
        ("strategy", "text"),
        ("target", "text"),
        ("measured", "number"),
        *((f"seed {seed}", "number") for seed in found.seeds),
    )
    for item in items:
        columns += columns_of((f"predicted by {item.law}", "number"), (f"error of {item.law}", "change"))
    rows: list[tuple[Cell, ...]] = []
    for i, strategy in enumerate(first.strategies):
        seeds = found.loss[found.strategies.index(strategy)]
        for j, target in enumerate(found.targets):
            row: list[Cell] = [strategy, target, float(first.measured[i, j]), *_cells(seeds[:, j])]
            for item in items:
                row += [float(item.predicted[i, j]), relative(item.predicted[i, j], item.measured[i, j])]
            rows.append(tuple(row))
    return Table(
        name=f"predicted-measured-by-target-{first.budget}",
        title=f"Loss per strategy and target at {first.budget:,} {first.unit}",
        columns=columns,
        rows=tuple(rows),
        note="Measured: over all seeds, within seeds; the noise of each target is in the table of noise. Predicted: for "
        "these seeds, as far as the law's fit knows them.",
    )


def _cells(values: np.ndarray) -> list[Cell]:
    return [float(value) if np.isfinite(value) else None for value in values]


def accuracy_table(items: Sequence[Forecast]) -> Table:
    """Return level, error and pairs in the right order of each law, on strategies it had not seen."""
    first = items[0]
    kinds = {part.kind: part.words for item in items for part in item.decisions}
    rows: list[tuple[Cell, ...]] = []
    for item in items:
        parts = [item.by(kind) for kind in kinds]
        levels = [None if part is None else part.level for part in parts]
        rows.append((item.law, *levels, item.mean_error, item.right_pairs))
    return Table(
        name=f"law-accuracy-{first.budget}",
        title=f"How well each law predicted the measured strategies at {first.budget:,} {first.unit}",
        columns=columns_of(
            ("law", "text"),
            *((f"level of the {words}", "change") for words in kinds.values()),
            ("error per strategy and target", "percent"),
            ("pairs in the right order", "percent"),
        ),
        rows=tuple(rows),
        note="Level: by how much the mean of the predictions is above that of the measured values. Predictions are for the "
        "seeds that were run, by the effects of seeds that the fit found. What a law has to beat is the guess.",
    )


def choices_table(items: Sequence[Forecast]) -> Table:
    """Return by every measure the order of the strategies as each law has it, and how good its choice was when measured."""
    first = items[0]
    rows: list[tuple[Cell, ...]] = [
        (
            item.law,
            part.kind,
            part.kendall,
            part.kendall_noise,
            part.choice,
            part.regret,
            part.regret_noise,
            part.best_share,
            part.gain,
        )
        for item in items
        for part in item.decisions
    ]
    return Table(
        name=f"law-choices-{first.budget}",
        title=f"What each law would have chosen of the measured strategies at {first.budget:,} {first.unit}",
        columns=columns_of(
            ("law", "text"),
            ("objective", "text"),
            ("order", "number"),
            ("noise of the order", "number"),
            ("chooses", "text"),
            ("regret", "fine"),
            ("noise of the regret", "fine"),
            ("best in", "percent"),
            ("share of the best's gain", "percent"),
        ),
        rows=tuple(rows),
        note="Order: Kendall's tau of predicted and measured strategies, 1 where all pairs are right. Regret: by how much the "
        "law's choice was measured worse than the best. Gain: over uniform. " + _noise_sentence(items),
    )


def _noise_sentence(items: Sequence[Forecast]) -> str:
    first = next(item for item in items if item.decisions)
    known = [
        f"{number_text(part.repeat)} ({part.words})" for part in first.decisions if np.isfinite(part.repeat)
    ]
    if not known:
        return "The noise is not known: it takes two seeds that two strategies share."
    return (
        "Noise: standard deviation over 1,000 sets of runs redrawn with the noise of a run within seeds, in which the "
        "choice is the best as often as said. The redrawn and the measured order agree by "
        f"{' and '.join(known)}: about what a perfect law could reach."
    )
