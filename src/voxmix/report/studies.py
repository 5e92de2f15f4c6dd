"""One page of several mixture studies: answers, doubts, laws and scores side by side."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from voxmix.allocation import Allocation
from voxmix.errors import InputError
from voxmix.report import tables, words
from voxmix.report.content import ReportContent
from voxmix.report.doubt_kinds import Evidence
from voxmix.report.doubts import doubts
from voxmix.report.drawing import draw_shares
from voxmix.report.figures import SharesData, answer_data, forecasts, means_data, transfer_data
from voxmix.report.findings import check_budgets
from voxmix.report.layout import Block, Section, domain_legend
from voxmix.report.table import Cell, Table, columns_of, value_of
from voxmix.report.transfer_drawing import draw_transfer

_MOST_MATRICES = 12
"""Targets up to which the matrices of all studies are drawn side by side."""


def studies_sections(studies: Mapping[str, ReportContent]) -> tuple[Section, ...]:
    """Return the sections of a page of several studies, each under its label.

    Raises:
        InputError: fewer than two studies, or two that have no domain in common.
    """
    if len(studies) < 2:
        raise InputError(f"a page of several studies is of two or more, got {list(studies)}")
    domains = _domains(studies)
    if len(domains) == sum(len(content.domain_names) for content in studies.values()):
        raise InputError(
            f"the studies {', '.join(studies)} have no domain in common, so nothing of them can stand side by side; report them "
            "one by one"
        )
    return (_answers(studies, domains), _laws(studies), _scores(studies), _provenance(studies))


def _domains(studies: Mapping[str, ReportContent]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for content in studies.values() for name in content.domain_names))


def _answers(studies: Mapping[str, ReportContent], domains: tuple[str, ...]) -> Section:
    name, title = "answer", "How much of each domain"
    found = {label: answer_data(content) for label, content in studies.items()}
    known = {label: data for label, data in found.items() if data is not None}
    without = [label for label in studies if label not in known]
    missing = f"No mixture has been computed yet in {words.listing(without)}." if without else ""
    if not known:
        return Section(name=name, title=title, missing=missing, command="voxmix allocate")
    shares = np.zeros((len(known), len(domains)))
    for i, data in enumerate(known.values()):
        shares[i, [domains.index(domain) for domain in data.domains]] = data.weight
    picture = SharesData(strategies=tuple(known), domains=domains, weights=shares)
    blocks = (
        Block(
            sentences=tuple(f"{label}: {words.answer_sentence(data)}" for label, data in known.items()),
            drawings=(draw_shares(picture, title="Mixture that is the answer of every study"),),
            legend=domain_legend(domains),
            shown=(answers_table(studies),),
        ),
        Block(heading="How sure: five kinds of doubt", shown=(_doubts_table(studies),)),
    )
    return Section(
        name=name, title=title, blocks=blocks, missing=missing, command="voxmix allocate" if without else ""
    )


def answers_table(studies: Mapping[str, ReportContent]) -> Table:
    """Return each study's answer: strategy, law, draws, and the share of every domain with its interval."""
    domains = _domains(studies)
    columns = columns_of(("study", "text"), ("strategy", "text"), ("law", "text"), ("draws", "count"))
    for domain in domains:
        columns += value_of(domain, "percent")
    rows: list[tuple[Cell, ...]] = []
    for label, content in studies.items():
        data = answer_data(content)
        if data is None:
            rows.append((label, *([None] * (len(columns) - 1))))
            continue
        item = content.strategies[data.strategy]
        row: list[Cell] = [
            label,
            data.strategy,
            item.law if isinstance(item, Allocation) else None,
            data.budget,
        ]
        for domain in domains:
            if domain in data.domains:
                i = data.domains.index(domain)
                row += [float(data.weight[i]), *data.interval[i].tolist()]
            else:
                row += [None, None, None]
        rows.append(tuple(row))
    return Table(name="answers", title="The answer of every study", columns=columns, rows=tuple(rows))


def _doubts_table(studies: Mapping[str, ReportContent]) -> Table:
    found = {}
    for label, content in studies.items():
        budgets = check_budgets(content.checks, first=content.budget)
        items = forecasts(content, budget=budgets[0]) if budgets else ()
        found[label] = doubts(Evidence(content=content, answer=answer_data(content), forecasts=items))
    kinds = next(iter(found.values()))
    return Table(
        name="doubts",
        title="Doubts of every study",
        columns=columns_of(("kind", "text"), *((label, "text") for label in found)),
        rows=tuple(
            (item.kind.title, *(told[k].line for told in found.values())) for k, item in enumerate(kinds)
        ),
        note="Each study's own report has the reasons.",
    )


def _laws(studies: Mapping[str, ReportContent]) -> Section:
    name, title = "laws", "What the laws say"
    fitted = {label: content for label, content in studies.items() if content.answer_law is not None}
    if not fitted:
        return Section(name=name, title=title, missing="No law is fitted yet.", command="voxmix fit")
    few = all(len(content.target_names) <= _MOST_MATRICES for content in fitted.values())
    matrices = []
    for label, content in fitted.items():
        data = transfer_data(content, law=str(content.answer_law))
        matrices.append(replace(data, law=f"{data.law}, {label}", disputed=np.zeros_like(data.disputed)))
    block = Block(
        drawings=tuple(draw_transfer(item, number=k) for k, item in enumerate(matrices)) if few else (),
        caption="How many draws of the target (column) 100 draws of the source (row) are worth, by the law of each answer. The "
        "line in a cell is the interval; the shade is its low end."
        if few
        else "",
        shown=(laws_table(studies),),
        tables=(_transfers_table(fitted),),
    )
    return Section(name=name, title=title, blocks=(block,))


