"""The sections of a report in their order: sentences, figures with their tables, or what is not there yet."""

from dataclasses import dataclass

from voxmix.allocation import Allocation
from voxmix.report import runs_tables, tables, words
from voxmix.report.content import ReportContent
from voxmix.report.drawing import (
    draw_answer,
    draw_effective,
    draw_means,
    draw_path,
    draw_shares,
    draw_transfer,
)
from voxmix.report.figures import (
    answer_data,
    curve_panels,
    effective_data,
    forecasts,
    means_data,
    path_data,
    shares_data,
    transfer_data,
)
from voxmix.report.findings import Forecast, check_budgets
from voxmix.report.palette import domain_marks, strategy_marks
from voxmix.report.pictures import png_uri
from voxmix.report.plots import draw_curves, draw_forecast
from voxmix.report.svg import Drawing
from voxmix.report.table import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Swatch:
    """One entry of a legend."""

    label: str
    color: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureRow:
    """One domain's slices as data URIs."""

    domain: str
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A figure of one or more drawings with its caption, legend and tables; any part may be empty.

    ``shown`` are tables that stand open; ``tables`` wait folded below the figure.
    """

    heading: str = ""
    sentences: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    legend: tuple[Swatch, ...] = ()
    caption: str = ""
    shown: tuple[Table, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[PictureRow, ...] = ()
    bullets: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One part of the report. ``missing`` says what is not there yet, ``command`` what makes it."""

    name: str
    title: str
    blocks: tuple[Block, ...] = ()
    missing: str = ""
    command: str = ""


def all_sections(content: ReportContent) -> tuple[Section, ...]:
    """Return every section, in the order in which they are read."""
    return (
        _answer(content),
        _strategies(content),
        _checks(content),
        _curves(content),
        _transfer(content),
        _effective(content),
        _pictures(content),
        _runs(content),
        _limits(content),
    )


def _answer(content: ReportContent) -> Section:
    name, title = "answer", "How much of each domain"
    data = answer_data(content)
    if data is None:
        command = "voxmix allocate" if content.laws else "voxmix fit"
        return Section(name=name, title=title, missing="No mixture has been computed yet.", command=command)
    item = content.strategies[data.strategy]
    sure: list[str] = []
    level = 0.9
    if isinstance(item, Allocation):
        sure = [*words.sureness_sentences(item, data), words.certificate_sentence(item)]
        level = item.level
    blocks = [
        Block(
            sentences=(words.answer_sentence(data), *sure),
            drawings=(draw_answer(data),),
            caption="Bars: the share of each domain. Whiskers: its interval. Gray lines: the range that "
            "mixtures nearly as good may have.",
            shown=(tables.answer_table(data, level=level),),
        )
    ]
    items: tuple[Forecast, ...] = ()
    budgets = check_budgets(content.checks, first=data.budget)
    if budgets:
        means = means_data(content, budget=budgets[0])
        items = forecasts(content, budget=budgets[0])
        if means is not None:
            sentences = words.verdict_sentences(means, answer=data.strategy) + words.forecast_sentences(items)
            blocks.append(
                Block(
                    heading="Measured",
                    sentences=tuple(sentences),
                    drawings=(draw_means(means),),
                    caption="Dots: seeds. Bars: their mean. Hollow marks: what the laws predicted. Shaded: "
                    "differences to the best that noise alone could make (95%, Tukey and Kramer).",
                    shown=(tables.means_table(means),),
                )
            )
    else:
        blocks.append(
            Block(
                heading="Measured",
                sentences=("Not measured yet: the mixtures have not been trained. Next: voxmix pretrain.",),
            )
        )
    doubts = words.doubts(content, answer=data, items=items)
    if doubts:
        blocks.append(Block(heading="Reasons to doubt it", bullets=tuple(doubts)))
    if content.notes:
        blocks.append(Block(heading="Notes", bullets=content.notes))
    return Section(name=name, title=title, blocks=tuple(blocks))


