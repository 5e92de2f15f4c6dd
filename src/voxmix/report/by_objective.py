"""Which objective a mixture minimizes, who is heard in it, and what another objective would change: sentences, a table."""

from voxmix.allocation import Allocation
from voxmix.allocation.objective import OBJECTIVE_WORDS
from voxmix.report.content import ReportContent
from voxmix.report.layout import Block
from voxmix.report.table import Cell, Table, columns_of, percent_text


def objective_blocks(content: ReportContent) -> tuple[Block, ...]:
    """Return what the law's mixture would be by the other objectives; () while no law has given one that says so."""
    item = judged(content)
    table = None if item is None else objectives_table(item)
    if item is None or table is None:
        return ()
    sentences = tuple(change_sentence(item, kind) for kind in item.by_objective)
    return (Block(heading="By another objective", sentences=sentences, shown=(table,)),)


def judged(content: ReportContent) -> Allocation | None:
    """Return the allocation of the answer, or of the answer's law where a measurement made another strategy the answer."""
    found = {name: item for name, item in content.strategies.items() if isinstance(item, Allocation)}
    by_law = [item for item in found.values() if item.law == content.answer_law]
    return found.get(content.answer or "", next(iter([*by_law, *found.values()]), None))


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
