"""The recipe: a window, a size, a depth, and a digest of all that changes pixels."""

import numpy as np
import pytest

from voxmix.errors import InputError
from voxmix.images.image import Image
from voxmix.images.recipe import ImageRecipe, as_unit, prepare_pixels


def film(rows: int = 40, columns: int = 50, *, seed: int = 0, top: int = 256) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, top, (rows, columns))
    return values.astype(np.uint8 if top <= 256 else np.uint16)


def image_of(values: np.ndarray, spacing_mm: tuple[float, float] | None = None) -> Image:
    return Image(pixels=values.astype(np.float32), spacing_mm=spacing_mm)


@pytest.mark.parametrize(
    ("shape", "expected"), [((100, 150), (32, 48)), ((150, 100), (48, 32)), ((20, 30), (32, 48))]
)
def test_the_shorter_side_has_so_many_pixels_and_the_aspect_is_kept(
    shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert prepare_pixels(image_of(film(*shape)), ImageRecipe(pixels=32)).shape == expected


def test_pixels_that_are_not_square_become_square() -> None:
    assert prepare_pixels(image_of(film(100, 100), (0.2, 0.1)), ImageRecipe(pixels=32)).shape == (64, 32)


def test_percentiles_of_what_is_not_zero_become_0_and_1() -> None:
    values = np.zeros((64, 64), np.float32)
    values[:, 16:] = np.linspace(1000, 2000, 64 * 48).reshape(64, 48)
    made = as_unit(prepare_pixels(image_of(values), ImageRecipe(pixels=64))).astype(np.float64)
    low, high = np.percentile(values[values != 0], (1, 99))
    assert np.abs(made - np.clip((values - low) / (high - low), 0, 1)).max() <= 0.5 / 255 + 2**-11


def test_shrinking_is_antialiased() -> None:
    """A pattern finer than the result's pixels becomes its mean; sampling would keep black and white."""
    values = np.indices((256, 256)).sum(axis=0) % 2 + 1.0
    made = as_unit(prepare_pixels(image_of(values), ImageRecipe(pixels=32)))
    assert made[2:-2, 2:-2].astype(np.float64) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("bits", [8, 16])
def test_stored_values_are_half_a_step_off_at_most(bits: int) -> None:
    values = np.linspace(1, 2, 64 * 64).reshape(64, 64)
    made = as_unit(prepare_pixels(image_of(values), ImageRecipe(pixels=64, low=0, high=100, bits=bits)))  # type: ignore[arg-type]
    assert np.abs(made.astype(np.float64) - (values - 1)).max() <= 0.5 / (2**bits - 1) + 2**-12 + 1e-6


def test_the_digest_of_a_recipe_knows_all_that_changes_pixels() -> None:
    recipes = [
        ImageRecipe(),
        ImageRecipe(pixels=64),
        ImageRecipe(low=0.5),
        ImageRecipe(high=99.5),
        ImageRecipe(bits=16),
    ]
    assert len({recipe.digest for recipe in recipes}) == len(recipes)
    assert ImageRecipe(max_pixels=10**6).digest == ImageRecipe().digest
    assert ImageRecipe.from_dict(recipes[1].as_dict()) == recipes[1]


def test_a_film_that_is_nearly_all_one_value_keeps_its_range() -> None:
    values = np.full((40, 40), 5.0)
    values[3, 3] = 9.0
    made = prepare_pixels(image_of(values), ImageRecipe(pixels=40))
    assert made.max() > made.min()


@pytest.mark.parametrize("wrong", [{"pixels": 4}, {"low": 60, "high": 40}, {"high": 101}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        ImageRecipe(**wrong)  # type: ignore[arg-type]
