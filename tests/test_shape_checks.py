"""What tests/conftest.py promises: the shapes of each function's first calls are checked, in every test anew."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from voxmix.law.regime_noise import centered, left_over
from voxmix.mixture import Mixture

FLAT, SQUARE = np.ones(3), np.ones((3, 3))


@pytest.mark.parametrize("place", ["in a test", "in the next"])
def test_a_wrong_shape_is_found_among_the_first_calls(place: str) -> None:
    for _ in range(99):
        centered(FLAT)
    with pytest.raises(TypeCheckError):
        centered(SQUARE)
    centered(SQUARE)
    with pytest.raises(TypeCheckError):
        left_over(SQUARE, FLAT.tolist())


def test_what_a_dataclass_is_made_of_is_checked() -> None:
    with pytest.raises(TypeCheckError):
        Mixture(domains=("A", "B"), weights="half")
