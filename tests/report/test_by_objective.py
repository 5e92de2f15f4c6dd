"""The report says which objective was used, and what another one would change."""

from dataclasses import replace

import pytest

from voxmix.allocation import Allocation
from voxmix.mixture import Mixture
from voxmix.report import Check, ReportContent, render_report
from voxmix.report.by_objective import change_sentence, judged, measured_sentences, objective_sentence
from voxmix.report.sections import answer_section


def test_the_answer_says_its_objective_and_stands_next_to_the_others(content: ReportContent) -> None:
    item = judged(content)
    assert item is content.strategies[content.answer or ""]
    assert isinstance(item, Allocation)
    blocks = answer_section(content).blocks
    assert objective_sentence(item) in blocks[0].sentences
    (block,) = [block for block in blocks if block.heading == "By another objective"]
    changes = tuple(change_sentence(item, kind) for kind in ("relative", "minimax"))
    assert block.sentences == (*changes, *measured_sentences(content))
    (table,) = block.shown
    shares = {row[0]: row[1:4] for row in table.rows}
    for i, name in enumerate(item.domains):
        others = [item.by_objective[kind].weights[i] for kind in ("relative", "minimax")]
        assert shares[name] == pytest.approx([item.mixture.weights[i], *others])
    assert "By another objective" in render_report(content)


def test_the_best_trained_mixture_by_other_objectives_is_named() -> None:
    """Loud is twenty times quiet: the mean hears loud alone."""

    def found(quiet: float, seeds: tuple[int, ...] = (0, 1)) -> list[str]:
        losses = {"uniform": (1.0, 0.05), "other": (0.9, quiet)}
        return measured_sentences(
            ReportContent(
                study="s",
                budget=100,
                strategies={name: Mixture.from_dict({"loud": 0.5, "quiet": 0.5}) for name in losses},
                checks=tuple(
                    Check(strategy=name, budget=100, seed=seed, target=target, loss=loss * (1 + 0.02 * seed))
                    for name, pair in losses.items()
                    for seed in seeds
                    for target, loss in zip(("loud", "quiet"), pair, strict=True)
                ),
            )
        )

    assert found(0.04) == ["Of the mixtures that were trained, other is best by every objective."]
    (text,) = found(0.06)
    assert text.startswith("Of the mixtures that were trained, other has the lowest mean loss; ")
    assert "by the mean of relative losses uniform is best and other 5.0% behind, more than noise" in text
    assert "by the worst relative loss uniform is best and other 20.0% behind, more than noise" in text
    assert "the noise is not known" in found(0.06, seeds=(0,))[0]


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
