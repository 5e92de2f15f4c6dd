"""The laws of scores of a study: fitted to its probes, kept, and fitted again when scores come."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from verbs import voxmix

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from voxmix.encoder_study import EncoderView, run_step
from voxmix.encoder_study.config_file import write_config
from voxmix.errors import StepPendingError
from voxmix.probe_tasks import ProbeTask
from voxmix.scaling import ScoreLaws
from voxmix.study.listener import Listener

LABELS = {"findings": ProbeTask(kind="labels", labels=("nodule",))}


def _step(name: str, root: Path, said: list[str] | None = None, **options: Any) -> Any:
    return run_step(name, root, Listener(tell=(said if said is not None else []).append), **options)


def _set(root: Path, **changes: Any) -> None:
    view = EncoderView.open(root)
    write_config(replace(view.config, **changes), view.study.path)


def test_laws_are_fitted_to_every_probe_and_kept(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    with pytest.raises(StepPendingError, match=r"no encoder of .* is judged yet; first: voxmix probe"):
        _step("scale", trained)
    _step("probe", trained)
    laws: ScoreLaws = _step("scale", trained)
    assert {(one.task, one.objective) for one in laws.series} == {("findings", "dino"), ("findings", "clip")}
    sizes = tuple(subset.images for subset in EncoderView.open(trained).subsets)
    assert {one.samples for one in laws.series} == {sizes}
    assert [one.name for one in laws.references] == ["untrained"]
    rows = list(csv.DictReader((trained / "scores.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 7
    errors = {
        (row["objective"], int(row["samples"])): 1 - float(row["score"]) for row in rows if row["objective"]
    }
    for one in laws.series:
        assert one.errors == pytest.approx([errors[one.objective, size] for size in sizes])
    view = EncoderView.open(trained)
    assert view.steps["scale"].progress(view).done
    before = (trained / "scores.json").stat().st_mtime_ns
    assert _step("scale", trained).as_dict() == laws.as_dict()
    assert (trained / "scores.json").stat().st_mtime_ns == before


def test_laws_are_fitted_again_when_scores_change(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    _step("probe", trained)
    _step("scale", trained)
    _set(trained, tasks={**LABELS, "near": ProbeTask(kind="labels", head="knn")})
    view = EncoderView.open(trained)
    assert view.steps["scale"].progress(view).done  # the new task has no score yet
    said: list[str] = []
    _step("probe", trained, tasks=("near",))
    view = EncoderView.open(trained)
    assert not view.steps["scale"].progress(view).done
    assert {one.task for one in _step("scale", trained, said).series} == {"findings", "near"}


def test_a_score_that_is_missing_is_told(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    _step("probe", trained)
    result = next((trained / "probes").rglob("result.json"))
    result.write_text("{}", encoding="utf-8")
    said: list[str] = []
    _step("scale", trained, said)
    assert any("1 probes are not done and in no law" in line for line in said)
    assert _step("probe", trained).made == 1  # what was damaged is made again


def test_fewer_than_three_sizes_are_no_law_and_say_so(trained: Path) -> None:
    view = EncoderView.open(trained)
    _set(trained, tasks=LABELS, design=replace(view.config.design, samples=(4, "all")))
    _step("probe", trained)
    said: list[str] = []
    laws: ScoreLaws = _step("scale", trained, said)
    told = " ".join([*said, *laws.sentences(), *(one.elasticity.status for one in laws.series)])
    assert "three sizes" in told or "3 sizes" in told
    assert not any(one.elasticity.known for one in laws.series)


def test_scale_prints_the_answer(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    _step("probe", trained)
    done = voxmix("scale", trained)
    assert done.exit_code == 0, done.output
    assert "less error per doubling" in " ".join(done.output.split())
    found = json.loads(voxmix("scale", trained, "--json").stdout)
    assert found["sentences"][0]
    assert found["table"].endswith("scores.csv")
