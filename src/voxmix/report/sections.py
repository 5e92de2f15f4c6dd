"""The sections of a report in their order: the answer and how sure it is, what was measured, what to do next; then reasons, then details.

Here are those of the answer and of the strategies.
"""

from dataclasses import replace

from voxmix.allocation import Allocation
from voxmix.report import forecast_tables, law_tables, tables, words
from voxmix.report.by_objective import objective_blocks, objective_sentence
from voxmix.report.content import ReportContent
from voxmix.report.doubt_kinds import Evidence
from voxmix.report.doubts import doubts, folds
from voxmix.report.drawing import draw_answer, draw_means, draw_path, draw_shares
from voxmix.report.figures import MeansData, answer_data, forecasts, means_data, path_data, shares_data
from voxmix.report.findings import check_budgets, measured
from voxmix.report.law_sections import curves_section, effective_section, regime_section, transfer_section
from voxmix.report.layout import Block, Section, Swatch, domain_legend
from voxmix.report.next_steps import next_steps, step_sentence, steps_table
from voxmix.report.palette import glyph, law_markers, strategy_marks
from voxmix.report.plots import draw_forecast
from voxmix.report.ranking import rank_otherwise
from voxmix.report.refine_section import refine_section
from voxmix.report.run_sections import pictures_section, provenance_section, runs_section
from voxmix.report.score_sections import scores_section
from voxmix.report.what_if import what_if
from voxmix.scores.forecast import Forecast

STEPS_SCALE = (
    "Ordered by how far the objective at the study's budget is expected to fall when the mixture is chosen anew after the step, "
    "as a share of it. What no number here tells comes last."
)


def all_sections(content: ReportContent) -> tuple[Section, ...]:
    """Return every section, in the order in which they are read; of a law alone, those it has something for."""
    sections = (
        answer_section(content),
        checks_section(content),
        next_section(content),
        what_if_section(content),  # from here on reasons
        strategies_section(content),
        regime_section(content),
        transfer_section(content),
        curves_section(content),
        effective_section(content),
        refine_section(content),
        scores_section(content),
        pictures_section(content),  # from here on details
        runs_section(content),
        provenance_section(content),
    )
    return tuple(item for item in sections if not (content.law_file and item.missing))


def answer_section(content: ReportContent) -> Section:
    name, title = "answer", "How much of each domain"
    data = answer_data(content)
    if data is None:
        command = "voxmix allocate" if content.laws else "voxmix fit"
        found = doubts(Evidence(content=content, answer=None))
        known = [item for item in found if item.kind.name != "proxy" and item.level != "remark"]
        so_far = (Block(heading="Doubts so far", folds=folds(known)),) if known else ()
        missing = "No mixture has been computed yet."
        return Section(name=name, title=title, blocks=so_far, missing=missing, command=command)
    item = content.strategies[data.strategy]
    sure: list[str] = []
    level = 0.9
    if isinstance(item, Allocation):
        sure = [
            objective_sentence(item),
            *words.sureness_sentences(item, data),
            words.certificate_sentence(item),
        ]
        level = item.level
    blocks = [
        Block(
            lead=words.answer_sentence(data),
            sentences=tuple(sure),
            drawings=(draw_answer(data),),
            caption="Bars: the share of each domain. Whiskers: its interval, one domain at a time. Gray lines: the range "
            "of its share among mixtures that are nearly as good.",
            shown=(replace(tables.answer_table(data, level=level), note=""),),
        )
    ]
    budgets = check_budgets(content.checks, first=content.budget)
    items = forecasts(content, budget=budgets[0]) if budgets else ()
    found = doubts(Evidence(content=content, answer=data, forecasts=items))
    blocks.append(Block(heading="How sure: five kinds of doubt", folds=folds(found)))
    if content.notes:
        blocks.append(Block(heading="Notes", bullets=tuple(map(words.sentence, content.notes))))
    return Section(name=name, title=title, blocks=tuple(blocks))


def next_section(content: ReportContent) -> Section:
    """What to do next, what is expected to change the answer most first."""
    name, title = "next", "What to do next"
    steps = next_steps(content)
    if not steps:
        missing = "Nothing to weigh before there is a mixture."
        return Section(
            name=name,
            title=title,
            missing=missing,
            command="voxmix allocate" if content.laws else "voxmix fit",
        )
    block = Block(
        sentences=(STEPS_SCALE,), steps=tuple(map(step_sentence, steps)), tables=(steps_table(steps),)
    )
    return Section(name=name, title=title, blocks=(block,))


