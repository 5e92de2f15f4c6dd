"""voxmix compare and the report of a study with finetuning runs, end to end through files."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.design import RunSpec
from voxmix.errors import StepPendingError
from voxmix.mixture import Mixture
from voxmix.study import DataSettings, PhantomSettings, Study, presets

runner = CliRunner()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    counts = presets.phantom_counts(("ABD-CT", "HN-PET"))
    data = DataSettings(phantoms=PhantomSettings(counts=counts))
    return Study.create(tmp_path / "s", presets.preset("demo").study(name="s", data=data))


def finished_run(study: Study, weights: dict[str, float], loss: float) -> str:
    """Leave a finished pretraining run behind and return its id."""
    spec = RunSpec(mixture=Mixture.from_dict(weights), budget=100, seed=1, cache="c")
    folder = study.run_dir(spec)
    folder.mkdir(parents=True)
    losses = {"ABD-CT": {"loss": loss, "loss_se": None}, "HN-PET": {"loss": loss / 3, "loss_se": None}}
    value = {"kind": "run", "format": 1, "spec": spec.as_dict(), "losses": losses}
    value |= {"draws": {}, "unique_volumes": {}, "volumes": {}, "seconds": 1.0}
    (folder / "result.json").write_text(json.dumps(value), encoding="utf-8")
    return spec.run_id


@pytest.fixture
def finetuned(study: Study, make_segmentation, write_results) -> Study:
    inits = {"single": (1.0, 0.06), "data-proportional": (0.7, 0.05), "transfer-aware": (0.4, 0.04)}
    runs = [make_segmentation("scratch", seed=s) for s in (1, 2, 3)]
    for name, (share, loss) in inits.items():
        weights = {"ABD-CT": share, "HN-PET": 1 - share}
        checkpoint = finished_run(study, weights, loss)
        effect = {"single": 0.0, "data-proportional": 0.08, "transfer-aware": 0.16}[name]
        runs += [make_segmentation(name, seed=s, effect=effect, checkpoint=checkpoint) for s in (1, 2, 3)]
    write_results(study.downstream_dir, runs)
    (study.downstream_dir / "organs" / "uniform" / "seed-1").mkdir(parents=True)
    return study


def test_compare_prints_tables_and_sentences(finetuned: Study) -> None:
    result = runner.invoke(app, ["compare", str(finetuned.root)])
    assert result.exit_code == 0, result.output
    assert "organs: transfer-aware is best" in result.stdout
    assert "Unfinished, 1 run: organs/uniform/seed-1." in result.stdout
    assert "with 3 encoders even perfect agreement" in result.stdout


def test_compare_as_json_markdown_and_csv_agree(finetuned: Study, tmp_path: Path) -> None:
    root = str(finetuned.root)
    value = json.loads(runner.invoke(app, ["compare", root, "--json"]).stdout)
    (dice,) = [
        r["value"]
        for r in value["scores"]
        if (r["metric"], r["class"], r["initialization"]) == ("Dice", None, "transfer-aware")
    ]
    assert value["best"] == {"organs": ["transfer-aware"]}
    assert value["unfinished"] == ["organs/uniform/seed-1"]
    measures = {item["measure"]: item["rank_correlation"]["mean"] for item in value["proxy"]}
    assert measures == {"mean over targets": 1.0, "on the task's own domain": 1.0}
    assert not any(item["decidable"] for item in value["proxy"])
    table = tmp_path / "scores.csv"
    text = runner.invoke(app, ["compare", root, "--markdown", "--csv", str(table)]).stdout
    assert f"| {100 * dice:.1f}% (" in text
    row = next(
        line
        for line in table.read_text(encoding="utf-8").splitlines()
        if line.startswith("organs,Dice,,transfer-aware")
    )
    assert float(row.split(",")[5]) == dice


def test_compare_as_a_page(finetuned: Study, tmp_path: Path) -> None:
    """The page has the figures of the report, a title, one script at most, and asks for nothing."""
    path = tmp_path / "scores.html"
    done = runner.invoke(app, ["compare", str(finetuned.root), "--html", str(path)])
    assert done.exit_code == 0, done.output
    page = path.read_text(encoding="utf-8")
    assert "voxmix compare" in page
    assert "transfer-aware is best" in page
    assert page.count('<div class="plot"') >= 2
    assert page.count("<script>") == 1
    assert str(tmp_path) not in page
    assert not re.findall(r'(?:src|href)="https?:', page)
    refused = runner.invoke(app, ["compare", str(finetuned.root), "--html", str(tmp_path)])
    assert refused.exit_code == 2
    assert "is a folder" in refused.output


def test_proxy_losses_come_from_the_runs_whose_encoders_were_taken(finetuned: Study) -> None:
    from voxmix.scores import ScoreTable
    from voxmix.study import proxy_losses

    table = ScoreTable.read(finetuned.downstream_dir)
    assert proxy_losses(finetuned, table) == {
        ("organs", name): [pytest.approx((loss + loss / 3) / 2)]
        for name, loss in (("single", 0.06), ("data-proportional", 0.05), ("transfer-aware", 0.04))
    }
    own = proxy_losses(finetuned, table, own_domain=True)
    assert own["organs", "single"] == [0.06]


def test_nothing_finetuned_names_the_command(study: Study) -> None:
    result = runner.invoke(app, ["compare", str(study.root)])
    assert result.exit_code == 2
    assert "first: voxmix finetune" in result.stderr


def test_other_protocols_are_refused_in_words_and_the_report_says_so(
    finetuned: Study, make_segmentation, write_results
) -> None:
    write_results(finetuned.downstream_dir, [make_segmentation("scratch", seed=4, protocol_digest="old")])
    result = runner.invoke(app, ["compare", str(finetuned.root)])
    assert result.exit_code == 2
    assert "scores of different protocols are not compared" in result.stderr
    assert runner.invoke(app, ["report", str(finetuned.root)]).exit_code == 0
    assert "scores of different protocols are not compared" in finetuned.report_path.read_text(
        encoding="utf-8"
    )


def test_the_report_shows_montages_unless_pictures_are_left_out(finetuned: Study) -> None:
    for run in finetuned.downstream_dir.glob("organs/*/seed-1"):
        labels = np.eye(8, dtype=np.uint8)
        arrays = {"cases": np.array(["c00"]), "classes": np.array(["background", "liver", "spleen"])}
        np.savez(
            run / "montage.npz",
            **arrays,
            **{"0/image": np.full((8, 8), 0.4, np.float16), "0/reference": labels, "0/prediction": labels},
        )
    (finetuned.downstream_dir / "organs/single/seed-1/montage.npz").write_bytes(b"damaged")
    assert runner.invoke(app, ["report", str(finetuned.root)]).exit_code == 0
    html = finetuned.report_path.read_text(encoding="utf-8")
    assert re.findall(r'alt="[^"]*, ([^"]+)"', html) == [
        "image",
        "reference",
        "scratch",
        "data-proportional",
        "transfer-aware",
    ]
    assert runner.invoke(app, ["report", str(finetuned.root), "--no-pictures"]).exit_code == 0
    assert "<img " not in finetuned.report_path.read_text(encoding="utf-8")


def test_status_counts_finetuning_runs(study: Study, finetuned: Study) -> None:
    result = runner.invoke(app, ["status", str(finetuned.root)])
    assert "finetuning: 12 runs finished, 1 not; their scores: voxmix compare" in result.stdout
    value = json.loads(runner.invoke(app, ["status", str(finetuned.root), "--json"]).stdout)
    assert value["finetuning"] == {"finished": 12, "unfinished": 1}


def test_json_and_markdown_exclude_each_other(finetuned: Study) -> None:
    result = runner.invoke(app, ["compare", str(finetuned.root), "--json", "--markdown"])
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


def test_trained_mixtures_are_compared_and_laws_judged_before_any_finetuning(
    finished_study: Path, study: Study
) -> None:
    from voxmix.study import judge_laws

    with pytest.raises(
        StepPendingError, match=r"no strategy of .* is trained and measured yet; first: voxmix pretrain"
    ):
        judge_laws(study)
    both = json.loads(runner.invoke(app, ["compare", str(finished_study), "--json"]).stdout)
    assert {"strategies", "scores"} < set(both)
    shutil.rmtree(Study.open(finished_study).downstream_dir)
    items = {item.law: item for item in judge_laws(Study.open(finished_study))}
    result = runner.invoke(app, ["compare", str(finished_study)])
    assert result.exit_code == 0, result.output
    assert "no finetuned encoder is measured yet: voxmix finetune" in result.stdout
    assert all(law in result.stdout for law in items)
    found = json.loads(runner.invoke(app, ["compare", str(finished_study), "--json"]).stdout)
    assert list(found) == ["strategies"]
    (rows,) = [rows for name, rows in found["strategies"].items() if name.startswith("law-accuracy-")]
    assert [row["law"] for row in rows] == list(items)
    for row in rows:
        item = items[row["law"]]
        assert row["error per strategy and target"] == pytest.approx(item.mean_error)
        assert row["level of the mean loss"] == pytest.approx(item.by("mean").level)
    assert runner.invoke(app, ["compare", str(finished_study), "--task", "organs"]).exit_code == 2
    assert (
        "### How well each law" in runner.invoke(app, ["compare", str(finished_study), "--markdown"]).stdout
    )
