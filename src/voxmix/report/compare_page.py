"""The page of a comparison: what differs in sentences first, then figures and tables, each strategy and each law last."""

from collections.abc import Sequence
from pathlib import Path

from voxmix.report import score_words as words
from voxmix.report.document import write_page
from voxmix.report.layout import Block, Section
from voxmix.report.score_sections import score_blocks
from voxmix.report.table import Table
from voxmix.scores import Comparison, ProxyAgreement


def write_comparison(
    path: Path,
    *,
    study: str,
    comparison: Comparison | None,
    agreements: Sequence[ProxyAgreement] = (),
    strategies: Sequence[Table] = (),
) -> None:
    """Write what ``voxmix compare`` prints as one HTML file in the look of the report.

    Args:
        path: of the file.
        study: its title.
        comparison: scores; None where no encoder is judged yet.
        agreements: what the proxy losses foretold of them.
        strategies: tables of the trained mixtures and of the laws.

    Raises:
        VoxmixError: the disk is full or may not be written to.
    """
    sections = []
    meta = []
    if comparison is not None:
        meta = [", ".join(comparison.table.tasks), f"encoders: {len(comparison.table.inits)}"]
        sections.append(
            Section(name="tasks", title="Scores", blocks=tuple(score_blocks(comparison, agreements)))
        )
    if strategies:
        blocks = tuple(Block(heading=table.title, shown=(table,)) for table in strategies)
        sections.append(
            Section(name="strategies", title="Trained mixtures, and what laws said", blocks=blocks)
        )
    gaps = words.gap_sentences(comparison) if comparison is not None else []
    if gaps:
        sections.append(
            Section(name="gaps", title="What is not in these tables", blocks=(Block(bullets=tuple(gaps)),))
        )
    write_page(path, study, meta, sections, kind="voxmix compare")
