"""Preparing is resumable, parallel, content-addressed, and keeps names and paths out of what it writes."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix._parallel import WorkerKilledError
from voxmix.datasets.sets.folder import read_folder
from voxmix.errors import InputError, VoxmixError
from voxmix.volumes import IntensityRule, Manifest, PreparedCache, Recipe
from voxmix.volumes.manifest_files import read_csv
from voxmix.volumes.preparing.prepare import prepare

RECIPE = Recipe(
    spacing_mm=2.0, min_shape=(12, 12, 12), intensity={"CT": IntensityRule(kind="window", low=0, high=100)}
)


def write_volume(path: Path, seed: int, *, label: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    data = np.zeros((16, 14, 10), np.float32)
    data[3:12, 4:12, 2:9] = rng.uniform(20, 100, (9, 8, 7))
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    nibabel.Nifti1Image(data, affine).to_filename(path)
    if label:
        name = path.name.replace(".nii.gz", "_seg.nii.gz")
        nibabel.Nifti1Image((data > 50).astype(np.uint8) * 4, affine).to_filename(path.with_name(name))


def write_study(root: Path, *, subjects: int = 6) -> Path:
    for i in range(subjects):
        write_volume(root / "CT" / f"Doe_Jane_{i}" / "scan.nii.gz", i, label=True)
        write_volume(root / "MR" / f"Doe_Jane_{i}" / "t1.nii.gz", 100 + i)
    return root


def open_study(root: Path) -> Manifest:
    return read_folder(root).split(seed=1)


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_prepared_volumes_are_what_the_recipe_says(tmp_path: Path) -> None:
    result = prepare(open_study(write_study(tmp_path / "data")), recipe=RECIPE, root=tmp_path / "cache")
    cache = PreparedCache.open(tmp_path / "cache")
    assert cache == result.cache
    assert (result.made, len(result.cache.volumes), result.set_aside) == (12, 12, ())
    assert cache.domains == ("CT", "MR")
    for domain in cache.domains:
        sides = {side: cache.select(domain, side) for side in ("train", "validation")}
        assert sum(map(len, sides.values())) == cache.counts()[domain] == 6
        assert not {v.subject for v in sides["train"]} & {v.subject for v in sides["validation"]}
    volume = cache.select("CT", "train")[0]
    array, labels = cache.array(volume), cache.labels(volume)
    assert array.dtype == np.float16
    assert array.shape == volume.shape == (12, 12, 12)
    assert not array.flags.writeable
    assert array.min() == 0
    assert 0.9 < array.max() <= 1
    assert labels is not None
    np.testing.assert_array_equal(labels == 4, array > 0.5)
    assert cache.labels(cache.select("MR", "train")[0]) is None
    with pytest.raises(InputError, match="no domain 'PET'"):
        cache.select("PET", "train")


def test_same_subject_has_one_name_in_both_domains(tmp_path: Path) -> None:
    cache = prepare(open_study(write_study(tmp_path / "data")), recipe=RECIPE, root=tmp_path / "c").cache
    names = {d: {v.subject for v in cache.volumes if v.domain == d} for d in cache.domains}
    assert names["CT"] == names["MR"]
    assert len(names["CT"]) == 6


def test_digest_is_the_same_wherever_data_and_cache_lie(tmp_path: Path) -> None:
    digests, keys = set(), set()
    for place, workers in (("a", 1), ("b/c", 2)):
        root = write_study(tmp_path / place / "data", subjects=3)
        cache = prepare(open_study(root), recipe=RECIPE, root=tmp_path / place / "x", workers=workers).cache
        digests.add(cache.digest)
        keys.add(tuple(v.key for v in cache.volumes))
    assert len(digests) == len(keys) == 1


def test_digest_follows_content_split_and_recipe(tmp_path: Path) -> None:
    manifest = read_folder(write_study(tmp_path / "data"))
    digests = [
        prepare(manifest.split(seed=seed), recipe=recipe, root=tmp_path / "cache").cache.digest
        for seed, recipe in ((1, RECIPE), (2, RECIPE), (1, Recipe(spacing_mm=3.0, min_shape=(8, 8, 8))))
    ]
    write_volume(tmp_path / "data" / "CT" / "Doe_Jane_0" / "scan.nii.gz", 999)
    digests.append(prepare(manifest.split(seed=1), recipe=RECIPE, root=tmp_path / "cache").cache.digest)
    assert len(set(digests)) == 4


def test_finished_volumes_are_never_prepared_again(tmp_path: Path) -> None:
    root = write_study(tmp_path / "data")
    first = prepare(open_study(root), recipe=RECIPE, root=tmp_path / "cache")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache" / "volumes").iterdir()}
    write_volume(root / "CT" / "new" / "scan.nii.gz", 77)
    (root / "MR" / "Doe_Jane_0" / "t1.nii.gz").rename(root / "MR" / "Doe_Jane_0" / "renamed.nii.gz")
    second = prepare(open_study(root), recipe=RECIPE, root=tmp_path / "cache")
    assert (second.made, len(second.cache.volumes)) == (1, 13)
    assert (
        before.items()
        <= {p: p.stat().st_mtime_ns for p in (tmp_path / "cache" / "volumes").iterdir()}.items()
    )
    assert {v.key for v in first.cache.volumes} < {v.key for v in second.cache.volumes}


def test_half_written_volume_is_made_anew(tmp_path: Path) -> None:
    manifest = open_study(write_study(tmp_path / "data", subjects=3))
    whole = prepare(manifest, recipe=RECIPE, root=tmp_path / "cache")
    reference = contents(tmp_path / "cache" / "volumes")
    volume = whole.cache.volumes[0]
    # Killed between the array and its side file, and in the middle of another array.
    (tmp_path / "cache" / volume.file).with_suffix(".json").unlink()
    (tmp_path / "cache" / "volumes" / ".half.npy.abc.tmp").write_bytes(b"half")
    os.utime(tmp_path / "cache" / "volumes" / ".half.npy.abc.tmp", (0, 0))
    again = prepare(manifest, recipe=RECIPE, root=tmp_path / "cache")
    assert again.made == 1
    assert again.cache == whole.cache
    assert contents(tmp_path / "cache" / "volumes") == reference


KILLED = """
import sys
from pathlib import Path
from typing import Any
from voxmix.volumes import Recipe
from voxmix.datasets.sets.folder import read_folder
from voxmix.volumes.preparing.prepare import prepare