def laws_table(studies: Mapping[str, ReportContent]) -> Table:
    """Return every study's laws: what they were fitted to, and how they did on mixtures they had not seen."""
    rows: list[tuple[Cell, ...]] = []
    for label, content in studies.items():
        budgets = check_budgets(content.checks, first=content.budget)
        told = {item.law: item for item in (forecasts(content, budget=budgets[0]) if budgets else ())}
        for law in content.laws_in_order:
            fitted, item = content.laws[law], told.get(law)
            rows.append(
                (
                    label,
                    law,
                    "yes" if law == content.answer_law else "no",
                    *fitted.budget_range,
                    len(fitted.problems()) / max(len(fitted.status), 1),
                    None if item is None else item.mean_error,
                    None if item is None else item.right_pairs,
                )
            )
    return Table(
        name="laws",
        title="The laws of every study",
        columns=columns_of(
            ("study", "text"),
            ("law", "text"),
            ("of the answer", "text"),
            ("smallest budget", "count"),
            ("largest budget", "count"),
            ("numbers not told by the runs", "percent"),
            ("error on trained mixtures", "percent"),
            ("pairs in the right order", "percent"),
        ),
        rows=tuple(rows),
    )


def _transfers_table(studies: Mapping[str, ReportContent]) -> Table:
    data = {label: transfer_data(content, law=str(content.answer_law)) for label, content in studies.items()}
    pairs = dict.fromkeys(
        (source, target)
        for item in data.values()
        for source in item.domains
        for target in item.targets
        if source != target
    )
    columns = columns_of(("source", "text"), ("target", "text"))
    for label in data:
        columns += value_of(label, "transfer")
    rows: list[tuple[Cell, ...]] = []
    for source, target in pairs:
        row: list[Cell] = [source, target]
        for item in data.values():
            if source in item.domains and target in item.targets:
                i, j = item.domains.index(source), item.targets.index(target)
                row += [float(item.transfer[i, j]), *item.interval[i, j].tolist()]
            else:
                row += [None, None, None]
        rows.append(tuple(row))
    return Table(
        name="transfers",
        title="Every transfer in every study, by the law of its answer",
        columns=columns,
        rows=tuple(rows),
    )


def _scores(studies: Mapping[str, ReportContent]) -> Section:
    name, title = "scores", "What was measured"
    measured = [
        replace(table, name=f"{table.name}-{k}", title=f"{label}: {table.title}")
        for k, (label, content) in enumerate(studies.items())
        for table in _measured(content)
    ]
    tasks = _tasks_table(studies)
    if not measured and tasks is None:
        return Section(
            name=name,
            title=title,
            missing="No mixture was trained in these studies.",
            command="voxmix pretrain",
        )
    blocks = []
    if measured:
        blocks.append(
            Block(heading="Trained mixtures", sentences=(_same_volumes(studies),), shown=tuple(measured))
        )
    if tasks is not None:
        blocks.append(Block(heading="Clinical tasks", shown=(tasks,)))
    return Section(name=name, title=title, blocks=tuple(blocks))


def _measured(content: ReportContent) -> list[Table]:
    for budget in check_budgets(content.checks, first=content.budget)[:1]:
        means = means_data(content, budget=budget)
        if means is not None:
            return [tables.means_table(means, brief=True)]
    return []


def _same_volumes(studies: Mapping[str, ReportContent]) -> str:
    digests = {
        content.facts.get("Data", {}).get("prepared volumes", label) for label, content in studies.items()
    }
    if len(digests) == 1:
        return "These studies have the same prepared volumes, so losses compare across them where the model is the same."
    return "These studies were evaluated on volumes of their own: compare orders and differences, not losses."


def _tasks_table(studies: Mapping[str, ReportContent]) -> Table | None:
    """Return the main scores: a row per task and initialization, a column per study; None where nothing was finetuned."""
    found: dict[tuple[str, str, str], dict[str, tuple[float, float, float]]] = {}
    for label, content in studies.items():
        for item in () if content.comparison is None else content.comparison.estimates:
            if item.metric.main and item.control is None and item.label is None:
                key = (item.task, item.metric.name, item.init)
                found.setdefault(key, {})[label] = (item.value, item.low, item.high)
    if not found:
        return None
    columns = columns_of(("task", "text"), ("metric", "text"), ("initialization", "text"))
    for label in studies:
        columns += value_of(label, "percent")
    return Table(
        name="tasks",
        title="Scores on the test cases, with intervals over cases",
        columns=columns,
        rows=tuple(
            (*key, *(cell for label in studies for cell in values.get(label, (None, None, None))))
            for key, values in found.items()
        ),
    )


def _provenance(studies: Mapping[str, ReportContent]) -> Section:
    return Section(
        name="provenance",
        title="Where it comes from",
        blocks=tuple(
            Block(heading=f"{label}: {key}", shown=(_facts(label, key, values),), paper=False)
            for label, content in studies.items()
            for key, values in content.facts.items()
        ),
    )


def _facts(label: str, key: str, values: Mapping[str, str]) -> Table:
    return replace(tables.facts_table(key, values), title=f"{label}: {key}")
