"""Sections about the law: scaling curves, transfer, effective budgets."""

import numpy as np

from voxmix.report import law_tables, words
from voxmix.report.content import ReportContent
from voxmix.report.curves import MOST_SERIES, curve_panels, drawn_panels
from voxmix.report.drawing import draw_effective
from voxmix.report.figures import effective_data, transfer_data
from voxmix.report.layout import Block, Section, Swatch, domain_legend
from voxmix.report.palette import domain_marks
from voxmix.report.plots import draw_curves, draw_regime
from voxmix.report.transfer_drawing import draw_transfer

_MOST_SIDE_BY_SIDE = 12
"""Targets up to which the matrices of all laws are drawn, and each cell of the table has its interval."""
_READ = (
    "Source (row) by target (column): how many draws of the target 100 draws of the source are worth; below 0.1 it is worth "
    "nothing."
)
_SURE = (
    "The line in a cell runs from the low to the high end of the interval, from 0 at the left of the cell; its shade is the low "
    "end, so what is dark is worth much for sure."
)
_UNSURE = "The law was fitted without resamples, so nothing is known of how sure the numbers are."
_DISPUTED = " A small triangle: the laws differ more than tenfold."


def regime_section(content: ReportContent) -> Section:
    name, title = "regime", "Do data matter here"
    regime = content.regime
    if regime is None or not regime.targets:
        return Section(name=name, title=title, missing="No proxy run is finished yet.", command="voxmix run")
    drawn = [item for item in regime.targets if len(item.budgets) > 1]
    block = Block(
        bullets=tuple(words.sentence(line) for line in regime.sentences),
        drawings=(draw_regime(drawn, domains=content.domain_names),) if drawn else (),
        caption="The loss on every target under the runs with most of it, as a share of its loss at their smallest budget. "
        "Dashed: these runs cannot tell what helps it."
        if drawn
        else "",
        shown=(law_tables.regime_table(regime),) if regime.is_judged else (),
    )
    return Section(name=name, title=title, blocks=(block,))


def curves_section(content: ReportContent) -> Section:
    name, title = "curves", "Scaling curves"
    law = content.answer_law
    panels = curve_panels(content, law=law)
    if not panels:
        return Section(name=name, title=title, missing="No proxy run is finished yet.", command="voxmix run")
    marks = domain_marks(content.domain_names)
    legend = [Swatch(label=f"trained on {n}", color=mark.color) for n, mark in marks.items()]
    every = [series for panel in panels for series in panel.series]
    if any(series.source is None and series.hub is None for series in every):
        legend.append(Swatch(label="trained on a mixture", color="var(--ink)"))
    how = (
        f"Lines: the law {law}, dashed beyond the budgets it was fitted on."
        if law
        else "Dotted: no law is fitted yet."
    )
    hubs = " Thin: mixtures with most of one domain." if any(series.hub for series in every) else ""
    trained = " Hollow marks: the strategies when they were trained." if content.checks else ""
    many = max(len(panel.series) for panel in panels)
    few = (
        f" Of {many} mixtures each panel shows {MOST_SERIES}: the target's own runs, mixtures of several domains, and "
        "those that end lowest; the table has all."
        if many > MOST_SERIES
        else ""
    )
    drawn = drawn_panels(panels)
    if len(drawn) < len(panels):
        which = "those that the law fits worst" if law else "the first"
        few += f" Of {len(panels)} targets {len(drawn)} are drawn, {which}; the table has all."
    blocks = [
        Block(
            drawings=tuple(
                draw_curves(p, number=i, domains=content.domain_names) for i, p in enumerate(drawn)
            ),
            legend=tuple(legend),
            caption=f"Dots: measured, means over seeds; the target's own runs are thick.{hubs} {how}{trained}{few}",
            tables=(law_tables.curve_table(panels),),
        )
    ]
    if law is None:
        blocks.append(Block(sentences=("No law has been fitted yet. Next: voxmix fit.",)))
    if law is not None:
        others = tuple(name for name in content.laws_in_order if name != law)
        blocks.append(
            Block(
                heading=f"Parameters of the law {law}",
                shown=(law_tables.parameter_table(content, law=law),),
                tables=tuple(law_tables.parameter_table(content, law=name) for name in others),
            )
        )
        odd = law_tables.outlier_table(content, law=law)
        if odd is not None:
            blocks.append(Block(heading="Losses that no noise explains", shown=(odd,)))
    return Section(name=name, title=title, blocks=tuple(blocks))


def transfer_section(content: ReportContent) -> Section:
    name, title = "transfer", "Which domain helps which"
    law = content.answer_law
    losses = law_tables.loss_table(content)
    if law is None:
        blocks = (Block(tables=(losses,)),) if losses else ()
        missing = "No transfer matrix yet: no law is fitted."
        return Section(name=name, title=title, blocks=blocks, missing=missing, command="voxmix fit")
    disputed = law_tables.disputed_table(content)
    others = [name for name in content.laws_in_order if name != law and content.laws[name].form.transfers]
    side_by_side = disputed is not None and len(content.target_names) <= _MOST_SIDE_BY_SIDE
    items = [transfer_data(content, law=name) for name in (law, *(others if side_by_side else ()))]
    first = items[0]
    roles = [f"{role}: {domain}" for domain, role in zip(first.domains, first.roles, strict=True) if role]
    sure = bool(np.isfinite(first.interval).any())
    block = Block(
        sentences=(f"Roles: {', '.join(roles)}.",) if roles else (),
        drawings=tuple(draw_transfer(item, number=number) for number, item in enumerate(items)),
        caption=f"{_READ} {_SURE if sure else _UNSURE}{_DISPUTED if side_by_side else ''} Hatched: not known.",
        tables=(
            law_tables.transfer_table(first, intervals=len(first.targets) <= _MOST_SIDE_BY_SIDE),
            *([disputed] if disputed else []),
            law_tables.pair_table(content, law=law),
            *([losses] if losses else []),
        ),
    )
    return Section(name=name, title=title, blocks=(block,))


def effective_section(content: ReportContent) -> Section:
    name, title = "effective", "Where each target's effective budget comes from"
    law, strategy = content.answer_law, content.answer
    data = effective_data(content, strategy=strategy, law=law) if strategy and law else None
    if data is None or law is None:
        missing = "Needs a fitted law and a mixture."
        return Section(name=name, title=title, missing=missing, command="voxmix allocate")
    found = [effective_data(content, strategy=other, law=law) for other in content.strategies]
    block = Block(
        drawings=(draw_effective(data),),
        legend=domain_legend(content.domain_names),
        caption=f"Mixture {strategy}, law {law}. The line is the effective budget; pale: what variety adds to "
        "the sum of the parts. ×: effective budget over the target's own draws.",
        tables=(law_tables.effective_table([item for item in found if item is not None]),),
    )
    return Section(name=name, title=title, blocks=(block,))
