import csv
import json
import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest

from voxmix.errors import InputError
from voxmix.export.feeds import feed_script, sample_weights, write_feed
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
