"""One file to one film: equal to what was written, or refused with the reason."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from voxmix.images.reading import read_image
from voxmix.volumes.volume import UnreadableVolumeError

Writer = Callable[..., None]


def film(rows: int = 40, columns: int = 50, *, seed: int = 0, top: int = 256) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, top, (rows, columns))
    return values.astype(np.uint8 if top <= 256 else np.uint16)


def refused(path: Path) -> str:
    with pytest.raises(UnreadableVolumeError) as caught:
        read_image(path)
    assert path.name not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "P"])
def test_a_gray_png_of_any_mode_is_its_pixels(tmp_path: Path, mode: str) -> None:
    picture = Pillow.fromarray(film()).convert(mode)
    if mode == "P":
        picture.putpalette([level for level in range(256) for _ in range(3)])
    picture.save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert read.pixels.dtype == np.float32
    assert np.array_equal(read.pixels, film())
    assert (read.notes, read.risks, read.spacing_mm) == ((), (), None)


def test_sixteen_bits_stay(tmp_path: Path) -> None:
    Pillow.fromarray(film(top=65536)).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").pixels, film(top=65536))


def test_one_bit_is_read_and_said(tmp_path: Path) -> None:
    Pillow.fromarray(film() > 128).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert np.array_equal(read.pixels, (film() > 128) * 255)
    assert "one bit" in read.notes[0]


def test_a_name_does_not_decide(tmp_path: Path) -> None:
    Pillow.fromarray(film()).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg").pixels, film())


def test_jpeg_in_color_mode_is_gray_within_its_own_error(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(80)).astype(np.uint8)
    Pillow.fromarray(smooth).convert("RGB").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").pixels - smooth).max() <= 3


def test_a_mark_in_color_is_a_risk_and_a_color_image_refused(tmp_path: Path) -> None:
    values = np.stack([film(100, 100)] * 3, axis=2)
    values[3, 3:8] = (255, 0, 0)
    Pillow.fromarray(values).save(tmp_path / "mark.png")
    assert read_image(tmp_path / "mark.png").risks == ("colored marks",)
    values[:20] = (255, 0, 0)
    Pillow.fromarray(values).save(tmp_path / "color.png")
    assert refused(tmp_path / "color.png").startswith("color image (RGB): 20.0% of its pixels have color")
    Pillow.fromarray(values).quantize(16).save(tmp_path / "palette.png")
    assert "palette of colors" in refused(tmp_path / "palette.png")
    Pillow.fromarray(values).convert("CMYK").save(tmp_path / "cmyk.jpg")
    assert refused(tmp_path / "cmyk.jpg").startswith("color image (CMYK)")


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    alpha = np.full_like(film(), 255)
    alpha[:10] = 0
    Pillow.merge("LA", [Pillow.fromarray(film()), Pillow.fromarray(alpha)]).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png")
    assert np.array_equal(read.pixels, np.where(alpha == 0, 0, film()))
    assert "25% of its pixels are transparent" in read.notes[0]


def test_the_rotation_of_a_camera_is_applied(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.fromarray(film()).save(tmp_path / "a.png", exif=exif)
    read = read_image(tmp_path / "a.png")
    assert np.array_equal(read.pixels, np.rot90(film(), -1))
    assert "EXIF" in read.notes[0]


def test_numpy_files(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32)
    np.savez(tmp_path / "a.npz", image=values, spacing=[0.2, 0.1])
    read = read_image(tmp_path / "a.npz")
    assert np.array_equal(read.pixels, values)
    assert read.spacing_mm == (0.2, 0.1)
    np.save(tmp_path / "a.npy", values[None])
    assert np.array_equal(read_image(tmp_path / "a.npy").pixels, values)
    values[0, :3] = np.nan
    np.save(tmp_path / "nan.npy", values)
    assert read_image(tmp_path / "nan.npy").pixels[0, 0] == np.nanmin(values)


def write_bad(folder: Path) -> None:
    for ending in ("png", "jpg"):
        whole = folder / f"whole.{ending}"
        Pillow.fromarray(film(200, 200)).save(whole)
        (folder / f"cut.{ending}").write_bytes(whole.read_bytes()[:5000])
    whole_png = (folder / "whole.png").read_bytes()
    (folder / "flipped.png").write_bytes(whole_png[:3000] + b"\0\1" + whole_png[3002:])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("<html>no</html>", encoding="utf-8")
    Pillow.fromarray(np.full((40, 40), 7, np.uint8)).save(folder / "one.png")
    Pillow.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "zero.png")
    Pillow.fromarray(film(4, 4)).save(folder / "tiny.png")
    Pillow.fromarray(film(20, 400)).save(folder / "long.png")
    Pillow.fromarray(film()).save(folder / "a.tif")
    np.savez(folder / "volume.npz", np.zeros((20, 20, 20)))
    np.savez(folder / "two.npz", a=film(), b=film())
    np.save(folder / "text.npy", np.array([["a"] * 20] * 20))
    np.save(folder / "nan.npy", np.full((20, 20), np.nan))
    header = (348).to_bytes(4, "little").ljust(344, b"\0") + b"n+1\0"
    (folder / "volume.nii").write_bytes(header + b"\0" * 1000)
    pages = [Pillow.fromarray(film(seed=seed)) for seed in range(3)]
    pages[0].save(folder / "moving.png", save_all=True, append_images=pages[1:])
    (folder / "folder.png").mkdir()


def test_what_cannot_be_an_image_is_refused_with_the_reason(tmp_path: Path) -> None:
    write_bad(tmp_path)
    reasons = {
        "cut.png": "truncated or damaged",
        "cut.jpg": "truncated or damaged",
        "empty.png": "the file is empty",
        "text.png": "a text such as a web page",
        "flipped.png": "damaged",
        "one.png": "every pixel has the same value",
        "zero.png": "every pixel has the same value",
        "tiny.png": "only 4 x 4 pixels",
        "long.png": "which is no image of a body",
        "a.tif": "save it as PNG",
        "volume.npz": "3 axes (20 x 20 x 20): a volume",
        "two.npz": "2 arrays in one npz",
        "text.npy": "not numbers",
        "nan.npy": "100% of the pixels are not numbers",
        "volume.nii": "a 3D file in a study of images",
        "moving.png": "several images in one file",
        "folder.png": "a folder where an image is expected",
        "gone.png": "no such file",
    }
    for name, reason in reasons.items():
        assert reason in refused(tmp_path / name), name


def test_a_picture_that_claims_too_much_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Pillow.fromarray(film()).save(tmp_path / "a.png")
    whole = bytearray((tmp_path / "a.png").read_bytes())
    whole[16:24] = struct.pack(">II", 30_000, 30_000)
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    (tmp_path / "bomb.png").write_bytes(whole)
    assert "are more than the 100000000" in refused(tmp_path / "bomb.png")
    with pytest.raises(UnreadableVolumeError, match="40 x 50 pixels are more than the 1000"):
        read_image(tmp_path / "a.png", max_pixels=1000)
    np.savez_compressed(tmp_path / "bomb.npz", np.zeros((1000, 1000)))
    with pytest.raises(UnreadableVolumeError, match="unpacks to"):
        read_image(tmp_path / "bomb.npz", max_pixels=1000)


@pytest.fixture
def values() -> np.ndarray:
    return film(top=4096)


def test_a_dicom_film_is_its_rescaled_pixels_with_spacing_and_view(
    tmp_path: Path, values: np.ndarray, write_dicom: Writer
) -> None:
    path = tmp_path / "a"
    scale = {"RescaleSlope": 2, "RescaleIntercept": -100}
    write_dicom(path, values, **scale, ImagerPixelSpacing=[0.2, 0.1], ViewPosition="PA")
    read = read_image(path)
    assert np.allclose(read.pixels, values * 2.0 - 100)
    assert (read.spacing_mm, read.view) == ((0.2, 0.1), "PA")
    assert "detector" in read.notes[0]
    write_dicom(path, values, PixelSpacing=[0.15, 0.15], ImagerPixelSpacing=[0.2, 0.2])
    assert read_image(path).spacing_mm == (0.15, 0.15)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME2", None, False),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", False),
    ],
)
def test_bone_is_bright_whatever_the_photometry(
    tmp_path: Path,
    values: np.ndarray,
    photometric: str,
    shape: str | None,
    inverted: bool,
    write_dicom: Writer,
) -> None:
    header = {"PresentationLUTShape": shape} if shape else {}
    write_dicom(tmp_path / "a.dcm", values, PhotometricInterpretation=photometric, **header)
    read = read_image(tmp_path / "a.dcm")
    assert np.allclose(read.pixels, values.max() - values if inverted else values)
    assert any("turned around" in note for note in read.notes) is inverted


def test_padding_is_black_and_says_nothing_of_brightness(
    tmp_path: Path, values: np.ndarray, write_dicom: Writer
) -> None:
    values = np.clip(values, 10, 4000)
    values[:4] = 4095
    write_dicom(tmp_path / "a.dcm", values, PixelPaddingValue=4095, PhotometricInterpretation="MONOCHROME1")
    read = read_image(tmp_path / "a.dcm")
    inside = values[4:].astype(np.float32)
    assert np.allclose(read.pixels[4:], inside.max() - inside)
    assert (read.pixels[:4] == 0).all()


def test_burned_in_text_by_the_header_is_a_risk_and_free_text_is_no_view(
    tmp_path: Path, values: np.ndarray, write_dicom: Writer
) -> None:
    write_dicom(tmp_path / "a.dcm", values, BurnedInAnnotation="YES", ViewPosition="JANE DOE")
    read = read_image(tmp_path / "a.dcm")
    assert read.risks == ("burned-in text, by the header",)
    assert read.view == ""


def test_dicom_that_is_no_gray_film_is_refused(
    tmp_path: Path, values: np.ndarray, write_dicom: Writer
) -> None:
    path = tmp_path / "a.dcm"
    write_dicom(path, np.stack([values] * 3), NumberOfFrames=3)
    assert "a DICOM file of 3 frames" in refused(path)
    write_dicom(path, film(), PhotometricInterpretation="PALETTE COLOR")
    assert "palette" in refused(path)
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "Columns": 50}
    write_dicom(path, np.repeat(film(), 3, axis=1), **rgb)
    assert "color image" in refused(path)
    write_dicom(path, values)
    path.write_bytes(path.read_bytes()[:-500])
    assert "cut off" in refused(path)
