"""What several tests of volumes need: a small manifest; another library's image of the same voxels in the same place."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from voxmix.datasets.sets.folder import read_folder
from voxmix.volumes import Manifest


@pytest.fixture(scope="session")
def to_itk() -> Callable[[np.ndarray, np.ndarray], sitk.Image]:
    """Return the function from voxels and an affine to RAS mm to a SimpleITK image."""

    def image_of(data: np.ndarray, affine: np.ndarray) -> sitk.Image:
        lps = np.diag([-1.0, -1, 1, 1]) @ affine
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
        image.SetSpacing(spacing.tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
        return image

    return image_of


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Four CT with label maps, a subject each, whose values go through the window 0 to 99."""
    for i in range(4):
        folder = tmp_path / "data" / "CT" / f"p{i}"
        folder.mkdir(parents=True)
        data = np.random.default_rng(i).uniform(20, 90, (10, 11, 12)).astype(np.float32)
        nibabel.Nifti1Image(data, np.eye(4)).to_filename(folder / "a.nii.gz")
        nibabel.Nifti1Image((data > 50).astype(np.uint8), np.eye(4)).to_filename(folder / "a_seg.nii.gz")
    return read_folder(tmp_path / "data").split(seed=0)
