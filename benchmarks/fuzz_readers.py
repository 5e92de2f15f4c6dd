"""Feed damaged files to the readers: each must be read or refused with a reason; no crash, hang or flood.

python benchmarks/fuzz_readers.py [--cases 10000] [--seed 0] [--workers 2] [--files DIR]

Small files of every format are made, and manifests of every kind (and the small real files of DIR are added); then bits of their headers are flipped, bytes are
changed, inserted or cut off (inside the compression too, so that the damage gets through). Volumes are read as
images and as label maps and taken apart, manifests are read. Every case runs in a process that may use 20 seconds
and 3 GB. The exit code is 0 when no case did anything else than give a result or a reason, and no reason of a
volume names a path.
"""

import argparse
import gzip
import json
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import numpy as np

SECONDS, BYTES, VOXELS, CHUNK = 20, 3 << 30, 2**24, 50
REAL_BYTES = 200_000


def make_files(folder: Path) -> None:
    """Write one small volume in every format."""
    import nibabel
    import SimpleITK as sitk

    rng = np.random.default_rng(0)
    data = rng.integers(0, 1000, (9, 8, 7)).astype(np.int16)
    affine = np.array([[-2.0, 0.1, 0, 5], [0.1, 2.0, 0, -7], [0, 0, 3.0, 9], [0, 0, 0, 1]])
    nibabel.Nifti1Image(data, affine).to_filename(folder / "nifti1.nii")
    nibabel.Nifti2Image(data, affine).to_filename(folder / "nifti2.nii")
    nibabel.Nifti1Image(data.astype(np.float32), affine).to_filename(folder / "packed.nii.gz")
    nibabel.Nifti1Pair(data, affine).to_filename(folder / "pair.hdr")
    nibabel.Spm99AnalyzeImage(data, np.diag([-2.0, 2, 3, 1])).to_filename(folder / "analyze.hdr")
    nibabel.MGHImage(data.astype(np.int32), affine).to_filename(folder / "freesurfer.mgz")
    image = sitk.GetImageFromArray(data)
    for name, packed in (
        ("raw.mha", False),
        ("packed.mha", True),
        ("raw.nrrd", False),
        ("packed.nrrd", True),
    ):
        sitk.WriteImage(image, str(folder / name), packed)
    np.save(folder / "array.npy", data)
    np.savez_compressed(folder / "arrays.npz", image=data, affine=affine)
    volume = sitk.GetImageFromArray(data.astype(np.uint16))
    sitk.WriteImage(volume, str(folder / "frames.dcm"))
    for name in ("detached.mhd", "detached.nhdr"):
        sitk.WriteImage(image, str(folder / name), False)
    make_packings(folder, data, affine)
    make_series(folder, data.astype(np.uint16))
    make_manifests(folder)


