"""Sections about finetuned encoders: scores, learning curves, controls, what the proxy foretold, pictures."""

from collections.abc import Sequence

from voxmix.report import score_words as words
from voxmix.report.content import Montage, ReportContent
from voxmix.report.layout import Block, PictureRow, Section, Swatch
from voxmix.report.palette import glyph, label_colors, strategy_marks
from voxmix.report.pictures import overlay_uri, png_uri
from voxmix.report.score_drawing import draw_agreement, draw_gains, draw_learning, draw_scores
from voxmix.report.score_figures import agreement_panels, gains_data, learning_data, scores_data
from voxmix.report.score_tables import (
    agreement_table,
    classes_table,
    controls_table,
    differences_table,
    distances_table,
    estimates_table,
    scores_table,
    spread_table,
)
from voxmix.scores import Comparison, ProxyAgreement


def scores_section(content: ReportContent) -> Section:
    name, title = "tasks", "Clinical tasks"
    comparison = content.comparison
    if comparison is None:
        missing = content.no_comparison or "No encoder has been finetuned yet."
        command = "" if content.no_comparison else "voxmix finetune"
        return Section(name=name, title=title, missing=missing, command=command)
    blocks = score_blocks(comparison, content.agreements)
    blocks += [_montage(item) for item in content.montages]
    gaps = words.gap_sentences(comparison)
    if gaps:
        blocks.append(Block(heading="What is not in these tables", bullets=tuple(gaps)))
    return Section(name=name, title=title, blocks=tuple(blocks))


def score_blocks(comparison: Comparison, agreements: Sequence[ProxyAgreement] = ()) -> list[Block]:
    """Return what scores say: in short, task by task, while training, their controls, and what the proxy foretold."""
    blocks = [_summary(comparison), _by_task(comparison)]
    learning = _learning(comparison)
    blocks += [learning] if learning else []
    controls = controls_table(comparison)
    if controls is not None:
        sentences = words.control_sentences(comparison)
        blocks.append(Block(heading="Controls", bullets=tuple(sentences), shown=(controls,)))
    number = 0
    for item in agreements:
        blocks.append(_agreement(item, comparison, number=number))
        number += len(item.tasks)
    return blocks


def _summary(comparison: Comparison) -> Block:
    gains = gains_data(comparison)
    return Block(
        sentences=tuple(words.score_sentences(comparison)),
        drawings=(draw_gains(gains),) if gains else (),
        caption=f"Gain over {gains.base}. Filled: differs significantly after correction for all comparisons; hollow: does not. "
        f"Lines: {comparison.level:.0%} interval over cases and seeds, each comparison by itself."
        if gains
        else "",
        shown=(scores_table(comparison),),
        tables=(differences_table(comparison),),
    )


def _by_task(comparison: Comparison) -> Block:
    tasks = comparison.table.tasks
    distances = distances_table(comparison)
    by_class = [classes_table(comparison, task) for task in tasks]
    return Block(
        heading="Task by task",
        drawings=tuple(
            draw_scores(scores_data(comparison, task=task), number=i) for i, task in enumerate(tasks)
        ),
        caption=f"Dots: seeds. Bars: their mean. Bands: {comparison.level:.0%} interval over cases; the cases are the same "
        "for every initialization, so bands that overlap may still belong to scores that differ significantly.",
        tables=(
            spread_table(comparison),
            *([distances] if distances else []),
            *(table for table in by_class if table is not None),
            estimates_table(comparison),
        ),
    )


def _learning(comparison: Comparison) -> Block | None:
    found = [learning_data(comparison, task=task) for task in comparison.table.tasks]
    items = [item for item in found if item is not None]
    if not items:
        return None
    return Block(
        heading="While training",
        drawings=tuple(draw_learning(item, number=i) for i, item in enumerate(items)),
        caption="Score on the validation cases. Thick: mean over seeds. Thin: seeds.",
    )


def _agreement(item: ProxyAgreement, comparison: Comparison, *, number: int) -> Block:
    return Block(
        heading=f"Does the proxy predict it? Loss: {item.measure}",
        bullets=tuple(words.agreement_sentences(item)),
        drawings=tuple(
            draw_agreement(panel, number=number + i)
            for i, panel in enumerate(agreement_panels(item, comparison))
        ),
        legend=tuple(
            Swatch(label=name, color=mark.color, glyph=glyph(mark.marker))
            for name, mark in strategy_marks(item.inits).items()
        ),
        caption="If the proxy ordered the encoders correctly, marks would fall from left to right. Lines: interval over cases.",
        tables=(agreement_table(item),),
    )


def _montage(item: Montage) -> Block:
    colors = label_colors(item.classes[1:])
    images = [("image", png_uri(item.image)), ("reference", overlay_uri(item.image, item.reference, colors))]
    images += [(name, overlay_uri(item.image, labels, colors)) for name, labels in item.predictions.items()]
    present = {
        int(v)
        for labels in (item.reference, *item.predictions.values())
        for v in set(labels.ravel().tolist())
    }
    return Block(
        heading=f"Predictions on {item.task}",
        legend=tuple(
            Swatch(label=label, color=colors[k])
            for k, label in enumerate(item.classes[1:])
            if k + 1 in present
        ),
        pictures=(PictureRow(domain=f"case {item.case}", images=tuple(images)),),
        caption="The axial slice where the reference is largest, then the prediction of every initialization.",
    )
