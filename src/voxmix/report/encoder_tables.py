"""Tables of an encoder study's report."""

import math

from voxmix.report.encoder_content import EncoderReportContent
from voxmix.report.table import MISSING, Column, Table, columns_of, number_text, percent_text, value_of
from voxmix.scaling import Number, ScoreLaws
from voxmix.scaling.parts import INF

CONTROLS = {"": "equal compute", "compute": "more compute", "epochs": "equal epochs"}


def grid_table(laws: ScoreLaws) -> Table:
    """Return task by series: what a doubling of samples does, in words that need no color."""
    names = tuple(dict.fromkeys(one.name for one in laws.series))
    tasks = tuple(dict.fromkeys(one.task for one in laws.series))
    by_place = {(one.task, one.name): one.per_doubling for one in laws.series}
    return Table(
        name="grid",
        title="What a doubling of the samples does to the error",
        columns=(Column(name="task"), *(Column(name=name) for name in names)),
        rows=tuple(
            (task, *(_verdict(by_place[task, name]) if (task, name) in by_place else None for name in names))
            for task in tasks
        ),
        note=f"▼ the error falls, ▲ it rises, · cannot be told: the {laws.level:.0%} interval holds 0.",
    )


def _verdict(number: Number) -> str:
    if not number.known:
        return f"· {MISSING}"
    sign = "▼" if number.low > 0 else "▲" if number.high < 0 else "·"
    span = f"{percent_text(-number.high, signed=True)} to {percent_text(-number.low, signed=True)}"
    return f"{sign} {percent_text(-number.value, signed=True)} ({span})"


def series_table(laws: ScoreLaws) -> Table:
    """Return elasticity, share of a doubling and floor of every series."""
    return Table(
        name="slopes",
        title="Slopes",
        columns=(
            *columns_of(("task", "text"), ("encoders", "text"), ("sizes", "count"), ("seeds", "count")),
            *value_of("elasticity", "number"),
            *value_of("a doubling takes away", "percent"),
            *value_of("floor", "number"),
            Column(name="remark"),
        ),
        rows=tuple(
            (
                one.task,
                one.name,
                len(one.samples),
                len(one.seeds),
                *_ends(one.elasticity),
                *_ends(one.per_doubling),
                *(_ends(one.floor) if one.floor is not None else (None, None, None)),
                "; ".join(
                    filter(
                        None,
                        (
                            "more samples make it worse" * one.inverse,
                            one.elasticity.status.rstrip("."),
                            (one.elasticity.remedy.rstrip(".")),
                        ),
                    )
                )
                or None,
            )
            for one in laws.series
        ),
        note=f"Elasticity: −d log error / d log samples over the measured sizes; above 0 more samples help. Intervals of {laws.level:.0%} "
        "over persons, seeds and subsets, as far as the runs can tell. Floor: only where it is identified.",
    )


def errors_table(laws: ScoreLaws) -> Table:
    """Return the error of every series at every size."""
    return Table(
        name="errors",
        title="Errors at every size",
        columns=(
            *columns_of(("task", "text"), ("metric", "text"), ("encoders", "text"), ("samples", "count")),
            *value_of("error", "number"),
            Column(name="by seed"),
        ),
        rows=tuple(
            (one.task, one.metric, one.name, n, error, low, high, ", ".join(f"{e:.3f}" for e in seeds))
            for one in laws.series
            for n, error, low, high, seeds in zip(
                one.samples, one.errors, one.low, one.high, one.seed_errors, strict=True
            )
        ),
        note="Error: 1 − the task's metric.",
    )


def references_table(laws: ScoreLaws) -> Table | None:
    """Return the errors of references; None without any."""
    if not laws.references:
        return None
    return Table(
        name="references",
        title="References",
        columns=(*columns_of(("task", "text"), ("reference", "text")), *value_of("error", "number")),
        rows=tuple((one.task, one.name, one.error, one.low, one.high) for one in laws.references),
        note="Encoders that are judged and were not trained here: open weights, or a network that learned nothing (untrained).",
    )


_REACH = {
    "within": "among the measured sizes",
    "below": "with the smallest size already",
    "not reached": "not up to the largest size",
    "unclear": "cannot be told",
}


def crossings_table(laws: ScoreLaws) -> Table | None:
    """Return how many samples each series needs to beat each reference; None without references."""
    if not laws.crossings:
        return None
    return Table(
        name="crossings",
        title="Samples needed to beat a reference",
        columns=columns_of(
            ("task", "text"), ("encoders", "text"), ("beat", "text"), ("samples", "text"), ("remark", "text")
        ),
        rows=tuple(
            (
                one.task,
                f"{one.objective} from {one.start}" if one.start else one.objective,
                one.reference,
                samples_range(one.samples) if one.reach in ("within", "unclear") else MISSING,
                _REACH[one.reach] + (f": {one.samples.status.rstrip('.')}" if one.samples.status else ""),
            )
            for one in laws.crossings
        ),
        note="No curve is followed beyond the measured sizes.",
    )


def samples_range(number: Number) -> str:
    """Return a number of samples with its interval, ends beyond the measured sizes in words."""
    if math.isnan(number.value):
        return MISSING
    low = "below the smallest" if number.low <= 0 else _samples(number.low)
    high = "beyond the largest" if number.high == INF else _samples(number.high)
    value = (
        "below the smallest"
        if number.value <= 0
        else "beyond the largest"
        if number.value == INF
        else _samples(number.value)
    )
    return value if math.isnan(number.low) else f"{value} ({low} to {high})"


