"""On a study fit and allocate print what their verbs print on its law: quality, predicted losses, baselines, certificate."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxmix.allocation import allocate
from voxmix.cli import app
from voxmix.law import FittedLaw
from voxmix.study import Study, StudyView


def printed(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def block(text: str, begin: str) -> list[str]:
    """Return the lines of a table from its title on, up to the next line that is none of its."""
    lines = text.splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith(begin))
    last = next((k for k in range(first + 1, len(lines)) if not set("┃│━") & set(lines[k])), len(lines))
    return [line.rstrip() for line in lines[first:last]]


def test_fit_prints_the_law_as_of_a_table(finished_study: Path) -> None:
    study = printed("fit", finished_study)
    table = printed("fit", finished_study / "measurements.csv", "--law", "transfer", "--bootstrap", "0")
    for title in ("Law transfer", "Transfer [source"):
        assert block(study, title) == block(table, title)
        assert len(block(study, title)) > 4
    for line in table.splitlines():
        if line.startswith(("- law transfer: ", "- hub: ")):
            assert line in study
    assert "- law naive: " in study  # how well the others fit, too


def test_allocate_prints_the_certificate_and_the_baselines(finished_study: Path) -> None:
    told = printed("allocate", finished_study)
    law = FittedLaw.load(finished_study / "laws" / "transfer.json")
    found = allocate(law, StudyView(Study.open(finished_study)).asked)
    assert f"predicted {found.said(found.objective)}, proven within" in told
    predicted = dict(zip(found.targets, found.predicted_loss, strict=True))
    rows = {line.split("│")[0].strip(): line.split("│")[1:] for line in block(told, "Predicted loss")[3:]}
    assert set(rows) == set(found.targets)
    for target, cells in rows.items():
        assert float(cells[0]) == pytest.approx(predicted[target], rel=1e-3)
        for cell, baseline in zip(cells[1:], found.baselines.values(), strict=True):
            assert float(cell) == pytest.approx(
                baseline.predicted_loss[found.targets.index(target)], rel=1e-3
            )
    for name in found.baselines:
        assert f"  {name}: " in told
    assert "- transfer-naive: predicted mean loss" in told
