"""Crops are the voxels of the files, the same bits however they are stored and whoever reads them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from voxmix.errors import VoxmixError
from voxmix.mixture import Mixture
from voxmix.objectives.mae.crop_loader import crops_ahead
from voxmix.objectives.mae.parameters import DrawParameters, draw_parameters
from voxmix.run_settings import ModelSettings, TrainingSettings
from voxmix.training.crops import CropReader
from voxmix.training.draws import plan_draws
from voxmix.volumes.preparing import storage
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.preparing.storage import SUFFIXES, Codec, write_array
from voxmix.volumes.recipe import Recipe

SHAPES = ((20, 23, 19), (18, 40, 33), (70, 18, 21))
MODEL = ModelSettings(crop=16, patch=4, width=24, depth=1, heads=2, decoder_width=12, decoder_heads=2)
TRAINING = TrainingSettings()
DRAWS = 60


@pytest.fixture(params=["pieces", "one piece"], autouse=True)
def one_piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of small files are read in one piece, of large ones through maps or row by row: test files serve as both."""
    if request.param == "pieces":
        monkeypatch.setattr(storage, "_ONE_PIECE", 0)


def cache_of(root: Path, codec: Codec) -> PreparedCache:
    (root / "volumes").mkdir(parents=True)
    volumes = []
    for i, shape in enumerate(SHAPES):
        file = f"volumes/{i}{SUFFIXES[codec]}"
        array = np.random.default_rng(i).random(shape).astype(np.float16)
        write_array(root / file, array, codec=codec)
        volumes.append(
            PreparedVolume(
                key=str(i), domain="CT", subject="s", split="train", shape=shape, spacing_mm=1.0, file=file
            )
        )
    return PreparedCache(root=root, volumes=tuple(volumes), recipe=Recipe(spacing_mm=1.0))


def parameters(start: int, stop: int) -> DrawParameters:
    return draw_parameters(start, stop, seed=3, model=MODEL, training=TRAINING)


def reader_of(cache: PreparedCache, mapped: bool | None = None) -> CropReader:
    plan = plan_draws(Mixture.pure(("CT",), "CT"), budget=DRAWS, seed=3, volumes=(len(SHAPES),))
    return CropReader(cache, plan, crop=MODEL.grid.crop, mapped=mapped)


@pytest.mark.parametrize("codec", ["npy", "blosc2"])
@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_crops_are_the_voxels_of_the_files(tmp_path, codec, mapped, dtype):
    cache = cache_of(tmp_path, codec)
    reader = reader_of(cache, mapped)
    drawn = parameters(0, DRAWS)
    batch = torch.full((DRAWS + 2, 16, 16, 16), -1, dtype=dtype)
    rows = reader.read(0, drawn.corner, batch)
    assert rows.shape == (DRAWS, 16, 16, 16)
    assert torch.all(batch[DRAWS:] == -1)
    for n in range(DRAWS):
        i = int(reader.plan.volume[n])
        whole = np.random.default_rng(i).random(SHAPES[i]).astype(np.float16)
        x, y, z = (drawn.corner[n] * (np.array(SHAPES[i]) - 16 + 1)).astype(int)
        assert np.array_equal(
            rows[n].numpy(), whole[x : x + 16, y : y + 16, z : z + 16].astype(rows.numpy().dtype)
        )


@pytest.mark.parametrize("codec", ["npy", "blosc2"])
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_the_same_bits_for_any_number_of_workers(tmp_path, codec, workers):
    reader = reader_of(cache_of(tmp_path, codec))
    expected = reader.read(0, parameters(0, DRAWS).corner, torch.empty(DRAWS, 16, 16, 16)).clone()
    with crops_ahead(reader, parameters, rows=8, workers=workers, dtype=torch.float32) as loader:
        for start in range(0, DRAWS, 8):
            loader.expect((s, min(s + 8, DRAWS)) for s in range(start, DRAWS, 8))
            drawn, crops = loader.read(start, min(start + 8, DRAWS))
            assert np.array_equal(drawn.corner, parameters(start, min(start + 8, DRAWS)).corner)
            assert torch.equal(crops, expected[start : start + 8])


