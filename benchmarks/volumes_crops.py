"""96^3 float32 crops delivered to torch, in batches of 8: voxmix against what others use, time and memory.

    python benchmarks/volumes_crops.py [--volumes 40] [--batches 30] [--rounds 3]

Phantom abdomens, prepared once; every reader gets the same volumes in its own form and draws crops at random places.
Each runs in a process of its own, so that its memory is its own; processes take turns, and the best round counts (crops
per second of CPU stand beside those of the clock, for machines that are not idle). *Workers* are what a ``DataLoader`` calls so:
processes beside the caller's for MONAI and TorchIO, threads for voxmix; *in process* is none.
*Cold*: the files' pages were dropped from the page cache (``posix_fadvise``); *warm*: the reader has brought them back by
then. CacheDataset and plain slices have no files left to be cold. *Anonymous* memory is what a process holds itself; *resident* counts mapped files too.

blosc2 as nnU-Net 2.8 stores it: float32, blocks of 16^3 and chunks of 80 x 64 x 64 voxels for a patch of 96^3,
Zstandard at level 8, opened by mmap, one thread. Needs MONAI and TorchIO (``make peers``).
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from voxmix.datasets.sets.folder import read_folder

CROP, BATCH = 96, 8
_WARMING = 150  # batches: by then nearly every page was touched once
Take = Callable[[], object]


def limit(root: Path, workers: int) -> Iterator[Take]:
    """Plain slices of float32 tensors in RAM, copied into one batch."""
    import torch

    whole = [torch.from_numpy(np.load(f)).float() for f in files(root, "npy")]
    batch, rng = torch.empty(BATCH, CROP, CROP, CROP), np.random.default_rng(0)

    def take() -> object:
        for row in range(BATCH):
            volume = whole[int(rng.integers(len(whole)))]
            x, y, z = (int(rng.integers(n - CROP + 1)) for n in volume.shape)
            batch[row].copy_(volume[x : x + CROP, y : y + CROP, z : z + CROP])
        return batch

    yield take


def voxmix(root: Path, workers: int, *, folder: str = "npy", mapped: bool | None = None) -> Iterator[Take]:
    """``CropReader`` into one float32 batch; with workers, ``crops_ahead`` reads ahead."""
    import torch

    from voxmix.mixture import Mixture
    from voxmix.objectives.mae.crop_loader import crops_ahead
    from voxmix.objectives.mae.parameters import draw_parameters
    from voxmix.run_settings import ModelSettings, TrainingSettings
    from voxmix.training.crops import CropReader
    from voxmix.training.draws import plan_draws
    from voxmix.volumes import PreparedCache

    cache = PreparedCache.open(root / folder)
    budget = 1_000_000
    count = len(cache.select("ABD-CT", "train"))
    plan = plan_draws(Mixture.pure(("ABD-CT",), "ABD-CT"), budget=budget, seed=0, volumes=(count,))
    model, training = ModelSettings(), TrainingSettings()
    reader = CropReader(cache, plan, crop=(CROP,) * 3, mapped=mapped)

    def parameters(start: int, stop: int) -> object:
        return draw_parameters(start, stop, seed=0, model=model, training=training)

    start = 0
    with crops_ahead(reader, parameters, rows=BATCH, workers=workers, dtype=torch.float32) as loader:

        def take() -> object:
            nonlocal start
            _, crops = loader.read(start, start + BATCH)
            start += BATCH
            loader.expect((s, s + BATCH) for s in range(start, start + 4 * BATCH, BATCH))
            return crops

        yield take


def voxmix_unmapped(root: Path, workers: int) -> Iterator[Take]:
    """The same where the data take more than half of the memory: positioned reads."""
    yield from voxmix(root, workers, mapped=False)


def voxmix_blosc2(root: Path, workers: int) -> Iterator[Take]:
    """The same from a cache prepared with ``codec="blosc2"``."""
    yield from voxmix(root, workers, folder="blosc2")


def cache_dataset(root: Path, workers: int) -> Iterator[Take]:
    """MONAI CacheDataset, RandSpatialCropd, list_data_collate."""
    from monai.data import CacheDataset

    yield from _monai(lambda items, steps: CacheDataset(items, steps, progress=False), root, workers)


def persistent_dataset(root: Path, workers: int) -> Iterator[Take]:
    """MONAI PersistentDataset (tensors on disk), RandSpatialCropd, list_data_collate."""
    from monai.data import PersistentDataset

    yield from _monai(
        lambda items, steps: PersistentDataset(items, steps, root / "persistent"), root, workers
    )


def _monai(make: Callable[..., object], root: Path, workers: int) -> Iterator[Take]:
    from monai.data import DataLoader, list_data_collate
    from monai.transforms import Compose, EnsureChannelFirstd, EnsureTyped, LoadImaged, RandSpatialCropd
    from torch import float32

    steps = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image", channel_dim="no_channel"),
            EnsureTyped("image", dtype=float32),
            RandSpatialCropd("image", roi_size=(CROP,) * 3, random_size=False),
        ]
    )
    dataset = make([{"image": str(f)} for f in files(root, "npy")], steps)
    loader = DataLoader(
        dataset,
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        collate_fn=list_data_collate,
        drop_last=True,
    )
    yield _endless(loader)


def torchio_queue(root: Path, workers: int) -> Iterator[Take]:
    """TorchIO Queue of UniformSampler patches from the same arrays (as NIfTI, its own format)."""
    import torchio
    from torch.utils.data import DataLoader

    subjects = [torchio.Subject(image=torchio.ScalarImage(f)) for f in files(root, "nii")]
    queue = torchio.Queue(
        torchio.SubjectsDataset(subjects),
        max_length=64,
        samples_per_volume=8,
        sampler=torchio.UniformSampler(CROP),
        num_workers=workers,
    )
    yield _endless(DataLoader(queue, batch_size=BATCH, num_workers=0))


def nnunet_blosc2(root: Path, workers: int) -> Iterator[Take]:
    """blosc2 as nnU-Net stores it, sliced into one batch."""
    import blosc2
    import torch

    blosc2.set_nthreads(1)
    batch, rng = torch.empty(BATCH, CROP, CROP, CROP), np.random.default_rng(0)
    paths = files(root, "nnunet")

    def take() -> object:
        for row in range(BATCH):  # nnU-Net opens a case each time it draws it
            path = paths[int(rng.integers(len(paths)))]
            array = blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
            x, y, z = (int(rng.integers(n - CROP + 1)) for n in array.shape)
            batch[row].copy_(torch.from_numpy(array[x : x + CROP, y : y + CROP, z : z + CROP]))
        return batch

    yield take


def _endless(loader: object) -> Take:
    batches: Iterator[object] = iter(())

    def take() -> object:
        nonlocal batches
        for batch in batches:
            return batch
        batches = iter(loader)  # type: ignore[call-overload]
        return next(batches)

    return take


READERS = {
    "plain slices in RAM (the limit)": limit,
    "voxmix, npy": voxmix,
    "voxmix, npy, more than fits in memory": voxmix_unmapped,
    "voxmix, blosc2": voxmix_blosc2,
    "blosc2 as in nnU-Net 2.8": nnunet_blosc2,
    "MONAI CacheDataset": cache_dataset,
    "MONAI PersistentDataset": persistent_dataset,
    "TorchIO Queue": torchio_queue,
}
IN_RAM = ("plain slices in RAM (the limit)", "MONAI CacheDataset")
ONE_ONLY = ("plain slices in RAM (the limit)", "blosc2 as in nnU-Net 2.8")
FOLDERS = {
    "voxmix, blosc2": "blosc2",
    "blosc2 as in nnU-Net 2.8": "nnunet",
    "TorchIO Queue": "nii",
    "MONAI PersistentDataset": "persistent",
}


def files(root: Path, kind: str) -> list[Path]:
    """Return the arrays of the training volumes in one form, in one order."""
    if kind in ("npy", "blosc2"):
        return sorted((root / kind / "volumes").glob("*.npy" if kind == "npy" else "*.b2nd"))
    return sorted(path for path in (root / kind).iterdir() if path.is_file())


def make_volumes(root: Path, count: int, *, peers: bool) -> None:
    """Prepare phantom abdomens in every form, or in voxmix's two; beyond 20, mirrored ones (the same statistics)."""
    import blosc2
    import nibabel

    from voxmix.phantoms import write_phantoms
    from voxmix.volumes import Recipe
    from voxmix.volumes.preparing.cache import INDEX, PreparedCache, PreparedVolume
    from voxmix.volumes.preparing.prepare import prepare
    from voxmix.volumes.preparing.storage import SUFFIXES, write_array

    write_phantoms(root / "phantoms", counts={"ABD-CT": min(count, 20)}, seed=0)
    for label in (root / "phantoms").rglob("*_seg.nii.gz"):
        label.unlink()
    made = prepare(read_folder(root / "phantoms").split(seed=0), recipe=Recipe(), root=root / "made").cache
    for kind in ("npy", "blosc2", "nii", "nnunet", "persistent"):
        (root / kind / ("volumes" if kind in SUFFIXES else "")).mkdir(parents=True)
    listed: dict[str, list[PreparedVolume]] = {"npy": [], "blosc2": []}
    for number in range(count):
        source = made.volumes[number % len(made.volumes)]
        turned = tuple(
            slice(None, None, -1) if number // len(made.volumes) >> k & 1 else slice(None) for k in range(3)
        )
        array = np.ascontiguousarray(made.array(source)[turned])
        for codec in ("npy", "blosc2"):
            file = f"volumes/{number:05}{SUFFIXES[codec]}"
            write_array(root / codec / file, array, codec=codec)
            listed[codec].append(
                PreparedVolume(
                    key=f"{number:05}",
                    domain="ABD-CT",
                    subject="s",
                    split="train",
                    shape=array.shape,
                    spacing_mm=1.5,
                    file=file,
                )
            )
        if not peers:
            continue
        nibabel.Nifti1Image(array.astype(np.float32), np.eye(4)).to_filename(
            root / "nii" / f"{number:05}.nii"
        )
        chunks = tuple(min(a, b) for a, b in zip((80, 64, 64), array.shape, strict=True))
        blosc2.asarray(
            array.astype(np.float32),
            urlpath=str(root / "nnunet" / f"{number:05}.b2nd"),
            chunks=chunks,
            blocks=(16, 16, 16),
            cparams={"codec": blosc2.Codec.ZSTD, "clevel": 8, "nthreads": 1},
        )
    for codec, volumes in listed.items():
        cache = PreparedCache(root=root / codec, volumes=tuple(volumes), recipe=made.recipe)
        (root / codec / INDEX).write_text(json.dumps(cache.as_dict()), encoding="utf-8")


