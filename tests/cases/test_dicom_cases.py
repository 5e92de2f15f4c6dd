"""Every verdict that the headers of the shared DICOM cases state, on the files that their generators write."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from voxmix.datasets.sets.folder import read_folder
from voxmix.volumes.reading.dicom.series import list_series
from voxmix.volumes.reading.read import read_volume
from voxmix.volumes.volume import UnreadableVolumeError, Volume

pytestmark = pytest.mark.shared


def check(volume: Volume, *, gain: float = 1.0, offset: float = 0.0, within: float = 0.51) -> None:
    """Hold a volume to the field of the cases, voxel by voxel, at the places that its affine gives."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in volume.data.shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(index @ volume.affine[:3, :3].T + volume.affine[:3, 3], -1, 0)
    np.testing.assert_allclose(volume.data, (35 + x + 1.3 * y + 1.7 * z) * gain + offset, atol=within)


def subjects(folder: Path) -> set[str]:
    return {record.subject for record in read_folder(folder).records} - {"good0", "good1", "good2"}


def test_case01_names_with_dots(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case01", tmp_path)
    assert subjects(folder) == {"uid", "ge", "ct", "dicom", "plain", "upper"}
    for name in subjects(folder):
        check(read_volume(folder / "MADE-CT" / name))


def test_case02_exported_twice(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case02", tmp_path)
    for name in ("twice", "some"):
        assert [count for _, count in list_series(folder / "MADE-CT" / name)] == [1]
        check(read_volume(folder / "MADE-CT" / name))


def test_case03_instance_numbers_restart(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case03", tmp_path)
    for name in ("two", "names"):
        assert [count for _, count in list_series(folder / "MADE-MR" / name)] == [2]
        for volume in (0, 1):
            check(read_volume(folder / "MADE-MR" / name, volume=volume), offset=300 + 500 * volume)


def test_case05_rescale_differs(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case05", tmp_path)
    for name in ("MADE-MR/classic", "MADE-MR/enhanced", "MADE-PET/pet"):
        check(read_volume(folder / name), offset=300, within=1.1)


def test_case06_polarity_is_not_mixed_without_a_word(
    write_case: Callable[[str, Path], Path], tmp_path: Path
) -> None:
    folder = write_case("case06", tmp_path) / "MADE-NM"
    first, second = read_volume(folder / "monochrome1"), read_volume(folder / "monochrome2")
    check(first, offset=300)
    check(second, offset=301)
    assert any("MONOCHROME1" in note for note in first.notes)


def test_case08_suv(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case08", tmp_path) / "MADE-PET"
    names = {path.name for path in folder.iterdir()} - {"good0", "good1"}
    assert len(names) == 9
    for name in names:
        volume = read_volume(folder / name)
        check(volume, gain=0.01, offset=3, within=2e-3)
        assert "into SUV" in volume.notes[0]


def test_case09_compressed_and_monochrome1(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case09", tmp_path) / "MADE-CT"
    for path in folder.iterdir():
        if path.name not in ("good0", "good1"):
            check(read_volume(path))


def test_case10_irregular_stacks(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case10", tmp_path) / "MADE-CT"
    for name in ("rounding", "ends", "shuffled", "reversed", "tilt", "jitter"):
        check(read_volume(folder / name), within=1.1)
    assert len(list_series(folder / "scout2")) == 2
    for name, reason in {
        "gap": "2.5 to 5 mm apart: some are missing",
        "twostep": "changes from 2.5 to 7.5 mm at slice 12 of 20",
        "localizer": "different orientation",
        "onestep": "20 DICOM slices at only 1 place",
    }.items():
        with pytest.raises(UnreadableVolumeError, match=reason):
            read_volume(folder / name)


def test_case11_odd_files(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case11", tmp_path)
    for name in ("nopreamble", "extra", "report"):
        check(read_volume(folder / "MADE-CT" / name))
    assert {"nopreamble", "extra", "report"} <= subjects(folder)
    for name, reason in {
        "perslice": "20 DICOM series of fewer than 3 slices each",
        "empty": "some are missing",
        "cut": "cut off",
    }.items():
        with pytest.raises(UnreadableVolumeError, match=reason):
            read_volume(folder / "MADE-CT" / name)
    manifest = read_folder(folder)
    assert "nested" not in subjects(folder)
    assert [s.reason for s in manifest.set_aside if s.path.parent.name == "nested"] == [
        "a part of one DICOM series that lies in 2 folders; put its files into one folder"
    ] * 2