def test_what_was_announced_and_is_not_wanted_does_no_harm(tmp_path):
    reader = reader_of(cache_of(tmp_path, "npy"))
    expected = reader.read(0, parameters(0, DRAWS).corner, torch.empty(DRAWS, 16, 16, 16)).clone()
    with crops_ahead(reader, parameters, rows=4, workers=2, dtype=torch.float32) as loader:
        for start in (0, 32, 8, 48, 20):
            loader.expect([(40, 44), (44, 48), (52, 53)])
            _, crops = loader.read(start, start + 4)
            assert torch.equal(crops, expected[start : start + 4])


@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_is_cut_or_gone_is_named(tmp_path, workers, mapped):
    cache = cache_of(tmp_path, "npy")
    reader = reader_of(cache, mapped)
    with crops_ahead(reader, parameters, rows=8, workers=workers) as loader:
        loader.read(0, 8)
        for volume in cache.volumes:
            path = cache.root / volume.file
            path.write_bytes(path.read_bytes()[:500])
        loader.expect([(8, 16)])
        with pytest.raises(VoxmixError, match=r"volumes/\d\.npy is missing or damaged"):
            loader.read(8, 16)
    (cache.root / cache.volumes[0].file).unlink()
    with pytest.raises(VoxmixError, match="missing or damaged"):
        reader_of(cache, mapped).read(0, parameters(0, 8).corner, torch.empty(8, 16, 16, 16))


def test_damaged_blosc2_is_named(tmp_path):
    cache = cache_of(tmp_path, "blosc2")
    for volume in cache.volumes:
        path = cache.root / volume.file
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(VoxmixError, match=r"volumes/\d\.b2nd is missing or damaged"):
        reader_of(cache).read(0, parameters(0, 8).corner, torch.empty(8, 16, 16, 16))


@pytest.mark.parametrize("mapped", [False, True], ids=["read", "mapped"])
@pytest.mark.parametrize("codec", ["npy", "blosc2"])
def test_no_file_stays_mapped_or_open(tmp_path, codec, mapped):
    maps, descriptors = Path("/proc/self/maps"), Path("/proc/self/fd")
    if not maps.exists():
        pytest.skip("needs /proc")
    reader_of(cache_of(tmp_path, codec), mapped).read(
        0, parameters(0, DRAWS).corner, torch.empty(DRAWS, 16, 16, 16)
    )
    assert str(tmp_path) not in maps.read_text(encoding="utf-8")
    assert not [d for d in descriptors.iterdir() if d.exists() and str(tmp_path) in str(d.resolve())]


@pytest.mark.parametrize(("installed", "mapped"), [(1 << 40, True), (200_000, False), (None, False)])
def test_files_are_mapped_where_they_stay_in_memory(tmp_path, monkeypatch, installed, mapped):
    cache = cache_of(tmp_path, "npy")
    assert 100_000 < sum(cache.array(v).nbytes for v in cache.volumes) < 200_000
    monkeypatch.setattr("voxmix.training.crops.installed_bytes", lambda: installed)
    assert reader_of(cache).mapped is mapped


def test_volumes_beyond_the_limit_of_open_files_are_drawn(tmp_path, make_cache):
    resource = pytest.importorskip("resource")
    count = 450
    cache = make_cache({"CT": count}, validation=0, edge=8)
    plan = plan_draws(Mixture.pure(("CT",), "CT"), budget=count, seed=0, volumes=(count,))
    model = ModelSettings(crop=8, patch=4, width=24, depth=1, heads=2, decoder_width=12, decoder_heads=2)
    drawn = draw_parameters(0, count, seed=0, model=model, training=TRAINING)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(430, hard), hard))
    try:
        rows = CropReader(cache, plan, crop=(8, 8, 8)).read(0, drawn.corner, torch.empty(count, 8, 8, 8))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    volumes = cache.select("CT", "train")
    assert all(
        np.array_equal(rows[n].numpy(), cache.array(volumes[plan.volume[n]]).astype(np.float32))
        for n in range(0, count, 50)
    )