def drop_pages(root: Path) -> None:
    """Drop every file below a folder from the page cache."""
    for path in root.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def memory() -> dict[str, float]:
    """Return resident and anonymous megabytes of this process and its children."""
    me = os.getpid()
    children = Path(f"/proc/{me}/task/{me}/children").read_text(encoding="utf-8").split()
    total = {"Rss": 0.0, "Anonymous": 0.0}
    for process in (str(me), *children):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines():
                name, _, value = line.partition(":")
                if name in total:
                    total[name] += int(value.split()[0]) / 1024
    return total


def measure(name: str, root: Path, *, workers: int, batches: int, cold: bool) -> dict[str, float]:
    """Return crops per second and megabytes of one reader, in this process."""
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    before = memory()
    with contextlib.contextmanager(READERS[name])(root, workers) as take:
        drop_pages(root / FOLDERS.get(name, "npy"))  # how a reader brings them back decides how fast they are
        if not cold:
            until = time.perf_counter() + 10
            for _ in range(max(batches, _WARMING)):
                take()
                if time.perf_counter() > until:
                    break
        began, spent, done = time.perf_counter(), time.process_time(), 0
        while done < batches and (done < 3 or time.perf_counter() < began + 15):
            take()
            done += 1
        seconds, spent = time.perf_counter() - began, time.process_time() - spent
        after = memory()
    crops = done * BATCH
    return {
        "rate": crops / seconds,
        "per_cpu_second": crops / spent,
        **{key: after[key] - before[key] for key in after},
    }


