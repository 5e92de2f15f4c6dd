"""``prepare`` against the same steps in a MONAI ``Compose``, on one core and on two.

    python benchmarks/volumes_prepare.py [--volumes 6] [--rounds 3]

Phantom CT and MR as their scanner left them, and CT brought to 512 x 512 voxels a slice. The two take turns, a set
of volumes each, and the best round of each counts. What they give is compared voxel by voxel where they overlap.
Needs MONAI (``make peers``).
"""

import argparse
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from voxmix.datasets.sets.folder import read_folder
from voxmix.phantoms import write_phantoms
from voxmix.volumes import Manifest, Recipe, VolumeRecord
from voxmix.volumes.preparing.prepare import prepare

KINDS = ("ABD-CT", "BRAIN-T1", "LARGE-CT")


def make_volumes(root: Path, *, count: int) -> None:
    """Write phantoms without their label maps; LARGE-CT are those of the abdomen at 0.7 x 0.7 x 3 mm or so."""
    write_phantoms(root, counts={"ABD-CT": count, "BRAIN-T1": count}, seed=0)
    for label in root.rglob("*_seg.nii.gz"):
        label.unlink()
    from scipy import ndimage

    for path in sorted((root / "ABD-CT").rglob("*.nii.gz")):
        image = nibabel.load(path)
        data = image.get_fdata(dtype=np.float32)
        across = sorted(range(3), key=lambda k: -data.shape[k])[:2]
        factors = [512 / data.shape[k] if k in across else 1.0 for k in range(3)]
        large = np.rint(ndimage.zoom(data, factors, order=1)).astype(np.int16)
        scale = np.diag([*(a / b for a, b in zip(data.shape, large.shape, strict=True)), 1.0])
        folder = root / "LARGE-CT" / path.parent.name
        folder.mkdir(parents=True)
        nibabel.Nifti1Image(large, image.affine @ scale).to_filename(folder / "large.nii.gz")


def compose(kind: str) -> Callable[[dict[str, str]], dict[str, Any]]:
    """Return the steps of voxmix's default recipe as MONAI spells them."""
    from monai.transforms import (
        Compose,
        CropForegroundd,
        EnsureChannelFirstd,
        LoadImaged,
        NormalizeIntensityd,
        Orientationd,
        ScaleIntensityRanged,
        Spacingd,
        SpatialPadd,
    )

    window = ScaleIntensityRanged("image", -175, 250, 0, 1, clip=True)
    score = [
        NormalizeIntensityd("image", nonzero=True),
        ScaleIntensityRanged("image", -5, 5, 0, 1, clip=True),
    ]
    return Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(1.5, 1.5, 1.5), mode="bilinear", scale_extent=True),
            *([window] if "CT" in kind else score),
            CropForegroundd("image", source_key="image", select_fn=_above, allow_smaller=True),
            SpatialPadd("image", spatial_size=(96, 96, 96)),
        ]
    )


def _above(image: Any) -> Any:
    low = float(image.min())
    return image > low + 0.1 * (float(image.max()) - low)


def with_monai(
    files: list[Path], kind: str, folder: Path
) -> tuple[float, list[tuple[np.ndarray, np.ndarray]]]:
    """Return seconds and, per file, array and affine."""
    steps, made = compose(kind), []
    began = time.perf_counter()
    for number, path in enumerate(files):
        image = steps({"image": str(path)})["image"]
        array = image.numpy()[0].astype(np.float16)
        np.save(folder / f"{number}.npy", array)
        made.append((array, image.affine.numpy()))
    return time.perf_counter() - began, made


def with_voxmix(manifest: Manifest, root: Path, *, workers: int) -> float:
    """Return seconds of ``prepare`` into an empty folder."""
    shutil.rmtree(root, ignore_errors=True)
    began = time.perf_counter()
    prepare(manifest, recipe=Recipe(), root=root, workers=workers)
    return time.perf_counter() - began


def differences(root: Path, made: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """Return (mean, 99th percentile) of the absolute differences where the grids overlap, and their largest shift.

    Grids are matched to the nearest voxel; the shift that is left is in voxels.
    """
    from voxmix.volumes import PreparedCache

    cache = PreparedCache.open(root)
    gaps, shifts = [], []
    for array, affine in made:
        best = None
        for volume in cache.volumes:
            ours, place = cache.array(volume), cache.geometry(volume).prepared_affine
            offset = np.linalg.solve(place[:3, :3], affine[:3, 3] - place[:3, 3])
            first = np.rint(offset).astype(int)
            low, high = np.maximum(first, 0), np.minimum(first + array.shape, ours.shape)
            if np.any(high - low < 32) or not np.allclose(place[:3, :3], affine[:3, :3], atol=1e-3):
                continue
            a = array[tuple(slice(x, y) for x, y in zip(low - first, high - first, strict=True))]
            b = ours[tuple(slice(x, y) for x, y in zip(low, high, strict=True))]
            gap = np.abs(a.astype(np.float32) - b.astype(np.float32))
            if best is None or gap.mean() < best[0].mean():
                best = (gap, float(np.abs(offset - first).max()))
        assert best is not None, "a volume of MONAI's has no counterpart: the comparison is void"
        gaps.append(best[0].ravel())
        shifts.append(best[1])
    every = np.concatenate(gaps)
    return float(every.mean()), float(np.percentile(every, 99)), max(shifts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volumes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--seconds", type=float, default=20, help="work for the comparison of one and two processes"
    )
    options = parser.parse_args()
    import torch  # here, and MONAI in compose: the processes of prepare import this file again

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    print(
        "| volumes | stored voxels | MONAI, s | voxmix, s | MONAI / voxmix | two processes | mean difference | 99% below | grids apart, voxels |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_volumes(root / "data", count=options.volumes)
        for kind in KINDS:
            place = root / kind
            place.mkdir()
            (place / kind).symlink_to(root / "data" / kind)
            manifest = read_folder(place).split(seed=0)
            files = [record.path for record in manifest.records]
            theirs, one = [], []
            for _ in range(options.rounds):
                seconds, made = with_monai(files, kind, place)
                theirs.append(seconds / len(files))
                one.append(with_voxmix(manifest, root / "cache", workers=1) / len(files))
            mean, most, shift = differences(root / "cache", made)
            times = 1 + round(options.seconds / (min(one) * len(files)))
            many = Manifest(records=_copies(files, root / "many" / kind, times)).split(seed=0)
            two = []
            for _ in range(2):
                alone = with_voxmix(many, root / "cache", workers=1)
                two.append(alone / with_voxmix(many, root / "cache", workers=2))
            voxels = float(np.mean([np.prod(nibabel.load(path).shape) for path in files])) / 1e6
            print(
                f"| {len(files)} {kind} | {voxels:.1f} M | {min(theirs):.3f} | {min(one):.3f} | "
                f"{min(theirs) / min(one):.1f} | {max(two):.2f}x | {mean:.4f} | {most:.4f} | {shift:.2f} |"
            )


def _copies(files: list[Path], root: Path, times: int) -> tuple[VolumeRecord, ...]:
    """Return records of copies with other bytes (a comment in the header), so that none is a duplicate."""
    for n in range(times):
        for i, path in enumerate(files):
            image = nibabel.load(path)
            image.header["descrip"] = f"{n}-{i}".encode()
            target = root / "CT" / f"{n}-{i}" / "a.nii.gz"
            target.parent.mkdir(parents=True)
            image.to_filename(target)
    return read_folder(root).records


if __name__ == "__main__":
    main()