if __name__ == "__main__":
    def progress(done, total):
        print(done, flush=True)

    manifest = read_folder(Path(sys.argv[1])).split(seed=1)
    prepare(manifest, recipe=Recipe(spacing_mm=2.0), root=Path(sys.argv[2]), workers=2, progress=progress)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_resumed_equals_not_killed(tmp_path: Path, how: signal.Signals) -> None:
    root = write_study(tmp_path / "data", subjects=20)
    script = tmp_path / "job.py"
    script.write_text(KILLED, encoding="utf-8")
    job = subprocess.Popen(
        [sys.executable, str(script), str(root), str(tmp_path / "cache")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert job.stdout is not None
    for line in job.stdout:
        if int(line) >= 3:
            break
    job.send_signal(how)
    job.stdout.close()
    assert job.wait(30) != 0
    time.sleep(1.5)  # Orphaned workers notice within a second.
    assert not (tmp_path / "cache" / "index.json").exists()
    finished = len(list((tmp_path / "cache" / "volumes").glob("*.json")))
    time.sleep(0.3)
    assert len(list((tmp_path / "cache" / "volumes").glob("*.json"))) == finished
    assert 3 <= finished < 40
    resumed = prepare(open_study(root), recipe=Recipe(spacing_mm=2.0), root=tmp_path / "cache")
    assert len(resumed.cache.volumes) - resumed.made == finished
    fresh = prepare(open_study(root), recipe=Recipe(spacing_mm=2.0), root=tmp_path / "fresh")
    assert resumed.cache.digest == fresh.cache.digest
    for volume in fresh.cache.volumes:
        assert (tmp_path / "cache" / volume.file).read_bytes() == (
            tmp_path / "fresh" / volume.file
        ).read_bytes()


def test_bad_files_are_set_aside_and_the_job_goes_on(tmp_path: Path) -> None:
    root = write_study(tmp_path / "data")
    broken = root / "CT" / "Doe_Jane_9" / "broken.nii.gz"
    broken.parent.mkdir()
    whole = (root / "CT" / "Doe_Jane_0" / "scan.nii.gz").read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    flat = root / "MR" / "Doe_Jane_9" / "flat.nii.gz"
    flat.parent.mkdir()
    nibabel.Nifti1Image(np.zeros((9, 9, 9), np.float32), np.eye(4)).to_filename(flat)
    twin = root / "MR" / "Doe_Jane_8" / "copy.nii.gz"
    twin.parent.mkdir()
    twin.write_bytes((root / "MR" / "Doe_Jane_0" / "t1.nii.gz").read_bytes())
    seen = []
    result = prepare(
        open_study(root),
        recipe=RECIPE,
        root=tmp_path / "cache",
        progress=lambda done, total: seen.append((done, total)),
    )
    reasons = {s.path.name: s.reason for s in result.set_aside}
    assert reasons["broken.nii.gz"].startswith(("truncated", "damaged"))
    assert reasons["flat.nii.gz"] == "every voxel is 0"
    assert "same content as another file of the domain" in reasons.values()
    assert result.cache.counts() == {"CT": 6, "MR": 6}
    assert seen == [(n, 15) for n in range(16)]
    stored = json.loads((tmp_path / "cache" / "index.json").read_text(encoding="utf-8"))["set_aside"]
    assert sorted(s["reason"] for s in stored) == sorted(reasons.values())


def test_identical_files_on_both_sides_leave_training(tmp_path: Path) -> None:
    root = write_study(tmp_path / "data")
    rows = ["path,domain,subject,split"]
    rows += [f"data/CT/Doe_Jane_{i}/scan.nii.gz,CT,p{i},{'val' if i < 2 else 'train'}" for i in range(6)]
    write_volume(root / "other.nii.gz", 50)
    write_volume(root / "more.nii.gz", 51)
    (root / "leak.nii.gz").write_bytes((root / "CT" / "Doe_Jane_0" / "scan.nii.gz").read_bytes())
    rows += ["data/leak.nii.gz,MR,q1,train", "data/other.nii.gz,MR,q2,val", "data/more.nii.gz,MR,q3,train"]
    (tmp_path / "m.csv").write_text("\n".join(rows), encoding="utf-8")
    result = prepare(read_csv(tmp_path / "m.csv").split(seed=0), recipe=RECIPE, root=tmp_path / "cache")
    assert [(s.path.name, s.reason) for s in result.set_aside] == [
        ("leak.nii.gz", "same content as a file on the other side of the split")
    ]


def test_volumes_of_a_4d_file_are_different_volumes(tmp_path: Path) -> None:
    data = np.random.default_rng(0).uniform(10, 90, (9, 9, 9, 3)).astype(np.float32)
    for i in range(2):
        nibabel.Nifti1Image(data + i, np.eye(4)).to_filename(tmp_path / f"{i}.nii.gz")
    rows = [f"{i}.nii.gz,CT,p{i},{v}" for i in range(2) for v in (0, 2)]
    (tmp_path / "m.csv").write_text("\n".join(["path,domain,subject,volume", *rows]), encoding="utf-8")
    recipe = Recipe(spacing_mm=1.0, min_shape=(1, 1, 1), crop_foreground=False, intensity=RECIPE.intensity)
    cache = prepare(read_csv(tmp_path / "m.csv").split(seed=0), recipe=recipe, root=tmp_path / "c").cache
    assert cache.counts() == {"CT": 4}
    found = sorted(float(cache.array(v)[0, 0, 0]) for v in cache.volumes)
    wanted = sorted((data[0, 0, 0, v] + i) / 100 for i in range(2) for v in (0, 2))
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_one_file_may_belong_to_two_domains(tmp_path: Path) -> None:
    for i in range(2):
        write_volume(tmp_path / "a" / f"{i}.nii.gz", i)
        write_volume(tmp_path / "b" / f"{i}.nii.gz", i)
    rows = [f"{d}/{i}.nii.gz,{d.upper()}-MR,p{i}" for d in "ab" for i in range(2)]
    (tmp_path / "m.csv").write_text("\n".join(["path,domain,subject", *rows]), encoding="utf-8")
    result = prepare(read_csv(tmp_path / "m.csv").split(seed=0), recipe=RECIPE, root=tmp_path / "c")
    assert result.cache.counts() == {"A-MR": 2, "B-MR": 2}
    assert result.set_aside == ()


def test_label_of_another_image_is_dropped_and_counted(tmp_path: Path) -> None:
    root = write_study(tmp_path / "data")
    label = root / "CT" / "Doe_Jane_0" / "scan_seg.nii.gz"
    nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)).to_filename(label)
    result = prepare(open_study(root), recipe=RECIPE, root=tmp_path / "cache")
    (aside,) = result.set_aside
    assert aside.path == label
    assert aside.reason.startswith("label map: 50% of its labeled voxels lie outside its image")
    assert result.cache.counts()["CT"] == 6
    assert sum(v.label is not None for v in result.cache.volumes) == 5