def in_child(name: str, root: Path, *, workers: int, batches: int, cold: bool = False) -> dict[str, float]:
    """Return what :func:`measure` gives in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps([name, str(root), workers, batches, cold])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def rates(root: Path, *, batches: int, rounds: int) -> None:
    """Print crops per second of every reader."""
    best: dict[tuple[str, int, bool], float] = {}
    per_cpu: dict[str, float] = {}
    in_child(
        "MONAI PersistentDataset", root, workers=0, batches=len(files(root, "npy")) // BATCH + 1
    )  # fills its folder
    for _ in range(rounds):
        for name in READERS:
            for workers, cold in ((0, False), (1, False), (2, False), (0, True), (1, True)):
                if (cold and name in IN_RAM) or (workers > 0 and name in ONE_ONLY):
                    continue
                used = in_child(name, root, workers=workers, batches=batches, cold=cold)
                key = (name, workers, cold)
                best[key] = max(used["rate"], best.get(key, 0.0))
                if key == (name, 0, False):
                    per_cpu[name] = max(used["per_cpu_second"], per_cpu.get(name, 0.0))
    show_rates(root, best, per_cpu)


def show_rates(root: Path, best: dict[tuple[str, int, bool], float], per_cpu: dict[str, float]) -> None:
    """Print the table of rates."""
    warm = ((0, "in process"), (1, "1 worker"), (2, "2 workers"))
    heads = [f"warm, {words} | against CacheDataset" for _, words in warm]
    print(
        f"\n| reader | {' | '.join(heads)} | a second of CPU | cold, in process | cold, 1 worker | bytes a voxel |"
    )
    print("|---|" + "---:|" * 10)
    voxels = sum(int(np.prod(np.load(f, mmap_mode="r").shape)) for f in files(root, "npy"))
    for name in READERS:
        size = sum(f.stat().st_size for f in (root / FOLDERS.get(name, "npy")).rglob("*") if f.is_file())
        cells = []
        for workers, _ in warm:
            rate, base = (best.get((n, workers, False)) for n in (name, "MONAI CacheDataset"))
            cells += [f"{rate:.0f}", f"{rate / base:.1f}"] if rate and base else ["", ""]
        cells.append(f"{per_cpu[name]:.0f}")
        cells += [f"{best[name, k, True]:.0f}" if (name, k, True) in best else "" for k in (0, 1)]
        stored = "4, in RAM" if name in IN_RAM else f"{size / voxels:.2f}"
        print(f"| {name} | {' | '.join(cells)} | {stored} |")
    plain = "plain slices in RAM (the limit)"
    for name in ("voxmix, npy", "voxmix, npy, more than fits in memory"):
        share, cpu_share = best[name, 0, False] / best[plain, 0, False], per_cpu[name] / per_cpu[plain]
        print(f"\n{name}: {share:.0%} of the rate of plain slices in RAM, {cpu_share:.0%} by CPU time.")


def memories(roots: dict[int, Path], *, batches: int) -> None:
    """Print what readers hold at several sizes of the data."""
    print("\n| reader | " + " | ".join(f"{n} volumes, anonymous MB | resident MB" for n in roots) + " |")
    print("|---|" + "---:|---:|" * len(roots))
    for name in ("voxmix, npy", "voxmix, blosc2", "MONAI CacheDataset", "MONAI PersistentDataset"):
        cells = []
        for root in roots.values():
            used = in_child(name, root, workers=0, batches=batches)
            cells += [f"{used['Anonymous']:.0f}", f"{used['Rss']:.0f}"]
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--volumes", type=int, default=40)
    parser.add_argument("--batches", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, root, workers, batches, cold = json.loads(options.child)
        print(json.dumps(measure(name, Path(root), workers=workers, batches=batches, cold=cold)))
        return
    with tempfile.TemporaryDirectory() as folder:
        roots = {n: Path(folder) / str(n) for n in (options.volumes, 3 * options.volumes)}
        for count, root in roots.items():
            root.mkdir()
            make_volumes(root, count, peers=count == options.volumes)
        rates(roots[options.volumes], batches=options.batches, rounds=options.rounds)
        memories(roots, batches=max(options.batches, 60))


if __name__ == "__main__":
    main()
