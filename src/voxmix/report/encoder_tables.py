"""Tables of an encoder study's report."""

from voxmix.report.encoder_content import EncoderReportContent
from voxmix.report.table import MISSING, Column, Table, percent_text
from voxmix.report.table_fields import Field, plain, ranged, table_of
from voxmix.scaling import Crossing, Number, Pair, ScoreLaws, Series
from voxmix.scaling.parts import series_name
from voxmix.scaling.words import reached_text, samples_text
from voxmix.scores import Estimate

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


_TASK: Field[Series] = plain("task", "text", lambda one: one.task)
_NAME: Field[Series] = plain("encoders", "text", lambda one: one.name)


def series_table(laws: ScoreLaws) -> Table | None:
    """Return elasticity, share of a doubling and floor of every series; None without any."""
    return table_of(
        laws.series,
        _TASK,
        _NAME,
        plain("sizes", "count", lambda one: len(one.samples)),
        plain("seeds", "count", lambda one: len(one.seeds)),
        ranged("elasticity", "number", lambda one: one.elasticity),
        ranged("a doubling takes away", "percent", lambda one: one.per_doubling),
        ranged("floor", "number", lambda one: one.floor),
        plain("remark", "text", _series_remark),
        name="slopes",
        title="Slopes",
        note=f"Elasticity: −d log error / d log samples over the measured sizes; above 0 more samples help. Intervals of {laws.level:.0%} "
        "over persons, seeds and subsets, as far as the runs can tell. Floor: only where it is identified.",
    )


def _series_remark(one: Series) -> str | None:
    worse = "more samples make it worse" if one.inverse else ""
    return _remark(worse, one.elasticity.status, one.elasticity.remedy)


def _remark(*texts: str) -> str | None:
    """Return what there is to say of a row, without full stops; None where there is nothing."""
    return "; ".join(text.rstrip(".") for text in texts if text) or None


def errors_table(laws: ScoreLaws) -> Table | None:
    """Return the error of every series at every size; None without any."""
    return table_of(
        [
            (one, n, Number(value=error, low=low, high=high), seeds)
            for one in laws.series
            for n, error, low, high, seeds in zip(
                one.samples, one.errors, one.low, one.high, one.seed_errors, strict=True
            )
        ],
        plain("task", "text", lambda row: row[0].task),
        plain("metric", "text", lambda row: row[0].metric),
        plain("encoders", "text", lambda row: row[0].name),
        plain("samples", "count", lambda row: row[1]),
        ranged("error", "number", lambda row: row[2]),
        plain("by seed", "text", lambda row: ", ".join(f"{error:.3f}" for error in row[3])),
        name="errors",
        title="Errors at every size",
        note="Error: 1 − the task's metric.",
    )


def references_table(laws: ScoreLaws) -> Table | None:
    """Return the errors of references; None without any."""
    return table_of(
        [(one, Number(value=one.error, low=one.low, high=one.high)) for one in laws.references],
        plain("task", "text", lambda row: row[0].task),
        plain("reference", "text", lambda row: row[0].name),
        ranged("error", "number", lambda row: row[1]),
        name="references",
        title="References",
        note="Encoders that are judged and were not trained here: open weights, or a network that learned nothing (untrained).",
    )


def crossings_table(laws: ScoreLaws) -> Table | None:
    """Return how many samples each series needs to beat each reference; None without references."""
    return table_of(
        laws.crossings,
        plain("task", "text", lambda one: one.task),
        plain("encoders", "text", lambda one: series_name(one.objective, one.start)),
        plain("beat", "text", lambda one: one.reference),
        plain("samples", "text", _crossing_samples),
        plain("remark", "text", lambda one: _reach_remark(one, rises=laws.rises(one))),
        name="crossings",
        title="Samples needed to beat a reference",
        note="No curve is followed beyond the measured sizes.",
    )


def _crossing_samples(one: Crossing) -> str:
    return samples_text(one.samples) if one.reach in ("within", "unclear") else MISSING


def crossing_text(one: Crossing, *, rises: bool) -> str:
    """Return how many samples beat a reference, in a few words."""
    return _crossing_samples(one) if one.reach == "within" else reached_text(one, rises=rises)


def _reach_remark(one: Crossing, *, rises: bool) -> str:
    status = "" if one.reach in ("below", "not reached") else one.samples.status.rstrip(".")
    return reached_text(one, rises=rises) + (f": {status}" if status else "")


