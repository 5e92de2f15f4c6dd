"""What preparing, joining and upkeep read and write, counted: in proportion to the volumes, and nothing of unchanged sources."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix.errors import VoxmixWarning
from voxmix.volumes import Manifest, PreparedCache, PreparedVolume, Recipe, VolumeRecord
from voxmix.volumes.auditing.fill import Fill
from voxmix.volumes.preparing.cache_upkeep import prune, usage, verify
from voxmix.volumes.preparing.prepare import Preparation, prepare
from voxmix.volumes.preparing.private_lists import Names
from voxmix.volumes.preparing.units import Plan, is_done, make_unit, plan, units_of

RECIPE = Recipe(spacing_mm=2.0, min_shape=(4, 4, 4))
DOMAINS = ("A-MR", "B-MR")


class Opened:
    """Paths that were opened while it listens: Python tells every open, whoever asks for it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.on = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and event == "open" and isinstance(arguments[0], str | os.PathLike):
            self.paths.append(os.fspath(arguments[0]))

    @contextmanager
    def listening(self) -> Iterator[list[str]]:
        self.paths, self.on = [], True
        try:
            yield self.paths
        finally:
            self.on = False


@pytest.fixture(scope="module")
def opened() -> Opened:
    return Opened()


def write_sources(root: Path, count: int, *, first: int = 0, old: bool = True) -> None:
    for number in range(first, first + count):
        path = root / DOMAINS[number % 2] / f"p{number}" / "scan.nii"
        path.parent.mkdir(parents=True)
        data = np.random.default_rng(number).uniform(1, 100, (5, 4, 6)).astype(np.float32)
        nibabel.Nifti1Image(data, np.diag([2.0, 2, 2, 1])).to_filename(path)
        if old:
            os.utime(path, (1e9, 1e9))


def manifest_of(root: Path) -> Manifest:
    records = tuple(
        VolumeRecord(path=path, domain=path.parts[-3], subject=path.parts[-2])
        for path in sorted(root.glob("*/*/*.nii"))
    )
    return Manifest(records=records).split(seed=0)


def prepared(root: Path, *, again: bool = True, codec: str = "npy") -> Preparation:
    data = root / "data"
    return prepare(
        manifest_of(data),
        recipe=RECIPE,
        root=root / "cache",
        source=data,
        names=Names(folder=root / "private"),
        again=again,
        codec=codec,
    )


def planned(root: Path) -> Plan:
    manifest = manifest_of(root / "data")
    return plan(
        manifest,
        recipe=RECIPE.resolved(manifest.domains),
        root=root / "cache",
        codec="npy",
        source=root / "data",
        names=Names(folder=root / "private"),
        again=False,
    )


def of_sources(paths: list[str], root: Path) -> list[str]:
    return [path for path in paths if path.startswith(str(root / "data")) and path.endswith("scan.nii")]


def test_unchanged_sources_are_not_opened_and_changed_ones_are(tmp_path: Path, opened: Opened) -> None:
    write_sources(tmp_path / "data", 12)
    first = prepared(tmp_path)
    assert (first.made, len(first.cache.volumes)) == (12, 12)
    with opened.listening() as paths:
        again = prepared(tmp_path)
    assert of_sources(paths, tmp_path) == []
    assert again.cache == first.cache
    assert (again.made, again.findings, again.notes) == (0, first.findings, first.notes)
    changed = tmp_path / "data" / "A-MR" / "p4" / "scan.nii"
    changed.write_bytes(changed.read_bytes()[:-4] + b"\x00\x00\x80?")  # of the same size
    with opened.listening() as paths:
        third = prepared(tmp_path)
    assert set(of_sources(paths, tmp_path)) == {str(changed)}
    assert third.made == 1
    assert third.cache.digest != first.cache.digest


def test_a_source_that_changed_a_moment_ago_is_read_again(tmp_path: Path, opened: Opened) -> None:
    write_sources(tmp_path / "data", 4, old=False)
    prepared(tmp_path)
    with opened.listening() as paths:
        prepared(tmp_path)
    assert len(set(of_sources(paths, tmp_path))) == 4


def test_what_is_gone_or_failed_is_made_again(tmp_path: Path, opened: Opened) -> None:
    write_sources(tmp_path / "data", 8)
    broken = tmp_path / "data" / "A-MR" / "p0" / "scan.nii"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-100])
    os.utime(broken, (1e9, 1e9))
    first = prepared(tmp_path)
    assert [item.path for item in first.set_aside] == [broken]
    gone = first.cache.volumes[3]
    (tmp_path / "cache" / gone.file).unlink()
    with opened.listening() as paths:
        again = prepared(tmp_path)
    assert len(set(of_sources(paths, tmp_path))) == 2  # what failed, and what is gone
    assert again.made == 1
    assert again.cache == first.cache
    with opened.listening() as paths:  # Who joins the work of others takes their word for it.
        joined = prepared(tmp_path, again=False)
    assert of_sources(paths, tmp_path) == []
    assert [item.reason for item in joined.set_aside] == [item.reason for item in first.set_aside]


