"""What an encoder sees of an image is what its contract says, as Pillow and transformers make it."""

import numpy as np
import pytest
from PIL import Image as Pillow

from voxmix.encoders.contract import RESAMPLE, Contract
from voxmix.errors import InputError
from voxmix.probes.pixels import fitted, frame_of

GRAY = Contract(image=12, shorter_side=16, channels=1, mean=(0.5,), std=(0.25,))


def film(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Return an image of 8 bits."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (rows // 4 + 1, columns // 4 + 1)), np.ones((4, 4)))[
        :rows, :columns
    ].astype(np.uint8)


@pytest.mark.parametrize("resample", RESAMPLE)
@pytest.mark.parametrize(("rows", "columns"), [(37, 53), (53, 37), (10, 23)])
def test_it_is_the_middle_of_what_pillow_makes(resample: str, rows: int, columns: int) -> None:
    contract = Contract(
        image=12, shorter_side=16, resample=resample, channels=1, mean=(0.5,), std=(0.25,)  # type: ignore[arg-type]
    )  # fmt: skip
    values = film(rows, columns)
    short = min(rows, columns)
    size = (16 * columns // short, 16 * rows // short)
    whole = np.asarray(Pillow.fromarray(values).resize(size, getattr(Pillow.Resampling, resample.upper())))
    top, left = (whole.shape[0] - 12) // 2, (whole.shape[1] - 12) // 2
    expected = whole[top : top + 12, left : left + 12] / np.float32(255)
    prepared = (values / np.float32(255)).astype(np.float16)  # as a cache gives it
    assert np.array_equal(fitted(prepared, contract), expected)


@pytest.mark.parametrize(("rows", "columns"), [(37, 53), (61, 40), (10, 23)])
def test_it_is_that_of_transformers(rows: int, columns: int) -> None:
    transformers = pytest.importorskip("transformers")
    made = getattr(transformers, "BitImageProcessorPil", None) or transformers.BitImageProcessor
    theirs = made(
        size={"shortest_edge": 16},
        crop_size={"height": 12, "width": 12},
        resample=3,
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    values = film(rows, columns)
    found = theirs(Pillow.fromarray(values).convert("RGB"), return_tensors="np")["pixel_values"][0]
    ours = (fitted(values.astype(np.float32) / 255, GRAY) - 0.5) / 0.25
    assert np.abs(np.asarray(found)[0] - ours).max() < 1e-5


def test_a_volume_is_resized_and_cropped_like_an_image() -> None:
    volume = np.zeros((24, 32, 40), dtype=np.float32)
    volume[12:] = 1.0
    found = fitted(volume, GRAY)
    assert found.shape == (12, 12, 12)
    assert found[:5].max() < 1e-6
    assert found[7:].min() > 1 - 1e-6
    assert fitted(np.full((8, 8, 8), 0.3, dtype=np.float32), GRAY) == pytest.approx(0.3)


def test_an_encoder_of_crops_sees_the_middle_at_the_images_own_spacing() -> None:
    volume = np.random.default_rng(0).random((14, 20, 9)).astype(np.float32)
    found = fitted(volume, GRAY, native=True)
    assert np.array_equal(found[:, :, 2:11], volume[1:13, 4:16])
    assert not found[:, :, :2].any()
    assert not found[:, :, 11:].any()
    frame = frame_of(volume.shape, GRAY, native=True)
    assert (frame.resized, frame.corner) == ((14, 20, 9), (1, 4, -2))


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="has no pixels"):
        fitted(np.zeros((0, 4), dtype=np.float32), GRAY)
