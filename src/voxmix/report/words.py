"""Plain sentences: the answer, how sure it is, which strategy won when measured, and what to doubt."""

from collections.abc import Sequence

import numpy as np

from voxmix.allocation import Allocation
from voxmix.allocation.objective import OBJECTIVE_WORDS
from voxmix.report.figures import AnswerData, MeansData
from voxmix.report.ranking import LEVEL, Ranking
from voxmix.report.table import fine_text, number_text, percent_text
from voxmix.scores.forecast import Forecast

_MOST_NAMED = 4
_FEW = 3
_NARROW = 1e-4


def plain_percent(share: float) -> str:
    """Return a share as in a sentence: 5%, not 5.0%."""
    return percent_text(share).replace(".0%", "%")


def listing(items: Sequence[str], *, word: str = "and") -> str:
    """Return "a", "a and b", "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def few(items: Sequence[str]) -> str:
    """Return "a", "a, b and c", and of more than three the first three and how many others there are."""
    if len(items) <= _FEW:
        return listing(items)
    return listing([*items[:_FEW], counted(len(items) - _FEW, "other")])


def counted(count: int, noun: str) -> str:
    """Return "1 run", "2 runs"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def answer_sentence(data: AnswerData) -> str:
    """Return which share each domain gets; domains at the least share are named together, last."""
    least = data.min_weight
    at_least = [
        i for i, w in enumerate(data.weight.tolist()) if least is not None and abs(w - least) < _NARROW
    ]
    order = [int(i) for i in np.argsort(-data.weight, kind="stable") if int(i) not in at_least]
    parts = [f"{percent_text(float(data.weight[i]))} {data.domains[i]}" for i in order]
    if at_least and least is not None:
        named = [data.domains[i] for i in at_least]
        names = listing(named) if len(named) <= _MOST_NAMED else f"the other {len(named)}"
        each = " each" if len(at_least) > 1 else ""
        parts.append(f"the least share, {plain_percent(least)}{each}, of {names}")
    return f"Of {data.budget:,} volume draws take {listing(parts)}."


def certificate_sentence(item: Allocation) -> str:
    """Return what the optimality gap proves, and what it does not."""
    share = item.gap / item.objective if item.objective > 0 else 0.0
    bound = "0.001%" if share < 1e-5 else f"{share * 100:.2g}%"
    return (
        f"Proven by the law's convexity: no mixture that gives every domain at least "
        f"{plain_percent(item.min_weight)} has a predicted {OBJECTIVE_WORDS[item.kind]} lower than this one's by more than {bound} "
        f"(gap {item.gap:.1g} of {number_text(item.objective)}). The proof is about the law, not about the world."
    )


def sureness_sentences(item: Allocation, data: AnswerData) -> list[str]:
    """Return how far the weights could move: by the noise of the runs, and without costing much."""
    found = []
    if item.intervals is not None:
        widths = data.interval[:, 1] - data.interval[:, 0]
        i = int(np.argmax(widths))
        low, high = data.interval[i].tolist()
        found += [
            f"Each whisker is the {item.level:.0%} interval of one share over resampled runs; the least certain share is that "
            f"of {data.domains[i]}, {plain_percent(low)} to {plain_percent(high)}.",
            interval_sentence(item.together),
        ]
    else:
        found.append(
            "No intervals: the law was fitted without bootstrap resamples (fit.bootstrap in study.yaml)."
        )
    spread = data.near[:, 1] - data.near[:, 0]
    if np.isfinite(spread).any():
        i = int(np.nanargmax(spread))
        low, high = data.near[i].tolist()
        found.append(
            f"Mixtures predicted within {plain_percent(item.tolerance)} of the best differ (gray lines): "
            f"{data.domains[i]} may have {plain_percent(low)} to {plain_percent(high)} if the others adapt."
        )
    return found


def interval_sentence(together: float | None) -> str:
    """Return that intervals of shares are each of one domain, and how often all of them hold."""
    at_once = (
        "" if together is None else f"; all shares lie in theirs at once in {together:.0%} of the resamples"
    )
    return f"Intervals of shares are of one domain at a time{at_once}."


def verdict_sentences(data: MeansData, *, answer: str | None, unmeasured: Sequence[str] = ()) -> list[str]:
    """Return which strategy won when measured, and whether the difference exceeds the noise of the seeds."""
    ranking = data.ranking
    best, count = ranking.strategies[0], len(ranking.strategies)
    fewest, most = min(ranking.seeds), max(ranking.seeds)
    seeds = counted(most, "seed") if fewest == most else f"{fewest} to {most} seeds"
    start = f"Trained at {data.budget:,} {data.unit} with {seeds}{' each' if count > 1 else ''}, "
    what, value = ranking.measure.words, number_text(float(ranking.values[0]))
    if count == 1:
        return [start + f"{best} reached a {what} of {value}; no other was trained."]
    found = [
        start + f"{best} had the lowest {what}, {value}.",
        *_noise_sentences(ranking),
        *_gap_sentences(ranking),
    ]
    if unmeasured:
        found.append(f"Not measured on every target yet: {listing(unmeasured)}.")
    if answer is not None and answer in ranking.strategies and (i := ranking.strategies.index(answer)):
        behind, place = percent_text(float(ranking.behind[i])), _ordinal(i + 1)
        if not np.isfinite(ranking.margin[i]):
            how = "whether that is noise is unknown"
        else:
            how = "more than noise" if ranking.apart[i] else "within the noise"
        found.append(f"The recommended mixture, {answer}, came {place}, {behind} behind: {how}.")
    return found


