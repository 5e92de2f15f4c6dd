"""The table of verdicts in the docs is what the readers do with the real awkward files."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from voxmix.volumes import Manifest, Recipe, VolumeRecord
from voxmix.volumes.grids.shear import is_sheared
from voxmix.volumes.grids.transform import prepare_volume
from voxmix.volumes.intensity import PERCENTILES
from voxmix.volumes.reading.multi_volume_files import take_apart
from voxmix.volumes.reading.read import read_record, read_volume
from voxmix.volumes.volume import UnreadableVolumeError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "reading.md"
ROWS = [
    tuple(cell.strip() for cell in line.strip("|\n").split("|"))
    for line in PAGE.read_text(encoding="utf-8").split("## Verdicts")[1].splitlines()
    if line.startswith("|") and not line.startswith(("| file", "|---"))
]
pytestmark = pytest.mark.shared


def test_every_awkward_file_has_a_verdict(shared_data: Path) -> None:
    files = {p.name for p in (shared_data / "awkward").iterdir()} - {"AWKWARD.md", "analyze_pair_nifti.img"}
    assert {row[0] for row in ROWS} == files


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_verdict(shared_data: Path, row: tuple[str, str, str, str]) -> None:
    name, _, verdict, outcome = row
    path = shared_data / "awkward" / name
    if verdict.startswith("refused"):
        with pytest.raises(UnreadableVolumeError) as caught:
            read_volume(path)
        assert str(caught.value) == outcome
        return
    volume = read_volume(path)
    assert " x ".join(map(str, volume.data.shape)) == outcome
    assert np.all(np.isfinite(volume.data))
    shape = (volume.data.shape[0], volume.data.shape[1], volume.data.shape[2])
    assert is_sheared(shape, volume.affine) == ("straightened" in verdict)
    spacing = max(1.5, float(np.linalg.norm(volume.affine[:3, :3], axis=0).min()) / 1.1)
    recipe = Recipe(spacing_mm=spacing, min_shape=(16, 16, 16), intensity={"D": PERCENTILES})
    array, geometry = prepare_volume(volume, recipe=recipe, domain="D")
    assert array.shape == geometry.padded
    assert 0 <= array.min() < array.max() <= 1


def test_a_file_of_several_volumes_is_read_once_it_is_listed(shared_data: Path) -> None:
    path = shared_data / "awkward" / "nifti2_4d.nii.gz"
    listed = take_apart(Manifest(records=(VolumeRecord(path=path, domain="D", subject="p"),)))
    assert [read_record(r).data.shape for r in listed.records] == [(32, 20, 12)] * 2
    assert "two volumes of 32 x 20 x 12" in PAGE.read_text(encoding="utf-8")


def test_real_volumes_agree_with_simpleitk(shared_data: Path) -> None:
    """Every domain's first image has the same voxel at the same place in both readers."""
    for domain in sorted((shared_data / "volumes").iterdir()):
        path = next(p for p in sorted(domain.rglob("*.nii.gz")) if "_seg" not in p.name)
        volume, image = read_volume(path), sitk.ReadImage(str(path), sitk.sitkFloat32)
        rng = np.random.default_rng(0)
        for _ in range(20):
            index = [int(rng.integers(0, n)) for n in volume.data.shape]
            world = np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
            np.testing.assert_allclose((volume.affine @ [*index, 1])[:3], world, atol=0.02)
            assert volume.data[tuple(index)] == pytest.approx(image[index], rel=1e-5)


def test_scale_slope_of_real_files_is_applied(shared_data: Path) -> None:
    path = next((shared_data / "volumes" / "BRAIN-T1").rglob("*[!g].nii.gz"))
    import nibabel

    image = nibabel.load(path)
    assert image.dataobj.slope != 1
    np.testing.assert_allclose(
        read_volume(path).data, image.dataobj.get_unscaled() * image.dataobj.slope, rtol=1e-5
    )
