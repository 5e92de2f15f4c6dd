"""Masks lie on their image: the same part of the same picture; what is unknown, empty or damaged is never taken for another."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from voxmix.errors import InputError, VoxmixError
from voxmix.images.cache import ImageCache
from voxmix.images.cached_image import CachedImage, MaskFile
from voxmix.images.finding import find_images
from voxmix.images.masks import fitted, mask_columns, mask_name, read_masks
from voxmix.images.prepare import ImagePreparation, prepare_images
from voxmix.images.recipe import ImageRecipe
from voxmix.images.table import ImageTable
from voxmix.images.upkeep import prune_images, verify_images
from voxmix.radiographs import make_radiographs
from voxmix.volumes.volume import UnreadableVolumeError

RECIPE = ImageRecipe(pixels=32)


def film(seed: int, rows: int = 64, columns: int = 80) -> np.ndarray:
    """A dark film with one bright rectangle, which is its mask."""
    rng = np.random.default_rng(seed)
    values = rng.integers(20, 60, (rows, columns)).astype(np.uint8)
    values[inside(seed, rows, columns)] = 240
    return values


def inside(seed: int, rows: int = 64, columns: int = 80) -> np.ndarray:
    mask = np.zeros((rows, columns), dtype=bool)
    top = rows // 8 * (1 + seed % 4)
    mask[top : top + rows // 4, columns // 4 : columns // 2] = True
    return mask


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Eight films of eight persons with a lung mask as PNG: 0 and 255, 3 and 7, one bit, of twice the size, by turns."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for number in range(8):
        Pillow.fromarray(film(number)).save(folder / f"{number}.png")
        mask = inside(number)
        kinds = (
            (mask * 255).astype(np.uint8),
            np.where(mask, 7, 3).astype(np.uint8),
            mask,
            np.kron(mask, np.ones((2, 2), dtype=np.uint8)) * 255,
        )
        Pillow.fromarray(kinds[number % 4]).save(folder / f"m{number}.png")
        side = "validation" if number < 3 else "train"
        rows.append(f"{number}.png,p{number},{side},{number % 2},m{number}.png")
    table(folder, *rows)
    return folder


def table(folder: Path, *rows: str, header: str = "image,person,split,lung,lung_mask") -> None:
    (folder / "films.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def rows_of(folder: Path) -> list[str]:
    return (folder / "films.csv").read_text(encoding="utf-8").splitlines()[1:]


def prepared(found: ImageTable, folder: Path, **more: object) -> ImagePreparation:
    return prepare_images(found, folder, RECIPE, salt="s" * 32, **more)  # type: ignore[arg-type]


def test_a_mask_lies_where_its_image_is_bright(films: Path, tmp_path: Path) -> None:
    done = prepared(find_images(films), tmp_path / "cache")
    cache = ImageCache.open(tmp_path / "cache")
    assert cache.mask_names == ("lung",)
    assert cache.items == done.cache.items
    for item in cache.items:
        assert item.masks == ("lung",)
        mask = cache.masks(item)["lung"]
        assert (mask.dtype, mask.shape) == (np.bool_, item.shape)
        bright = cache.array(item) > 0.5
        assert 2 * (mask & bright).sum() / (mask.sum() + bright.sum()) > 0.97
    assert any("mask lung: 8 images" in line for line in done.remarks)
    assert verify_images(cache) == ()


def test_masks_change_no_digest_and_a_cache_without_is_as_before(films: Path, tmp_path: Path) -> None:
    found = find_images(films)
    with_masks = prepared(found, tmp_path / "with").cache
    bare = replace(found, records=tuple(replace(record, masks={}) for record in found.records))
    without = prepared(bare, tmp_path / "without").cache
    assert (with_masks.digest, with_masks.pictures) == (without.digest, without.pictures)
    index = json.loads((tmp_path / "without/index.json").read_text(encoding="utf-8"))
    assert not any("mask" in key for key in (*index, *index["images"]))
    assert (without.mask_names, without.mask_digest) == ((), "")
    assert all(without.masks(item) == {} for item in without.items)


def test_the_digests_of_a_cache_are_those_of_before() -> None:
    items = (
        CachedImage(
            key="0" * 16, domain="A", person="p", split="train", shape=(32, 40), labels={"tube": 1}, text=2
        ),
        CachedImage(key="1" * 16, domain="B", person="q", split="validation", shape=(32, 32)),
    )
    cache = ImageCache(root=Path("x"), items=items, recipe=RECIPE, label_names=("tube",), texts="t")
    assert (cache.digest, cache.pictures) == (
        "45195278b1fee978",
        "dc846f538cdcf555",
    )  # runs are known by these
    masked = replace(items[0], mask_files=(MaskFile(key="2" * 16, names=("tube",)),))
    with_masks = replace(cache, items=(masked, items[1]))
    assert (with_masks.digest, with_masks.pictures) == (cache.digest, cache.pictures)
    assert with_masks.mask_digest


def test_the_digest_of_masks_follows_their_content(films: Path, tmp_path: Path) -> None:
    first = prepared(find_images(films), tmp_path / "cache").cache.mask_digest
    moved = prepared(find_images(films), tmp_path / "other", workers=2).cache.mask_digest
    Pillow.fromarray((inside(1) * 255).astype(np.uint8)).save(films / "m0.png")
    changed = prepared(find_images(films), tmp_path / "cache")
    assert first == moved != changed.cache.mask_digest
    assert changed.made == 0  # no image was made again


def test_named_arrays_are_masks_and_a_label_that_says_no_is_an_empty_one(films: Path, tmp_path: Path) -> None:
    np.savez(films / "0.npz", tube=inside(0), vein=inside(1))
    np.savez(films / "1.npz", vein=inside(2).astype(np.uint8))
    header = "image,person,split,tube,vein,masks"
    table(
        films,
        "0.png,p0,train,1,0,0.npz",
        "1.png,p1,train,0,1,1.npz",
        "2.png,p2,validation,,0,",
        header=header,
    )
    done = prepared(find_images(films), tmp_path / "cache")
    known = {item.labels.get("tube"): done.cache.masks(item) for item in done.cache.items}
    assert {key: sorted(masks) for key, masks in known.items()} == {
        1: ["tube", "vein"],  # both stored
        0: ["tube", "vein"],  # tube: the label says no
        None: ["vein"],  # tube: nobody knows
    }
    assert not known[0]["tube"].any()
    assert known[0]["vein"].any()
    assert not known[None]["vein"].any()
    assert any("mask vein: the label of its name says otherwise on 1 images" in line for line in done.remarks)
    again = ImageCache.open(tmp_path / "cache")
    assert (again.items, again.mask_digest) == (done.cache.items, done.cache.mask_digest)


def test_nothing_in_the_cache_names_a_file_of_a_mask(films: Path, tmp_path: Path) -> None:
    (films / "m0.png").rename(films / "Quixote_1234.png")
    table(films, *(row.replace("m0.png", "Quixote_1234.png") for row in rows_of(films)))
    prepared(find_images(films), tmp_path / "cache")
    for file in (tmp_path / "cache").rglob("*"):
        assert "Quixote" not in file.name
        assert not file.is_file() or b"Quixote" not in file.read_bytes()


def bad(folder: Path, kind: str) -> str:
    """Write a bad mask and return its file."""
    values = (inside(0) * 255).astype(np.uint8)
    name = {"jpeg": "bad.jpg", "npz": "bad.npz", "sizes": "bad.npz", "bare": "bad.npz"}.get(kind, "bad.png")
    path = folder / name
    if kind == "aspect":
        Pillow.fromarray(values[:, :60]).save(path)
    elif kind == "values":
        Pillow.fromarray(film(0)).save(path)
    elif kind == "jpeg":
        Pillow.fromarray(values).save(path)
    elif kind == "cut":
        whole = folder / "m0.png"
        path.write_bytes(whole.read_bytes()[:70])
    elif kind == "npz":
        np.savez(path, tube=np.zeros((3, 64, 80), dtype=bool))
    elif kind == "sizes":
        np.savez(path, tube=np.zeros((64, 80), dtype=bool), vein=np.zeros((32, 40), dtype=bool))
    elif kind == "bare":
        np.savez(path, spacing=np.ones(2))
    elif kind == "text":
        path.write_text("no mask", encoding="utf-8")
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    return name


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("aspect", "another aspect"),
        ("values", "values, and a mask has two"),
        ("jpeg", "a JPEG, which blurs a mask"),
        ("cut", "damaged"),
        ("npz", "a volume or several images"),
        ("sizes", "of different sizes"),
        ("bare", "an npz without an array"),
        ("text", "neither PNG nor npz"),
        ("folder", "a folder where a file is expected"),
        ("empty", "the file is empty"),
        ("absent", "no such file"),
    ],
)
def test_a_bad_mask_is_set_aside_and_its_image_kept(
    films: Path, tmp_path: Path, kind: str, reason: str
) -> None:
    name = bad(films, kind)
    table(films, *(row.replace("m0.png", name) for row in rows_of(films)))
    done = prepared(find_images(films), tmp_path / "cache")
    (aside,) = done.set_aside
    assert aside.path == films / name
    assert aside.reason.startswith("a mask that is left out, its image is kept: ")
    assert reason in aside.reason
    assert Counter(len(item.mask_files) for item in done.cache.items) == {1: 7, 0: 1}
    # Film 0 has the label 0: its mask is known to be empty. Without the label it is not known at all.
    table(films, *(row.replace("0.png,p0,validation,0", "0.png,p0,validation,") for row in rows_of(films)))
    cache = prepared(find_images(films), tmp_path / "cache").cache
    assert Counter(item.masks for item in cache.items) == {("lung",): 7, (): 1}


def test_a_mask_outside_of_the_tables_folder_needs_a_full_path(films: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    (films / "m0.png").rename(outside)
    table(films, *(row.replace("m0.png", "../outside.png") for row in rows_of(films)))
    with pytest.raises(InputError, match="outside the table's folder"):
        find_images(films)
    table(films, *(row.replace("../outside.png", str(outside)) for row in rows_of(films)))
    assert prepared(find_images(films), tmp_path / "cache").set_aside == ()


def test_two_masks_of_one_name_are_not_mixed(films: Path, tmp_path: Path) -> None:
    np.savez(films / "0.npz", lung=inside(3))
    header = "image,person,split,lung,lung_mask,masks"
    table(
        films, *(f"{row},{'0.npz' if row.startswith('0') else ''}" for row in rows_of(films)), header=header
    )
    (aside,) = prepared(find_images(films), tmp_path / "cache").set_aside
    assert "a mask of the same name" in aside.reason


def test_a_camera_that_turned_an_image_leaves_its_mask_out(films: Path, tmp_path: Path) -> None:
    picture = Pillow.fromarray(film(0))
    exif = picture.getexif()
    exif[0x0112] = 3
    picture.save(films / "0.png", exif=exif)
    (aside,) = prepared(find_images(films), tmp_path / "cache").set_aside
    assert "turned as the camera noted" in aside.reason


def test_damage_is_found_and_preparing_mends_it(films: Path, tmp_path: Path) -> None:
    cache = prepared(find_images(films), tmp_path / "cache").cache
    file = next((cache.root / "masks").rglob("*.npy"))
    file.write_bytes(file.read_bytes()[:-3])
    ((name, reason),) = verify_images(cache)
    assert (cache.root / name, reason) == (file, "its bytes changed")
    (item,) = (item for item in cache.items if item.mask_files[0].key == file.stem)
    with pytest.raises(VoxmixError, match="prepare again"):
        cache.masks(item)
    assert verify_images(prepared(find_images(films), tmp_path / "cache").cache) == ()
    assert prune_images(cache).files == ()
    file.unlink()
    assert verify_images(cache) == ((name, "missing"),)
    assert verify_images(prepared(find_images(films), tmp_path / "cache").cache) == ()


def test_yes_and_no_in_a_column_called_mask_are_a_label() -> None:
    rows = [{"wears_mask": "1", "lung_mask": ""}, {"wears_mask": "0", "lung_mask": "m.png"}]
    assert mask_columns(["image", "wears_mask", "lung_mask"], rows) == ("lung_mask",)
    assert [mask_name(column) for column in ("lung_mask", "Mask", "tubeMasks")] == ["lung", "Mask", "tube"]


def test_the_grid_of_a_mask_may_be_another_and_its_aspect_not() -> None:
    mask = np.zeros((40, 50), dtype=bool)
    mask[10:20, 25:] = True
    small = fitted(mask, (400, 500), (20, 25))
    assert np.array_equal(small[5:10, 13:], np.ones((5, 12), dtype=bool))
    assert np.array_equal(fitted(small, (20, 25), (40, 50))[10:20, 26:], np.ones((10, 24), dtype=bool))
    assert np.array_equal(fitted(mask, (40, 50), (40, 50)), mask)
    fitted(np.zeros((33, 41), dtype=bool), (400, 500), (20, 25))  # 41.25 columns, rounded
    with pytest.raises(UnreadableVolumeError, match="another aspect"):
        fitted(mask, (500, 400), (20, 25))


def test_one_value_is_nothing_or_everything(tmp_path: Path) -> None:
    for value, share in ((0, 0.0), (1, 1.0), (255, 1.0)):
        Pillow.fromarray(np.full((20, 20), value, dtype=np.uint8)).save(tmp_path / "m.png")
        assert read_masks(tmp_path / "m.png", "lung_mask")["lung"].mean() == share


def test_maps_of_made_radiographs_are_masks(tmp_path: Path) -> None:
    made = make_radiographs(tmp_path / "films", count=24, seed=1, edge=48)
    cache = prepared(find_images(made).split(seed=0, fraction=0.3), tmp_path / "cache").cache
    present = 0
    for item in cache.items:
        masks = cache.masks(item)
        assert set(cache.mask_names) == set(masks)  # with labels in full every mask is known
        for name, mask in masks.items():
            assert item.labels[name] or not mask.any()
            present += mask.any()
    assert present > 20
