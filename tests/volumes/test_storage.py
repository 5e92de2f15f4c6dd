"""Both ways of storing give the same bits, are checked alike, and go over into each other."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxmix._io import file_digest, read_json
from voxmix.errors import InputError
from voxmix.volumes import IntensityRule, Manifest, PreparedCache, Recipe
from voxmix.volumes.preparing import storage
from voxmix.volumes.preparing.cache_upkeep import prune, verify
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.preparing.storage import (
    SUFFIXES,
    Codec,
    Scratch,
    open_array,
    read_array,
    stored_digest,
    write_array,
)

RECIPE = Recipe(
    spacing_mm=1.0, min_shape=(8, 8, 8), intensity={"CT": IntensityRule(kind="window", low=0, high=99)}
)


@settings(deadline=None, max_examples=25)
@given(
    shape=st.tuples(*[st.integers(1, 90)] * 3),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([np.float16, np.uint8, np.uint16]),
)
def test_every_bit_comes_back(tmp_path_factory, shape, seed, dtype):
    words = np.random.default_rng(seed).integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
    array = words.view(dtype)[..., 0]  # every pattern of bits: NaN, infinities, negative zero
    folder = tmp_path_factory.mktemp("codec")
    for codec, suffix in SUFFIXES.items():
        write_array(folder / f"a{suffix}", array, codec=codec)
        back = read_array(folder / f"a{suffix}")
        assert back.dtype == array.dtype
        assert back.shape == array.shape
        assert back.tobytes() == array.tobytes()
        assert not back.flags.writeable


def test_smooth_volumes_take_less_than_half(tmp_path: Path) -> None:
    axes = np.linspace(0, 3, 100)
    array = np.clip(np.sin(axes)[:, None, None] * np.cos(axes)[:, None] * axes - 0.5, 0, 1).astype(np.float16)
    for codec, suffix in SUFFIXES.items():
        write_array(tmp_path / f"a{suffix}", array, codec=codec)
    assert (tmp_path / "a.b2nd").stat().st_size < 0.5 * (tmp_path / "a.npy").stat().st_size


def prepared(manifest: Manifest, root: Path, codec: str) -> PreparedCache:
    return prepare(manifest, recipe=RECIPE, root=root, codec=codec).cache


def test_the_codec_changes_files_and_nothing_else(manifest: Manifest, tmp_path: Path) -> None:
    plain, packed = (prepared(manifest, tmp_path / codec, codec) for codec in SUFFIXES)
    assert plain.digest == packed.digest
    assert PreparedCache.open(packed.root) == packed
    for a, b in zip(plain.volumes, packed.volumes, strict=True):
        assert (Path(a.file).suffix, Path(b.file).suffix) == (".npy", ".b2nd")
        assert np.array_equal(plain.array(a), packed.array(b))
        assert np.array_equal(plain.labels(a), packed.labels(b))
        assert plain.geometry(a) == packed.geometry(b)
    assert verify(packed) == ()


@pytest.mark.parametrize(("first", "second"), [("npy", "blosc2"), ("blosc2", "npy")])
def test_a_finished_cache_is_stored_anew_not_made_anew(
    manifest: Manifest, tmp_path: Path, first: Codec, second: Codec
) -> None:
    root = tmp_path / "cache"
    before = prepared(manifest, root, first)
    arrays = [np.array(before.array(volume)) for volume in before.volumes]
    again = prepare(manifest, recipe=RECIPE, root=root, codec=second)
    assert (again.made, len(again.cache.volumes)) == (0, 4)
    assert verify(again.cache) == ()
    assert all(
        np.array_equal(again.cache.array(v), a) for v, a in zip(again.cache.volumes, arrays, strict=True)
    )
    assert sorted(prune(again.cache).files) == sorted(
        file for v in before.volumes for file in (v.file, v.label) if file is not None
    )
    assert verify(again.cache) == ()
    assert prepare(manifest, recipe=RECIPE, root=root, codec=second).made == 0


def test_a_packed_file_that_changed_is_found_and_never_stored_anew(
    manifest: Manifest, tmp_path: Path
) -> None:
    cache = prepared(manifest, tmp_path / "cache", "blosc2")
    file = cache.root / cache.volumes[0].file
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    assert verify(cache) == ((cache.volumes[0].file, "its bytes changed"),)
    plain = prepare(manifest, recipe=RECIPE, root=cache.root, codec="npy")
    assert (plain.made, len(plain.cache.volumes)) == (1, 4)
    assert verify(plain.cache) == ()
    cache = prepared(manifest, tmp_path / "cache", "blosc2")
    assert verify(cache) == ()
    assert read_json((cache.root / cache.volumes[0].file).with_suffix(".json"))["file"].endswith(".b2nd")


def test_an_unknown_codec_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown codec 'zarr'; choose npy \(fastest\) or blosc2"):
        prepared(manifest, tmp_path / "cache", "zarr")


def test_a_script_without_a_main_guard_is_told_so(manifest: Manifest, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from voxmix.volumes import Recipe\n"
        "from voxmix.datasets.sets.folder import read_folder\n"
        "from voxmix.volumes.preparing.prepare import prepare\n"
        f"manifest = read_folder(Path({str(tmp_path / 'data')!r})).split(seed=0)\n"
        f"prepare(manifest, recipe=Recipe(), root=Path({str(tmp_path / 'cache')!r}), workers=2)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "voxmix.errors.VoxmixError: worker processes cannot start here"
    )


@pytest.mark.parametrize("one_piece", [0, 1 << 18])
@pytest.mark.parametrize("cold", [False, True])
def test_a_window_is_read_whole_in_pieces_and_from_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cold: bool, one_piece: int
) -> None:
    monkeypatch.setattr(storage, "_ONE_PIECE", one_piece)
    array = np.random.default_rng(0).random((13, 17, 11)).astype(np.float16)
    write_array(tmp_path / "a.npy", array, codec="npy")
    stored = open_array(tmp_path / "a.npy", mapped=False)
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, rooms, offset: whole(file, [rooms[0][:37]], offset))
    for corner in ((0, 0, 0), (4, 8, 2), (2, 3, 1)):
        x, y, z = corner
        window = stored.window(corner, (9, 9, 9), Scratch(cold=cold))
        assert np.array_equal(window, array[x : x + 9, y : y + 9, z : z + 9])


@pytest.mark.parametrize("size", [0, 1, 4096, 100_001])
def test_the_digest_of_a_stored_file_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.npy").write_bytes(np.random.default_rng(0).bytes(size))
    assert stored_digest(tmp_path / "a.npy") == file_digest(tmp_path / "a.npy")