def test_domain_without_a_readable_volume_on_one_side_is_refused(tmp_path: Path) -> None:
    root = write_study(tmp_path / "data", subjects=2)
    manifest = open_study(root)
    for record in manifest.records:
        if record.domain == "CT" and record.split == "train":
            record.path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="domain CT has no readable train volume: 1 files set aside"):
        prepare(manifest, recipe=RECIPE, root=tmp_path / "cache")
    assert not (tmp_path / "cache" / "index.json").exists()


def test_manifest_must_be_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not split"):
        prepare(read_folder(write_study(tmp_path / "d", subjects=2)), recipe=RECIPE, root=tmp_path / "c")


def test_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = open_study(write_study(tmp_path / "data", subjects=3))
    save, calls = np.save, []

    def fill_up(*args: object, **options: object) -> None:
        calls.append(1)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*args, **options)

    monkeypatch.setattr(np, "save", fill_up)
    with pytest.raises(VoxmixError, match="no space left on the disk"):
        prepare(manifest, recipe=RECIPE, root=tmp_path / "cache")
    monkeypatch.undo()
    assert not list((tmp_path / "cache").rglob("*.tmp"))
    result = prepare(manifest, recipe=RECIPE, root=tmp_path / "cache")
    assert (result.made, len(result.cache.volumes)) == (4, 6)