def make_packings(folder: Path, data: np.ndarray, affine: np.ndarray) -> None:
    """Write pairs and headers with data files in every packing and case, and files under the name of another kind."""
    import nibabel

    for stem, header, voxels in (
        ("bothpacked", ".hdr.gz", ".img.gz"),
        ("halfpacked", ".hdr", ".img.gz"),
        ("CAPITALS", ".HDR", ".IMG"),
        ("mixed", ".hdr", ".IMG"),
    ):
        nibabel.Nifti1Pair(data, affine).to_filename(folder / "made.hdr")
        for made, ending in (("made.hdr", header), ("made.img", voxels)):
            content = (folder / made).read_bytes()
            (folder / made).unlink()
            (folder / f"{stem}{ending}").write_bytes(
                gzip.compress(content) if ending.endswith("gz") else content
            )
    nifti = (folder / "nifti1.nii").read_bytes()
    for name, content in (
        ("plain_named_packed.nii.gz", nifti),
        ("packed_named_plain.nii", gzip.compress(nifti)),
        ("nifti_named_nrrd.nrrd", nifti),
        ("nrrd_named_nifti.nii", (folder / "raw.nrrd").read_bytes()),
        ("array_named_arrays.npz", (folder / "array.npy").read_bytes()),
    ):
        (folder / name).write_bytes(content)
    raw = data.astype("<i2").tobytes(order="F")
    size = " ".join(map(str, data.shape))
    nrrd = f"NRRD0004\ntype: short\ndimension: 3\nsizes: {size}\nspacings: 2 2 3\nendian: little\nencoding: "
    slices = [f"slices.{k}.raw" for k in range(data.shape[2])]
    (folder / "slices.nhdr").write_text(
        f"{nrrd}raw\ndata file: LIST 2\n" + "\n".join(slices) + "\n", encoding="utf-8"
    )
    for k, name in enumerate(slices):
        (folder / name).write_bytes(data[:, :, k].astype("<i2").tobytes(order="F"))
    (folder / "pattern.nhdr").write_text(f"{nrrd}raw\ndata file: slices.%d.raw 0 6 1 2\n", encoding="utf-8")
    (folder / "squeezed.nhdr").write_text(f"{nrrd}gzip\ndata file: squeezed.raw.gz\n", encoding="utf-8")
    (folder / "squeezed.raw.gz").write_bytes(gzip.compress(raw))
    meta = (
        f"ObjectType = Image\nNDims = 3\nDimSize = {size}\nElementSpacing = 2 2 3\nElementType = MET_SHORT\n"
    )
    (folder / "below.mhd").write_text(
        f"{meta}BinaryData = True\nElementDataFile = data/below.raw\n", encoding="utf-8"
    )
    (folder / "below.raw").write_bytes(raw)
    (folder / "text.mha").write_text(
        f"{meta}BinaryData = False\nElementDataFile = LOCAL\n" + " ".join(map(str, data.ravel(order="F"))),
        encoding="utf-8",
    )


PARTNERS = (".img", ".img.gz", ".mat", ".raw", ".raw.gz")
"""Endings, in small letters, of files that hold the voxels of a header beside them."""


def is_partner(name: str) -> bool:
    """Return whether a file holds the voxels of another."""
    return name.lower().endswith(PARTNERS)


def add_files(real: Path, folder: Path) -> None:
    """Copy the volumes of a folder that are small enough to be damaged thousands of times."""
    from voxmix.volumes.file_names import split_suffix

    for number, path in enumerate(sorted(p for p in real.rglob("*") if p.is_file())):
        suffix = split_suffix(path.name)[1]
        if suffix and path.stat().st_size <= REAL_BYTES:
            (folder / f"real{number}{suffix}").write_bytes(path.read_bytes())
            if suffix == ".hdr":
                (folder / f"real{number}.img").write_bytes(path.with_suffix(".img").read_bytes())


def make_series(folder: Path, data: np.ndarray) -> None:
    """Write DICOM: one slice, the same deflated, and a zip of a series."""
    import pydicom
    import SimpleITK as sitk

    with zipfile.ZipFile(folder / "series.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(len(data)):
            single = sitk.GetImageFromArray(data[k : k + 1])
            tags = {
                "0020|0032": f"1\\2\\{k * 3}",
                "0020|0037": "1\\0\\0\\0\\1\\0",
                "0020|000e": "1.2.3",
                "0008|0060": "CT",
            }
            for key, value in tags.items():
                single.SetMetaData(key, value)
            sitk.WriteImage(single, str(folder / "slice.dcm"))
            archive.write(folder / "slice.dcm", f"{k}.dcm")
    header = pydicom.dcmread(folder / "slice.dcm")
    header.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    header.save_as(folder / "deflated.dcm")
    make_enhanced(folder, data)


def make_enhanced(folder: Path, data: np.ndarray) -> None:
    """Write an enhanced file of two echoes, and the same without the 128 bytes in front and without an ending."""
    import pydicom
    from pydicom.dataset import Dataset

    def item(**values: object) -> list[Dataset]:
        one = Dataset()
        for name, value in values.items():
            setattr(one, name, value)
        return [one]

    whole = pydicom.dcmread(folder / "slice.dcm")
    whole.Columns, whole.Rows, whole.NumberOfFrames = data.shape[2], data.shape[1], 2 * len(data)
    whole.SharedFunctionalGroupsSequence = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[2, 2]),
    )
    whole.PerFrameFunctionalGroupsSequence = [
        item(
            PlanePositionSequence=item(ImagePositionPatient=[0, 0, 3 * k]),
            FrameContentSequence=item(DimensionIndexValues=[k + 1, echo + 1], TemporalPositionIndex=1),
            MREchoSequence=item(EffectiveEchoTime=5.0 + 10 * echo),
        )[0]
        for k in range(len(data))
        for echo in range(2)
    ]
    whole.PixelData = np.repeat(data, 2, axis=0).astype(np.uint16).tobytes()
    whole.save_as(folder / "enhanced.dcm")
    del whole.file_meta
    bare = pydicom.filebase.DicomBytesIO()
    bare.is_little_endian, bare.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(bare, whole)
    (folder / "bare").write_bytes(bare.getvalue())


