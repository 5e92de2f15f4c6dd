"""Tables of finetuning scores: the paper's table 3 with intervals, tests, controls and what is missing."""

from collections.abc import Iterable, Sequence

from voxmix.report.table import Cell, Kind, Table, columns_of, ends_of, range_of, value_of
from voxmix.scores import Comparison, Difference, Estimate, Metric, ProxyAgreement


def tables_of_scores(comparison: Comparison, agreements: Sequence[ProxyAgreement] = ()) -> tuple[Table, ...]:
    """Return what a terminal shows: scores, differences, controls, proxy; only those that there is something for."""
    found = [
        scores_table(comparison),
        distances_table(comparison),
        differences_table(comparison),
        controls_table(comparison),
        *(agreement_table(item) for item in agreements),
    ]
    return tuple(table for table in found if table is not None and table.rows)


def scores_table(comparison: Comparison) -> Table:
    """Return a row per task and metric, and per initialization its score and interval (the paper's table 3)."""
    return _wide(
        comparison,
        (m for task in comparison.table.tasks for m in comparison.metrics(task) if m.unit == "share"),
        name="scores",
        title="Scores on the test cases",
        note=f"Means over seeds, with the {comparison.level:.0%} interval over cases (bootstrap). Best: the highest and "
        "all that are tied with it (their difference is not significant).",
    )


def distances_table(comparison: Comparison) -> Table | None:
    """Return the same for surface distances; None when none were measured."""
    metrics = [m for task in comparison.table.tasks for m in comparison.metrics(task) if m.unit == "mm"]
    if not metrics:
        return None
    return _wide(
        comparison,
        metrics,
        name="surface-distances",
        title="Average symmetric surface distance, mm",
        note="Over classes that are in both prediction and reference; a class that is missing in one has no distance.",
    )


def _wide(comparison: Comparison, metrics: Iterable[Metric], *, name: str, title: str, note: str) -> Table:
    wanted = tuple(dict.fromkeys(metrics))
    main = any(metric.main for metric in wanted)
    kind: Kind = "percent" if wanted and wanted[0].unit == "share" else "number"
    columns = columns_of(("task", "text"), ("metric", "text"))
    columns += columns_of(("best", "text")) if main else ()
    for init in comparison.table.inits:
        columns += value_of(init, kind)
    rows: list[tuple[Cell, ...]] = []
    for task in comparison.table.tasks:
        for metric in comparison.metrics(task):
            if metric not in wanted:
                continue
            row: list[Cell] = [task, metric.name]
            if main:
                row.append(best_text(comparison, task) if metric.main else None)
            for init in comparison.table.inits:
                item = comparison.estimate(task, metric, init)
                row += ends_of(item)
            rows.append(tuple(row))
    return Table(name=name, title=title, columns=columns, rows=tuple(rows), note=note)


def best_text(comparison: Comparison, task: str) -> str:
    """Return who is best on a task with those tied with it, or that all are tied."""
    tied = comparison.best(task)
    count = len([e for e in comparison.estimates if e.task == task and e.metric.main and e.control is None])
    if not tied or count < 2:
        return "alone" if tied else ""
    return "all tied" if len(tied) == count else " or ".join(tied)


def differences_table(comparison: Comparison) -> Table:
    """Return every pair of initializations per task with interval, p-value and corrected p-value."""
    return _differences(
        comparison.differences,
        comparison,
        name="differences",
        title="Differences, pair by pair",
        note=f"In points of the score. Interval and p hold for other cases and other seeds, one comparison at a time; "
        f"corrected is p corrected for all {_tested(comparison.differences)} comparisons of the table (Holm).",
    )


def controls_table(comparison: Comparison) -> Table | None:
    """Return every control against the same initialization without it; None without controls."""
    if not comparison.control_differences:
        return None
    return _differences(
        comparison.control_differences,
        comparison,
        name="controls",
        title="Controls: what is left when the encoder is frozen, permuted or cut off",
        note="Where a control costs nothing, the encoder did nothing for the score; where the difference is not significant, the test is inconclusive.",
    )


def _tested(items: Sequence[Difference]) -> int:
    return sum(item.test.p == item.test.p for item in items)


def _differences(
    items: Sequence[Difference], comparison: Comparison, *, name: str, title: str, note: str
) -> Table:
    columns = columns_of(
        ("task", "text"), ("metric", "text"), ("first", "text"), ("second", "text"), ("difference", "points")
    )
    columns += range_of(f"{comparison.level:.0%} interval", "points")
    columns += columns_of(
        ("p", "number"),
        ("p corrected", "number"),
        ("apart", "text"),
        ("cases", "count"),
        ("subjects", "count"),
        ("seeds", "count"),
    )
    return Table(
        name=name,
        title=title,
        columns=columns,
        rows=tuple(
            (
                d.task,
                d.metric.name,
                d.first,
                d.second,
                d.test.difference,
                d.test.low,
                d.test.high,
                d.test.p,
                d.corrected,
                ("yes" if d.apart else "no") if d.test.p == d.test.p else "not known",
                d.cases,
                d.subjects,
                len(d.seeds),
            )
            for d in items
        ),
        note=note,
    )


