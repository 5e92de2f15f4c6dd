"""Tiles show the whole of an image, and what is said of them goes back to where it was."""

from typing import Any

import numpy as np
import pytest

from voxmix.probes.encoder import LoadedEncoder
from voxmix.probes.pixels import fitted, fitted_mask, fitted_tiles, put_back, tiles_of


@pytest.fixture
def contract(encoder: LoadedEncoder) -> Any:
    """Of a network that sees 16 pixels."""
    return encoder.contract


@pytest.mark.parametrize("shape", [(16, 16), (16, 33), (64, 64), (20, 48), (7, 9), (16, 20, 40)])
@pytest.mark.parametrize("native", [False, True])
def test_every_pixel_lies_in_a_tile_and_comes_back(
    contract: Any, shape: tuple[int, ...], native: bool
) -> None:
    frames = tiles_of(shape, contract, native=native)
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.random((2,) * len(shape)), np.ones([-(-edge // 2) for edge in shape]))
    image = coarse[tuple(slice(edge) for edge in shape)].astype(np.float32)
    tiles = fitted_tiles(image, frames, contract)
    assert tiles.shape == (len(frames), *(16,) * len(shape))
    back = put_back(tiles[:, None], frames)[0]
    assert back.shape == shape
    assert np.isfinite(back).all()
    if frames[0].resized == shape:  # nothing was resized: nothing is lost
        assert np.allclose(back, image, atol=1e-6)
    else:  # but for the edges between the four values
        assert np.median(np.abs(back - image)) < 0.05


def test_one_tile_is_what_the_encoder_sees_of_a_square(contract: Any) -> None:
    image = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    (frame,) = tiles_of((16, 16), contract)
    assert np.array_equal(fitted_tiles(image, (frame,), contract)[0], fitted(image, contract))


def test_a_mask_is_cut_as_its_image_is(contract: Any) -> None:
    image = np.zeros((32, 80), dtype=np.float32)
    image[8:20, 40:60] = 1.0
    frames = tiles_of(image.shape, contract)
    assert len(frames) == 3
    tiles, masks = fitted_tiles(image, frames, contract), fitted_mask(image > 0.5, frames)
    assert np.array_equal(tiles > 0.5, masks)
    assert np.array_equal(put_back(masks[:, None].astype(np.float32), frames)[0] > 0.5, image > 0.5)
