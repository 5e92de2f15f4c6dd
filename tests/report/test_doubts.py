"""Five kinds of doubt: every warning is of one, and says what is wrong; steps are ordered by what they are worth."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable
from html import unescape
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from voxmix.allocation import Allocation, optimize, suggest
from voxmix.law import FittedLaw, forgetting, oddities, suspects
from voxmix.report import DomainSummary, ReportContent
from voxmix.report.doubt_kinds import KINDS, LEVELS, Evidence
from voxmix.report.doubts import FINDINGS, doubts, finding_of
from voxmix.report.figures import answer_data
from voxmix.report.findings import forecast
from voxmix.report.law_sections import curves_section
from voxmix.report.law_tables import outlier_table
from voxmix.report.next_steps import next_steps, worth_of_a_seed
from voxmix.report.ranking import rank_strategies
from voxmix.report.sections import answer_section
from voxmix.scores.measured import Measured


def _texts(source: Callable[..., Any] | Any) -> list[str]:
    """The texts of 40 letters or more that some code holds, docstrings left out, values as …."""
    tree = ast.parse(dedent(inspect.getsource(source)))
    known = {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Module)
             if isinstance(node.body[0], ast.Expr)}  # fmt: skip
    inner = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
    } - {id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)}
    found = []
    for node in ast.walk(tree):
        if id(node) in known | inner:
            continue
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return [text for text in found if len(text) >= 40]


@pytest.mark.parametrize(
    ("source", "kinds"),
    [
        (oddities, {"data"}),
        (suspects.suspect_sentence, {"data"}),
        (forgetting.forgetting_sentence, {"fit"}),
        (FittedLaw.beyond, {"extrapolation"}),
        (optimize._notes, {"extrapolation", "noise", "fit"}),
    ],
)
def test_every_warning_of_a_law_and_an_allocation_is_of_one_row(source: Any, kinds: set[str]) -> None:
    """Read from the code that writes them: a new warning without a row fails here."""
    met = set()
    for text in _texts(source):
        rows = [row.name for row in FINDINGS if any(phrase in text for phrase in row.phrases)]
        assert rows, f"no row of FINDINGS has a phrase of: {text}"
        assert finding_of(text).name == rows[0]
        met |= {finding_of(text).kind}
    assert met == kinds


def test_every_row_is_of_one_of_five_kinds() -> None:
    assert [kind.name for kind in KINDS] == ["data", "noise", "fit", "extrapolation", "proxy"]
    assert {row.kind for row in FINDINGS} == {kind.name for kind in KINDS}
    assert len({row.name for row in FINDINGS}) == len(FINDINGS)
    assert {row.level for row in FINDINGS} == set(LEVELS)
    assert finding_of("what nobody wrote before") is FINDINGS[-1]


def test_the_page_has_one_line_for_each_kind_with_its_verdict(content: ReportContent, page: str) -> None:
    told = doubts(Evidence(content=content, answer=answer_data(content)))
    lines = re.findall(
        r'<details class="doubt"><summary><strong>(.*?)</strong> <span class="level (\w+)">(.*?)</span>', page
    )
    assert [title for title, _, _ in lines] == [kind.title for kind in KINDS]
    assert (lines[0][1], unescape(lines[0][2])) == (told[0].level, told[0].line)
    assert lines[0][2].startswith("some reason: volumes that are drawn often")
    assert lines[4][1:] == ("open", "not known: never tested on a task")
    bare = dataclasses.replace(content, domains=(), checks=())
    clean = {item.kind.name: item for item in doubts(Evidence(content=bare, answer=answer_data(bare)))}
    assert clean["data"].line == "no reason found"
    assert clean["data"].sentences == (KINDS[0].never,)


def test_doubts_about_the_data_are_told_before_there_is_an_answer() -> None:
    poor = DomainSummary(name="CT", complaints=("99% of the voxels are one value.",))
    section = answer_section(ReportContent(study="s", domains=(poor,)))
    (block,) = section.blocks
    assert [fold.title for fold in block.folds] == ["Data"]
    assert "99% of the voxels" in block.folds[0].bullets[0]


def _said(content: ReportContent, **evidence: Any) -> list[str]:
    found = doubts(Evidence(content=content, **evidence))
    return [text for item in found for text in item.sentences]


def test_a_share_outside_its_interval_is_doubted(content: ReportContent) -> None:
    data = answer_data(content)
    assert data is not None
    interval = np.array(data.interval)
    interval[4] = [0.05, data.weight[4] - 0.1]
    said = _said(content, answer=dataclasses.replace(data, interval=interval), forecasts=())
    assert any("HN-CT lies outside its own interval" in text for text in said)
    assert not any("outside its own interval" in text for text in _said(content, answer=data, forecasts=()))


def test_a_poor_forecast_and_repeats_are_doubted(content: ReportContent) -> None:
    data = answer_data(content)
    poor = dataclasses.replace(forecast(content, law="diversity", budget=16000), mean_error=0.2)
    said = " ".join(_said(content, answer=data, forecasts=(poor,)))
    assert "erred by 20.0% on the strategies it had not seen" in said
    assert "trust its order more than its level" in said
    wrong = dataclasses.replace(poor, right_pairs=0.5)
    assert "not its predictions" in " ".join(_said(content, answer=data, forecasts=(wrong,)))
    assert "Repeats are worth less than new volumes" in said
    assert "times outside the fitted budgets" in said


def test_odd_losses_and_laws_that_disagree_are_reasons_to_doubt(content: ReportContent) -> None:
    from voxmix.law.outliers import Outlier

    odd = Outlier(run="r7", seed=1, budget=2000.0, mixture="HN-CT", target="ABD-CT", loss=2.0, expected=0.04)
    law = content.laws["diversity"]
    tau = law.transfer.copy()
    tau[0, 1] /= 300
    laws = {
        "transfer": dataclasses.replace(
            law, law="transfer", parameters=dataclasses.replace(law.parameters, transfer=tau)
        ),
        "diversity": dataclasses.replace(law, outliers=(odd,)),
    }
    changed = dataclasses.replace(content, laws=laws)
    found = " ".join(_said(changed, answer=None, forecasts=()))
    assert "run r7 (seed 1, 2,000 draws of HN-CT) on ABD-CT" in found
    assert "is set aside" in found
    assert f"ABD-CT to ABD-MRI {tau[0, 1]:.2g} by transfer" in found
    earlier = (
        found[found.index("The 2 laws with transfer") : found.index(". Trust")] + ". Trust neither; ask again"
    )
    noted = {name: dataclasses.replace(item, notes=(earlier, "kept")) for name, item in laws.items()}
    again = _said(dataclasses.replace(changed, laws=noted), answer=None, forecasts=())
    assert [line.startswith("The 2 laws with transfer") for line in again].count(True) == 1
    assert "Kept." in again
    table = outlier_table(changed, law="diversity")
    assert table is not None
    assert table.rows == (("r7", 1, 2000.0, "HN-CT", "ABD-CT", 2.0, 0.04),)
    assert outlier_table(content, law="diversity") is None
    assert "Losses that no noise explains" in [b.heading for b in curves_section(changed).blocks]


def test_a_seed_is_worth_what_the_least_of_normal_steps_gains() -> None:
    """Two equal mixtures: the least of two steps of sigma is sigma / sqrt(pi) below (Blom 1958)."""
    rng = np.random.default_rng(0)
    loss = np.exp(0.01 * rng.standard_normal((2, 3, 1)))
    found = Measured(budget=9, strategies=("a", "b"), seeds=(0, 1, 2), targets=("T",), loss=loss)
    ranking = dataclasses.replace(rank_strategies(found), values=np.ones(2), noise=0.01)
    step = 0.01 / np.sqrt(3 * 4)
    assert worth_of_a_seed(ranking) == pytest.approx(step / np.sqrt(np.pi), rel=0.06)
    assert worth_of_a_seed(dataclasses.replace(ranking, noise=0.0)) == 0
    apart = dataclasses.replace(ranking, values=np.array([1.0, 1.2]))
    assert worth_of_a_seed(apart) < 1e-6


def test_steps_are_ordered_by_worth_and_say_what_suggest_says(
    make_content: Callable[..., ReportContent],
) -> None:
    content = make_content(("CT", "MR", "PET"), bootstrap=50, seeds=2)
    steps = next_steps(content)
    worth = [step.worth for step in steps]
    known = [value for value in worth if value is not None]
    assert known == sorted(known, reverse=True)
    assert worth[len(known) :] == [None] * (len(worth) - len(known))
    item = content.strategies["diversity-aware"]
    assert isinstance(item, Allocation)
    runs = suggest(content.laws["diversity"], budget=16000, min_weight=0.05)
    larger = max((run for run in runs if run.budget > 8000), key=lambda run: run.gain)
    (step,) = [step for step in steps if step.what == "Larger proxy budgets"]
    assert step.worth == pytest.approx(larger.gain / item.objective)
    assert larger.name in step.why
    (again,) = [step for step in steps if step.what == "More seeds"]
    assert again.draws in (1000, 8000)  # of runs that were run, not of new ones
    assert steps[-1].what == "Finetune on a clinical task"
    unmeasured = next_steps(dataclasses.replace(content, checks=()))
    assert next(step.worth for step in unmeasured if step.command == "voxmix pretrain") > 0


def test_a_target_that_does_not_move_asks_for_another_proxy(content: ReportContent) -> None:
    table = content.measurements
    assert table is not None
    still = np.array([target == "HN-PET" for target in table.target])
    flat = dataclasses.replace(
        content, measurements=dataclasses.replace(table, loss=np.where(still, 0.01, table.loss))
    )
    (step,) = [step for step in next_steps(flat) if step.what == "Another proxy"]
    assert "HN-PET" in step.why
    assert step.worth is not None
    assert not [step for step in next_steps(content) if step.what == "Another proxy"]
