"""What several tests of volumes need: another library's image of the same voxels in the same place."""

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk


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