def what_if_section(content: ReportContent) -> Section:
    name, title = "what-if", "What if"
    if not content.laws:
        return Section(name=name, title=title, missing="No law is fitted yet.", command="voxmix fit")
    panel = what_if(content, command=" ".join(["voxmix allocate", *filter(None, [content.law_file])]))
    if isinstance(panel, str):
        return Section(name=name, title=title, missing=panel)
    return Section(name=name, title=title, panel=panel)


def _unmeasured(content: ReportContent, data: MeansData) -> list[str]:
    return [name for name in content.strategies if name not in data.ranking.strategies]


def _beyond(data: MeansData, law: str) -> str:
    return " (beyond the axis)" if data.beyond(law) else ""


def strategies_section(content: ReportContent) -> Section:
    name, title = "strategies", "Mixtures of the strategies"
    data = shares_data(content)
    if data is None:
        return Section(name=name, title=title, missing="No mixtures yet.", command="voxmix allocate")
    certificates = tables.allocation_table(content)
    blocks = [
        Block(
            drawings=(draw_shares(data),),
            legend=domain_legend(content.domain_names),
            tables=(tables.shares_table(data), *([certificates] if certificates else [])),
        )
    ]
    blocks += objective_blocks(content)
    path = path_data(content)
    if path is not None:
        blocks.append(
            Block(
                heading=f"As the budget grows, by the law {path.law}",
                drawings=(draw_path(path),),
                tables=(law_tables.path_table(path),),
            )
        )
    return Section(name=name, title=title, blocks=tuple(blocks))


def _measured_block(content: ReportContent, *, budget: int, items: tuple[Forecast, ...]) -> Block | None:
    """Return which strategy won at a budget, with what every law had predicted; None where none has every loss."""
    means = means_data(content, budget=budget)
    if means is None:
        return None
    sentences = words.verdict_sentences(means, answer=content.answer, unmeasured=_unmeasured(content, means))
    if len(means.ranking.strategies) > 1:
        other = rank_otherwise(content, measured(content, budget=budget))
        sentences.append(words.other_measure_sentence(other))
    return Block(
        sentences=(*sentences, *words.forecast_sentences(items)),
        drawings=(draw_means(means),),
        legend=tuple(
            Swatch(
                label=f"predicted by {law}{_beyond(means, law)}",
                color="var(--ink)",
                glyph=glyph(marker, hollow=True),
            )
            for law, marker in law_markers(means.laws).items()
        ),
        caption=words.means_caption(means.ranking),
        shown=(replace(tables.means_table(means, brief=True), note=""),),  # its note is among the sentences
    )


def checks_section(content: ReportContent) -> Section:
    name, title = "checks", "Measured against predicted"
    if not content.checks:
        missing = "The mixtures have not been trained and measured yet."
        return Section(name=name, title=title, missing=missing, command="voxmix pretrain")
    blocks = []
    number = 0
    for place, budget in enumerate(check_budgets(content.checks, first=content.budget)):
        items = forecasts(content, budget=budget)
        first = None if place else _measured_block(content, budget=budget, items=items)
        blocks += [first] if first is not None else []
        drawings = []
        for item in items:
            drawings.append(draw_forecast(item, number=number))
            number += 1
        means = means_data(content, budget=budget)
        folded = [forecast_tables.forecast_table(content, items)] if items else []
        if means is not None:
            folded += [
                tables.means_table(means),
                tables.pairs_table(means),
                tables.noise_table(content, budget=budget),
            ]
        blocks.append(
            Block(
                heading=f"Target by target at {budget:,} {content.unit}",
                drawings=tuple(drawings),
                legend=tuple(
                    Swatch(label=label, color=mark.color, glyph=glyph(mark.marker))
                    for label, mark in strategy_marks(items[0].strategies if items else ()).items()
                ),
                caption="One mark per strategy and target. On the line a prediction is exact; in the band it "
                "is within 10%.",
                shown=forecast_tables.judged_tables(content, budget=budget),
                tables=tuple(folded),
            )
        )
    return Section(name=name, title=title, blocks=tuple(blocks))
