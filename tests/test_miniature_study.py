"""The whole job in miniature: phantoms in, a report out; killed and resumed it measures the same."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("torch", reason="training needs the extra 'train'")
pytest.importorskip("nibabel", reason="phantoms need the extra 'imaging'")

pytestmark = pytest.mark.timeout(900)

DOMAINS = ("ABD-CT", "BRAIN-T1", "HN-PET")
SETTINGS = {
    "recipe": {"spacing_mm": 6.0, "min_shape": [16, 16, 16]},
    "model": {
        "crop": 16,
        "patch": 8,
        "width": 24,
        "depth": 1,
        "heads": 2,
        "decoder_width": 16,
        "decoder_depth": 1,
        "decoder_heads": 2,
    },
    "training": {"learning_rate": 0.003, "batch_size": 8, "warmup_steps": 2},
    "evaluation": {"crops_per_domain": 8},
    "design": {"budgets": [24, 48, 96], "anchor_seeds": 1},
    "fit": {"bootstrap": 20},
    "allocation": {"budget": 160, "seeds": 2},
    "workers": 2,
}


def voxmix(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "voxmix", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=600, check=False)


def in_process(*arguments: str) -> Any:
    """Run a verb without the seconds that a process needs to import torch."""
    from typer.testing import CliRunner

    from voxmix.cli import app

    return CliRunner().invoke(app, arguments)


def miniature(root: Path) -> Path:
    asked = [word for name in DOMAINS for word in ("--domain", name)]
    done = voxmix("init", str(root), "--phantoms", *asked)
    assert done.returncode == 0, done.stderr
    path = root / "study.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["data"]["phantoms"]["counts"] = dict(zip(DOMAINS, (6, 5, 3), strict=True))
    for name, change in SETTINGS.items():
        values[name] = {**values[name], **change} if isinstance(change, dict) else change
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = miniature(tmp_path_factory.mktemp("whole") / "study")
    done = voxmix("study", "run", str(root))
    assert done.returncode == 0, done.stderr
    assert str(root / "report.html") in done.stdout
    assert "preparing" in done.stderr
    assert "training proxies" in done.stderr
    return root


def test_every_step_is_done(finished: Path) -> None:
    status = json.loads(voxmix("status", str(finished), "--json").stdout)
    assert [step["done"] for step in status["steps"]] == [True] * 6
    assert status["next"] is None
    results = list(finished.glob("runs/*/result.json"))
    assert len(results) >= 3 * (2 * len(DOMAINS) + 1) + 2 * 3


def test_draws_are_those_of_the_mixture(finished: Path) -> None:
    for path in finished.glob("runs/*/result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        assert sum(result["draws"].values()) == result["spec"]["budget"]
        for name, weight in result["spec"]["mixture"].items():
            assert abs(result["draws"][name] - weight * result["spec"]["budget"]) < 1


def test_every_run_is_measured_on_every_target(finished: Path) -> None:
    rows = (finished / "measurements.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + 3 * (2 * len(DOMAINS) + 1) * len(DOMAINS)


def test_mixtures_are_feasible_and_certified(finished: Path) -> None:
    found = json.loads(voxmix("allocate", str(finished), "--json").stdout)
    assert set(found) == {
        "uniform",
        "data-proportional",
        "transfer-naive",
        "transfer-aware",
        "offset-diversity-aware",
    }
    for value in found.values():
        assert sum(value["weights"].values()) == pytest.approx(1)
    for name in ("transfer-naive", "transfer-aware", "offset-diversity-aware"):
        assert min(found[name]["weights"].values()) >= 0.05 - 1e-9
        assert 0 <= found[name]["gap"] <= 1e-6 * found[name]["objective"]


def test_the_report_is_one_file_that_asks_for_nothing(finished: Path) -> None:
    text = (finished / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", text)
    for name in DOMAINS:
        assert name in text
    assert "nan" not in re.findall(r">\s*([^<]*?)\s*<", text)


@pytest.mark.parametrize("answer", ["transfer-aware", "offset-diversity-aware"])
def test_the_path_over_budgets_ends_in_the_answer(finished: Path, answer: str) -> None:
    from voxmix.study import Study, StudyView
    from voxmix.study.report_contents import _by_budget, report_content

    study = Study.open(finished)
    content = dataclasses.replace(report_content(study), recommended=answer)
    found = content.strategies[answer]
    last = _by_budget(StudyView(study), content)[-1]
    assert (last.law, last.budget) == (found.law, 160)
    assert last.objective == pytest.approx(found.objective, rel=1e-9)


def test_nothing_is_made_twice(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.glob("runs/*/result.json")}
    assert voxmix("study", "run", str(finished)).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in finished.glob("runs/*/result.json")} == before


def test_the_encoder_of_the_answer_is_exported(finished: Path, tmp_path: Path) -> None:
    done = in_process("export", str(finished), "--json")
    assert done.exit_code == 0, done.stderr
    written = json.loads(done.stdout)
    folder = finished / "export" / "encoder"
    assert Path(written["folder"]) == folder
    assert {path.name for path in folder.iterdir()} == set(written["files"])
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert card["budget"] == 160
    run = finished / "runs" / card["run_id"]
    again = in_process(
        "export", str(run), "--names", "timm", "-o", str(tmp_path / "timm"), "--license", "mit"
    )
    assert again.exit_code == 0, again.stderr
    assert "license: mit" in (tmp_path / "timm" / "README.md").read_text(encoding="utf-8")
    named = in_process(
        "export", str(finished), "--strategy", "uniform", "--seed", "1", "-o", str(tmp_path / "u")
    )
    assert named.exit_code == 0, named.stderr
    card = json.loads((tmp_path / "u" / "card.json").read_text(encoding="utf-8"))
    assert (set(card["mixture"].values()), card["seed"]) == ({1 / 3}, 1)


def test_a_mixture_is_exported_for_a_loader(finished: Path, tmp_path: Path) -> None:
    done = in_process("export", str(finished), "--mixture-for", "torch", "--strategy", "uniform", "--json")
    assert done.exit_code == 0, done.stderr
    written = json.loads(done.stdout)
    assert set(written["weights"].values()) == {1 / 3}
    names = {path.name for path in Path(written["folder"]).iterdir()}
    assert names == {"mixture.json", "samples.csv", "feed_torch.py"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--strategy", "best"), "no strategy 'best'; give --strategy with one of"),
        (("--strategy", "uniform", "--seed", "7"), "no run of uniform with seed 7; its seeds are [0, 1]"),
        (("--mixture-for", "torch", "--seed", "0"), "--seed has no effect on a mixture"),
        (("--names", "keras"), "Invalid value for '--names'"),
    ],
)
def test_exports_that_cannot_be_say_why(finished: Path, arguments: tuple[str, ...], words: str) -> None:
    done = in_process("export", str(finished), *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())


def test_what_is_neither_run_nor_study_is_not_exported(tmp_path: Path) -> None:
    done = in_process("export", str(tmp_path))
    assert done.exit_code == 2
    assert "neither a study (study.yaml) nor a finished run" in done.stderr


def test_nothing_written_names_a_subject_or_a_path(finished: Path) -> None:
    subjects = [path.name for path in (finished / "phantoms").glob("*/*") if path.is_dir()]
    assert subjects
    private = finished / "private"
    assert private.stat().st_mode & 0o077 == 0  # who is who is kept, closed to others, in this one place
    assert (private / ".gitignore").read_text(encoding="utf-8") == "*\n"
    assert all(name in (private / "subjects.json").read_text(encoding="utf-8") for name in subjects)
    for path in finished.rglob("*"):
        if (
            path.is_file()
            and not {"phantoms", "private"} & set(path.relative_to(finished).parts)
            and path.name != "study.yaml"
        ):
            content = path.read_bytes()
            assert str(finished.parent).encode() not in content, path
            if path.suffix in {".json", ".html", ".csv", ".jsonl"}:
                assert not [name for name in subjects if name.encode() in content], path


def test_a_killed_study_measures_the_same_when_python_goes_on_with_it(finished: Path, tmp_path: Path) -> None:
    from voxmix import run_study

    root = miniature(tmp_path / "study")
    for results in (0, 5, 14):  # killed while preparing, among the proxies, among the mixtures
        process = subprocess.Popen(
            [sys.executable, "-m", "voxmix", "study", "run", str(root)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while process.poll() is None and not _reached(root, results):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    heard: list[tuple[str, int, int]] = []
    done = run_study(root, progress=lambda *step: heard.append(step), tell=lambda sentence: None)
    assert (root / "measurements.csv").read_bytes() == (finished / "measurements.csv").read_bytes()
    assert _losses(root) == _losses(finished)
    for kind in ("laws/*.json", "allocations/*.json"):
        made = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in root.glob(kind)}
        assert made == {
            path.name: json.loads(path.read_text(encoding="utf-8")) for path in finished.glob(kind)
        }
    assert done.outcomes["run"].table.loss.tolist() == read_losses(finished / "measurements.csv")
    assert done.answer is not None
    assert done.study.report_path.exists()
    last = {label: (at, of) for label, at, of in heard}
    assert {"preparing", "allocating", "writing the report"} <= set(last)
    assert all(at == of for at, of in last.values())


def read_losses(path: Path) -> list[float]:
    from voxmix.measurement import MeasurementTable

    losses: list[float] = MeasurementTable.read(path).loss.tolist()
    return losses


def _reached(root: Path, results: int) -> bool:
    if results:
        return len(list(root.glob("runs/*/result.json"))) >= results
    return bool(list(root.glob("cache/volumes/*.npy")))


def _losses(root: Path) -> dict[str, object]:
    return {
        p.parent.name: json.loads(p.read_text(encoding="utf-8"))["losses"]
        for p in root.glob("runs/*/result.json")
    }


def test_repeats_lose_their_worth_where_the_study_says_so(finished: Path) -> None:
    path = finished / "study.yaml"
    before = path.read_text(encoding="utf-8")
    values = yaml.safe_load(before)
    values["fit"] = {**values["fit"], "repetition": 5.0, "bootstrap": 0}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    try:
        done = in_process("fit", str(finished), "--json")
        assert done.exit_code == 0, done.stderr
        law = json.loads((finished / "laws" / "transfer.json").read_text(encoding="utf-8"))
        cards = [json.loads(p.read_text(encoding="utf-8")) for p in finished.glob("runs/*/result.json")]
        assert set(law["repeats"].values()) == {5.0}
        assert law["unique_volumes"] == {n: float(v) for n, v in law["volumes"].items()}
        drawn = {n: max(card["unique_volumes"].get(n, 0) for card in cards) for n in DOMAINS}
        assert law["unique_volumes"] == drawn  # every training volume was drawn by some run
    finally:
        path.write_text(before, encoding="utf-8")


def test_a_round_of_refine_that_was_stopped_ends_as_one_that_was_not_and_its_mixture_is_trained_alone(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxmix.study import allocate, fit, pretrain, refine, refining

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for root in (whole, stopped):
        shutil.copytree(finished, root)
    train = refining.train_runs

    def dies(view: Any, specs: Any, label: str, hear: Any) -> None:
        train(view, specs[:1], label, hear)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(refining, "train_runs", dies)
        with pytest.raises(KeyboardInterrupt):
            refine(stopped, rounds=1)
    found, resumed = refine(whole, rounds=1), refine(stopped, rounds=1)
    assert resumed.to_dict() == found.to_dict()
    assert (stopped / "refine.json").read_bytes() == (whole / "refine.json").read_bytes()
    assert _losses(stopped) == _losses(whole)
    assert set(found.rounds[0].measured) == set(DOMAINS)

    before = set(_losses(whole))
    values = yaml.safe_load((whole / "study.yaml").read_text(encoding="utf-8"))
    values["allocation"]["strategies"].append("refined")
    (whole / "study.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    fit(whole)  # another test may have changed the settings of the fit for a while
    assert allocate(whole)["refined"] == found.choice
    pretrain(whole)
    more = [
        json.loads((whole / "runs" / run / "spec.json").read_text(encoding="utf-8"))
        for run in set(_losses(whole)) - before
    ]
    assert [(spec["mixture"], spec["budget"]) for spec in more] == [(found.choice.as_dict(), 160)] * 2


def test_a_run_that_diverged_is_named_by_fit_and_report_and_set_aside(finished: Path, tmp_path: Path) -> None:
    from voxmix.errors import VoxmixWarning
    from voxmix.study import Study, fit_laws

    root = tmp_path / "study"
    shutil.copytree(finished, root)
    study = Study.open(root)
    before = fit_laws(study)["transfer"]
    card = next(
        path
        for path in sorted(root.glob("runs/*/result.json"))
        if json.loads(path.read_text(encoding="utf-8"))["spec"]["mixture"][DOMAINS[0]] == 1
        and json.loads(path.read_text(encoding="utf-8"))["spec"]["budget"] == before.budget_range[0]
    )
    value = json.loads(card.read_text(encoding="utf-8"))
    value["losses"][DOMAINS[0]]["loss"] *= 1000
    card.write_text(json.dumps(value), encoding="utf-8")
    with pytest.warns(VoxmixWarning, match=rf"1 loss .* is set aside .* on {DOMAINS[0]}:"):
        law = fit_laws(study)["transfer"]
    assert [item.run for item in law.outliers] == [card.parent.name]
    assert fit_laws(study)["transfer"].outliers == law.outliers  # kept, and not fitted again in vain
    assert in_process("allocate", str(root)).exit_code == 0
    assert in_process("report", str(root)).exit_code == 0
    assert "Losses that no noise explains" in (root / "report.html").read_text(encoding="utf-8")
