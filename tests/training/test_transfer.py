"""What goes to the device in a step: the same bits as on the host, in one piece, and nobody waits; crops of resident volumes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from voxmix.compute import ComputeSettings
from voxmix.errors import InputError, VoxmixError
from voxmix.mixture import Mixture
from voxmix.objectives import intensities
from voxmix.objectives.mae import train
from voxmix.objectives.mae.objective import MaskedReconstruction
from voxmix.objectives.mae.parameters import draw_parameters
from voxmix.objectives.mae.views import Batches, plan_run
from voxmix.run_settings import ModelSettings, TrainingSettings
from voxmix.training import resident, transfer
from voxmix.training.crops import CropReader
from voxmix.training.devices import launch_fabric
from voxmix.training.draws import plan_draws
from voxmix.training.loop import make_step
from voxmix.training.pieces import Piece
from voxmix.training.resident import ResidentVolumes, resident_bytes, stay_resident
from voxmix.training.session import Session
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.preparing.storage import SUFFIXES, Codec, write_array
from voxmix.volumes.recipe import Recipe

CPU = torch.device("cpu")
QUIET = ComputeSettings(device="cpu", trackers=(), pictures=False)
SHAPES = ((20, 23, 19), (18, 40, 33), (70, 18, 21), (16, 16, 16))
DRAWS = 40


def test_what_is_packed_is_what_was_given():
    rng = np.random.default_rng(0)
    arrays = {
        "places": rng.integers(-9, 9, (3, 2)),
        "odd": rng.random(5).astype(np.float32),
        "nothing": np.zeros(0, dtype=np.int64),
        "turned": rng.random((4, 3))[:, ::-1],
        "flags": rng.random(7) < 0.5,
        "halves": rng.random((2, 3)).astype(np.float16),
        "one": np.array(3, dtype=np.int64),
    }
    memory = torch.empty(transfer.packed_size(arrays), dtype=torch.uint8)
    transfer.pack(arrays, memory)
    found = transfer.unpack(arrays, memory)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].numpy().dtype == array.dtype
        assert np.array_equal(found[name].numpy(), array)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_batch_lands_as_float32(dtype):
    host = torch.rand(4, 3, 3, 3).to(dtype)
    landing = transfer.Landing(CPU, shape=(4, 3, 3, 3))
    assert torch.equal(landing.take(host[:3]), host[:3].float())
    landing.settle(host)  # nothing is under way


def test_a_buffer_is_not_written_before_its_copy_is_done():
    class Copy:
        done = False

        def synchronize(self) -> None:
            self.done = True

    landing, buffers, copy = transfer.Landing(CPU, shape=(2, 2)), torch.empty(2, 2), Copy()
    landing._under_way[transfer._buffer(buffers)] = copy
    landing.settle(torch.empty(2, 2))
    assert not copy.done
    landing.settle(buffers[:1])  # rows of it are the same buffer
    assert copy.done
    assert not landing._under_way


def cache_of(root: Path, codec: Codec) -> PreparedCache:
    (root / "volumes").mkdir(parents=True)
    volumes = []
    for i, shape in enumerate(SHAPES):
        file, domain = f"volumes/{i}{SUFFIXES[codec]}", "CT" if i < 3 else "MR"
        array = np.random.default_rng(i).random(shape).astype(np.float16)
        write_array(root / file, array, codec=codec)
        volumes.append(
            PreparedVolume(
                key=str(i),
                domain=domain,
                subject=str(i),
                split="train",
                shape=shape,
                spacing_mm=1.0,
                file=file,
            )
        )
    return PreparedCache(root=root, volumes=tuple(volumes), recipe=Recipe(spacing_mm=1.0))


def reader_of(cache: PreparedCache, crop: tuple[int, int, int], mixture: Mixture) -> CropReader:
    return CropReader(cache, plan_draws(mixture, budget=DRAWS, seed=3, volumes=(3, 1)), crop=crop)


@pytest.mark.parametrize("codec", ["npy", "blosc2"])
@pytest.mark.parametrize("crop", [(16, 16, 16), (9, 16, 5)])
def test_crops_of_resident_volumes_are_those_of_the_files(tmp_path, codec, crop):
    reader = reader_of(cache_of(tmp_path, codec), crop, Mixture.from_dict({"CT": 0.6, "MR": 0.4}))
    model = ModelSettings(crop=16, patch=4)
    corner = draw_parameters(0, DRAWS, seed=3, model=model, training=TrainingSettings()).corner
    volumes = ResidentVolumes(reader, device=CPU)
    for start, stop in ((0, 7), (7, 8), (8, DRAWS)):
        expected = reader.read(start, corner[start:stop], torch.empty(stop - start, *crop))
        places = torch.from_numpy(volumes.places(start, corner[start:stop]))
        assert torch.equal(volumes.crops(places), expected)


def test_noise_is_the_same_for_all_images_together():
    training = TrainingSettings(noise_probability=0.7, noise=0.3)
    drawn = draw_parameters(0, 12, seed=1, model=ModelSettings(crop=16, patch=4), training=training)
    plan = transfer.send(intensities.plan_changes(drawn), CPU)
    bank = intensities.noise_bank(voxels=16**3, device=CPU)
    one, all_ = torch.zeros(2, 12, 16, 16, 16)
    intensities._add_noise(one, plan, bank, together=False)
    intensities._add_noise(all_, plan, bank, together=True)
    assert 0 < (one.flatten(1).std(dim=1) > 0).sum() < 12
    assert torch.equal(one, all_)


def test_only_volumes_that_are_drawn_stay(tmp_path):
    cache = cache_of(tmp_path, "npy")
    reader = reader_of(cache, (16, 16, 16), Mixture.from_dict({"CT": 0.0, "MR": 1.0}))
    assert resident_bytes(reader) == 2 * 16**3
    (cache.root / cache.volumes[3].file).unlink()
    with pytest.raises(VoxmixError, match="missing or damaged"):
        ResidentVolumes(reader, device=CPU)


def test_where_volumes_stay(tmp_path, monkeypatch):
    reader = reader_of(cache_of(tmp_path, "npy"), (16, 16, 16), Mixture.from_dict({"CT": 0.5, "MR": 0.5}))
    cuda, needed = torch.device("cuda"), resident_bytes(reader)
    for free, stays in ((2 * needed, True), (2 * needed - 2, False)):
        monkeypatch.setattr(resident, "free_bytes", lambda device, free=free: free)
        assert stay_resident(reader, resident="auto", device=cuda) is stays
        assert not stay_resident(reader, resident="auto", device=CPU)
        assert not stay_resident(reader, resident="off", device=cuda)
        assert stay_resident(reader, resident="on", device=CPU)
    monkeypatch.setattr(resident, "free_bytes", lambda device: needed - 1)
    with pytest.raises(InputError, match=r"resident is on.*kB where .*kB are free.*auto"):
        stay_resident(reader, resident="on", device=cuda)


def test_batches_of_resident_volumes_are_those_of_files(spec, cache):
    fabric, plan = launch_fabric(QUIET, precision="32-true"), plan_run(spec, 100, cache=cache)
    a, b = (
        Batches(spec, plan, cache=cache, fabric=fabric, rows=8, resident=where) for where in ("off", "on")
    )
    for first in range(0, 100, 8):
        piece = Piece(first=first, last=min(first + 8, 100), weight=1.0, start=first, stop=first + 8)
        one, two = a.read(piece), b.read(piece)
        for name in ("crops", "visible", "masked", "domain"):
            assert torch.equal(getattr(one, name), getattr(two, name))


def test_a_run_of_resident_volumes_is_the_same_run(finished, spec, cache, evaluation, tmp_path, same_run):
    folder = tmp_path / spec.run_id
    compute = ComputeSettings(device="cpu", resident="on")
    train(spec, cache=cache, evaluation=evaluation, folder=folder, compute=compute, threads=1)
    assert same_run(finished, folder)


class Asked(TorchDispatchMode):
    """Collects operations whose result the host must have: on a GPU it would wait for them."""

    waits = ("_local_scalar_dense", "nonzero", "masked_select", "unique")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if any(word in name for word in self.waits):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["mae", "unetr"])
def test_a_step_asks_nothing_of_its_device(name, spec, cache, tmp_path):
    spec = replace(spec, model=replace(spec.model, name=name))
    fabric = launch_fabric(QUIET, precision="32-true")
    session = Session.start(
        MaskedReconstruction(spec=spec, cache=cache), fabric, compute=QUIET, folder=tmp_path
    )
    try:
        with Asked() as asked:
            for _ in range(3):
                make_step(session)
        assert not asked.found
        with Asked() as asked:
            session.metrics.flush()
            torch.ones(1).item()
        assert asked.found  # what would be found is found
    finally:
        session.close()


@pytest.mark.parametrize(
    ("given", "kind", "cores", "gpus", "threads"),
    [
        (None, "cuda", 64, 4, 8),
        (None, "cuda", 16, 4, 4),
        (None, "cuda", 2, 4, 1),
        (None, "cpu", 64, 0, 0),
        (None, "mps", 8, 0, 0),
        (0, "cuda", 64, 1, 0),
        (12, "cpu", 2, 0, 12),
    ],
)
def test_loaders_follow_the_device_unless_they_are_set(given, kind, cores, gpus, threads):
    assert ComputeSettings(loaders=given).loaders_on(kind, cores=cores, gpus=gpus) == threads
