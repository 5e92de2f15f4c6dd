"""Pilot runs of a tiny study: trained once, kept for the grid, and continued after a stop."""

import json
from pathlib import Path

import pytest
import yaml
from verbs import voxmix

from voxmix.study import Study, StudyView
from voxmix.study.pilot import pilot_specs

pytest.importorskip("nibabel", reason="phantoms need the extra 'imaging'")

DOMAINS = ("ABD-CT", "HN-PET")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("pilot") / "study"
    asked = [word for name in DOMAINS for word in ("--domain", name)]
    assert voxmix("init", str(found), "--phantoms", *asked).exit_code == 0
    path = found / "study.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["data"]["phantoms"]["counts"] = dict.fromkeys(DOMAINS, 4)
    values["recipe"] |= {"spacing_mm": 6.0, "min_shape": [16, 16, 16]}
    values["model"] |= {"crop": 16, "patch": 8, "width": 24, "depth": 1, "heads": 2, "decoder_width": 16}
    values["model"] |= {"decoder_depth": 1, "decoder_heads": 2}
    values["training"] |= {"learning_rate": 0.003, "batch_size": 8, "warmup_steps": 2, "schedule": "trunk"}
    values["evaluation"] = {"crops_per_domain": 8}
    values["design"] |= {"budgets": [64, 128], "anchor_seeds": 2}
    values["allocation"]["budget"] = 160
    values["workers"] = 2
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert voxmix("prepare", str(found)).exit_code == 0
    return found


@pytest.mark.timeout(900)
def test_a_pilot_that_was_stopped_goes_on_and_the_grid_takes_its_runs(root: Path) -> None:
    done = voxmix(
        "run", str(root), "--pilot", "--minutes", "0.0001"
    )  # the smallest budget tells the time of a draw
    assert done.exit_code == 2
    assert "give more --minutes" in done.output
    view = StudyView(Study.open(root))
    stages = pilot_specs(view.config, view.domains, cache=view.cache_digest)
    assert [stage[0].budget for stage in stages] == [32, 64, 128]
    written = {path: path.stat().st_mtime_ns for path in root.glob("runs/*/result.json")}
    assert {path.parent.name for path in written} == {spec.run_id for spec in stages[0]}

    done = voxmix("run", str(root), "--pilot", "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert value["budgets"] == [32, 64, 128]
    assert value["runs"] == 6
    assert value["seconds_per_draw"] > 0
    assert [item["target"] for item in value["regime"]["targets"]] == list(DOMAINS)
    assert value["regime"]["targets"][0]["curve"] == "the uniform mixture"
    assert value["regime"]["targets"][0]["noise"] > 0
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())

    anchors = {spec.run_id for spec in view.proxies_by_kind["anchors"]}
    assert anchors == {spec.run_id for stage in stages[1:] for spec in stage}
    assert not view.study.pending(tuple(spec for spec in view.proxies if spec.run_id in anchors))
    assert [item["kind"] for item in value["cost"]["now"]["work"]] == ["pure runs", "vertex runs"]
