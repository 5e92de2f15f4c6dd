"""Reasons to doubt the answer: one row for each thing that is looked at, in five kinds.

A remark that a law or an allocation carries as text belongs to the first row that has a phrase of it.
"""

from collections.abc import Sequence

import numpy as np

from voxmix.law.doubt import disagreement_sentence
from voxmix.law.outliers import outlier_sentence
from voxmix.law.status_lines import doubts_of
from voxmix.report.doubt_kinds import KINDS, LEVELS, Doubt, Evidence, Finding
from voxmix.report.figures import means_data
from voxmix.report.findings import check_budgets
from voxmix.report.layout import Fold
from voxmix.report.score_words import agreement_sentences
from voxmix.report.table import number_text, percent_text
from voxmix.report.words import listing, sentence

_MANY_REPEATS = 4.0
"""Draws per volume up to which repeats are worth about as much as new data (Muennighoff et al. 2023, text)."""
_RIGHT_ORDER = 0.8
_POOR_FIT = 0.1
_NARROW = 1e-4


def doubts(evidence: Evidence) -> tuple[Doubt, ...]:
    """Return the five kinds of doubt, always all of them, with what was found of each."""
    by_phrase: dict[str, list[str]] = {}
    for note in evidence.notes:
        by_phrase.setdefault(finding_of(note).name, []).append(sentence(note))
    found: dict[str, list[tuple[Finding, tuple[str, ...]]]] = {kind.name: [] for kind in KINDS}
    for finding in FINDINGS:
        texts = _once([*map(sentence, finding.look(evidence)), *by_phrase.get(finding.name, [])])
        if texts:
            found[finding.kind].append((finding, texts))
    return tuple(
        Doubt(kind=kind, found=tuple(sorted(found[kind.name], key=lambda item: -LEVELS.index(item[0].level))))
        for kind in KINDS
        if not (kind.name == "proxy" and evidence.content.law_file)  # what its losses are of is not known
    )


def _once(texts: Sequence[str]) -> tuple[str, ...]:
    """Return texts that begin with other sentences: a law that was saved earlier may end one in other words."""
    return tuple({text.partition(". ")[0]: text for text in reversed(texts)}.values())[::-1]


def finding_of(note: str) -> Finding:
    """Return the row that a remark of a law or an allocation belongs to; the last row takes what no other does."""
    return next(
        (finding for finding in FINDINGS if any(phrase in note for phrase in finding.phrases)), FINDINGS[-1]
    )


def folds(found: Sequence[Doubt]) -> tuple[Fold, ...]:
    """Return one fold per kind of doubt: its question and verdict in a line, the details inside."""
    return tuple(
        Fold(
            title=item.kind.title,
            asks=item.kind.asks,
            line=item.line,
            bullets=item.sentences,
            level=item.level,
        )
        for item in found
    )


def _outliers(evidence: Evidence) -> list[str]:
    law = evidence.law
    return (
        [outlier_sentence(law.outliers, kept=law.outliers_kept)] if law is not None and law.outliers else []
    )


def _complaints(evidence: Evidence) -> list[str]:
    return [
        f"{text} A low loss there means little, and so does a law that predicts it well."
        for domain in evidence.content.domains
        for text in domain.complaints
    ]


def _repeats(evidence: Evidence) -> list[str]:
    answer = evidence.answer
    many = [] if answer is None else [i for i, n in enumerate(answer.repeats.tolist()) if n > _MANY_REPEATS]
    if answer is None or not many:
        return []
    many.sort(key=lambda i: -float(answer.repeats[i]))
    first = many[0]
    rest = [f"{answer.domains[i]} {number_text(float(answer.repeats[i]))}" for i in many[1:]]
    return [
        f"Each of the {answer.volumes[first]:,.0f} training volumes of {answer.domains[first]} would be drawn "
        f"{number_text(float(answer.repeats[first]))} times"
        + (f" ({listing(rest)})" if rest else "")
        + ". Repeats are worth less than new volumes."
    ]


def _unmoved(evidence: Evidence) -> list[str]:
    regime = evidence.content.regime
    return [regime.doubt] if regime is not None and regime.doubt else []


def _unknown_noise(evidence: Evidence) -> list[str]:
    content = evidence.content
    for budget in check_budgets(content.checks, first=content.budget)[:1]:
        means = means_data(content, budget=budget)
        if means is not None and len(means.ranking.strategies) > 1 and not np.isfinite(means.ranking.noise):
            return [
                "the strategies were trained with one seed, so no difference between them is shown to be real"
            ]
    return []