def test_processes_on_several_machines_prepare_what_one_prepares(tmp_path: Path, opened: Opened) -> None:
    for place in ("one", "several"):
        write_sources(tmp_path / place / "data", 100)
    alone = prepared(tmp_path / "one")
    root = tmp_path / "several"
    machines = [planned(root), planned(root), planned(root)]
    units = [units_of(machine) for machine in machines]
    assert len(units[0]) == 4
    assert units[0] == units[1] == units[2]
    for number, unit in enumerate(units[0]):
        machine = machines[number % 3]
        assert not is_done(machine, unit)
        with opened.listening() as paths:
            assert make_unit(machine, unit, names=Names(folder=root / "private"))
        written = {Path(path).name for path in paths if path.startswith(str(root / "private"))}
        assert len({name for name in written if unit.name in name}) == len(written) - (
            ".gitignore" in str(written)
        )
        assert all(is_done(other, unit) for other in machines)
    assert units_of(planned(root)) == ()
    with opened.listening() as paths:
        joined = prepared(root, again=False)
    assert of_sources(paths, root) == []
    assert not [path for path in paths if path.endswith(".npy")]
    assert joined.made == 0
    assert joined.cache.digest == alone.cache.digest
    arrays = {volume.file: (root / "cache" / volume.file).read_bytes() for volume in joined.cache.volumes}
    assert arrays == {v.file: (tmp_path / "one" / "cache" / v.file).read_bytes() for v in alone.cache.volumes}


def test_a_unit_that_was_stopped_keeps_what_it_made(tmp_path: Path) -> None:
    write_sources(tmp_path / "data", 10)
    (unit,) = units_of(planned(tmp_path))
    asked = iter([False, False, False, True])
    names = Names(folder=tmp_path / "private")
    assert not make_unit(planned(tmp_path), unit, names=names, stop=lambda: next(asked))
    left = planned(tmp_path)
    assert [(one.volumes, one.name != unit.name) for one in units_of(left)] == [(7, True)]
    assert not is_done(left, units_of(left)[0])
    assert make_unit(left, units_of(left)[0], names=names)
    assert prepared(tmp_path, again=False).made == 0


def test_a_unit_whose_arrays_are_gone_is_left_again(tmp_path: Path) -> None:
    write_sources(tmp_path / "data", 4)
    names = Names(folder=tmp_path / "private")
    first = planned(tmp_path)
    (unit,) = units_of(first)
    make_unit(first, unit, names=names)
    next((tmp_path / "cache" / "volumes").glob("*.npy")).unlink()
    found = planned(tmp_path)
    (again,) = units_of(found)
    assert (again.volumes, is_done(found, again)) == (1, False)
    make_unit(found, again, names=names)
    assert units_of(planned(tmp_path)) == ()


def test_a_damaged_file_of_outcomes_is_named_and_put_aside(tmp_path: Path, opened: Opened) -> None:
    write_sources(tmp_path / "data", 6)
    first = prepared(tmp_path)
    (path,) = (tmp_path / "private" / "outcomes").glob("*.json")
    for damage in (b"", b'{"kind"', path.read_bytes().replace(b'"shape"', b'"shapes"')):
        path.write_bytes(damage)
        with pytest.warns(VoxmixWarning, match=rf"{path.name}.*it is now {path.name}.damaged"):
            again = prepared(tmp_path)
        assert again.cache == first.cache
        assert again.made == 0
        assert path.with_name(f"{path.name}.damaged").read_bytes() == damage
    with opened.listening() as paths:
        prepared(tmp_path)
    assert of_sources(paths, tmp_path) == []


def test_outcomes_tell_no_path_and_few_files_remain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxmix.volumes.preparing.keeping._ROWS", 1)
    write_sources(tmp_path / "data", 8)
    prepared(tmp_path)
    folder = tmp_path / "private" / "outcomes"
    assert len(list(folder.iterdir())) == 1
    (path,) = folder.iterdir()
    assert b"scan" not in path.read_bytes()
    assert b"p3" not in path.read_bytes()
    assert not list((tmp_path / "cache").rglob("*outcomes*"))


def test_another_form_or_recipe_is_asked_anew(tmp_path: Path) -> None:
    pytest.importorskip("blosc2")
    write_sources(tmp_path / "data", 4)
    first = prepared(tmp_path)
    packed = prepared(tmp_path, codec="blosc2")
    assert {Path(volume.file).suffix for volume in packed.cache.volumes} == {".b2nd"}
    assert packed.cache.digest == first.cache.digest


# Caches of many volumes whose arrays are a few bytes.


