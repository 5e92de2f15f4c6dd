"""What a study's finetuned encoders scored, as a table over mixtures that fit takes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxmix._io import read_json, write_json
from voxmix.cli import app
from voxmix.errors import InputError
from voxmix.mixture_scores import read_scores
from voxmix.study import Study, StudyView, scores_over_mixtures


def _began_from(root: Path, init: str, seed: int, checkpoint: str) -> None:
    """Write a finetuning run that began from a run of the study, as the one that is there but for its seed and scores."""
    there = root / "downstream" / "organs"
    value = read_json(there / "scratch" / "seed-0" / "result.json")
    for i, case in enumerate(value["cases"]):
        case["scores"]["dice"]["liver"] = 0.4 + 0.1 * i + 0.02 * seed
    write_json(
        there / init / f"seed-{seed}" / "result.json",
        value | {"init": init, "seed": seed, "checkpoint": checkpoint},
    )


def test_every_mixture_that_was_finetuned_is_a_run_with_its_score(
    finished_study: Path, tmp_path: Path
) -> None:
    view = StudyView(Study.open(finished_study))
    proxies = [spec for spec in view.proxies if spec.budget in (100, 800)]
    for number, spec in enumerate(proxies):
        for seed in (0, 1):
            _began_from(finished_study, f"proxy-{number}", seed, view.study.run_dir(spec).name)
    table, notes = scores_over_mixtures(view)
    assert table.response.rises
    assert table.targets == ("organs",)
    assert len(table) == len(proxies)
    by_run = dict(zip(table.run, range(len(table)), strict=True))
    for spec in proxies:
        row = by_run[view.study.run_dir(spec).name]
        assert table.budget[row] == spec.budget
        assert table.weights[row] == pytest.approx(
            [spec.mixture.as_dict().get(name, 0.0) for name in table.domains]
        )
        assert table.loss[row] == pytest.approx(1 - (0.55 + 0.01))
        assert table.loss_se[row] == pytest.approx(0.1291 / 2, rel=0.3)  # of a mean of four cases
    assert "4 finetuning runs began from no run of this study" in " ".join(notes)
    out = tmp_path / "scores.csv"
    result = CliRunner().invoke(app, ["table", str(finished_study), "-o", str(out), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["targets"] == ["organs"]
    again = read_scores(out, ["score"])
    assert (again.digest, again.targets) == (table.digest, table.targets)


def test_without_a_score_of_a_mixture_it_is_refused(finished_study: Path) -> None:
    with pytest.raises(InputError, match="no score of a mixture; finetune from strategies"):
        scores_over_mixtures(Study.open(finished_study))