def test_nothing_written_names_a_person_or_a_place(tmp_path: Path) -> None:
    root = write_study(tmp_path / "Hospital_Ward7" / "data")
    (root / "CT" / "Doe_Jane_0" / "broken_Smith.nii.gz").write_bytes(b"no")
    (root / "CT" / "Doe_Jane_1" / "scan_seg.nii.gz").write_bytes(b"no")
    prepare(open_study(root), recipe=RECIPE, root=tmp_path / "cache", workers=2)
    names = [
        part for p in root.rglob("*") for part in p.relative_to(tmp_path).parts if part not in ("CT", "MR")
    ]
    for path, data in contents(tmp_path / "cache").items():
        for name in names:
            assert name not in path
            assert name.encode() not in data
    assert (tmp_path / "cache" / "salt").stat().st_mode & 0o077 == 0


def test_a_killed_worker_does_not_end_the_job(tmp_path: Path) -> None:
    manifest = open_study(write_study(tmp_path / "data", subjects=4))
    seen: list[int] = []

    def kill_one(done: int, total: int) -> None:
        seen.append(done)
        if done == 2:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    result = prepare(manifest, recipe=RECIPE, root=tmp_path / "cache", workers=2, progress=kill_one)
    assert result.cache == prepare(manifest, recipe=RECIPE, root=tmp_path / "cache").cache
    assert result.cache.counts() == {"CT": 4, "MR": 4}
    assert result.set_aside == ()
    assert seen == sorted(seen)
    assert seen[-1] == 8