def estimates_table(comparison: Comparison) -> Table:
    """Return every score in a row of its own, classes and controls too: for other tools."""
    columns = columns_of(
        ("task", "text"),
        ("metric", "text"),
        ("class", "text"),
        ("initialization", "text"),
        ("control", "text"),
    )
    columns += columns_of(("value", "number"), *((name, "number") for name in ("low", "high", "seed_spread")))
    columns += columns_of(
        ("seeds", "count"), ("cases", "count"), ("subjects", "count"), ("unscored", "count")
    )
    return Table(
        name="estimates",
        title="Every score",
        columns=columns,
        rows=tuple(_row(item) for item in (*comparison.estimates, *comparison.by_class)),
        note=f"low and high: {comparison.level:.0%} interval over cases. seed_spread: standard deviation over seeds.",
    )


def brief_scores_table(comparison: Comparison) -> Table:
    """Return the main score of every encoder on every task: what is read in a terminal of 80 columns."""
    return Table(
        name="scores",
        title="Scores on test cases",
        columns=(
            *columns_of(("task", "text"), ("encoder", "text"), ("metric", "text")),
            *value_of("score", "number"),
            *columns_of(("persons", "count")),
        ),
        rows=tuple(
            (
                e.task,
                " ".join(filter(None, [e.init, e.control])),
                e.metric.name,
                e.value,
                e.low,
                e.high,
                e.subjects,
            )
            for e in comparison.estimates
            if e.metric.main
        ),
        note=f"In brackets: {comparison.level:.0%} interval over cases. Classes, other metrics and seeds: --csv or --json.",
    )


def brief_differences_table(comparison: Comparison) -> Table:
    """Return every pair of encoders on each task's main score, in as few columns."""
    return Table(
        name="differences",
        title="Differences, pair by pair",
        columns=(
            *columns_of(("task", "text"), ("first", "text"), ("second", "text")),
            *value_of("first − second", "points"),
            *columns_of(("p corrected", "number")),
        ),
        rows=tuple(
            (d.task, d.first, d.second, d.test.difference, d.test.low, d.test.high, d.corrected)
            for d in comparison.differences
        ),
        note=f"In points of the score, with the {comparison.level:.0%} interval of each comparison by itself. p is corrected for all "
        f"{_tested(comparison.differences)} comparisons (Holm); p before that: --json.",
    )


def _row(item: Estimate) -> tuple[Cell, ...]:
    name = item.metric.name if item.metric.unit == "share" else f"{item.metric.name}, {item.metric.unit}"
    text: tuple[Cell, ...] = (item.task, name, item.label, item.init, item.control)
    return (
        *text,
        item.value,
        item.low,
        item.high,
        item.seed_spread,
        len(item.seeds),
        item.cases,
        item.subjects,
        item.unscored,
    )


def classes_table(comparison: Comparison, task: str) -> Table | None:
    """Return Dice per class and initialization of one task; None for a classification."""
    items = [item for item in comparison.by_class if item.task == task]
    if not items:
        return None
    inits = tuple(dict.fromkeys(item.init for item in items))
    by_key = {(item.label, item.init): item for item in items}
    columns = columns_of(("class", "text"))
    for init in inits:
        columns += value_of(init, "percent")
    rows: list[tuple[Cell, ...]] = []
    for label in dict.fromkeys(item.label for item in items):
        row: list[Cell] = [label]
        for init in inits:
            found = by_key.get((label, init))
            row += ends_of(found)
        rows.append(tuple(row))
    return Table(name=f"classes-{task}", title=f"Dice per class: {task}", columns=columns, rows=tuple(rows))


def spread_table(comparison: Comparison) -> Table:
    """Return per task and initialization the score of every seed, the draws and the time of training."""
    seeds = sorted({run.seed for run in comparison.table.results})
    columns = columns_of(("task", "text"), ("initialization", "text"), ("metric", "text"))
    columns += columns_of(*((f"seed {seed}", "percent") for seed in seeds), ("spread of seeds", "percent"))
    columns += columns_of(("cases", "count"), ("draws", "count"), ("TFLOP", "number"), ("seconds", "count"))
    rows: list[tuple[Cell, ...]] = []
    for item in comparison.estimates:
        if not item.metric.main:
            continue
        runs = comparison.table.select(item.task, init=item.init, control=item.control)
        by_seed = dict(zip(item.seeds, item.seed_values, strict=True))
        flops, seconds = _mean([run.flops for run in runs]), _mean([run.seconds for run in runs])
        rows.append(
            (
                item.task,
                runs[0].name,
                item.metric.name,
                *(by_seed.get(seed) for seed in seeds),
                item.seed_spread,
                item.cases,
                runs[0].draws,
                None if flops is None else flops / 1e12,
                seconds,
            )
        )
    return Table(
        name="seeds",
        title="Seed by seed, and the cost of a run",
        columns=columns,
        rows=tuple(rows),
        note="The spread is the standard deviation over seeds; TFLOP and seconds are means over them.",
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def agreement_table(item: ProxyAgreement) -> Table:
    """Return the proxy loss and the score of every initialization per task, and their rank correlation."""
    rows: list[tuple[Cell, ...]] = []
    for i, task in enumerate(item.tasks):
        for j, init in enumerate(item.inits):
            loss, score = float(item.loss[i, j]), float(item.score[i, j])
            if loss != loss and score != score:
                continue
            rows.append((task, init, loss, score, float(item.correlation[i])))
    return Table(
        name=f"proxy-{item.measure.replace(' ', '-').replace(chr(39), '')}",
        title=f"Proxy loss ({item.measure}) and score",
        columns=columns_of(
            ("task", "text"),
            ("initialization", "text"),
            ("proxy loss", "number"),
            ("score", "percent"),
            ("rank correlation on the task", "number"),
        ),
        rows=tuple(rows),
        note="The rank correlation is 1 where the lower loss always has the better score.",
    )