def _strategies(content: ReportContent) -> Section:
    name, title = "strategies", "Mixtures of the strategies"
    data = shares_data(content)
    if data is None:
        return Section(name=name, title=title, missing="No mixtures yet.", command="voxmix allocate")
    certificates = tables.allocation_table(content)
    blocks = [
        Block(
            drawings=(draw_shares(data),),
            legend=_domain_legend(content),
            tables=(tables.shares_table(data), *([certificates] if certificates else [])),
        )
    ]
    path = path_data(content)
    if path is not None:
        blocks.append(
            Block(
                heading="As the budget grows",
                drawings=(draw_path(path),),
                tables=(tables.path_table(path),),
            )
        )
    return Section(name=name, title=title, blocks=tuple(blocks))


def _checks(content: ReportContent) -> Section:
    name, title = "checks", "Predicted against measured"
    if not content.checks:
        missing = "The mixtures have not been trained and measured yet."
        return Section(name=name, title=title, missing=missing, command="voxmix pretrain")
    blocks = []
    number = 0
    for budget in check_budgets(content.checks, first=content.budget):
        items = forecasts(content, budget=budget)
        drawings = []
        for item in items:
            drawings.append(draw_forecast(item, number=number))
            number += 1
        means = means_data(content, budget=budget)
        folded = [tables.forecast_table(content, items)] if items else []
        if means is not None:
            folded.append(tables.means_table(means))
        blocks.append(
            Block(
                heading=f"At {budget:,} draws",
                drawings=tuple(drawings),
                legend=tuple(
                    Swatch(label=label, color=mark.color)
                    for label, mark in strategy_marks(items[0].strategies if items else ()).items()
                ),
                caption="One mark per strategy and target. On the line a prediction is exact; in the band it "
                "is within 10%.",
                shown=(tables.accuracy_table(items),) if items else (),
                tables=tuple(folded),
            )
        )
    return Section(name=name, title=title, blocks=tuple(blocks))


def _curves(content: ReportContent) -> Section:
    name, title = "curves", "Scaling curves"
    law = content.answer_law
    panels = curve_panels(content, law=law)
    if not panels:
        return Section(name=name, title=title, missing="No proxy run is finished yet.", command="voxmix run")
    marks = domain_marks(content.domain_names)
    legend = [Swatch(label=f"trained on {n}", color=mark.color) for n, mark in marks.items()]
    if any(series.source is None for panel in panels for series in panel.series):
        legend.append(Swatch(label="trained on a mixture", color="var(--ink)"))
    how = (
        f"Lines: the law {law}, dashed beyond the budgets it was fitted on."
        if law
        else "No law is fitted yet."
    )
    blocks = [
        Block(
            drawings=tuple(
                draw_curves(p, number=i, domains=content.domain_names) for i, p in enumerate(panels)
            ),
            legend=tuple(legend),
            caption=f"Dots: measured, means over seeds; the target's own runs are thick. {how} Hollow marks: "
            "the strategies when they were trained.",
            tables=(tables.curve_table(panels),),
        )
    ]
    if law is None:
        blocks.append(Block(sentences=("No law has been fitted yet. Next: voxmix fit.",)))
    for fitted in sorted(content.laws, key=lambda key: key != law):
        problems = content.laws[fitted].problems()
        bullets = tuple(item.message for item in problems if item.message) if fitted == law else ()
        blocks.append(
            Block(
                heading=f"Parameters of the law {fitted}",
                shown=(tables.parameter_table(content, law=fitted),),
                bullets=tuple(dict.fromkeys(bullets)),
            )
        )
    return Section(name=name, title=title, blocks=tuple(blocks))


def _transfer(content: ReportContent) -> Section:
    name, title = "transfer", "Which domain helps which"
    law = content.answer_law
    losses = tables.loss_table(content)
    if law is None:
        blocks = (Block(tables=(losses,)),) if losses else ()
        missing = "No transfer matrix yet: no law is fitted."
        return Section(name=name, title=title, blocks=blocks, missing=missing, command="voxmix fit")
    data = transfer_data(content, law=law)
    roles = [f"{role}: {domain}" for domain, role in zip(data.domains, data.roles, strict=True) if role]
    block = Block(
        sentences=(f"Roles: {', '.join(roles)}.",) if roles else (),
        drawings=(draw_transfer(data),),
        caption="Worth of one draw of the source (row) for the target (column), in draws of the target. "
        "* at a bound, ? not identified by these runs, ! the fit did not converge; hatched: not measured.",
        tables=(
            tables.transfer_table(data, law=law),
            tables.pair_table(content, law=law),
            *([losses] if losses else []),
        ),
    )
    return Section(name=name, title=title, blocks=(block,))


