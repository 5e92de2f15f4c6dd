"""Plain sentences about finetuning scores: who is best and how sure that is, what is missing, what a proxy predicted."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from voxmix.allocation.strategies import SCRATCH
from voxmix.report.table import number_text, percent_text
from voxmix.report.words import counted, listing
from voxmix.scores import Comparison, Difference, ProxyAgreement

_MOST_NAMED = 12


def score_sentences(comparison: Comparison) -> list[str]:
    """Return what pretraining did on each task, and over all tasks how often it differed significantly from scratch."""
    found = [sentence for task in comparison.table.tasks if (sentence := _task_sentence(comparison, task))]
    against = [d for d in comparison.differences if SCRATCH in (d.first, d.second)]
    if against and len(comparison.table.tasks) > 1:
        found.append(_tally(against))
    return found


def _task_sentence(comparison: Comparison, task: str) -> str:
    tied = comparison.best(task)
    main = [e for e in comparison.estimates if e.task == task and e.metric.main and e.control is None]
    if not tied:
        return f"{task}: nothing could be scored."
    top = next(e for e in main if e.init == tied[0])
    name = f"{top.metric.name} {percent_text(top.value)}"
    if len(main) == 1:
        return f"{task}: {tied[0]} reached {name}; nothing to compare it with."
    if all(np.isnan(d.test.p) for d in comparison.differences if d.task == task):
        return (
            f"{task}: {tied[0]} has the highest {name}, from only one seed: seed noise is unknown, so nothing is "
            "ranked; run two more seeds."
        )
    others = [e.init for e in main if e.init not in tied]
    if not others:
        few = " Two seeds show little; run a third." if max(len(e.seeds) for e in main) == 2 else ""
        return (
            f"{task}: all {len(main)} are tied, no difference is significant (highest: "
            f"{tied[0]}, {name}).{few}"
        )
    if len(tied) == 1:
        return f"{task}: {tied[0]} is best ({name}); it differs significantly from all others."
    return f"{task}: {tied[0]} ({name}) differs significantly from {listing(others)}, not from {listing(tied[1:])}."


def _tally(items: Sequence[Difference]) -> str:
    names = dict.fromkeys(d.first if d.second == SCRATCH else d.second for d in items)
    parts = []
    for name in names:
        own = [d for d in items if name in (d.first, d.second)]
        gains = [d.test.difference if d.first == name else -d.test.difference for d in own if d.apart]
        better, worse = sum(g > 0 for g in gains), sum(g < 0 for g in gains)
        parts.append(f"{name} better on {better} and worse on {worse} of {len(own)} tasks")
    return f"Significantly different from scratch: {listing(parts)}; on the other tasks the difference is not significant."


def control_sentences(comparison: Comparison) -> list[str]:
    """Return what the controls show: whether the encoder contributed to the score."""
    found = []
    for item in comparison.control_differences:
        if np.isnan(item.corrected):
            how = "with one seed it is unknown whether that is noise"
        elif item.apart:
            how = "more than noise"
        else:
            how = "not significant: the test does not show that the encoder contributes to the score"
        sign = percent_text(item.test.difference, signed=True).removesuffix("%")
        found.append(f"{item.task}: {item.first} differs from {item.second} by {sign} points, {how}.")
    return found


def gap_sentences(comparison: Comparison) -> list[str]:
    """Return what is not in the table: missing, unfinished and unreadable runs, and what could not be compared."""
    table = comparison.table
    found = []
    missing = table.missing()
    if missing:
        found.append(f"No result of {counted(len(missing), 'run')}: {_first(missing)}.")
    if table.unfinished:
        found.append(f"Unfinished, {counted(len(table.unfinished), 'run')}: {_first(table.unfinished)}.")
    found += [f"Set aside, {name}: {reason}." for name, reason in table.set_aside]
    unscored: Counter[tuple[str, str]] = Counter()
    for e in comparison.estimates:
        if e.unscored and e.metric.main:
            unscored[e.task, e.metric.name] += e.unscored
    found += [
        f"{task}: no {metric} in {counted(count, 'case')} (counted over seeds and initializations): every class is empty "
        "in prediction and reference."
        for (task, metric), count in unscored.items()
    ]
    return [*found, *(f"{note}." for note in comparison.notes)]


def _first(names: Sequence[str]) -> str:
    shown = "; ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown}; and {len(names) - _MOST_NAMED} more"


def agreement_sentences(item: ProxyAgreement) -> list[str]:
    """Return whether the proxy's order predicts the order of scores, or that it cannot be decided."""
    count, start = len(item.inits), f"Proxy loss, {item.measure}: "
    if np.isnan(item.mean):
        return [
            f"{start}{listing(item.inits)} have a proxy loss and scores. Whether one order predicts the other cannot be "
            "decided with fewer than three encoders."
        ]
    tasks = int(np.isfinite(item.correlation).sum())
    found = [
        f"{start}over {count} encoders and {counted(tasks, 'task')} the mean rank correlation is "
        f"{_signed(item.mean)} ({item.level:.0%} interval {_signed(item.low)} to {_signed(item.high)}, cases and seeds "
        f"resampled); {percent_text(item.p)} of random orders agree as well."
    ]
    if not item.decidable:
        found.append(
            f"That is inconclusive: with {count} encoders even perfect agreement occurs by chance in "
            f"{percent_text(item.least_p)} of cases."
        )
    elif item.p <= 1 - item.level and item.low > 0:
        found.append("The order of the proxy losses predicts that of the scores better than chance.")
    else:
        found.append("It is not shown that the proxy predicts the scores.")
    if item.told_apart:
        found.append(
            f"Of the {item.told_apart} pairs whose scores differ significantly, {item.right} are ordered as their proxy losses "
            "predict."
        )
    else:
        found.append(
            "No pair of encoders has significantly different scores, so there is no order to predict."
        )
    return found


def _signed(value: float) -> str:
    return number_text(value).replace("-", "−")
