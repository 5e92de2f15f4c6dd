import csv
import json
import runpy
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import get_args

import fake_loaders
import numpy as np
import pytest

from voxmix.errors import InputError
from voxmix.export.feeds import feed_script, sample_weights, write_feed
from voxmix.export.targets import Loader
from voxmix.mixture import Mixture
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.recipe import Recipe

MIXTURE = Mixture.from_dict({"CT": 0.6, "MR": 0.3, "PET": 0.1})


@pytest.fixture
def cache(tmp_path):
    """A cache of 25 volumes of very unequal numbers, each filled with a value of its own."""
    root = tmp_path / "cache"
    (root / "volumes").mkdir(parents=True)
    volumes = []
    for name, count in {"CT": 5, "MR": 7, "PET": 13}.items():
        for i in range(count):
            file = f"volumes/{name}{i}.npy"
            np.save(root / file, np.full((9 + i, 8, 10), i / 10, dtype=np.float16))
            volumes.append(
                PreparedVolume(
                    key=f"{name}{i}", domain=name, subject=str(i), split="validation" if i == 1 else "train",
                    shape=(9 + i, 8, 10), spacing_mm=1.0, file=file,
                )
            )  # fmt: skip
    rule = IntensityRule(kind="percentile", low=0.5, high=99.5)
    recipe = Recipe(spacing_mm=1.0, min_shape=(8, 8, 8), intensity=dict.fromkeys(MIXTURE.domains, rule))
    return PreparedCache(root=root, volumes=tuple(volumes), recipe=recipe)


def run(script, *arguments, monkeypatch, capsys):
    """Return the realized shares that a script prints, checking that it was asked for the mixture's."""
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    runpy.run_path(str(script), run_name="__main__")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {name.rstrip(":"): float(wanted.rstrip(",")) for name, _, wanted, *_ in lines} == MIXTURE.as_dict()
    return {words[0].rstrip(":"): float(words[-1]) for words in lines}


