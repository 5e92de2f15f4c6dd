"""The report says which objective was used, and what another one would change."""

from dataclasses import replace

import pytest

from voxmix.allocation import Allocation
from voxmix.mixture import Mixture
from voxmix.report import ReportContent, render_report
from voxmix.report.by_objective import change_sentence, judged, objective_sentence
from voxmix.report.sections import answer_section, strategies_section


def test_the_answer_says_its_objective_and_stands_next_to_the_others(content: ReportContent) -> None:
    item = judged(content)
    assert item is content.strategies[content.answer or ""]
    assert isinstance(item, Allocation)
    blocks = answer_section(content).blocks
    assert objective_sentence(item) in blocks[0].sentences
    (block,) = [
        block for block in strategies_section(content).blocks if block.heading == "By another objective"
    ]
    assert block.sentences == tuple(change_sentence(item, kind) for kind in ("relative", "minimax"))
    (table,) = block.shown
    shares = {row[0]: row[1:4] for row in table.rows}
    for i, name in enumerate(item.domains):
        others = [item.by_objective[kind].weights[i] for kind in ("relative", "minimax")]
        assert shares[name] == pytest.approx([item.mixture.weights[i], *others])
    assert "By another objective" in render_report(content)


def test_where_a_measurement_chose_another_strategy_the_laws_mixture_is_compared(
    content: ReportContent,
) -> None:
    chosen = replace(content, recommended="uniform")
    assert isinstance(chosen.strategies["uniform"], Mixture)
    item = judged(chosen)
    assert item is not None
    assert item.law == chosen.answer_law


def test_without_a_law_there_is_nothing_to_say(content: ReportContent) -> None:
    bare = replace(
        content, laws={}, strategies={"uniform": content.strategies["uniform"]}, recommended="uniform"
    )
    assert judged(bare) is None
    assert "By another objective" not in {block.heading for block in answer_section(bare).blocks}