def _effective(content: ReportContent) -> Section:
    name, title = "effective", "Where each target's effective budget comes from"
    law, strategy = content.answer_law, content.answer
    data = effective_data(content, strategy=strategy, law=law) if strategy and law else None
    if data is None or law is None:
        missing = "Needs a fitted law and a mixture."
        return Section(name=name, title=title, missing=missing, command="voxmix allocate")
    others = [effective_data(content, strategy=other, law=law) for other in content.strategies]
    block = Block(
        drawings=(draw_effective(data),),
        legend=_domain_legend(content),
        caption=f"Mixture {strategy}, law {law}. Black line: effective budget; where variety counts it is "
        "more than the sum of the parts. ×: effective budget over the target's own draws.",
        tables=tuple(tables.effective_table(item) for item in others if item is not None),
    )
    return Section(name=name, title=title, blocks=(block,))


def _pictures(content: ReportContent) -> Section:
    name, title = "volumes", "Sample volumes"
    if not content.pictures:
        missing = "No pictures yet: they are made by finished runs."
        return Section(name=name, title=title, missing=missing, command="voxmix pretrain")
    rows = tuple(
        PictureRow(
            domain=picture.domain,
            images=(
                ("original", png_uri(picture.original)),
                ("masked", png_uri(picture.masked)),
                ("reconstructed", png_uri(picture.reconstructed)),
            ),
        )
        for picture in content.pictures
    )
    caption = (
        "Central slices of held-out volumes: as they are, with the hidden patches black, and with those "
    )
    return Section(
        name=name, title=title, blocks=(Block(pictures=rows, caption=caption + "patches reconstructed."),)
    )


def _runs(content: ReportContent) -> Section:
    blocks = []
    if content.domains:
        aside = runs_tables.set_aside_table(content)
        blocks.append(
            Block(heading="Volumes", shown=(runs_tables.volumes_table(content), *([aside] if aside else [])))
        )
    if content.runs:
        blocks.append(
            Block(
                heading="Runs",
                shown=(runs_tables.kinds_table(content),),
                tables=(runs_tables.runs_table(content),),
            )
        )
    blocks += [
        Block(heading=key, shown=(tables.facts_table(key, values),)) for key, values in content.facts.items()
    ]
    missing = "" if content.runs else "No finished runs are listed."
    return Section(
        name="runs", title="What was run", blocks=tuple(blocks), missing=missing, command="voxmix run"
    )


def _limits(content: ReportContent) -> Section:
    bullets = (
        "The law assumes that transfer adds up (or, in the diversity law, that variety counts the same way "
        "everywhere), that one transfer value holds for all budgets, and that a target has the same "
        "irreducible loss whatever it is trained on. In small studies these hold only roughly: losses fall in "
        "steps, and a source's loss on a far target levels off above the target's own.",
        "What is measured is masked reconstruction on held-out volumes, a proxy. Whether a lower loss makes a "
        "better encoder for a clinical task has to be measured on that task.",
        "Intervals speak of the noise between runs, not of the volumes being a sample of patients, scanners "
        "and hospitals. A mixture inherits the biases of its sources.",
        "Draws are not volumes: a domain with few volumes is repeated, and repeats are worth less.",
    )
    cite = (
        "Lee et al. (2026). Knowledge Transfer Scaling Laws for 3D Medical Imaging. arXiv:2605.06859. "
        "The two-stage law, the allocation and the strategies are theirs.",
        "voxmix, version as listed above: diversity law, certificate, intervals and this report.",
    )
    return Section(
        name="limits",
        title="Limits, and how to cite",
        blocks=(Block(bullets=bullets), Block(heading="Cite", bullets=cite)),
    )


def _domain_legend(content: ReportContent) -> tuple[Swatch, ...]:
    marks = domain_marks(content.domain_names)
    return tuple(Swatch(label=name, color=mark.color) for name, mark in marks.items())