def make_manifests(folder: Path) -> None:
    """Write one table of every kind that names files."""
    row = {"path": "nifti1.nii", "domain": "CT", "subject": "p1", "split": "train", "volume": "0"}
    rows = [
        row,
        {**row, "path": "packed.nii.gz", "subject": "p2", "affine": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"},
    ]
    names = ("path", "domain", "subject", "split", "volume", "affine")
    lines = [",".join(names), *(",".join(r.get(name, "") for name in names) for r in rows)]
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    texts = {
        "manifest.json": {"kind": "manifest", "format": 1, "volumes": rows, "set_aside": []},
        "dataset.json": {
            "name": "X",
            "modality": {"0": "CT"},
            "training": [{"image": "./nifti1.nii", "label": "./nifti1.nii"}],
            "test": ["./nifti2.nii"],
        },
        "pretrain_data.json": {
            "datasets": {
                "1": {
                    "subjects": {
                        "p1": {
                            "sessions": {"s": {"images": [{"image_path": "nifti1.nii", "modality": "T1"}]}}
                        }
                    }
                }
            }
        },
    }
    for name, value in texts.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes after one of six kinds of damage."""
    data = bytearray(content)
    kind = rng.integers(0, 6)
    head = min(len(data), 600)
    if kind == 0:
        for place in rng.integers(0, head * 8, rng.integers(1, 9)):
            data[place // 8] ^= 1 << (place % 8)
    elif kind == 1:
        for place in rng.integers(0, head, rng.integers(1, 5)):
            data[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
    elif kind == 2:
        del data[int(rng.integers(0, len(data))) :]
    elif kind == 3:
        place = int(rng.integers(0, head))
        data[place : place + 4] = rng.bytes(4)
    elif kind == 4:
        place = int(rng.integers(0, len(data)))
        data[place:place] = rng.bytes(int(rng.integers(1, 50)))
    else:
        for place in rng.integers(0, len(data) * 8, rng.integers(1, 40)):
            data[place // 8] ^= 1 << (place % 8)
    return bytes(data)


def attempt(path: Path) -> None:
    """Do with one file all that voxmix does with it; errors are the caller's."""
    from voxmix.datasets.sources import read_source
    from voxmix.volumes import Manifest, VolumeRecord
    from voxmix.volumes.reading.content_digest import record_digest
    from voxmix.volumes.reading.multi_volume_files import take_apart
    from voxmix.volumes.reading.read import read_labels, read_volume
    from voxmix.volumes.volume import UnreadableVolumeError

    if path.suffix in (".csv", ".json"):
        read_source(path)
        return
    record_digest(VolumeRecord(path=path, domain="CT", subject="p", volume=1))
    take_apart(Manifest(records=(VolumeRecord(path=path, domain="CT", subject="p"),)))
    with suppress(UnreadableVolumeError):
        read_labels(path, max_voxels=VOXELS)
    with suppress(UnreadableVolumeError):
        read_volume(path, volume=1, max_voxels=VOXELS)
    read_volume(path, max_voxels=VOXELS)


def run_chunk(files: str, seed: int, cases: list[int]) -> list[tuple[int, str, str]]:
    """Return (case, file, outcome) of a chunk of cases; the outcome is "read", "refused: ..." or a fault."""
    from voxmix.errors import InputError

    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    signal.signal(signal.SIGALRM, _too_long)
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C++ readers complain on stderr, thousands of times.
    names = sorted(p.name for p in Path(files).iterdir() if not is_partner(p.name))
    results = []
    for case in cases:
        rng = np.random.default_rng([seed, case])
        name = names[case % len(names)]
        with tempfile.TemporaryDirectory() as folder:
            target = place(Path(files), name, Path(folder), rng)
            signal.alarm(SECONDS)
            try:
                attempt(target)
                outcome = "read"
            except InputError as error:
                table = target.suffix in (".csv", ".json")
                named = not table and str(folder) in str(error)
                outcome = "FAULT: names a path" if named else f"refused: {error}"
            except BaseException as error:
                outcome = f"FAULT: {type(error).__name__}: {error}"
            signal.alarm(0)
        results.append((case, name, outcome))
    return results


def place(files: Path, name: str, folder: Path, rng: np.random.Generator) -> Path:
    """Write one damaged file, and what it needs beside it, into a folder and return its path."""
    content = (files / name).read_bytes()
    inside = content.startswith(b"\x1f\x8b") and rng.random() < 0.7
    changed = damage(gzip.decompress(content) if inside else content, rng)
    target = folder / name
    if name.endswith((".csv", ".json")):
        for other in ("nifti1.nii", "nifti2.nii", "packed.nii.gz"):
            (folder / other).write_bytes(b"here")
    places = [folder, *([folder / "data"] if target.suffix == ".mhd" else [])]
    places[-1].mkdir(exist_ok=True)
    for other in files.iterdir():
        if is_partner(other.name) and other.name.split(".")[0] in (name.split(".")[0], "slices"):
            voxels = other.read_bytes()
            if rng.random() < 0.1:
                voxels = damage(voxels, rng)
            for beside in places:
                (beside / other.name).write_bytes(voxels)
    target.write_bytes(gzip.compress(changed, 1) if inside else changed)
    return target


def _too_long(*_: object) -> None:
    raise TimeoutError("a case took longer than allowed")


def run(files: str, seed: int, cases: list[int], workers: int) -> list[tuple[int, str, str]]:
    """Return the outcomes of all cases; a chunk whose process crashed is run again case by case."""
    chunks = [cases[i : i + CHUNK] for i in range(0, len(cases), CHUNK)] if len(cases) > 1 else [cases]
    done: list[tuple[int, str, str]] = []
    crashed: list[list[int]] = []
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    futures = [(pool.submit(run_chunk, files, seed, chunk), chunk) for chunk in chunks]
    for future, chunk in futures:
        try:
            done += future.result()
        except BrokenProcessPool:
            crashed.append(chunk)
    pool.shutdown()
    for chunk in crashed:
        if len(chunk) == 1:
            done.append((chunk[0], "?", "FAULT: the process crashed"))
        else:
            middle = len(chunk) // 2
            for half in (chunk[:middle], chunk[middle:]):
                done += run(files, seed, half, 1)
    return done


def main() -> int:
    """Run the cases and print what became of them as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--files", type=Path, help="a folder of real files to damage as well")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        make_files(Path(folder))
        if options.files is not None:
            add_files(options.files, Path(folder))
        outcomes = run(folder, options.seed, list(range(options.cases)), options.workers)
    faults = [row for row in outcomes if row[2].startswith("FAULT")]
    kinds = Counter(text.split(":")[0] for _, _, text in outcomes)
    print(json.dumps({"cases": len(outcomes), **kinds, "seconds": round(time.monotonic() - started, 1)}))
    for row in faults[:50]:
        print(*row, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