def made_cache(root: Path, count: int, *, bytes_known: bool = True) -> PreparedCache:
    from hashlib import sha256

    (root / "volumes").mkdir(parents=True)
    fill = Fill(size=(4, 4, 4), padding=0.25, commonest=0.5, value=0.0, at_low=0.5, at_high=0.0, offset=0.0)
    volumes = []
    for number in range(count):
        content = number.to_bytes(4, "little")
        key = sha256(content).hexdigest()[:16]
        (root / "volumes" / f"{key}.npy").write_bytes(content)
        side = json.dumps({"checksum": sha256(content).hexdigest()})
        (root / "volumes" / f"{key}.json").write_text(side, encoding="utf-8")
        volumes.append(
            PreparedVolume(
                key=key,
                domain=f"D{number % 7}-MR",
                subject=f"s{number}",
                split="validation" if number % 5 == 0 else "train",
                shape=(4, 4, 4 + number % 3),
                spacing_mm=2.0,
                file=f"volumes/{key}.npy",
                category="Köln" if number % 2 else "",
                fill=fill if number % 3 else None,
                box=((0, 1, 0), (4, 2, 4)) if number % 4 == 0 else None,
                bytes=4 + len(side) if bytes_known else None,
            )
        )
    ordered = tuple(sorted(volumes, key=lambda volume: (volume.domain, volume.key)))
    recipe = Recipe(spacing_mm=2.0).resolved(tuple(f"D{k}-MR" for k in range(7)))
    return PreparedCache(
        root=root, volumes=ordered, recipe=recipe, set_aside=({"domain": "D1-MR", "reason": "x"},)
    )


def test_an_index_gives_back_what_was_written(tmp_path: Path) -> None:
    cache = made_cache(tmp_path, 50)
    cache.write_index()
    found = PreparedCache.open(tmp_path)
    assert found.digest == cache.digest  # before any volume is made of the columns
    assert found.counts("train") == cache.counts("train")
    assert found.fitness() == cache.fitness()
    assert found.select("D3-MR", "train") == tuple(
        v for v in cache.volumes if (v.domain, v.split) == ("D3-MR", "train")
    )
    assert (found.volumes[7], found.volumes[-1], found.volumes[3:9:2]) == (
        cache.volumes[7],
        cache.volumes[-1],
        cache.volumes[3:9:2],
    )
    assert found == cache
    assert replace(found, volumes=found.volumes[:20]).digest != found.digest
    assert replace(found, volumes=tuple(found.volumes)).digest == found.digest


def test_a_former_index_opens_as_before_and_is_written_anew(tmp_path: Path) -> None:
    cache = made_cache(tmp_path, 20, bytes_known=False)
    (tmp_path / "index.json").write_text(json.dumps(cache.as_dict()), encoding="utf-8")
    former = PreparedCache.open(tmp_path)
    assert former == cache
    assert former.digest == cache.digest
    sizes = {item.domain: item.bytes for item in usage(former)}
    former.write_index()
    found = PreparedCache.open(tmp_path)
    assert found == cache
    assert {item.domain: item.bytes for item in usage(found)} == sizes
    assert sum(sizes.values()) == sum(path.stat().st_size for path in (tmp_path / "volumes").iterdir())


@pytest.mark.parametrize("damage", [b"", b"PK", None])
def test_damaged_columns_are_named(tmp_path: Path, damage: bytes | None) -> None:
    made_cache(tmp_path, 5).write_index()
    (path,) = tmp_path.glob("index-*.npz")
    path.unlink() if damage is None else path.write_bytes(damage)
    done = subprocess.run(  # here, checks of types would read the columns first
        [sys.executable, "-m", "voxmix", "cache", "list", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "Traceback" not in said
    assert path.name in said.replace(" ", "")
    assert "prepare again: finished volumes are kept" in said


def test_readers_of_a_former_index_go_on(tmp_path: Path) -> None:
    cache = made_cache(tmp_path, 10)
    cache.write_index()
    reader = PreparedCache.open(tmp_path)
    replace(cache, volumes=cache.volumes[:6]).write_index()
    assert len(reader.select("D1-MR", "train")) == len(cache.select("D1-MR", "train"))
    assert len(PreparedCache.open(tmp_path).volumes) == 6
    assert len(list(tmp_path.glob("index-*.npz"))) == 2
    for path in tmp_path.glob("index-*.npz"):
        os.utime(path, (1e9, 1e9))
    assert len(prune(PreparedCache.open(tmp_path), dry_run=True).files) == 1 + 2 * 4
    cache.write_index()
    assert len(list(tmp_path.glob("index-*.npz"))) == 1


UPKEEP: dict[str, tuple[Callable[[PreparedCache], object], int]] = {
    "usage": (usage, 0),
    "prune": (lambda cache: prune(cache, dry_run=True), 0),
    "verify": (verify, 2),
    "status": (lambda cache: (cache.digest, cache.counts(), cache.fitness()), 0),
}


def test_files_opened_by_upkeep_grow_with_the_volumes(tmp_path: Path, opened: Opened) -> None:
    made_cache(tmp_path / "small", 200).write_index()
    made_cache(tmp_path / "large", 2000).write_index()
    for name, (call, each) in UPKEEP.items():
        counts = {}
        for size in ("small", "large"):
            with opened.listening() as paths:
                call(PreparedCache.open(tmp_path / size))
            counts[size] = len(paths)
        assert counts["large"] - counts["small"] == each * 1800, name
        assert counts["small"] <= each * 200 + 3, name
