"""Which objective a mixture minimizes, who is heard in it, and what another objective would change: sentences, a table."""

import numpy as np

from voxmix.allocation import Allocation
from voxmix.allocation.objective import OBJECTIVE_WORDS
from voxmix.report.content import ReportContent
from voxmix.report.findings import measured
from voxmix.report.layout import Block
from voxmix.report.ranking import rank_by_objective, rank_strategies
from voxmix.report.table import Cell, Table, columns_of, percent_text


def objective_blocks(content: ReportContent) -> tuple[Block, ...]:
    """Return what the law's mixture would be, and which trained one is best, by the other objectives; () while no law has
    given a mixture that says so.
    """
    item = judged(content)
    table = None if item is None else objectives_table(item)
    if item is None or table is None:
        return ()
    sentences = (*(change_sentence(item, kind) for kind in item.by_objective), *measured_sentences(content))
    return (Block(heading="By another objective", sentences=sentences, shown=(table,)),)


def judged(content: ReportContent) -> Allocation | None:
    """Return the allocation of the answer, or of the answer's law where a measurement made another strategy the answer."""
    found = {name: item for name, item in content.strategies.items() if isinstance(item, Allocation)}
    by_law = [item for item in found.values() if item.law == content.answer_law]
    return found.get(content.answer or "", next(iter([*by_law, *found.values()]), None))


def measured_sentences(content: ReportContent) -> list[str]:
    """Return which of the trained mixtures is best by the other objectives, where another one is."""
    if content.budget is None or content.budget not in {check.budget for check in content.checks}:
        return []
    found = measured(content, budget=content.budget)
    ours = rank_by_objective(content, found)
    if len(ours.strategies) < 2:
        return []
    best, said = ours.strategies[0], []
    for kind in OBJECTIVE_WORDS:
        other = rank_strategies(found, objective=kind, target_weights=content.target_weights)
        if kind == content.objective or best not in other.strategies or other.strategies[0] == best:
            continue
        i = other.strategies.index(best)
        how = "more than noise" if other.told(0, i) else "no more than noise can make"
        if not np.isfinite(other.margins[0, i]):
            how = "the noise is not known"
        said.append(
            f"by the {OBJECTIVE_WORDS[kind]} {other.strategies[0]} is best and {best} "
            f"{percent_text(float(other.behind[i]))} behind, {how}"
        )
    if not said:
        return [f"Of the mixtures that were trained, {best} is best by every objective."]
    return [
        f"Of the mixtures that were trained, {best} has the lowest {ours.measure.words}; {'; '.join(said)}."
    ]


def objective_sentence(item: Allocation) -> str:
    """Return what the mixture minimizes, and which targets hold most of that."""
    of = f"; a loss is {item.response.as_loss}" if item.response.rises else ""
    return f"It minimizes the predicted {OBJECTIVE_WORDS[item.kind]}{_loudest(item)}{of}."


def _loudest(item: Allocation) -> str:
    loud = item.loudest
    if not loud:
        return ""
    names = " and ".join(loud)
    verb = "holds" if len(loud) == 1 else "hold"
    return f", of which {names} {verb} {sum(loud.values()):.0%} ({len(loud)} of {len(item.targets)} targets)"


def change_sentence(item: Allocation, kind: str) -> str:
    """Return how much another objective would change the shares and the predicted losses."""
    other, (domain, here, there) = item.by_objective[kind], item.change(kind)
    words = OBJECTIVE_WORDS[kind]
    if abs(there - here) < 0.0005:
        return f"By the {words} ({kind}) the mixture would be the same."
    loss = other.objective / item.objective - 1 if item.objective > 0 else 0.0
    gain = 1 - other.own / other.own_here if other.own_here > 0 else 0.0
    return (
        f"By the {words} ({kind}) shares would change by up to {100 * abs(there - here):.1f} points: {domain} would get "
        f"{percent_text(there)} instead of {percent_text(here)}. The {OBJECTIVE_WORDS[item.kind]} would be {_small(loss)} "
        f"higher, and the {words} {_small(gain)} lower."
    )


def _small(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else "less than 0.1%"


def objectives_table(item: Allocation) -> Table | None:
    """Return the shares by every objective side by side; None where only one is known."""
    if not item.by_objective:
        return None
    mixtures = {item.kind: item.mixture.weights} | {
        k: other.weights for k, other in item.by_objective.items()
    }
    columns = columns_of(
        ("domain", "text"), *((kind, "percent") for kind in mixtures), ("largest change", "percent")
    )
    rows: list[tuple[Cell, ...]] = []
    for i, name in enumerate(item.domains):
        shares = [float(weights[i]) for weights in mixtures.values()]
        rows.append((name, *shares, max(abs(share - shares[0]) for share in shares)))
    return Table(
        name="by-objective",
        title=f"Shares by every objective, under the law {item.law}",
        columns=columns,
        rows=tuple(rows),
        note=f"The first is what was asked for. {'; '.join(f'{k}: {w}' for k, w in OBJECTIVE_WORDS.items())}; a relative loss "
        "is a loss over that of uniform.",
    )
