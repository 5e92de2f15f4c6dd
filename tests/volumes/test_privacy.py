"""Identifiers planted in every tag, name and path: no byte that voxmix writes holds one, but in the private folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from typer.testing import CliRunner

from voxmix.cli import app

WORD = "PLANTED"
DAY = "19310204"
TEXTS = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "AE"}
DATES = {"DA": DAY, "DT": f"{DAY}010203", "TM": "010203", "AS": "087Y", "UR": f"http://{WORD}.example"}
NEEDED = ("SpecificCharacterSet", "TimezoneOffsetFromUTC")
UID = "1.2.826.0.1.99887766"
SEED = "1"  # Puts the two readable people on two sides.


def every_tag() -> Iterator[tuple[int, str, str]]:
    """Every text and date that the DICOM dictionary knows, with a planted value."""
    for tag, (vr, vm, *_) in DicomDictionary.items():
        if tag >> 16 <= 2 or vm.startswith("0") or keyword_for_tag(tag) in NEEDED:
            continue
        if vr in TEXTS:
            yield tag, vr, f"{WORD}{tag:08X}"
        elif vr in DATES:
            yield tag, vr, DATES[vr]
        elif (
            vr == "UI"
            and "SOPClass" not in keyword_for_tag(tag)
            and "TransferSyntax" not in keyword_for_tag(tag)
        ):
            yield tag, vr, f"{UID}.{tag}"


def write_scan(folder: Path, seed: int, *, lost: int | None = None) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for k in range(4):
        if k == lost:
            continue
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"{UID}.{seed}.{k}"
        meta.SourceApplicationEntityTitle = f"{WORD}AE"
        data = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=WORD.encode().ljust(128))
        for tag, vr, value in every_tag():
            data.add_new(tag, vr, value)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"{UID}.{seed}.{k}"
        data.SeriesInstanceUID = f"{UID}.{seed}"
        data.Modality, data.Columns, data.Rows = "CT", 12, 10
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.RescaleIntercept, data.RescaleSlope = -1000, 1
        data.ImagePositionPatient, data.PixelSpacing = [0, 0, 3 * k], [2, 2]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        block = data.private_block(0x0011, f"{WORD} CREATOR", create=True)
        block.add_new(1, "LO", f"{WORD} PRIVATE")
        block.add_new(2, "UN", f"{WORD} BYTES".encode())
        data.PixelData = rng.integers(0, 2000, (10, 12)).astype(np.uint16).tobytes()
        data.save_as(folder / f"{WORD}{k}.dcm")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / f"{WORD}_Hospital" / "data"
    for i in range(2):
        for domain in ("ABD-CT", "HN-CT"):
            write_scan(root / domain / f"{WORD}_Jane_{i}" / f"{WORD}_study", i + 10 * (domain == "HN-CT"))
    write_scan(root / "ABD-CT" / f"{WORD}_Broken" / "s", 30, lost=1)
    (root / "HN-CT" / f"{WORD}_letter.nii.gz").write_bytes(f"{WORD} is not a volume".encode())
    (root / "HN-CT" / f"{WORD}_old.mnc").write_bytes(b"x")
    return root


@pytest.mark.filterwarnings("ignore")  # pydicom warns of nearly every planted value.
def test_no_identifier_reaches_what_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(1 for _ in every_tag()) > 1000
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    table = data.parent / f"{WORD}_manifest.json"

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    run("manifest", str(data), "--out", str(table), "--seed", SEED)
    run("audit", str(table), "--sheets", "look")
    (tmp_path / "r.yaml").write_text("spacing_mm: 2\nmin_shape: [8, 8, 8]\n", encoding="utf-8")
    run("prepare", str(table), "--recipe", "r.yaml", "--out", "cache", "--workers", "1")
    prepared = run("prepare", str(table), "--recipe", "r.yaml", "--out", "cache", "--workers", "1", "--json")
    listed = run("cache", "list", "cache", "--json")
    run("cache", "prune", "cache")
    run("init", "study", "--data", str(table))
    study = tmp_path / "study" / "study.yaml"
    study.write_text(
        study.read_text(encoding="utf-8").replace("spacing_mm: 4.0", "spacing_mm: 3.0"), encoding="utf-8"
    )
    run("prepare", "study")

    held = json.loads(listed)
    assert {name: entry["training"] + entry["validation"] for name, entry in held["domains"].items()} == {
        "ABD-CT": 2,
        "HN-CT": 2,
    }
    assert len(held["set_aside"]) == 3
    written = {p for p in set(tmp_path.rglob("*")) - before if p.is_file()}
    beside = {p for p in written if p.is_relative_to(data.parent)}
    assert beside == {table}
    private = {
        tmp_path / folder / name
        for folder in ("cache.private", "study/private")
        for name in ("subjects.json", "set-aside.csv")
    }
    for path in private:
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0
    elsewhere = written - beside - private - {tmp_path / "r.yaml"}
    assert len(elsewhere) > 20
    texts = [prepared.encode(), listed.encode()]
    for path in elsewhere:
        texts.append(str(path.relative_to(tmp_path)).encode())
        # The study file is the user's own and says where the data lie: that line alone may.
        content = path.read_bytes()
        lines = content.split(b"\n") if path == study else [content]
        texts += [line for line in lines if not line.startswith(b"  path: ")]
    salts = [
        json.loads(path.read_text(encoding="utf-8"))["salt"] for path in private if path.suffix == ".json"
    ]
    for text in texts:
        for secret in (WORD, "Jane", DAY, UID, *salts):
            assert secret.lower().encode() not in text.lower()
