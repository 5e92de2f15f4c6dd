"""Ids of finetuning and of what it stands on, as voxmix gave them on 2026-11-28: results that exist carry them.

Never edit an id here; see tests/study/test_run_ids.py.
"""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from voxmix._io import digest
from voxmix.datasets.table import tasks_of_sets
from voxmix.downstream.cases import Case, CaseSet
from voxmix.downstream.protocol import FinetuneSettings, Protocol
from voxmix.downstream.spec import FinetuneSpec
from voxmix.downstream.task_file import read_tasks
from voxmix.errors import InputError
from voxmix.run_settings import ModelSettings
from voxmix.study import finetuning
from voxmix.study.finetuning import PlannedRun
from voxmix.study.presets import PRESETS
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.recipe import Recipe

OWN = """
tumors:
  kind: segmentation
  domain: HN-CT
  data: somewhere
  classes: {background: [0, 7], tumor: [1], node: [2]}
  ignore: [9]
  label_volume: 1
  subject_pattern: 's(..)'
  split: [0.6, 0.2, 0.2]
  settings: {draws: 400, learning_rate: 0.0003}
liver:
  like: amos-ct
  samples: 4
"""
ROWS = {
    "amos-ct": "2d95f7b16469d734",
    "amos-mri": "31eb1679491c94b3",
    "brats-t1": "ea44a94ecc985ab1",
    "brats-t2": "cdf027f2c5b05d25",
    "hecktor": "c81968a6a61c3629",
    "bhsd": "f9d5750a492962ee",
    "oasis": "5cf91394795b8893",
    "synbrain-pet": "1fa533a6f16f96ff",
    "organmnist3d": "2ce15370b02d02ec",
    "tumors": "8b7b95048c238f6e",
    "liver": "20219fb0ef9dbbf8",
}
PROTOCOLS = {
    "paper, amos-ct": "d9417bf072345c54",
    "small, oasis": "066bc2e4655b2005",
    "small, tumors": "76f09f8a155426d6",
    "unetr, liver": "2291732263dcc9d4",
}
SPECS = {
    "scratch": "1d9aadf23a09f307",
    "uniform": "2f775afb605fe354",
    "frozen": "1b9a689d62f482b8",
}


def tasks(folder: Path):
    (folder / "tasks.yaml").write_text(OWN, encoding="utf-8")
    return read_tasks(folder / "tasks.yaml")


def protocols(folder: Path) -> dict[str, Protocol]:
    rows, small = tasks(folder), PRESETS["small"].model
    own = FinetuneSettings(**rows["tumors"].settings)
    unetr = ModelSettings(name="unetr", crop=32, patch=8, width=96, depth=3, heads=3)
    return {
        "paper, amos-ct": Protocol(task=rows["amos-ct"], model=ModelSettings(), cases="c"),
        "small, oasis": Protocol(task=rows["oasis"], model=small, cases="c"),
        "small, tumors": Protocol(task=rows["tumors"], model=small, cases="d", settings=own),
        "unetr, liver": Protocol(task=rows["liver"], model=unetr, cases="c"),
    }


def specs(folder: Path) -> dict[str, FinetuneSpec]:
    found = protocols(folder)
    return {
        "scratch": FinetuneSpec(protocol=found["paper, amos-ct"], init="scratch", seed=0),
        "uniform": FinetuneSpec(
            protocol=found["small, oasis"], init="uniform", seed=1, checkpoint="7eda2d35"
        ),
        "frozen": FinetuneSpec(
            protocol=found["small, tumors"], init="diversity-aware", seed=2, control="frozen", checkpoint="a"
        ),
    }


def prepared(root: Path) -> PreparedCache:
    volumes = tuple(
        PreparedVolume(
            key=f"{domain}-{i}", domain=domain, subject=str(i), split=split, shape=(20, 20, 20), spacing_mm=1.5,
            file=f"{domain}-{i}.npy", box=box,
        )
        for domain, box in (("CT", None), ("MR", ((1, 0, 2), (18, 20, 16))))
        for i, split in enumerate(("train", "validation"))
    )  # fmt: skip
    return PreparedCache(root=root, volumes=volumes, recipe=Recipe())


def test_every_row_of_the_table_of_tasks_keeps_its_digest(tmp_path):
    found = {task.name: digest(task.as_dict()) for task in (*tasks_of_sets(), *tasks(tmp_path).values())}
    assert found == ROWS


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_keeps_its_digest(name, tmp_path):
    assert protocols(tmp_path)[name].digest == PROTOCOLS[name]


@pytest.mark.parametrize("name", SPECS)
def test_a_finetuning_keeps_the_id_of_its_run(name, tmp_path):
    assert specs(tmp_path)[name].run_id == SPECS[name]


def test_settings_that_a_unetr_does_not_read_have_no_part_in_an_id(tmp_path):
    protocol = protocols(tmp_path)["unetr, liver"]
    unread = replace(protocol, model=replace(protocol.model, decoder_width=64, decoder_heads=2))
    assert unread.digest == protocol.digest
    spec, other = (FinetuneSpec(protocol=p, init="scratch", seed=0) for p in (protocol, unread))
    assert other.run_id == spec.run_id == spec.former_id
    assert other.former_id == "3e758d9f0eb65274"  # as voxmix gave it before 2026-11-28
    assert FinetuneSpec.from_dict(other.as_dict()).run_id == spec.run_id


@pytest.mark.parametrize(("found", "kept"), [("run_id", True), ("former_id", True), ("other", False)])
def test_a_finished_finetuning_is_kept_under_either_id(found, kept, tmp_path, monkeypatch):
    protocol = protocols(tmp_path)["unetr, liver"]
    unread = replace(protocol, model=replace(protocol.model, decoder_width=64, decoder_heads=2))
    run = PlannedRun(
        spec=FinetuneSpec(protocol=unread, init="scratch", seed=0), encoder=None, folder=tmp_path / "seed-0"
    )
    assert finetuning.pending_runs([run]) == (run,)
    run.folder.mkdir()
    (run.folder / "result.json").touch()
    result = SimpleNamespace(run_id=getattr(run.spec, found, "another"))
    monkeypatch.setattr(finetuning, "read_result", lambda path: result)
    with nullcontext() if kept else pytest.raises(InputError, match="other settings, cases or weights"):
        assert finetuning.pending_runs([run]) == ()


def test_caches_and_cases_keep_their_digests(tmp_path):
    cache = prepared(tmp_path)
    rows = tuple(Case(volume=v, part="train", target=i) for i, v in enumerate(cache.volumes))
    task = tasks(tmp_path)["tumors"]
    cases = CaseSet(
        task=task, cache=cache, cases=rows, classes=task.class_names, notes=(), set_aside={}, overlap=0
    )
    assert (cache.digest, cases.digest) == ("7137ad0ff19e7056", "872f4898c65e7a5a")
