"""What is a label map by name and by voxels, and whose; scans with few grey levels stay scans."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix.datasets.pairing import NO_IMAGE, NO_ONE_IMAGE
from voxmix.datasets.sets.folder import read_folder
from voxmix.errors import InputError
from voxmix.volumes import IntensityRule, Recipe
from voxmix.volumes.auditing.audit import audit
from voxmix.volumes.masks import NO_SCAN, is_label_map, read_name
from voxmix.volumes.preparing.prepare import prepare

SHAPE = (28, 28, 28)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def scan(seed: int = 0) -> np.ndarray:
    """Blobs with noise, from 0 to 1."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    clean = np.exp(-3 * (x**2 + y**2 + z**2)) + 0.2 * np.sin(4 * x + seed) * np.cos(3 * y)
    return np.clip(clean / 1.2 + rng.normal(0, 0.03, SHAPE), 0, 1)


def regions(count: int, *, background: bool = True, seed: int = 0) -> np.ndarray:
    """The nearest of ``count`` points, numbered from 1; 0 far from all."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 28, (count, 3))
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    apart = np.linalg.norm(places[..., None, :] - points, axis=-1)
    found = apart.argmin(-1) + 1
    if background:
        found[apart.min(-1) > np.median(apart.min(-1))] = 0
    return found


@pytest.mark.parametrize("levels", [8, 12, 16, 40, 256])
@pytest.mark.parametrize("times", [1, 2])
def test_scans_of_few_grey_levels_stay_scans(levels: int, times: int) -> None:
    noisy = np.random.default_rng(1).integers(0, levels, SHAPE)
    assert not is_label_map(noisy)
    if levels > 8:
        grey = np.rint(scan() * (levels - 1))
        for axis in range(3):
            grey = np.repeat(grey, times, axis=axis)  # Enlarged by nearest neighbor.
        assert not is_label_map(grey)


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.35), (0.0, 0.2), (0.5, 1.0), (0.1, 0.9)])
def test_a_windowed_scan_stays_a_scan(low: float, high: float) -> None:
    assert not is_label_map(np.rint(np.clip((scan() - low) / (high - low), 0, 1) * 255))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 30, 117])
@pytest.mark.parametrize("background", [True, False])
def test_label_maps_are_told(count: int, background: bool) -> None:
    labels = regions(count, background=background)
    if len(np.unique(labels)) > 1:
        assert is_label_map(labels)
        assert is_label_map(labels.astype(np.float32) * 0.25)
        assert is_label_map(labels - 1.0)


def test_masks_of_two_values_and_nested_maps_are_told() -> None:
    mask = scan() > 0.4
    for values in ((0, 1), (0, 255), (0.0, 1.0), (-1, 0), (0.0, 0.0039)):
        assert is_label_map(np.where(mask, values[1], values[0]))
    assert is_label_map(np.digitize(scan(), [0.2, 0.4, 0.6]))


@pytest.mark.parametrize(
    ("stem", "kind", "rest"),
    [
        ("SCAN_SEG", "label map", "scan"),
        ("Segmentation.seg", "label map", ""),
        ("Segmentation_1.seg", "label map", "1"),
        ("label", "label map", ""),
        ("label0001", "label map", "0001"),
        ("brain_mask", "label map", "brain"),
        ("t1-label", "label map", "t 1"),
        ("patient001_frame01_gt", "label map", "patient 001 frame 01"),
        ("sub-01_dseg", "label map", "sub 01"),
        ("sub-verse004_seg-vert_msk", "label map", "sub verse 004 seg vert"),
        ("aseg", "label map", ""),
        ("aparc+aseg", "label map", ""),
        ("T1_brain_pveseg", "label map", "t 1 brain"),
        ("T1_brain_pve_0", "probability map", "t 1 brain"),
        ("sub-01_label-GM_probseg", "probability map", "sub 01 label gm"),
        ("BrainExtractionMask", "label map", "brain extraction"),
        ("combined_labels", "label map", "combined"),
        ("mask_liver", "label map", "liver"),
        ("t1_masked", "", "t 1 masked"),
        ("unlabeled_001", "", "unlabeled 001"),
        ("totalseg_example_ct", "", "totalseg example ct"),
        ("BrainSegmentation0N4", "", "brain segmentation 0 n 4"),
        ("ct", "", "ct"),
    ],
)
def test_names(stem: str, kind: str, rest: str) -> None:
    found = read_name(stem)
    assert (found.kind, found.rest) == (kind, rest)


@pytest.mark.parametrize(
    ("names", "labels", "aside"),
    [
        (("p1/ct.nii.gz", "p1/segmentations/liver.nii.gz", "p1/segmentations/spleen.nii.gz"), {}, [NO_ONE_IMAGE] * 2),
        (("p1/ct.nii.gz", "p1/mask.nrrd"), {"ct.nii.gz": "mask.nrrd"}, []),
        (("p1/ct.nii.gz", "p1/mask.nrrd", "p1/label.nii"), {}, [NO_ONE_IMAGE] * 2),
        (("p1/t1.nii", "p1/t1_seg.nii", "p1/t1_mask.nii"), {"t1.nii": "t1_seg.nii"}, [NO_ONE_IMAGE]),
        (("p1/f01.nii.gz", "p1/f01_gt.nii.gz", "p1/f02.nii.gz", "p1/f02_gt.nii.gz"),
         {"f01.nii.gz": "f01_gt.nii.gz", "f02.nii.gz": "f02_gt.nii.gz"}, []),
        (("images/a.nii.gz", "images/b.nii.gz", "labels/a.nii.gz", "labels/b.nrrd"),
         {"a.nii.gz": "a.nii.gz", "b.nii.gz": "b.nrrd"}, []),
        (("imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz"),
         {"a_0000.nii.gz": "a.nii.gz", "a_0001.nii.gz": "a.nii.gz"}, []),
        (("volume-0.nii", "segmentation-0.nii", "volume-1.nii", "segmentation-1.nii"),
         {"volume-0.nii": "segmentation-0.nii", "volume-1.nii": "segmentation-1.nii"}, []),
        (("x_1_image.nii", "x_1_label.nii", "x_2_image.nii"), {"x_1_image.nii": "x_1_label.nii"}, []),
        (("p1/ct.nii.gz", "p2/label.nii.gz"), {}, [NO_IMAGE]),
        (("p1/image.nrrd", "p1/Segmentation_1.seg.nrrd"), {"image.nrrd": "Segmentation_1.seg.nrrd"}, []),
        (("p1/t1.nii.gz", "p1/t2.nii.gz", "p1/seg.nii.gz"), {}, [NO_ONE_IMAGE]),
        (("p1/A.NII.GZ", "p1/A_SEG.NII.GZ"), {"A.NII.GZ": "A_SEG.NII.GZ"}, []),
    ],
)  # fmt: skip
def test_whose_label_map(
    tmp_path: Path, names: tuple[str, ...], labels: dict[str, str], aside: list[str]
) -> None:
    touch(tmp_path, *(f"CT/{name}" for name in names))
    found = read_folder(tmp_path)
    assert {r.path.name: r.label.name for r in found.records if r.label} == labels
    assert [item.reason for item in found.set_aside] == aside
    assert all(item.is_label for item in found.set_aside)


def test_subjects_of_images_and_labels_are_the_files(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "CT/imagesTr/a_0000.nii.gz",
        "CT/imagesTr/a_0001.nii.gz",
        "MR/images/p1/t1.nii",
        "MR/images/q.nii",
    )
    found = read_folder(tmp_path)
    assert (found.subjects("CT"), found.subjects("MR")) == (("a",), ("p1", "q"))


@pytest.mark.parametrize(
    "names",
    [
        [f"s{n}/ct.nii.gz" for n in range(4)],
        [f"s{n}/{name}.nii.gz" for n in range(4) for name in ("t1", "t2", "flair")],
        [f"s{n}/{'ct' if n % 2 else 'scan'}.nii.gz" for n in range(4)],
        [f"s{n}/anat/T1w.nii.gz" for n in range(4)],
        [f"s{n}/case.nrrd" for n in range(4)],
    ],
)
def test_a_folder_per_subject_is_asked_about(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=r"is this a folder per subject\?.*ln -s"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        [f"{d}/p{n}/scan.nii.gz" for d in ("CT", "MR", "PET") for n in range(2)],
        [f"{d}/STS_{n}.nii.gz" for d in ("X", "Y", "Z", "W") for n in range(2)],
        ["CT/scan.nii.gz", "MR/scan.nii.gz"],
        [f"{d}/{n}.nii.gz" for d in "abc" for n in range(5)],
    ],
)
def test_domains_that_share_names_are_domains(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *names)
    assert len(read_folder(tmp_path).records) == len(names)


def test_prepare_sets_label_maps_aside_unless_told_and_audit_names_them(tmp_path: Path) -> None:
    for n in range(4):
        folder = tmp_path / "in" / "MR" / f"p{n}"
        folder.mkdir(parents=True)
        nibabel.Nifti1Image((scan(n) * 900).astype(np.int16), np.eye(4)).to_filename(folder / "flair.nii.gz")
        nibabel.Nifti1Image(regions(1, seed=n).astype(np.uint8), np.eye(4)).to_filename(
            folder / "lesion.nii.gz"
        )
    manifest = read_folder(tmp_path / "in").split(seed=0)
    found = audit(manifest, pictures=False)
    assert found.counts()["mask"] == 4
    assert {f.path.name for f in found.findings if f.kind == "mask"} == {"lesion.nii.gz"}
    rule = {"MR": IntensityRule(kind="window", low=0, high=900)}
    recipe = Recipe(spacing_mm=1.0, min_shape=(8, 8, 8), intensity=rule)
    told = Recipe(spacing_mm=1.0, min_shape=(8, 8, 8), intensity=rule, masks=("MR",))
    assert told.volume_digest("MR") == recipe.volume_digest("MR")
    assert "masks" not in recipe.as_dict()
    assert Recipe.from_dict(told.as_dict()) == told
    assert "mask" not in audit(manifest, recipe=told, crop=8, pictures=False).counts()
    judged = audit(manifest, recipe=recipe, crop=8, pictures=False)
    assert [(f.domain, f.volumes) for f in judged.fitness] == [("MR", 4)]
    root = tmp_path / "cache"
    assert len(prepare(manifest, recipe=told, root=root).cache.volumes) == 8
    # Also of what lies finished in the cache, and of a cache that was made before label maps were told.
    for side in (root / "volumes").glob("*.json"):
        side.write_text(
            side.read_text(encoding="utf-8").replace('"label_map"', '"another"'), encoding="utf-8"
        )
    for _ in range(2):
        made = prepare(manifest, recipe=recipe, root=root)
        assert len(made.cache.volumes) == 4
        assert [item.reason for item in made.set_aside] == [NO_SCAN] * 4
