"""Prepared volumes as what encoders learn from: whole, or as axial slices; persons stay whole; images serve no 3D study."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from voxmix.encoder_runs import Source, SourceSubset
from voxmix.errors import InputError
from voxmix.images.cache import ImageCache
from voxmix.images.recipe import ImageRecipe
from voxmix.images.sources import open_source
from voxmix.objectives.images import reader
from voxmix.subsets import nested_subsets
from voxmix.volumes import PreparedCache, Recipe
from voxmix.volumes.preparing.cache import PreparedVolume
from voxmix.volumes.preparing.source import SliceSettings, SliceSource, VolumeSource

pytestmark = pytest.mark.filterwarnings("ignore::voxmix.errors.VoxmixWarning")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    """A cache of made volumes: head scans of two kinds of the same persons, and abdomens."""
    pytest.importorskip("nibabel")
    from voxmix.datasets.sets.folder import read_folder
    from voxmix.phantoms import write_phantoms
    from voxmix.volumes.preparing.prepare import prepare

    root = tmp_path_factory.mktemp("phantoms")
    write_phantoms(root / "data", counts={"HN-CT": 8, "HN-PET": 8, "ABD-CT": 8}, seed=0, matrix=32)
    recipe = Recipe(spacing_mm=11.0, min_shape=(24, 24, 24))
    prepare(read_folder(root / "data").split(seed=0), recipe=recipe, root=root / "cache")
    return root / "cache"


def train_items(source):
    return [item for item in source.items if item.split == "train"]


def hand_made(root: Path) -> PreparedCache:
    """Two volumes of 20 x 18 x 13: bright planes 2 to 9 in a box, padding around; one slab too thin for slices."""
    (root / "volumes").mkdir(parents=True)
    volumes = []
    for name, box in (("a", ((1, 0, 1), (18, 17, 11))), ("b", None), ("c", ((0, 4, 0), (20, 9, 13)))):
        values = np.random.default_rng(ord(name)).uniform(0.2, 1, (20, 18, 13)).astype(np.float16)
        values[:, :, :2], values[:, :, 10:] = 0, 0.04  # air, noise
        np.save(root / f"volumes/{name}.npy", values)
        volumes.append(
            PreparedVolume(
                key=name,
                domain="CT",
                subject=f"p{name}",
                split="validation" if name == "b" else "train",
                shape=(20, 18, 13),
                spacing_mm=2.0,
                file=f"volumes/{name}.npy",
                box=box,
            )
        )
    cache = PreparedCache(root=root, volumes=tuple(volumes), recipe=Recipe(spacing_mm=2.0))
    (root / "index.json").write_text(json.dumps(cache.as_dict()), encoding="utf-8")
    return cache


def test_volumes_are_items_without_their_padding(tmp_path) -> None:
    cache = hand_made(tmp_path)
    source = open_source(tmp_path, axes=3)
    assert isinstance(source, VolumeSource)
    assert isinstance(source, Source)
    assert (source.axes, source.digest, source.label_names, source.tokenizer) == (3, cache.digest, (), "")
    a, b, c = source.items
    assert [item.shape for item in (a, b, c)] == [(18, 17, 11), (20, 18, 13), (20, 9, 13)]
    assert (a.person, a.split, a.domain, a.has_text, dict(a.labels)) == ("pa", "train", "CT", False, {})
    values = cache.array(cache.volumes[0])
    found = source.array(a)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, values[1:19, 0:17, 1:12])
    np.testing.assert_array_equal(source.array(b), cache.array(cache.volumes[1]))
    with pytest.raises(InputError, match="3D volumes with reports are not read today"):
        source.tokens(a)
    with pytest.raises(InputError, match="have no reports or labels"):
        source.label_tokens(a)


def test_the_same_file_in_two_domains_is_two_items(tmp_path) -> None:
    cache = hand_made(tmp_path)
    twice = replace(cache, volumes=(*cache.volumes, replace(cache.volumes[0], domain="MR")))
    for source in (VolumeSource(twice), SliceSource(twice, SliceSettings(every=2))):
        keys = [item.key for item in source.items]
        assert len(set(keys)) == len(keys)


def test_slices_are_planes_as_radiologists_see_them_and_blank_ones_are_left_out(tmp_path) -> None:
    cache = hand_made(tmp_path)
    source = open_source(tmp_path, axes=2, slices=SliceSettings(every=1))
    assert isinstance(source, SliceSource)
    assert isinstance(source, Source)
    of_a = [item for item in source.items if item.person == "pa"]
    assert [item.place for item in of_a] == list(range(2, 10))
    assert {item.person for item in source.items} == {"pa", "pb"}
    assert source.empty == 1
    assert {item.shape for item in of_a} == {(17, 18)}
    values = cache.array(cache.volumes[0])
    image = source.array(of_a[3])
    assert image.shape == (17, 18) == of_a[3].shape
    # The first row is the front of the body, the first column its right side.
    assert image[0, 0] == values[18, 16, 5]
    assert image[16, 0] == values[18, 0, 5]
    assert image[0, 17] == values[1, 16, 5]


def test_every_nth_slice_and_other_rules_are_another_source(tmp_path) -> None:
    cache = hand_made(tmp_path)
    dense, thin = (SliceSource(cache, SliceSettings(every=n)) for n in (1, 3))
    assert [item.place for item in thin.items if item.person == "pb"] == [3, 6, 9]
    assert len({dense.digest, thin.digest, cache.digest}) == 3
    kept = sorted((tmp_path / "slices").glob("*.json"))
    assert [path.stem for path in kept] == [thin.digest]
    kept[0].write_text(
        kept[0].read_text(encoding="utf-8").replace("9", "8"), encoding="utf-8"
    )  # what was found once is not looked for again
    assert [item.place for item in SliceSource(cache, SliceSettings(every=3)).items][-1] == 8
    kept[0].write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="slices of prepared volumes"):
        _ = SliceSource(cache, SliceSettings(every=3)).items
    with pytest.raises(InputError, match="none of the 1 volumes"):
        _ = SliceSource(replace(cache, volumes=cache.volumes[2:])).items
    with pytest.raises(InputError, match="every must be at least 1"):
        SliceSettings(every=0)


@pytest.mark.parametrize("axes", [2, 3])
def test_subsets_never_cut_a_person(axes, phantoms) -> None:
    source = open_source(phantoms, axes=axes)
    of = {}
    for item in source.items:
        of.setdefault(item.person, set()).add(item.split)
    assert all(len(sides) == 1 for sides in of.values())
    items = train_items(source)
    assert (
        len({item.domain for item in items if item.person == items[-1].person}) == 2
    )  # CT and PET of one head
    before: set[str] = set()
    for subset in nested_subsets(items, [2, len(items) // 2, "all"], seed=1):
        keys = {items[place].key for place in subset.items}
        persons = {items[place].person for place in subset.items}
        assert before <= keys
        assert keys == {item.key for item in items if item.person in persons}
        assert subset.digest
        before = keys


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", ["dino", "mae"])
def test_it_trains_on_volumes_and_slices_and_ends_with_the_same_bits(
    name, axes, phantoms, spec_for, trained, figures, tmp_path, dies_at
):
    whole = open_source(phantoms, axes=axes)
    assert len({item.shape for item in whole.items}) > 1
    assert any(max(item.shape) > 24 for item in whole.items)  # views show parts of larger volumes
    items = train_items(whole)
    half = nested_subsets(items, [len(items) // 2], seed=0)[0]
    source = SourceSubset(whole, frozenset(items[place].key for place in half.items))
    spec = spec_for(name, source)
    assert spec.subset == half.digest
    one = trained(spec, source, tmp_path / "one")
    result = json.loads((one / "result.json").read_text(encoding="utf-8"))
    assert (result["draws"], result["images"]) == (44, half.images)
    assert result["held_out"]["loss"] > 0
    card = json.loads((one / "card.json").read_text(encoding="utf-8"))
    assert card["recipe"]["spacing_mm"] == 11.0
    assert ("slices" in card["recipe"]) == (axes == 2)
    killed = tmp_path / "killed"
    with pytest.raises(RuntimeError, match="killed"):
        trained(spec, source, killed, checkpoint_seconds=0, progress=dies_at(24))
    trained(spec, source, killed, loaders=1)
    assert figures(killed) == figures(one)
    assert (killed / "weights.safetensors").read_bytes() == (one / "weights.safetensors").read_bytes()


def test_objectives_with_texts_and_networks_of_other_axes_are_refused(phantoms, spec_for, made, tmp_path):
    volumes, slices = (open_source(phantoms, axes=axes) for axes in (3, 2))
    with pytest.raises(
        InputError, match=r"clip needs volumes with a report.* take an objective that does without"
    ):
        made(spec_for("clip", volumes), volumes).check(tmp_path)
    spec = replace(spec_for("mae", volumes), backbone=spec_for("mae", slices).backbone)
    with pytest.raises(InputError, match="set axes to 3, or prepare images"):
        made(spec, volumes).check(tmp_path)


def test_images_serve_no_3d_study_and_what_is_not_prepared_is_named(tmp_path) -> None:
    cache = ImageCache(root=tmp_path, items=(), recipe=ImageRecipe())
    cache.save()
    assert isinstance(open_source(tmp_path), ImageCache)
    with pytest.raises(
        InputError, match=r"images cannot serve a 3D study.*set axes to 2.*or prepare volumes"
    ):
        open_source(tmp_path, axes=3)
    with pytest.raises(InputError, match=r"no prepared images or volumes in .*run prepare first"):
        open_source(tmp_path / "nowhere")
    (tmp_path / "index.json").write_text('{"kind": "else"}', encoding="utf-8")
    with pytest.raises(InputError, match="prepared images or prepared volumes, found 'else'"):
        open_source(tmp_path)


def test_more_volumes_than_the_memory_holds_are_refused_before_they_are_read(
    phantoms, spec_for, trained, tmp_path, monkeypatch
):
    source = open_source(phantoms, axes=3)
    monkeypatch.setattr(reader, "installed_bytes", lambda: 100_000)
    with pytest.raises(InputError, match=r"reading 8 draws at once, of up to .* compute.micro_batch"):
        trained(spec_for("mae", source), source, tmp_path)