def pairs_table(laws: ScoreLaws) -> Table | None:
    """Return differences and ratios of elasticities between series of a task; None without pairs."""
    return table_of(
        laws.pairs,
        plain("task", "text", lambda one: one.task),
        plain("first", "text", lambda one: one.first),
        plain("second", "text", lambda one: one.second),
        ranged("difference of elasticities", "number", lambda one: one.difference),
        ranged("ratio of elasticities", "number", lambda one: one.ratio),
        plain("remark", "text", _pair_remark),
        name="pairs",
        title="Which gains more from samples",
        note="First minus second, first over second, in draws that share persons, seeds and subsets. Ratios are of elasticities over "
        "the measured sizes, never of exponents: another floor would look like another slope.",
    )


def _pair_remark(one: Pair) -> str | None:
    same = one.same_law_fits and one.ratio.known
    fits = "one exponent with two floors fits as well: no ratio of exponents" if same else ""
    return _remark(one.ratio.status, fits)


def equivalents_table(laws: ScoreLaws) -> Table | None:
    """Return how many samples the second of a pair needs for the error of the first; None without pairs."""
    return table_of(
        [(one, n, other) for one in laws.pairs for n, other in one.data_equivalent],
        plain("task", "text", lambda row: row[0].task),
        plain("encoders", "text", lambda row: row[0].first),
        plain("samples", "count", lambda row: row[1]),
        plain("as good as", "text", lambda row: row[0].second),
        plain("samples of it", "text", lambda row: samples_text(row[2])),
        name="equivalents",
        title="Data equivalents",
        note="So many samples does the second need for the error that the first has; not followed beyond the measured sizes.",
    )


def limits_table(laws: ScoreLaws) -> Table | None:
    """Return whether data or compute holds each series back; None where nothing was run at more compute."""
    return table_of(
        laws.limits,
        plain("task", "text", lambda one: one.task),
        plain("encoders", "text", lambda one: series_name(one.objective, one.start)),
        plain("limited by", "text", lambda one: one.limit),
        ranged("more compute takes away, smallest size", "percent", lambda one: one.gain_small),
        ranged("the same, largest size", "percent", lambda one: one.gain_large),
        plain("remark", "text", lambda one: _remark(one.gain_large.status)),
        name="limits",
        title="Is it data or compute?",
    )


def forgetting_table(laws: ScoreLaws) -> Table | None:
    """Return what happens out of domain; None without such a task."""
    return table_of(
        [one for one in laws.series if one.outside],
        _TASK,
        _NAME,
        ranged("error minus the reference's", "number", lambda one: one.forgetting),
        plain("with more samples", "text", _trend),
        plain("remark", "text", lambda one: _remark(one.forgetting.status)),
        name="forgetting",
        title="Out of domain, at the largest size",
        note="Above 0: it forgot. Gets worse: the error rises with samples in at least 95% of draws.",
    )


def _trend(one: Series) -> str:
    if one.inverse:
        return "gets worse"
    better = one.elasticity.known and one.elasticity.low > 0
    return "gets better" if better else "no trend can be told"


def judged_table(content: EncoderReportContent) -> Table | None:
    """Return the score of every judged encoder on every task; None where nothing was judged."""
    if content.comparison is None:
        return None
    return table_of(
        [one for one in content.comparison.estimates if one.control is None and one.label is None],
        plain("task", "text", lambda one: one.task),
        plain("metric", "text", lambda one: one.metric.name),
        plain("encoder", "text", lambda one: one.init),
        ranged("score", "number", _itself),
        plain("seeds", "count", lambda one: len(one.seeds)),
        plain("cases", "count", lambda one: one.cases),
        plain("persons", "count", lambda one: one.subjects),
        name="scores",
        title="Scores of every encoder",
        note=f"Intervals of {content.comparison.level:.0%} over persons.",
    )


def _itself(one: Estimate) -> Estimate:
    return one


def subsets_table(content: EncoderReportContent) -> Table | None:
    """Return the nested subsets; None without any."""
    return table_of(
        content.subsets,
        plain("images", "count", lambda one: one.images),
        plain("persons", "count", lambda one: one.persons),
        plain("draws of each image", "number", lambda one: one.epochs),
        name="subsets",
        title="Nested subsets",
        note="A larger subset holds every smaller one; whole persons.",
    )


def runs_table(content: EncoderReportContent) -> Table | None:
    """Return the runs by objective, start, control and subset; None without any."""
    return table_of(
        content.runs,
        plain("objective", "text", lambda one: one.objective),
        plain("start", "text", lambda one: one.start),
        plain("compute", "text", lambda one: CONTROLS.get(one.control, one.control)),
        plain("samples", "count", lambda one: one.samples),
        plain("done", "count", lambda one: one.done),
        plain("planned", "count", lambda one: one.planned),
        plain("draws", "count", lambda one: one.draws),
        plain("seconds", "count", lambda one: one.seconds),
        plain("alarms", "count", lambda one: len(one.alarms)),
        name="runs",
        title="Runs",
    )