def _errors(evidence: Evidence, *, ordered: bool) -> list[str]:
    trust = (
        "trust its order more than its level, and the measured losses more than both"
        if ordered
        else "trust the measured losses, not its predictions"
    )
    return [
        f"the law {item.law} erred by {percent_text(item.mean_error)} on the strategies it had not seen: {trust}"
        for item in evidence.forecasts
        if item.law == evidence.content.answer_law and item.mean_error > _POOR_FIT
        if (item.right_pairs >= _RIGHT_ORDER) == ordered
    ]


def _outside(evidence: Evidence) -> list[str]:
    answer = evidence.answer
    if answer is None:
        return []
    low, high = answer.interval.T
    out = [i for i in range(len(low)) if not low[i] - _NARROW <= answer.weight[i] <= high[i] + _NARROW]
    names = [answer.domains[i] for i in out if np.isfinite(low[i])]
    if not names:
        return []
    return [
        f"the share of {listing(names)} lies outside its own interval: refits to resampled runs rarely give this "
        "share, so treat it as unsettled"
    ]


def _untold(evidence: Evidence) -> list[str]:
    law = evidence.law
    if law is None or not (bad := law.problems()):
        return []
    counted = f"{len(bad)} of {len(law.status)} parameters of the law {law.law} are at a bound or not identified by these runs"
    return [counted, *doubts_of(law.status)]


def _disagree(evidence: Evidence) -> list[str]:
    told = disagreement_sentence(evidence.content.laws)
    return [told] if told else []


def _untested(evidence: Evidence) -> list[str]:
    return (
        [] if evidence.content.agreements else ["no encoder was finetuned on a clinical task in this study"]
    )


def _agreement(evidence: Evidence, *, predicts: bool) -> list[str]:
    return [
        text
        for item in evidence.content.agreements
        if (item.decidable and item.p <= 1 - item.level and item.low > 0) == predicts
        for text in agreement_sentences(item)
    ]


FINDINGS = (
    Finding(name="losses that no noise explains", kind="data", look=_outliers),
    Finding(
        name="losses that look like a mistake",
        kind="data",
        level="strong",
        phrases=(
            "fitted all the same",
            "rise with its own budget",
            "falls with its own budget",
            "if these are epochs",
            "if these are thousands",
            "are in another unit",
            "bring them to one unit",
            "are in one unit",
            "names are swapped",
            "a copy adds nothing new",
            "copied",
        ),
    ),
    Finding(name="volumes with little to learn from", kind="data", look=_complaints),
    Finding(name="volumes that are drawn often", kind="data", look=_repeats),
    Finding(name="one seed", kind="noise", level="open", look=_unknown_noise),
    Finding(
        name="targets that do not move",
        kind="noise",
        look=_unmoved,
        phrases=("do not fall in the runs of the fit",),
    ),
    Finding(
        name="mixtures that the runs cannot tell apart",
        kind="noise",
        phrases=("the runs do not show whether",),
    ),
    Finding(
        name="errors on mixtures it had not seen",
        kind="fit",
        level="strong",
        look=lambda e: _errors(e, ordered=False),
    ),
    Finding(name="levels off, order right", kind="fit", look=lambda e: _errors(e, ordered=True)),
    Finding(name="laws that disagree", kind="fit", look=_disagree, phrases=("differ more than tenfold",)),
    Finding(name="shares outside their intervals", kind="fit", look=_outside),
    Finding(
        name="pure runs that forget",
        kind="fit",
        phrases=("the more a pure run draws", "transfers rest on pure runs"),
    ),
    Finding(name="numbers that the runs do not tell", kind="fit", look=_untold),
    Finding(name="no proof of the optimum", kind="fit", phrases=("not proven optimal",)),
    Finding(
        name="a budget far from what was run",
        kind="extrapolation",
        level="strong",
        phrases=("so it is a guess",),
    ),
    Finding(
        name="a budget beyond those that were run",
        kind="extrapolation",
        phrases=("times outside the fitted",),
    ),
    Finding(
        name="domains that no run was trained on",
        kind="extrapolation",
        level="strong",
        phrases=("no run was trained on any",),
    ),
    Finding(name="never tested on a task", kind="proxy", level="open", look=_untested),
    Finding(name="not shown to predict scores", kind="proxy", look=lambda e: _agreement(e, predicts=False)),
    Finding(
        name="predicts scores", kind="proxy", level="remark", look=lambda e: _agreement(e, predicts=True)
    ),
    Finding(name="remarks of the fit", kind="fit", level="remark"),
)
"""Every warning that a report can print; a new one is a new row. The last takes remarks that no other row knows."""
