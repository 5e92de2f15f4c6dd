"""Whom pretraining has seen is known by the study's map; without the map nothing is assumed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from voxmix.datasets.sets.folder import read_folder
from voxmix.datasets.task import Task
from voxmix.downstream.cases import CaseSet
from voxmix.errors import InputError
from voxmix.volumes import Recipe
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.preparing.private_lists import Names


def test_the_map_tells_who_was_pretrained_on(
    dataset: Path, build: Callable[..., CaseSet], task: Task, recipe: Recipe, tmp_path: Path
) -> None:
    pretrained = prepare(
        read_folder(dataset).split(seed=3, fraction=0.7),
        recipe=recipe,
        root=tmp_path / "pretraining",
        source=dataset,
        names=(names := Names(folder=tmp_path / "private")),
    ).cache
    assert not (pretrained.root / "salt").exists()
    trained = {volume.subject for volume in pretrained.select("CT", "train")}
    assert trained
    cases = build(task, dataset, pretrained=pretrained, pretrained_source=dataset, pretrained_names=names)
    held_out = {c.volume.subject for part in ("validation", "test") for c in cases.part(part)}
    everyone = held_out | {c.volume.subject for c in cases.part("train")}
    assert trained <= everyone  # The same people have the same names in both.
    assert not trained & held_out
    assert not list(tmp_path.glob("cases*/salt"))
    names.map_path.unlink()
    for _ in range(2):
        with pytest.raises(InputError, match="unknown whom the encoders were pretrained on"):
            build(task, dataset, pretrained=pretrained, pretrained_source=dataset, pretrained_names=names)
        # The second time there is a map again, of another cache with another secret.
        manifest = read_folder(dataset).split(seed=3)
        prepare(
            replace(manifest, records=manifest.records[:-1]),
            recipe=recipe,
            root=tmp_path / "other",
            source=dataset,
            names=names,
        )
