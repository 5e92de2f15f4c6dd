"""Run-time shape checks for every test, and where the real volumes lie."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# Torch and MONAI stay out of this: the hook only decorates modules of voxmix.
_hook = install_import_hook("voxmix", "beartype.beartype")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real volumes; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("the real volumes (../shared/data) are not on this machine")
    return SHARED
