"""A study's folder: made once, locked by one process, and half-written runs are never results."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from voxmix.design import RunSpec
from voxmix.errors import InputError, StudyBusyError, VoxmixWarning
from voxmix.mixture import Mixture
from voxmix.run_settings import ModelSettings
from voxmix.runs import measurements
from voxmix.study import DataSettings, Study, StudyAllocation, StudyConfig
from voxmix.study.config import write_config
from voxmix.study.pipeline import open_study
from voxmix.study.plan import check_specs, proxy_specs

DOMAINS = ("A", "B", "C")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    config = StudyConfig(name="x", data=DataSettings(path="v"), allocation=StudyAllocation(budget=100))
    return Study.create(tmp_path / "x", config)


def finish(study: Study, spec: RunSpec, losses: dict[str, float]) -> None:
    folder = study.run_dir(spec)
    folder.mkdir(parents=True)
    value = {
        "kind": "run",
        "format": 1,
        "run_id": spec.run_id,
        "spec": spec.as_dict(),
        "losses": {name: {"loss": loss, "loss_se": None} for name, loss in losses.items()},
        "draws": dict(zip(DOMAINS, spec.mixture.draws(spec.budget).tolist(), strict=True)),
        "unique_volumes": dict.fromkeys(DOMAINS, 1),
        "volumes": {"A": 4, "B": 5, "C": 6},
        "seconds": 1.0,
    }
    (folder / "result.json").write_text(json.dumps(value), encoding="utf-8")


def test_a_study_opens_as_it_was_made(study: Study) -> None:
    assert Study.open(study.root) == study
    assert Study.open(study.root / "study.yaml") == study


def test_runs_of_a_unetr_with_settings_that_it_never_read_are_kept(study: Study) -> None:
    def with_model(**changes: object) -> Study:
        model = ModelSettings(name="unetr", **changes)  # type: ignore[arg-type]
        return replace(study, config=replace(study.config, model=model))

    old = with_model(decoder_width=192)
    first, second, *_ = specs = proxy_specs(old.config, DOMAINS, cache="c")
    # As voxmix left them before 2026-11-28: the decoder in the id, the folder and the spec.
    finish(old, first, {"A": 1.0})
    path = old.run_dir(first).rename(old.runs_dir / first.former_id) / "result.json"
    value = json.loads(path.read_text(encoding="utf-8")) | {"run_id": first.former_id}
    value["spec"]["model"]["decoder_width"] = 192
    path.write_text(json.dumps(value), encoding="utf-8")
    (path.parent / "spec.json").write_text(json.dumps(value["spec"]), encoding="utf-8")
    (old.runs_dir / second.former_id).mkdir()
    (old.runs_dir / second.former_id / "spec.json").write_text(
        json.dumps(value["spec"] | {"budget": second.budget}), encoding="utf-8"
    )

    assert old.run_dir(first).name == first.former_id != first.run_id
    assert old.pending(specs) == specs[1:]
    (result,) = old.results(specs)
    assert measurements([result], DOMAINS).run == (first.former_id,)
    assert old.left_behind() == (old.runs_dir / second.former_id,)  # begun: it starts again
    assert old.run_dir(second).name == second.run_id
    for later in (
        with_model(),
        with_model(decoder_width=96),
    ):  # and when study.yaml says something else by now
        specs_of_later = proxy_specs(later.config, DOMAINS, cache="c")
        assert later.pending(specs_of_later) == specs_of_later[1:]
        assert later.results(specs_of_later) == (result,)
    # A run under today's id serves every decoder, and comes first.
    aside = path.parent.rename(old.root / "aside")
    finish(with_model(), replace(first, model=ModelSettings(name="unetr")), {"A": 2.0})
    aside.rename(path.parent)
    assert [r.losses["A"]["loss"] for r in old.results(specs)] == [2.0]
    assert [r.run_id for r in with_model(decoder_depth=9).results(specs)] == [first.run_id]


def test_a_study_is_of_volumes(study: Study) -> None:
    from voxmix.study import study_problems

    assert "axes" not in (study.root / "study.yaml").read_text(encoding="utf-8")
    images = replace(study, config=replace(study.config, model=ModelSettings(axes=2)))
    (problem,) = set(study_problems(images)) - set(study_problems(study))
    assert problem == "model.axes is 2, and voxmix prepares volumes, which have 3 axes; leave model.axes out"
    write_config(images.config, study.root / "study.yaml")
    assert Study.open(study.root) == images


def test_a_setting_that_the_network_does_not_read_is_said(study: Study) -> None:
    from voxmix.study import study_problems, study_remarks

    assert study_remarks(study) == ()
    model = ModelSettings(name="unetr", decoder_width=64, decoder_heads=2)
    unread = replace(study, config=replace(study.config, model=model))
    assert study_problems(unread) == study_problems(study)
    (said,) = study_remarks(unread)
    assert "model.decoder_width, model.decoder_heads have no effect with model.name unetr" in said
    with pytest.warns(VoxmixWarning, match="have no effect with model.name unetr"):
        open_study(unread)


def test_a_study_is_not_made_over_another(study: Study, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a study already"):
        Study.create(study.root, study.config)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("!", encoding="utf-8")
    with pytest.raises(InputError, match="not an empty folder"):
        Study.create(tmp_path / "full", study.config)
    with pytest.raises(InputError, match="is not a study"):
        Study.open(tmp_path)


def test_the_plan_has_every_proxy_once(study: Study) -> None:
    specs = proxy_specs(study.config, DOMAINS, cache="c")
    budgets = study.config.design.budgets
    assert len({spec.run_id for spec in specs}) == len(specs) == (len(DOMAINS) + 2) * len(budgets)
    assert {spec.mixture.source for spec in specs} == {*DOMAINS, None}
    twice = replace(study.config, design=replace(study.config.design, seeds=2, anchor_seeds=0))
    assert len(proxy_specs(twice, DOMAINS, cache="c")) == 2 * len(DOMAINS) * len(budgets)


def test_equal_mixtures_share_their_runs(study: Study) -> None:
    same = {
        "uniform": Mixture.uniform(DOMAINS),
        "data-proportional": Mixture.from_counts(dict.fromkeys(DOMAINS, 7)),
    }
    specs = check_specs(study.config, same, cache="c")
    assert specs["uniform"] == specs["data-proportional"]
    assert len(specs["uniform"]) == 2


def test_only_a_finished_run_is_a_result(study: Study) -> None:
    first, second, *_ = specs = proxy_specs(study.config, DOMAINS, cache="c")
    study.run_dir(first).mkdir(parents=True)
    (study.run_dir(first) / "weights.safetensors").write_bytes(b"half")
    assert study.pending(specs) == specs
    finish(study, second, {"A": 0.1, "B": 0.2, "C": 0.3})
    assert study.pending(specs) == tuple(spec for spec in specs if spec != second)
    (result,) = study.results(specs)
    assert result.run_id == second.run_id


def test_measurements_keep_source_and_target_apart(study: Study) -> None:
    spec = RunSpec(mixture=Mixture.from_dict({"A": 0.7, "B": 0.2, "C": 0.1}), budget=10, seed=3)
    finish(study, spec, {"C": 0.3, "A": 0.1})
    table = measurements(study.results((spec,)), DOMAINS)
    assert table.target == ("A", "C")
    np.testing.assert_allclose(table.loss, [0.1, 0.3])
    np.testing.assert_allclose(table.weights, [[0.7, 0.2, 0.1]] * 2)
    np.testing.assert_array_equal(table.volumes, [[4, 5, 6]] * 2)
    assert np.isnan(table.loss_se).all()


@pytest.mark.parametrize(
    "damage", ["{", '{"kind": "law"}', '{"kind": "run", "format": 9}', '{"kind": "run", "format": 1}']
)
def test_a_damaged_result_is_named(study: Study, damage: str) -> None:
    spec = RunSpec(mixture=Mixture.uniform(DOMAINS), budget=10, seed=0)
    finish(study, spec, {"A": 1.0})
    (study.run_dir(spec) / "result.json").write_text(damage, encoding="utf-8")
    with pytest.raises(InputError, match="result"):
        study.results((spec,))


def test_a_result_under_another_name_is_refused(study: Study) -> None:
    spec = RunSpec(mixture=Mixture.uniform(DOMAINS), budget=10, seed=0)
    finish(study, spec, {"A": 1.0})
    other = replace(spec, seed=1)
    study.run_dir(spec).rename(study.run_dir(other))
    with pytest.raises(InputError, match="delete the folder"):
        study.results((other,))


def test_one_process_works_on_a_study_at_a_time(study: Study) -> None:
    code = (
        "import sys, time, pathlib; from voxmix.study import Study\n"
        "with Study.open(pathlib.Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(study.root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StudyBusyError, match=f"pid {holder.pid}"), study.lock():
            pass
    finally:
        holder.kill()
        holder.communicate()
    deadline = time.monotonic() + 5
    while True:  # the lock of a killed process is free as soon as the system has let go of it
        try:
            with study.lock():
                break
        except StudyBusyError:
            assert time.monotonic() < deadline


def test_a_step_is_made_only_from_its_inputs(study: Study) -> None:
    assert not study.is_made("fit", "a")
    study.mark_made("fit", "a")
    study.mark_made("allocate", "b")
    assert study.is_made("fit", "a")
    assert not study.is_made("fit", "b")
    assert study.is_made("allocate", "b")


def test_finished_runs_of_other_volumes_are_counted(study: Study) -> None:
    old, new = (proxy_specs(study.config, DOMAINS, cache=cache)[:2] for cache in ("old", "new"))
    for spec in (*old, new[0]):
        folder = study.run_dir(spec)
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps(spec.as_dict()), encoding="utf-8")
        (folder / "result.json").write_text("{}", encoding="utf-8")
    (study.run_dir(new[1])).mkdir()
    (study.run_dir(new[1]) / "spec.json").write_text(json.dumps(new[1].as_dict()), encoding="utf-8")
    assert (study.of_other_volumes("new"), study.of_other_volumes("old")) == (2, 1)
    (study.run_dir(old[0]) / "spec.json").write_text("{", encoding="utf-8")
    assert study.of_other_volumes("new") == 1


def test_a_notebook_shows_a_study_in_short(finished_study: Path, tmp_path: Path) -> None:
    """Its repr is a line, without the path of this machine."""
    study = Study.open(finished_study)
    shown = repr(study)
    assert shown.startswith("Study('study', ")
    assert len(shown) < 120
    page = study._repr_html_()
    assert str(tmp_path) not in shown + page
    assert '<th scope="row">report</th>' in page
    assert len(page) < 2000
