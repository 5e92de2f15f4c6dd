"""The audit of the real volumes names the offset of the head-and-neck CTs and the padding of small fields, and no leak."""

from dataclasses import replace
from pathlib import Path

import pytest

from voxmix.datasets.sets.folder import read_folder
from voxmix.study.presets import PRESETS
from voxmix.volumes import Manifest, Recipe
from voxmix.volumes.auditing.audit import Audit, audit
from voxmix.volumes.auditing.fields import propose, see_fields

pytestmark = pytest.mark.shared
SMALL = {"HIPPO-MRT1", "PROSTATE-MR"}
FEW = 5


@pytest.fixture(scope="session")
def manifest(shared_data: Path) -> Manifest:
    """The first few subjects of every domain that has two."""
    whole = read_folder(shared_data / "volumes")
    kept = {d: set(whole.subjects(d)[:FEW]) for d in whole.domains if len(whole.subjects(d)) > 1}
    records = tuple(replace(r, label=None) for r in whole.records if r.subject in kept.get(r.domain, set()))
    return Manifest(records=records).split(seed=0)


@pytest.fixture(scope="session")
def found(manifest: Manifest) -> Audit:
    recipe = Recipe(spacing_mm=4.0, min_shape=(40, 40, 40))
    return audit(manifest, recipe=recipe, crop=32, pictures=False)


def test_the_offset_and_the_padding_are_named_and_nothing_else(found: Audit) -> None:
    said = {item.domain: [(c.kind, c.hopeless) for c in item.complaints] for item in found.fitness}
    assert {domain for domain, complaints in said.items() if complaints} == {*SMALL, "HN-CT"}
    assert said["HN-CT"] == [("offset", False)]
    for domain in SMALL:
        assert said[domain] == [("padding", True)]
    remedy = next(c.remedy for item in found.fitness for c in item.complaints if item.domain == "HN-CT")
    assert "`HN-CT: {kind: window, low: 849, high: 1274}`" in remedy


def test_there_is_no_leak_and_every_offset_is_a_finding(found: Audit) -> None:
    assert "leak" not in found.counts()
    offset = [f for f in found.findings if f.kind == "offset"]
    assert len(offset) == found.volumes("HN-CT")
    assert {f.domain for f in offset} == {"HN-CT"}
    assert not {"saturated", "blank"} & set(found.counts())


def test_the_fields_that_do_not_go_with_the_others_are_named(manifest: Manifest) -> None:
    small = PRESETS["small"]
    proposal = propose(
        see_fields(manifest),
        spacing_mm=small.recipe["spacing_mm"],
        crop=small.model.crop,
        min_shape=min(small.recipe["min_shape"]),
        patch=small.model.patch,
    )
    assert set(proposal.misfits) <= SMALL
    assert proposal.misfits
    assert proposal.crop % small.model.patch == 0