def _noise_sentences(ranking: Ranking) -> list[str]:
    """Return which strategies are told apart from the best, and by what noise that is judged."""
    if not np.isfinite(ranking.noise):
        return [
            "The noise is not known: that takes two seeds that two strategies share. So no strategy is shown to be "
            "better than another; train a second seed."
        ]
    worse = [name for name, apart in zip(ranking.strategies, ranking.apart, strict=True) if apart]
    tied = [name for name in ranking.tied[1:] if name not in ranking.strangers]
    found = [f"It is not significantly better than {listing(tied)}."] if tied else []
    if worse:
        every = len(worse) == len(ranking.strategies) - 1
        who = "Every other strategy" if every and len(worse) > 1 else listing(worse)
        found.append(f"{who} {'is' if len(worse) == 1 or every else 'are'} worse by more than noise.")
    return [*found, noise_sentence(ranking)]


def noise_sentence(ranking: Ranking) -> str:
    """Return how far runs of one mixture differ within a seed, and which differences are noise; empty if unknown."""
    if not np.isfinite(ranking.noise):
        return ""
    margins = ranking.margins[np.isfinite(ranking.margins) & (ranking.margins > 0)]
    below = (
        f"; differences of two strategies below {fine_text(float(margins.max()))} may be noise"
        if margins.size
        else ""
    )
    return (
        f"Strategies are compared within seeds: a run's {ranking.measure.words} has a standard deviation of "
        f"{fine_text(ranking.noise)}, {fine_text(ranking.unblocked)} before its seed's own effect is taken out{below}."
    )


def _gap_sentences(ranking: Ranking) -> list[str]:
    """Return what the comparison lacks: seeds, seeds in common, and mixtures that differ."""
    found = [
        f"{name} and {twin} are the same runs of one mixture, so they are equal."
        for name, twin in ranking.same
    ]
    strangers = ranking.strangers
    if strangers:
        found.append(
            f"{few(strangers)} cannot be compared with {ranking.strategies[0]}: no seeds join their runs; "
            "train all with the same seeds."
        )
    lacking = [
        f"{name} lacks {_seeds(seeds)}" for name, seeds in ranking.lacking.items() if name not in strangers
    ]
    if lacking and np.isfinite(ranking.noise):
        many = f"{len(lacking)} strategies lack seeds that others have: "
        found.append(f"{many if len(lacking) > _FEW else ''}{few(lacking)}; the means are adjusted for that.")
    return found


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {listing([str(seed) for seed in seeds])}"


def other_measure_sentence(ranking: Ranking) -> str:
    """Return who is best by another measure than the study's, and who is told apart there."""
    worse = [name for name, apart in zip(ranking.strategies, ranking.apart, strict=True) if apart]
    if not np.isfinite(ranking.noise):
        rest = "whether by more than noise is not known"
    elif worse:
        rest = f"{listing(worse)} {'is' if len(worse) == 1 else 'are'} worse there by more than noise"
    else:
        rest = "no other is worse there by more than noise"
    return f"By the {ranking.measure.words} the best is {ranking.strategies[0]}; {rest}."


def means_caption(ranking: Ranking) -> str:
    """Return how to read the figure of the measured strategies."""
    if not np.isfinite(ranking.noise) or len(ranking.strategies) < 2:
        return "Dots: runs. Bars: their mean."
    return (
        "Dots: runs, each without its seed's own effect. Bars: their mean. Whiskers: the noise that decides; where two "
        f"do not meet, the strategies are told apart ({LEVEL:.0%} over all pairs, within seeds; Tukey and Kramer)."
    )


def forecast_sentences(items: tuple[Forecast, ...]) -> list[str]:
    """Return how well each law predicted the measured strategies, the best of them last named as such."""
    found = []
    for item in items:
        order = ""
        if np.isfinite(item.right_pairs):
            pairs = len(item.strategies) * (len(item.strategies) - 1) // 2
            order = f", and ordered {round(item.right_pairs * pairs)} of {pairs} pairs of strategies right"
        found.append(
            f"The law {item.law} erred by {percent_text(item.mean_error)} per strategy and target{order}."
        )
    return found


def sentence(note: str) -> str:
    """Return a note with a capital and a full stop."""
    text = note.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _ordinal(place: int) -> str:
    return {2: "second", 3: "third", 4: "fourth", 5: "fifth", 6: "sixth"}.get(place, f"number {place}")