def test_a_torch_sampler_draws_the_mixture_whatever_the_domains_sizes():
    torch = pytest.importorskip("torch")
    pool = ["PET"] * 500 + ["CT"] * 20 + ["MR"] * 100
    weights = sample_weights(MIXTURE, pool)
    assert weights.sum() == pytest.approx(1.0)
    sampler = torch.utils.data.WeightedRandomSampler(
        weights.tolist(), 20_000, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    drawn = np.array(pool)[list(sampler)]
    for name in MIXTURE.domains:
        assert np.mean(drawn == name) == pytest.approx(MIXTURE[name], abs=0.012)


def test_pools_that_do_not_match_the_mixture_are_refused(cache, tmp_path):
    with pytest.raises(InputError, match=r"samples of \['US'\]"):
        sample_weights(MIXTURE, ["CT", "MR", "PET", "US"])
    with pytest.raises(InputError, match=r"gives weight to \['PET'\], which have no samples"):
        sample_weights(MIXTURE, ["CT", "MR"])
    other = Mixture.from_dict({"CT": 0.5, "US": 0.5})
    with pytest.raises(InputError, match=r"gives weight to \['US'\]"):
        write_feed(other, tmp_path / "feed", loader="torch", budget=10, cache=cache)
    packed = replace(cache, volumes=tuple(replace(v, file=f"volumes/{v.key}.b2nd") for v in cache.volumes))
    with pytest.raises(InputError, match=r"22 of 22 prepared volumes are compressed.*data\.codec to npy"):
        write_feed(MIXTURE, tmp_path / "feed", loader="monai", budget=10, cache=packed)
    assert not (tmp_path / "feed").exists()


def test_files_name_every_training_volume_and_no_subject(cache, tmp_path):
    files = write_feed(MIXTURE, tmp_path / "feed", loader="nnssl", budget=1000, cache=cache)
    assert [file.name for file in files] == ["mixture.json", "samples.csv", "feed_nnssl.py"]
    value = json.loads(files[0].read_text(encoding="utf-8"))
    assert value["weights"] == MIXTURE.as_dict()
    assert value["draws"] == {"CT": 600, "MR": 300, "PET": 100}
    rows = list(csv.DictReader(files[1].read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 22
    assert set(rows[0]) == {"file", "domain", "weight"}
    assert sum(float(row["weight"]) for row in rows) == pytest.approx(1)
    assert not {"volumes/CT1.npy", "volumes/MR1.npy"} & {row["file"] for row in rows}  # held out
    compile(files[2].read_text(encoding="utf-8"), "feed", "exec")
    assert files[2].read_text(encoding="utf-8") == feed_script("nnssl")


@pytest.mark.parametrize(("loader", "library"), [("torch", "torch"), ("monai", "monai")])
def test_the_scripts_draw_the_mixture(cache, tmp_path, monkeypatch, capsys, loader, library):
    pytest.importorskip(library)
    *_, script = write_feed(MIXTURE, tmp_path / "feed", loader=loader, budget=1000, cache=cache)
    realized = run(script, cache.root, 600, monkeypatch=monkeypatch, capsys=capsys)
    tolerance = 0.06 if loader == "torch" else 0.15  # MONAI deals volumes out to ranks first
    assert all(realized[name] == pytest.approx(MIXTURE[name], abs=tolerance) for name in MIXTURE.domains)


@pytest.fixture
def or_fake(monkeypatch):
    """Let a script import a library: the library itself where it is installed, else a small one of the same calls."""

    def give(library):
        if find_spec(library) is None:
            monkeypatch.setitem(sys.modules, library, getattr(fake_loaders, f"fake_{library}")())

    return give


@pytest.mark.parametrize(("library", "tolerance"), [("torchio", 0.09), ("datasets", 0.06)])
def test_the_scripts_of_queues_and_interleaving_draw_the_mixture(
    cache, tmp_path, monkeypatch, capsys, or_fake, library, tolerance
):
    """Crops of one volume count together in a queue: 150 volumes are drawn for its 600 crops."""
    if library == "torchio":
        pytest.importorskip("torch")
    or_fake(library)
    *_, script = write_feed(MIXTURE, tmp_path / "feed", loader=library, budget=1000, cache=cache)
    realized = run(script, cache.root, 600, monkeypatch=monkeypatch, capsys=capsys)
    assert all(realized[name] == pytest.approx(MIXTURE[name], abs=tolerance) for name in MIXTURE.domains)


def test_the_torchio_script_gives_batches_of_crops(cache, tmp_path, or_fake):
    pytest.importorskip("torch")
    or_fake("torchio")
    *_, script = write_feed(MIXTURE, tmp_path / "feed", loader="torchio", budget=1000, cache=cache)
    build_loader = runpy.run_path(str(script))["build_loader"]
    batches = list(build_loader(cache.root, crop=8, draws=20, batch_size=8, seed=1))
    assert [tuple(batch["image"]["data"].shape) for batch in batches] == [(8, 1, 8, 8, 8)] * 2 + [
        (4, 1, 8, 8, 8)
    ]
    held_out = np.float16(0.1)
    assert not any((batch["image"]["data"] == held_out).any() for batch in batches)


def test_an_epoch_of_interleaving_ends_as_it_is_told_and_keeps_the_mixture(cache, tmp_path, or_fake):
    or_fake("datasets")
    *_, script = write_feed(MIXTURE, tmp_path / "feed", loader="datasets", budget=1000, cache=cache)
    build = runpy.run_path(str(script))["build_dataset"]
    whole, short = build(cache.root, crop=8), build(cache.root, crop=8, stopping_strategy="first_exhausted")
    drawn = [sample["domain"] for sample in whole]
    assert drawn.count("PET") >= 12  # every volume of the largest domain, of the smallest weight
    assert len(short) < len(whole)
    assert [sample["domain"] for sample in build(cache.root, crop=8)] == drawn
    assert np.shape(next(iter(short))["volume"]) == (1, 8, 8, 8)
    with pytest.raises(SystemExit, match="loses the mixture"):
        build(cache.root, crop=8, stopping_strategy="all_exhausted_without_replacement")


@pytest.mark.parametrize("loader", get_args(Loader))
def test_every_loader_has_a_script_that_says_what_is_wanted_and_realized(loader):
    text = feed_script(loader)
    compile(text, loader, "exec")
    assert "wanted {share:.4f}, realized" in text
    assert f"python feed_{loader}.py" in text


def test_the_torch_script_cuts_crops_of_training_volumes(cache, tmp_path):
    pytest.importorskip("torch")
    *_, script = write_feed(MIXTURE, tmp_path / "feed", loader="torch", budget=1000, cache=cache)
    build_loader = runpy.run_path(str(script))["build_loader"]
    batches = list(build_loader(cache.root, crop=8, draws=20, batch_size=8, seed=1))
    assert [tuple(crops.shape) for crops, _ in batches] == [(8, 1, 8, 8, 8), (8, 1, 8, 8, 8), (4, 1, 8, 8, 8)]
    assert not any((crops == np.float16(0.1)).any() for crops, _ in batches)  # the held-out volumes' value


def test_the_nnssl_recipe_gives_a_trainer_s_loader_the_mixture(tmp_path, cache, monkeypatch, capsys):
    *_, script = write_feed(MIXTURE, tmp_path / "feed", loader="nnssl", budget=1000, cache=cache)
    subjects = {name: {f"s{i}": {"sessions": {"1": {"images": [{"name": "a.nii.gz"}]}}} for i in range(count)}
                for name, count in {"CT": 2, "MR": 4, "PET": 30}.items()}  # fmt: skip
    collection = {"collection_name": "all", "datasets": {n: {"subjects": s} for n, s in subjects.items()}}
    (tmp_path / "pretrain_data.json").write_text(json.dumps(collection), encoding="utf-8")
    realized = run(script, tmp_path / "pretrain_data.json", 4000, monkeypatch=monkeypatch, capsys=capsys)
    assert all(realized[name] == pytest.approx(MIXTURE[name], abs=0.03) for name in MIXTURE.domains)
    recipe = runpy.run_path(str(script))

    class Loader:
        def __init__(self):
            self.indices = recipe["identifiers_of"](collection)
            self.sampling_probabilities = None

    class Trainer:
        def get_plain_dataloaders(self, size):
            return Loader(), Loader()

    mixed = type("MixtureTrainer", (recipe["DrawsByMixture"], Trainer), {})
    train, held_out = mixed().get_plain_dataloaders((8, 8, 8))
    assert train.sampling_probabilities[:2].sum() == pytest.approx(0.6)
    assert held_out.sampling_probabilities is None
    with pytest.raises(SystemExit, match=r"domains \['PET'\] have no images"):
        recipe["probabilities"](["all__CT__s__1__a", "all__MR__s__1__a"], MIXTURE.as_dict())