def test_a_file_that_kills_its_reader_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def dying_pool(workers: int) -> Iterator[None]:
        raise WorkerKilledError("killed")
        yield

    manifest = open_study(write_study(tmp_path / "data", subjects=2))
    monkeypatch.setattr("voxmix._parallel.worker_pool", dying_pool)
    monkeypatch.setattr("voxmix._parallel._check_workers_start", lambda: None)
    with pytest.raises(InputError, match="first because: the process that read it was killed"):
        prepare(manifest, recipe=RECIPE, root=tmp_path / "cache", workers=2)


def test_pseudonyms_differ_between_caches(tmp_path: Path) -> None:
    manifest = open_study(write_study(tmp_path / "data", subjects=2))
    one, two = (prepare(manifest, recipe=RECIPE, root=tmp_path / name).cache for name in "ab")
    assert not {v.subject for v in one.volumes} & {v.subject for v in two.volumes}
    assert one.digest == two.digest


def test_damaged_cache_is_named_and_mended(tmp_path: Path) -> None:
    manifest = open_study(write_study(tmp_path / "data", subjects=2))
    cache = prepare(manifest, recipe=RECIPE, root=tmp_path / "cache").cache
    (tmp_path / "cache" / cache.volumes[0].file).unlink()
    with pytest.raises(VoxmixError, match=r"missing or damaged.*prepare again"):
        cache.array(cache.volumes[0])
    assert prepare(manifest, recipe=RECIPE, root=tmp_path / "cache").made == 1
    cache.array(cache.volumes[0])


def test_open_refuses_what_is_not_a_cache(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no prepared volumes"):
        PreparedCache.open(tmp_path)


def test_too_large_at_the_wanted_spacing_is_set_aside(tmp_path: Path) -> None:
    root = write_study(tmp_path / "data", subjects=3)
    big = root / "CT" / "big.nii.gz"
    data = np.random.default_rng(0).random((9, 9, 9)).astype(np.float32)
    nibabel.Nifti1Image(data, np.diag([90.0, 90, 90, 1])).to_filename(big)
    recipe = Recipe(spacing_mm=2.0, min_shape=(4, 4, 4), intensity=RECIPE.intensity, max_voxels=10_000)
    result = prepare(open_study(root), recipe=recipe, root=tmp_path / "cache")
    assert [s.reason for s in result.set_aside if s.path == big] == [
        "at 2.0 mm it has shape (405, 405, 405): more voxels than allowed"
    ]


def test_voxels_of_a_pair_in_capitals_are_its_content(tmp_path: Path) -> None:
    """Headers of equal bytes are not equal volumes, and a changed image is prepared anew."""

    def save(subject: str, seed: int) -> Path:
        folder = tmp_path / "data" / "CT" / subject
        folder.mkdir(parents=True, exist_ok=True)
        voxels = np.random.default_rng(seed).integers(0, 100, (13, 12, 12)).astype(np.int16)
        nibabel.Nifti1Pair(voxels, np.diag([2.0, 2, 2, 1])).to_filename(folder / "a.hdr")
        for end in ("hdr", "img"):
            (folder / f"a.{end}").replace(folder / f"A.{end.upper()}")
        return folder / "A.HDR"

    headers = [save(f"p{seed}", seed) for seed in range(4)]
    assert len({header.read_bytes() for header in headers}) == 1
    split = open_study(tmp_path / "data")
    first = prepare(split, recipe=RECIPE, root=tmp_path / "cache")
    assert (len(first.cache.volumes), first.set_aside) == (4, ())
    save("p0", 9)
    again = prepare(split, recipe=RECIPE, root=tmp_path / "cache")
    assert (again.made, len(again.cache.volumes)) == (1, 4)


def test_what_resampling_leaves_too_little_of_is_noted(tmp_path: Path) -> None:
    manifest = open_study(write_study(tmp_path / "data", subjects=2))
    coarse = Recipe(spacing_mm=20.0, min_shape=(3, 3, 3), intensity={"CT": RECIPE.intensity["CT"]})
    for _ in range(2):  # Made, then kept.
        notes = {note for _, note in prepare(manifest, recipe=coarse, root=tmp_path / "cache").notes}
        assert "10 slices of 2 mm become 1 of 20 mm; the rest of the array is padding" in notes
