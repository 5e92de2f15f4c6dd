"""A cache knows what it holds, finds every byte that changed, and gives back what it no longer needs."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from voxmix.errors import VoxmixWarning
from voxmix.volumes import IntensityRule, Manifest, PreparedCache, Recipe
from voxmix.volumes.preparing.cache_upkeep import (
    estimate_bytes,
    prune,
    remove_files,
    space_needed,
    usage,
    verify,
)
from voxmix.volumes.preparing.prepare import prepare

RECIPE = Recipe(
    spacing_mm=1.0, min_shape=(8, 8, 8), intensity={"CT": IntensityRule(kind="window", low=0, high=99)}
)


@pytest.fixture
def cache(manifest: Manifest, tmp_path: Path) -> PreparedCache:
    return prepare(manifest, recipe=RECIPE, root=tmp_path / "cache").cache


def test_usage_is_what_lies_on_disk(cache: PreparedCache) -> None:
    (domain,) = usage(cache)
    on_disk = sum(p.stat().st_size for f in ("volumes", "labels") for p in (cache.root / f).iterdir())
    assert (domain.domain, domain.volumes, domain.bytes) == ("CT", 4, on_disk)


def test_whole_cache_verifies(cache: PreparedCache) -> None:
    seen = []
    assert verify(cache, progress=lambda done, total: seen.append((done, total))) == ()
    assert seen == [(n, 4) for n in range(5)]


def test_every_kind_of_damage_is_found_and_mended(cache: PreparedCache, manifest: Manifest) -> None:
    first, second, third, _ = cache.volumes
    flipped = bytearray((cache.root / first.file).read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (cache.root / first.file).write_bytes(bytes(flipped))
    (cache.root / second.file).unlink()
    assert third.label is not None
    (cache.root / third.label).with_suffix(".json").unlink()
    assert set(verify(cache)) == {
        (first.file, "its bytes changed"),
        (second.file, "missing"),
        (third.label, "its checksum is missing"),
    }
    remove_files(cache.root, [file for file, _ in verify(cache)])
    again = prepare(manifest, recipe=RECIPE, root=cache.root)
    assert again.made == 2
    assert again.cache == cache
    assert verify(again.cache) == ()


def test_prune_removes_other_recipes_and_nothing_else(cache: PreparedCache, manifest: Manifest) -> None:
    coarse = Recipe(spacing_mm=2.0, min_shape=(4, 4, 4), intensity=RECIPE.intensity)
    now = prepare(manifest, recipe=coarse, root=cache.root).cache
    planned = prune(now, dry_run=True)
    assert all((cache.root / file).exists() for file in planned.files)
    done = prune(now)
    assert done == planned
    assert {v.file for v in cache.volumes} <= set(done.files)
    assert done.bytes > 0
    assert verify(now) == ()
    assert prune(now).files == ()
    assert prepare(manifest, recipe=coarse, root=cache.root).made == 0


def test_estimate_bounds_what_is_needed(cache: PreparedCache, manifest: Manifest) -> None:
    needed = sum(cache.array(v).nbytes + cache.labels(v).nbytes for v in cache.volumes)
    assert needed <= estimate_bytes(manifest, recipe=RECIPE) <= 1.3 * needed


def test_space_counts_what_is_there_but_not_what_another_recipe_left(
    cache: PreparedCache, manifest: Manifest, tmp_path: Path
) -> None:
    whole = estimate_bytes(manifest, recipe=RECIPE)
    empty = space_needed(manifest, recipe=RECIPE, root=tmp_path / "not" / "yet")
    assert empty.needed == whole
    assert empty.free > 1e6
    assert space_needed(manifest, recipe=cache.recipe, root=cache.root).needed < 0.1 * whole
    fine = Recipe(spacing_mm=0.5, min_shape=(8, 8, 8), intensity=RECIPE.intensity)
    again = space_needed(manifest, recipe=fine.resolved(("CT",)), root=cache.root)
    assert again.needed == estimate_bytes(manifest, recipe=fine)


def test_too_small_a_disk_is_said_before(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Disk(NamedTuple):
        total: int = 100
        used: int = 90
        free: int = 10

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk())
    with pytest.warns(VoxmixWarning, match="GB are free on the disk"):
        prepare(manifest, recipe=RECIPE, root=tmp_path / "small")
