"""Runs of a study: trunks, flags, and what a changed study file leaves behind."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import yaml
from verbs import voxmix

from voxmix import _io
from voxmix.cli import whole
from voxmix.study import Study, StudyView, preparing, training
from voxmix.study.making import FailedRun
from voxmix.training.checkpoint import save_state


@pytest.fixture
def study(cache, make_study):
    return make_study(cache, workers=2)


@pytest.mark.slow
def test_a_study_on_trunks_computes_less_and_measures_every_budget(study):
    done = voxmix("run", study.root, "--loaders", "1", "--micro-batch", "4", "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert (value["measurements"], value["kinds"]) == (4 * 2, {"pure runs": 4})
    results = study.results(StudyView(study).proxies)
    assert sorted(result.budget for result in results) == [60, 60, 100, 100]
    shared = {result.budget: result.details["shared"]["draws"] for result in results}
    assert shared == {60: 0, 100: 8 * study.config.training.branch_step(60)}
    assert all(result.details["computed"]["micro_batch"] == 4 for result in results)
    assert len(list((study.root / "trunks").iterdir())) == 2
    assert all(list(study.run_dir(result.spec).glob("events.out.tfevents.*")) for result in results)
    again = voxmix("run", study.root, "--json")
    assert again.exit_code == 0
    assert study.results(StudyView(study).proxies) == results


def test_runs_of_a_changed_study_file_are_named_and_kept(study, monkeypatch):
    specs = StudyView(study).proxies
    begun = study.run_dir(specs[0])
    _io.write_json(begun / "spec.json", specs[0].as_dict())
    save_state(begun, {"run_id": specs[0].run_id, "steps": 3})
    assert study.left_behind() == ()
    path = study.root / "study.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["training"]["learning_rate"] = 0.001
    values["training"]["schedule"] = "cosine"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    changed = Study.open(study.root)
    assert changed.left_behind() == (begun,)
    _io.write_json(study.runs_dir / "zz" / "spec.json", {"format": 1})
    assert changed.left_behind() == (begun, study.runs_dir / "zz")
    shutil.rmtree(study.runs_dir / "zz")
    assert {spec.run_id for spec in StudyView(changed).proxies}.isdisjoint(spec.run_id for spec in specs)
    trained = []
    monkeypatch.setattr(training, "train_pending", lambda study, specs, progress: trained.extend(specs) or ())
    done = voxmix("run", study.root)
    said = re.sub(r"\s+", " ", done.stderr)
    assert f"1 run(s) were begun with settings that {path} no longer has ({begun.name})" in said
    assert trained == list(StudyView(changed).proxies)
    assert (begun / "state.pt").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--device", "gpu"], "device: Input should be 'auto', 'cpu', 'cuda' or 'mps', got 'gpu'"),
        (["--sharing", "dp"], "sharing: Input should be 'ddp' or 'fsdp', got 'dp'"),
        (["--devices", "0"], "devices must be at least 1, got 0"),
        (["--micro-batch", "0"], "micro_batch must be at least 1 draw, got 0"),
        (["--loaders", "-1"], "loaders must be at least 0, got -1"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "pretrain", "study run"])
def test_flags_that_cannot_be_used_are_refused(study, verb, flags, words):
    done = voxmix(*verb.split(), study.root, *flags)
    assert done.exit_code == 2
    assert words in re.sub(r"\s+", " ", done.stderr)


def test_flags_reach_every_run_and_leave_the_study_file(study, monkeypatch):
    asked = []
    monkeypatch.setattr(
        training, "train_pending", lambda study, specs, progress: asked.append(study.config) or ()
    )
    monkeypatch.setattr(preparing, "prepare_volumes", lambda view, hear: None)
    monkeypatch.setattr(whole, "show_preparation", lambda preparation: None)
    before = (study.root / "study.yaml").read_bytes()
    flags = (
        "--device",
        "cpu",
        "--devices",
        "2",
        "--micro-batch",
        "4",
        "--loaders",
        "1",
        "--tracker",
        "mlflow",
    )
    for verb in ("run", "study run"):
        voxmix(*verb.split(), study.root, *flags, "--workers", "3")
    assert len(asked) == 2
    for config in asked:
        found = config.compute
        assert (found.device, found.devices, found.micro_batch, found.loaders) == ("cpu", 2, 4, 1)
        assert (found.trackers, config.workers) == (("mlflow",), 3)
    assert (study.root / "study.yaml").read_bytes() == before


def test_runs_that_fail_alike_are_named_once(study, monkeypatch):
    monkeypatch.setattr(
        training,
        "train_pending",
        lambda study, specs, progress: tuple(FailedRun(spec=spec, reason="no such device") for spec in specs),
    )
    done = voxmix("run", study.root)
    assert done.exit_code == 1
    said = re.sub(r"\s+", " ", done.stderr)
    assert said.count("no such device") == 1
    assert "and 1 more failed: no such device" in said
    assert "4 of 4 runs failed" in said


def test_a_study_file_with_unusable_training_is_refused_by_its_place(study):
    path = study.root / "study.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["training"]["cooldown"] = 1.5
    values["compute"]["devices"] = 0
    values["compute"]["tracker"] = ["tensorboard"]
    values["design"]["budget_unit"] = "epochs"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    done = voxmix("run", study.root)
    assert done.exit_code == 2
    said = re.sub(r"\s+", " ", done.stderr)
    assert "training: cooldown must lie between 0 and 1, got 1.5" in said
    assert "design.budget_unit" in said
    assert "compute.tracker: unknown key; did you mean 'trackers'?" in said


def test_no_volume_is_read_to_learn_that_the_held_out_crops_are_stored(study, cache, monkeypatch):
    from voxmix.volumes.preparing.cache import PreparedCache

    read = []
    array = PreparedCache.array
    monkeypatch.setattr(
        PreparedCache, "array", lambda self, volume: read.append(volume.key) or array(self, volume)
    )
    training.keep_evaluation_set(study, cache)
    path, crops = study.evaluation_path, study.config.evaluation.crops_per_domain
    stored, made = path.read_bytes(), len(read)
    assert made == crops * len(cache.domains)
    training.keep_evaluation_set(study, cache)
    assert len(read) == made
    assert path.read_bytes() == stored
    path.write_bytes(stored[:-100])  # a part of it is no set: it is made again, the same
    training.keep_evaluation_set(study, cache)
    assert len(read) == 2 * made
    assert path.read_bytes() == stored
    fewer = replace(cache, volumes=cache.volumes[1:])
    other = replace(study, config=replace(study.config, evaluation=replace(study.config.evaluation, seed=1)))
    for changed, volumes in ((study, fewer), (other, cache)):
        before = len(read)
        training.keep_evaluation_set(changed, volumes)
        assert len(read) == before + made
        assert path.read_bytes() != stored
