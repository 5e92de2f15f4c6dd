"""Features are those of the backbone, computed once for each encoder and image, whatever happens in between."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxmix.errors import InputError, VoxmixError
from voxmix.probe_tasks import ProbeTask
from voxmix.probes.data import ProbeData
from voxmix.probes.device import device_of
from voxmix.probes.encoder import LoadedEncoder
from voxmix.probes.features import FeatureStore
from voxmix.probes.pixels import fitted
from voxmix.probes.segments import Segments
from voxmix.probes.task_cases import probe_data

TASK = ProbeTask(kind="labels", labels=("coin",))


@pytest.fixture
def data(make_pictures: Any) -> ProbeData:
    return probe_data(TASK, "coin", make_pictures(10))


def test_they_are_the_backbones_own(data: ProbeData, encoder: LoadedEncoder, store_folder: Path) -> None:
    found = FeatureStore(store_folder).features(encoder, data, layers=2, patches=True)
    pixels = torch.from_numpy(np.stack([fitted(data.pixels(case), encoder.contract) for case in data.cases]))
    with torch.no_grad():
        lower, top = encoder.backbone.layers(pixels.unsqueeze(1), last=2)
    assert np.allclose(found.cls[:, 1], top.cls.numpy(), atol=1e-5)
    assert np.allclose(found.mean[:, 0], lower.patches.mean(dim=1).numpy(), atol=1e-5)
    assert found.tokens is not None
    assert np.allclose(found.tokens[:, 1], top.patches.numpy(), atol=2e-3)
    assert found.pooled.shape == (len(data.cases), 2 * encoder.width)


def test_fewer_layers_of_the_same_images_cost_nothing(
    data: ProbeData, encoder: LoadedEncoder, store_folder: Path
) -> None:
    store = FeatureStore(store_folder)
    deep = store.features(encoder, data, layers=2, patches=True)
    assert store.computed == len(data.cases)
    for later in (store, FeatureStore(store_folder)):
        before = later.computed
        one = later.features(encoder, data, layers=1)
        assert later.computed == before
        assert np.array_equal(one.cls[:, 0], deep.cls[:, 1])
    assert one.tokens is None
    assert FeatureStore(store_folder).features(encoder, data, layers=9).cls.shape[1] == 2


def test_more_images_cost_those_that_are_new(
    make_pictures: Any, encoder: LoadedEncoder, store_folder: Path
) -> None:
    few, many = (probe_data(TASK, "coin", make_pictures(persons)) for persons in (10, 14))
    shared = len({case.case for case in few.cases} & {case.case for case in many.cases})
    assert shared == 20
    store = FeatureStore(store_folder)
    store.features(encoder, few, layers=2)
    store.features(encoder, many)
    assert store.computed == len(many.cases)
    alone = FeatureStore(store_folder.with_name("alone")).features(encoder, many)
    assert np.allclose(store.features(encoder, many).pooled, alone.pooled, atol=1e-5)


@pytest.mark.parametrize("damage", ["array", "index", "cut"])
def test_a_damaged_file_is_made_again(
    damage: str, data: ProbeData, encoder: LoadedEncoder, store_folder: Path
) -> None:
    whole = FeatureStore(store_folder).features(encoder, data).pooled.copy()
    (array,) = store_folder.rglob("*.npy")
    path = array.with_suffix(".json") if damage == "index" else array
    content = bytearray(path.read_bytes())
    content[-5] ^= 255
    path.write_bytes(content[:-40] if damage == "cut" else content)
    store = FeatureStore(store_folder)
    assert np.array_equal(store.features(encoder, data).pooled, whole)
    assert store.computed == len(data.cases)


def test_what_was_done_before_a_death_is_kept(
    data: ProbeData, encoder: LoadedEncoder, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxmix.probes.features._KEPT_ROWS", 4)
    monkeypatch.setattr("voxmix.probes.features._BATCH_NUMBERS", 4 * 16 * 16)

    def progress(done: int, total: int) -> None:
        if done >= 12:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        FeatureStore(store_folder).features(encoder, data, progress=progress)
    store = FeatureStore(store_folder)
    store.features(encoder, data)
    assert store.computed == len(data.cases) - 8
    assert not list(store_folder.rglob("*.tmp"))


def test_another_encoder_has_features_of_its_own(data: ProbeData, store_folder: Path) -> None:
    from voxmix.backbone_rows import VitSettings
    from voxmix.probes.encoder import untrained_encoder

    settings = VitSettings(image=16, patch=8, width=12, depth=2, heads=2)
    first, second = (untrained_encoder(settings, seed=seed) for seed in (0, 1))
    assert first.digest != second.digest
    assert first.digest == untrained_encoder(settings, seed=0).digest
    store = FeatureStore(store_folder)
    assert not np.array_equal(store.features(first, data).pooled, store.features(second, data).pooled)


def test_features_that_are_not_finite_are_refused(
    data: ProbeData, encoder: LoadedEncoder, store_folder: Path
) -> None:
    with torch.no_grad():
        next(encoder.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(VoxmixError, match="not finite"):
        FeatureStore(store_folder).features(encoder, data)
    assert not list(store_folder.rglob("*.npy"))


def test_volumes_are_refused_by_an_encoder_of_images(
    make_pictures: Any, encoder: LoadedEncoder, store_folder: Path
) -> None:
    volumes = probe_data(TASK, "coin", make_pictures(10, axes=3))
    with pytest.raises(InputError, match="has volumes, the encoder is of images"):
        FeatureStore(store_folder).features(encoder, volumes)


def test_rows_come_back_in_any_order_and_each_key_once(tmp_path: Path) -> None:
    segments = Segments(tmp_path)
    segments.add(["a", "b"], np.arange(4.0).reshape(2, 2))
    segments.add(["c"], np.full((1, 2), 9.0))
    again = Segments(tmp_path)
    assert again.missing(["d", "a", "d", "c"]) == ["d"]
    assert again.rows(["c", "a", "a"]).tolist() == [[9, 9], [0, 1], [0, 1]]


def test_features_that_are_many_are_written_in_parts(
    data: ProbeData, encoder: LoadedEncoder, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FeatureStore(store_folder.with_name("whole")).features(encoder, data, layers=2, patches=True)
    monkeypatch.setattr("voxmix.probes.features._BATCH_NUMBERS", 3 * 16 * 16)
    monkeypatch.setattr("voxmix.probes.features._HELD_BYTES", 1)
    found = FeatureStore(store_folder).features(encoder, data, layers=2, patches=True)
    assert len(list(store_folder.rglob("*.npy"))) == 2 * -(-len(data.cases) // 3)
    assert found.tokens is not None
    assert whole.tokens is not None
    assert np.allclose(found.tokens, whole.tokens, atol=2e-3)
    assert np.allclose(found.pooled, whole.pooled, atol=1e-5)


class _Reached(Exception):
    """Where images and weights were when the encoder was called."""


def test_encoders_compute_on_the_device_that_was_chosen(
    data: ProbeData, encoder: LoadedEncoder, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(backbone: Any, pixels: torch.Tensor, **_: Any) -> None:
        precise = torch.get_float32_matmul_precision() == "highest" and not torch.backends.cudnn.allow_tf32
        raise _Reached(pixels.device.type, next(backbone.parameters()).device.type, precise)

    store = FeatureStore(store_folder)
    assert store.device == torch.device("cpu")
    store.device = torch.device("meta")  # a device that every machine has
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    for name, asked in {"layers": store.features, "map": store.maps}.items():
        whole = getattr(type(encoder.backbone), name)
        monkeypatch.setattr(
            type(encoder.backbone),
            name,
            lambda own, pixels, whole=whole, **options: (
                whole(own, pixels, **options) if pixels.device.type == "cpu" else seen(own, pixels)
            ),
        )
        with pytest.raises(_Reached) as reached:
            asked(encoder, data)
        assert reached.value.args == ("meta", "meta", True)
    assert next(encoder.backbone.parameters()).device == torch.device("cpu")
    assert before == (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(1, 1, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_auto_is_a_gpu_where_there_is_one(
    cuda: int, mps: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: bool(cuda))
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: bool(mps))
    assert device_of("auto") == torch.device(chosen)
    assert device_of("cpu") == torch.device("cpu")
    if cuda:
        assert device_of("cuda", index=1) == torch.device("cuda", 1)
    else:
        with pytest.raises(InputError, match="cannot compute on device cuda: this machine has none"):
            device_of("cuda")
    with pytest.raises(InputError, match="the devices are auto, cpu, cuda, mps"):
        device_of("xpu")


@pytest.mark.gpu
def test_features_of_a_gpu_are_those_of_a_cpu(
    data: ProbeData, encoder: LoadedEncoder, store_folder: Path
) -> None:
    expected = FeatureStore(store_folder).features(encoder, data, layers=2)
    found = FeatureStore(store_folder.with_name("gpu"), device="cuda").features(encoder, data, layers=2)
    assert np.allclose(found.pooled, expected.pooled, atol=1e-4)