def _samples(value: float) -> str:
    return number_text(float(f"{value:.3g}")).split(".")[0] if value >= 100 else number_text(value)


def pairs_table(laws: ScoreLaws) -> Table | None:
    """Return differences and ratios of elasticities between series of a task; None without pairs."""
    if not laws.pairs:
        return None
    return Table(
        name="pairs",
        title="Which gains more from samples",
        columns=(
            *columns_of(("task", "text"), ("first", "text"), ("second", "text")),
            *value_of("difference of elasticities", "number"),
            *value_of("ratio of elasticities", "number"),
            Column(name="remark"),
        ),
        rows=tuple(
            (
                one.task,
                one.first,
                one.second,
                *_ends(one.difference),
                *_ends(one.ratio),
                "; ".join(
                    filter(
                        None,
                        (
                            one.ratio.status.rstrip("."),
                            "one exponent with two floors fits as well: no ratio of exponents"
                            * one.same_law_fits,
                        ),
                    )
                )
                or None,
            )
            for one in laws.pairs
        ),
        note="First minus second, first over second, in draws that share persons, seeds and subsets. Ratios are of elasticities over "
        "the measured sizes, never of exponents: another floor would look like another slope.",
    )


def equivalents_table(laws: ScoreLaws) -> Table | None:
    """Return how many samples the second of a pair needs for the error of the first; None without pairs."""
    rows = tuple(
        (one.task, one.first, n, one.second, samples_range(other))
        for one in laws.pairs
        for n, other in one.data_equivalent
    )
    if not rows:
        return None
    return Table(
        name="equivalents",
        title="Data equivalents",
        columns=columns_of(
            ("task", "text"),
            ("encoders", "text"),
            ("samples", "count"),
            ("as good as", "text"),
            ("samples of it", "text"),
        ),
        rows=rows,
        note="So many samples does the second need for the error that the first has; not followed beyond the measured sizes.",
    )


def limits_table(laws: ScoreLaws) -> Table | None:
    """Return whether data or compute holds each series back; None where nothing was run at more compute."""
    if not laws.limits:
        return None
    return Table(
        name="limits",
        title="Is it data or compute?",
        columns=(
            *columns_of(("task", "text"), ("encoders", "text"), ("limited by", "text")),
            *value_of("more compute takes away, smallest size", "percent"),
            *value_of("the same, largest size", "percent"),
            Column(name="remark"),
        ),
        rows=tuple(
            (
                one.task,
                f"{one.objective} from {one.start}" if one.start else one.objective,
                one.limit,
                *_ends(one.gain_small),
                *_ends(one.gain_large),
                one.gain_large.status.rstrip(".") or None,
            )
            for one in laws.limits
        ),
    )


def forgetting_table(laws: ScoreLaws) -> Table | None:
    """Return what happens out of domain; None without such a task."""
    own = [one for one in laws.series if one.outside]
    if not own:
        return None
    return Table(
        name="forgetting",
        title="Out of domain, at the largest size",
        columns=(
            *columns_of(("task", "text"), ("encoders", "text")),
            *value_of("error minus the reference's", "number"),
            *columns_of(("with more samples", "text"), ("remark", "text")),
        ),
        rows=tuple(
            (
                one.task,
                one.name,
                *_ends(one.forgetting),
                "gets worse"
                if one.inverse
                else "gets better"
                if one.elasticity.known and one.elasticity.low > 0
                else "no trend can be told",
                one.forgetting.status.rstrip(".") or None,
            )
            for one in own
        ),
        note="Above 0: it forgot. Gets worse: the error rises with samples in at least 95% of draws.",
    )


def judged_table(content: EncoderReportContent) -> Table | None:
    """Return the score of every judged encoder on every task; None where nothing was judged."""
    if content.comparison is None:
        return None
    found = [e for e in content.comparison.estimates if e.control is None and e.label is None]
    return Table(
        name="scores",
        title="Scores of every encoder",
        columns=(
            *columns_of(("task", "text"), ("metric", "text"), ("encoder", "text")),
            *value_of("score", "number"),
            *columns_of(("seeds", "count"), ("cases", "count"), ("persons", "count")),
        ),
        rows=tuple(
            (e.task, e.metric.name, e.init, e.value, e.low, e.high, len(e.seeds), e.cases, e.subjects)
            for e in found
        ),
        note=f"Intervals of {content.comparison.level:.0%} over persons.",
    )


def subsets_table(content: EncoderReportContent) -> Table:
    """Return the nested subsets."""
    return Table(
        name="subsets",
        title="Nested subsets",
        columns=columns_of(("images", "count"), ("persons", "count"), ("draws of each image", "number")),
        rows=tuple((one.images, one.persons, one.epochs) for one in content.subsets),
        note="A larger subset holds every smaller one; whole persons.",
    )


def runs_table(content: EncoderReportContent) -> Table:
    """Return the runs by objective, start, control and subset."""
    return Table(
        name="runs",
        title="Runs",
        columns=columns_of(
            ("objective", "text"),
            ("start", "text"),
            ("compute", "text"),
            ("samples", "count"),
            ("done", "count"),
            ("planned", "count"),
            ("draws", "count"),
            ("seconds", "count"),
            ("alarms", "count"),
        ),
        rows=tuple(
            (
                one.objective,
                one.start,
                CONTROLS.get(one.control, one.control),
                one.samples,
                one.done,
                one.planned,
                one.draws,
                one.seconds,
                len(one.alarms),
            )
            for one in content.runs
        ),
    )


def _ends(number: Number) -> tuple[float | None, float | None, float | None]:
    return (number.value, number.low, number.high)
