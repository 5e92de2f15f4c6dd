"""What verbs say of the volumes themselves: blank, padded, saturated, and other findings of the audit."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from voxmix.cli.app import emit, emit_table, note

if TYPE_CHECKING:
    from voxmix.law import Regime
    from voxmix.volumes import Manifest
    from voxmix.volumes.auditing.audit import Finding
    from voxmix.volumes.auditing.fitness import Fitness

FITNESS_HEADERS = ["padding", "one value", "at 0", "at 1"]


def fitness_cells(fitness: "Fitness | None") -> list[str]:
    """Return the medians of one domain under ``FITNESS_HEADERS``."""
    from voxmix.volumes.auditing.fitness import share_text

    if fitness is None:
        return ["-"] * len(FITNESS_HEADERS)
    shares = (fitness.padding, fitness.commonest, fitness.at_low, fitness.at_high)
    return ["-" if share is None else share_text(share) for share in shares]


def say_fitness(fitness: Iterable["Fitness"], *, where: str = "study.yaml") -> None:
    """Say on stderr what is wrong with the prepared volumes, and how to fix it."""
    from voxmix.volumes.auditing.sentences import complaint_lines

    for line in complaint_lines(fitness, where=where):
        note(line)


def show_regime(regime: "Regime | None", *, table: bool = True, said: Callable[[str], str] = str) -> None:
    """Print how each target's loss moves with the budget, and what that means."""
    if regime is None or not regime.targets:
        return
    if table and regime.is_judged:
        headers, rows = regime.table()
        title = said("Do data matter: how far losses fall with the budget")
        emit_table(
            title, [said(header) for header in headers], [[row[0], *map(said, row[1:])] for row in rows]
        )
    for line in regime.sentences:
        emit(f"- {said(line)}")
    emit("")


def fitness_value(fitness: Iterable["Fitness"]) -> list[dict[str, Any]]:
    """Return what ``--json`` says of the domains."""
    return [
        {
            "domain": item.domain,
            "volumes": item.volumes,
            "measured": item.measured,
            "padding": item.padding,
            "one_value": item.commonest,
            "at_low": item.at_low,
            "at_high": item.at_high,
            "complaints": [
                {"kind": c.kind, "hopeless": c.hopeless, "message": c.message, "remedy": c.remedy}
                for c in item.complaints
            ],
        }
        for item in fitness
    ]


def counts_of(findings: Sequence["Finding"]) -> dict[str, int]:
    """Return how many findings of each kind."""
    return dict(Counter(finding.kind for finding in findings))


def say_set_aside(found: "Manifest") -> None:
    """Say on stderr which files a manifest leaves out, and why: the first of them; and who may be one person."""
    from voxmix.volumes.auditing.sentences import aside_lines
    from voxmix.volumes.persons.proposals import remarks

    for remark in remarks(found):
        note(remark)
    for line in aside_lines(found.set_aside):
        note(line)
