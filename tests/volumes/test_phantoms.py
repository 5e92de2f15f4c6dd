"""Phantoms are what they stand for: units, contrasts, noise, geometry, and the same from every worker."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from voxmix.datasets.sets.folder import read_folder
from voxmix.domain import PAPER_DOMAINS
from voxmix.errors import InputError
from voxmix.phantoms.canvas import Canvas
from voxmix.phantoms.domains import PROTOCOLS, make_phantom, write_phantoms
from voxmix.phantoms.head import LABELS as BRAIN
from voxmix.volumes import Recipe
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.reading.read import read_labels, read_volume

MATRIX = 48


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.nii.gz"))}


def test_the_papers_six_domains() -> None:
    assert list(PROTOCOLS) == [domain.name for domain in PAPER_DOMAINS]


@pytest.mark.parametrize("domain", PROTOCOLS)
def test_phantom_is_a_function_of_its_arguments(domain: str) -> None:
    one, two = (make_phantom(domain, 1, seed=3, matrix=32) for _ in range(2))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.labels, two.labels)
    for other in (make_phantom(domain, 2, seed=3, matrix=32), make_phantom(domain, 1, seed=4, matrix=32)):
        assert other.image.shape != one.image.shape or not np.array_equal(other.image, one.image)


def median_by_label(domain: str, index: int) -> dict[int, float]:
    phantom = make_phantom(domain, index, seed=0, matrix=96)
    found = {}
    for label in np.unique(phantom.labels):
        core = ndimage.binary_erosion(phantom.labels == label, iterations=1)
        if core.sum() > 20:
            found[int(label)] = float(np.median(phantom.image[core]))
    return found


def test_abdominal_ct_is_in_hounsfield_units() -> None:
    phantom = make_phantom("ABD-CT", 0, seed=0, matrix=96)
    assert phantom.image.min() >= -1024
    assert np.median(phantom.image[:4, -4:]) == pytest.approx(-1000, abs=15)
    tissue = median_by_label("ABD-CT", 0)
    assert 40 < tissue[6] < 130  # liver
    assert tissue[2] > tissue[6]  # kidneys take up more contrast agent than the liver
    assert np.percentile(phantom.image, 99.8) > 300  # bone
    fat = (phantom.image > -140) & (phantom.image < -70)
    assert 0.03 < fat.mean() < 0.5


def test_t1_and_t2_show_the_same_brain_with_opposite_contrast() -> None:
    names = {name: label for label, name in BRAIN.items()}
    t1, t2 = median_by_label("BRAIN-T1", 4), median_by_label("BRAIN-T2", 4)
    white, gray, fluid = names["white matter"], names["gray matter"], names["ventricles"]
    assert t1[white] > t1[gray] > t1[fluid]
    assert t2[white] < t2[gray] < t2[fluid]
    assert (
        make_phantom("BRAIN-T1", 4, seed=0, matrix=32).subject
        == make_phantom("BRAIN-T2", 4, seed=0, matrix=32).subject
    )


def test_mr_noise_is_rician_and_grows_into_a_bias_field() -> None:
    phantom = make_phantom("BRAIN-T2", 0, seed=0, matrix=96)
    air = phantom.image[:6, -8:, -6:].ravel()
    assert air.min() > 0
    # A Rician magnitude without signal is Rayleigh distributed: mean / deviation = 1.913.
    assert air.mean() / air.std() == pytest.approx(1.913, rel=0.15)


def test_pet_is_hot_in_brain_and_tumor_and_cold_elsewhere() -> None:
    phantom = make_phantom("HN-PET", 0, seed=0, matrix=96)
    assert phantom.image.min() >= 0
    world = phantom.affine @ np.stack(
        [*np.indices(phantom.image.shape).reshape(3, -1), np.ones(phantom.image.size)]
    )
    z = world[2].reshape(phantom.image.shape)
    muscle = phantom.image[(z < -40) & (phantom.labels == 0) & (phantom.image > 0.2)]
    assert np.median(muscle) < 1.5
    assert np.percentile(phantom.image[z > 90], 90) > 4
    tumors = phantom.image[np.isin(phantom.labels, (1, 2))]
    assert tumors.size
    assert np.percentile(tumors, 90) > 3


def test_pet_is_smoother_than_ct() -> None:
    def sharpness(domain: str) -> float:
        image = make_phantom(domain, 0, seed=0, matrix=96).image.astype(np.float64)
        image -= image.mean()
        return float(np.var(np.diff(image, axis=0)) / np.var(image))

    assert sharpness("HN-PET") < 0.5 * sharpness("HN-CT")


def test_files_are_real_nifti_on_the_labels_grid(tmp_path: Path) -> None:
    write_phantoms(tmp_path, counts=dict.fromkeys(PROTOCOLS, 2), seed=0, matrix=MATRIX)
    manifest = read_folder(tmp_path)
    assert manifest.counts() == dict.fromkeys(sorted(PROTOCOLS), 2)
    codes, spacings = set(), []
    for record in manifest.records:
        assert record.label is not None
        image, labels = read_volume(record.path), read_labels(record.label)
        assert image.notes == ()
        assert image.data.shape == labels.data.shape
        np.testing.assert_array_equal(image.affine, labels.affine)
        assert labels.data.any()
        codes.add("".join(nibabel.aff2axcodes(image.affine)))
        spacings.append(np.linalg.norm(image.affine[:3, :3], axis=0))
        phantom = make_phantom(record.domain, int(record.subject[-4:]), seed=0, matrix=MATRIX)
        assert labels.data.sum() == phantom.labels.sum()
    assert len(codes) >= 3
    assert max(s.max() / s.min() for s in spacings) > 1.2


def test_result_depends_neither_on_workers_nor_on_counts_nor_on_being_killed(tmp_path: Path) -> None:
    counts = {"HN-PET": 2, "BRAIN-T1": 2}
    write_phantoms(tmp_path / "one", counts=counts, seed=7, matrix=24)
    write_phantoms(tmp_path / "two", counts={"BRAIN-T1": 1}, seed=7, matrix=24)
    kept = next((tmp_path / "two").rglob("*[0-9]_brain-t1.nii.gz"))
    stamp = kept.stat().st_mtime_ns
    (tmp_path / "two" / "BRAIN-T1" / "brain_0001").mkdir()
    write_phantoms(tmp_path / "two", counts=counts, seed=7, matrix=24, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert kept.stat().st_mtime_ns == stamp


def test_progress_counts_files(tmp_path: Path) -> None:
    seen = []
    write_phantoms(
        tmp_path, counts={"HN-PET": 2}, seed=0, matrix=16, progress=lambda d, t: seen.append((d, t))
    )
    assert seen == [(0, 2), (1, 2), (2, 2)]


def test_prepared_phantoms_keep_their_hounsfield_units(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "data", counts={"ABD-CT": 2}, seed=0, matrix=MATRIX)
    recipe = Recipe(spacing_mm=6.0, min_shape=(16, 16, 16))
    cache = prepare(read_folder(tmp_path / "data").split(seed=0), recipe=recipe, root=tmp_path / "c").cache
    for volume in cache.volumes:
        image, labels = cache.array(volume).astype(np.float32), cache.labels(volume)
        assert labels is not None
        liver = ndimage.binary_erosion(labels == 6)
        assert 40 < np.median(image[liver]) * 425 - 175 < 130


def test_warp_and_noise_have_their_stated_size() -> None:
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    still = Canvas((40, 40, 40), affine, rng=np.random.default_rng(0), warp_mm=0.0)
    bent = Canvas((40, 40, 40), affine, rng=np.random.default_rng(0), warp_mm=3.0)
    assert 1.5 < (bent.points - still.points).std() < 5
    assert still.noise(20.0).std() == pytest.approx(1, abs=0.15)


def test_ellipsoid_has_its_volume() -> None:
    canvas = Canvas((60, 60, 60), np.diag([2.0, 2.0, 2.0, 1.0]), rng=np.random.default_rng(0), warp_mm=0.0)
    canvas.paint(canvas.ellipsoid((60, 60, 60), (20, 30, 40), turn=(20, 30, 40)), "liver", label=1)
    assert canvas.label.sum() * 8 == pytest.approx(4 / 3 * np.pi * 20 * 30 * 40, rel=0.02)
    canvas.paint(canvas.tube([(20, 20, 20), (20, 20, 100)], 10), "liver", label=2)
    assert (canvas.label == 2).sum() * 8 == pytest.approx(np.pi * 100 * 80 + 4 / 3 * np.pi * 1000, rel=0.03)


@pytest.mark.parametrize("counts", [{"KNEE-MR": 2}, {"ABD-CT": 0}])
def test_write_phantoms_refuses(tmp_path: Path, counts: dict[str, int]) -> None:
    with pytest.raises(InputError):
        write_phantoms(tmp_path, counts=counts, seed=0)
