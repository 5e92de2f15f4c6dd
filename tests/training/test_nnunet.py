"""An exported encoder in nnU-Net: weights by nnU-Net's own rule of loading, plans, the rule of intensities, the trainer.

nnU-Net is not installed here: small modules stand in for what the files import of it, and its rule of loading is written out.
docs/how-to/encoders.md says what was tried with nnU-Net itself.
"""

import inspect
import json
import runpy
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from voxmix.design import RunSpec
from voxmix.encoders import load_encoder
from voxmix.encoders.networks import build_model
from voxmix.errors import InputError
from voxmix.export.encoder import export_encoder, exported_files
from voxmix.export.nnunet import main, network_for_nnunet, write_for_nnunet
from voxmix.mixture import Mixture
from voxmix.objectives.mae.publish import run_card
from voxmix.training.checkpoint import save_weights
from voxmix.volumes.intensity import IntensityRule

PLANS = {
    "plans_name": "nnUNetPlans",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "configurations": {
        "2d": {},
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "patch_size": [40, 56, 40],
            "spacing": [2.0, 0.7, 0.7],
            "batch_size": 2,
            "normalization_schemes": ["ZScoreNormalization"],
            "use_mask_for_norm": [True],
        },
    },
}


@pytest.fixture
def exported(cache, model_settings, tmp_path):
    """An export for nnU-Net, and plans of a data set beside it."""
    spec = RunSpec(mixture=Mixture.from_dict({"CT": 0.5, "MR": 0.5}), budget=8, seed=0, model=model_settings)
    model = build_model(model_settings, domains=2, seed=0)
    (tmp_path / "run").mkdir()
    save_weights(tmp_path / "run", model, run_card(spec, model, cache, {"CT": 4, "MR": 4}))
    card = export_encoder(tmp_path / "run", tmp_path / "encoder", names="nnunet")
    assert exported_files(card)[-1] == "nnunet/nnUNetTrainerVoxmix.py"
    assert all((tmp_path / "encoder" / name).is_file() for name in exported_files(card))
    (tmp_path / "nnUNetPlans.json").write_text(json.dumps(PLANS), encoding="utf-8")
    return tmp_path / "encoder"


@pytest.fixture
def nnunet(tmp_path, monkeypatch):
    """What the files import of nnU-Net."""

    class Trainer:
        def __init__(self, plans, configuration, fold, dataset_json, device):
            given, names = locals(), inspect.signature(self.__init__).parameters
            self.my_init_kwargs = {name: given[name] for name in names}
            self.num_epochs, self.enable_deep_supervision = 10, True

    parts = {
        "training.lr_scheduler.polylr": {"PolyLRScheduler": lambda optimizer, rate, epochs: (rate, epochs)},
        "training.nnUNetTrainer.nnUNetTrainer": {"nnUNetTrainer": Trainer},
        "preprocessing.normalization": {},
        "preprocessing.normalization.default_normalization_schemes": {"ImageNormalization": object},
    }
    names = {"nnunetv2"} | {
        ".".join(["nnunetv2", *part.split(".")[: n + 1]])
        for part in parts
        for n in range(part.count(".") + 1)
    }
    for name in names:
        module = ModuleType(name)
        module.__path__ = [str(tmp_path / "normalization")]
        module.__dict__.update(parts.get(name.removeprefix("nnunetv2."), {}))
        monkeypatch.setitem(sys.modules, name, module)


def load_as_nnunet(network, file):
    """Do as nnU-Net 2.8.1's load_pretrained_weights: every weight but those of a layer seg_layers, by name and shape."""
    given = torch.load(file, weights_only=True)["network_weights"]
    own = network.state_dict()
    for name, weight in own.items():
        if ".seg_layers." not in name:
            assert given[name].shape == weight.shape
    own.update({name: each for name, each in given.items() if name in own and ".seg_layers." not in name})
    network.load_state_dict(own)


@pytest.mark.parametrize("domains", [["CT"], ["MR", "CT"]])
def test_the_trainer_s_network_gets_the_encoder_by_nnunet_s_own_rule(exported, tmp_path, nnunet, domains):
    plans = tmp_path / "nnUNetPlans.json"
    value = json.loads(plans.read_text(encoding="utf-8"))
    value["configurations"]["3d_fullres"]["normalization_schemes"] *= len(domains)
    plans.write_text(json.dumps(value), encoding="utf-8")
    write_for_nnunet(exported, plans, domains, normalizations=tmp_path)
    trainer = runpy.run_path(str(exported / "nnunet" / "nnUNetTrainerVoxmix.py"))["nnUNetTrainerVoxmix"]
    made = json.loads((tmp_path / "voxmixPlans.json").read_text(encoding="utf-8"))
    configuration = SimpleNamespace(patch_size=made["configurations"]["3d_fullres"]["patch_size"])
    network = trainer.build_network_architecture(None, configuration, len(domains), 5, False)
    load_as_nnunet(network, exported / "nnunet" / "pretrained.pth")
    expected = load_encoder(exported).weights
    found = network.body.vit.state_dict()
    kernel = "patch_embedding.patch_embeddings.weight"
    assert all(torch.equal(found[n.removeprefix("vit.")], w) for n, w in expected.items() if kernel not in n)
    assert torch.allclose(found[kernel].sum(1), expected[f"vit.{kernel}"].sum(1), atol=1e-6)
    edge = configuration.patch_size[0]
    assert network(torch.rand(1, len(domains), edge, edge, edge)).shape == (1, 5, edge, edge, edge)
    ready = trainer(made, "3d_fullres", 0, {}, device="cpu")
    assert ready.my_init_kwargs["plans"] is made
    ready.network = network
    optimizer, schedule = ready.configure_optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    assert schedule == (3e-4, 10)
    assert not ready.enable_deep_supervision


def test_plans_prepare_as_the_encoder_needs(exported, tmp_path, nnunet, capsys):
    (tmp_path / "normalization").mkdir()
    assert main([str(exported), str(tmp_path / "nnUNetPlans.json"), "CT"]) == 0
    assert capsys.readouterr().out.count("wrote ") == 3
    made = json.loads((tmp_path / "voxmixPlans.json").read_text(encoding="utf-8"))
    assert made["plans_name"] == "voxmixPlans"
    assert made["transpose_forward"] == made["transpose_backward"] == [2, 1, 0]
    own = made["configurations"]["3d_fullres"]
    assert (own["spacing"], own["batch_size"], own["use_mask_for_norm"]) == ([1.5] * 3, 2, [False])
    (name,) = own["normalization_schemes"]
    found = runpy.run_path(str(tmp_path / "normalization" / f"{name}.py"))[name]()
    found.target_dtype = np.float32
    image = np.random.default_rng(0).normal(50, 20, (6, 7, 8)).astype(np.float32)
    rule = json.loads((exported / "card.json").read_text(encoding="utf-8"))["recipe"]["intensity"]["CT"]
    np.testing.assert_array_equal(found.run(image.copy()), IntensityRule(**rule).apply(image))
    assert json.loads((tmp_path / "nnUNetPlans.json").read_text(encoding="utf-8")) == PLANS


def test_what_does_not_fit_is_said(exported, tmp_path, capsys):
    plans = tmp_path / "nnUNetPlans.json"
    with pytest.raises(InputError, match=r"no rule for \['PET'\]; give domains of \['CT', 'MR'\]"):
        write_for_nnunet(exported, plans, ["PET"], normalizations=tmp_path)
    with pytest.raises(InputError, match="has 1 channels, and 2 domains are given"):
        write_for_nnunet(exported, plans, ["CT", "MR"], normalizations=tmp_path)
    plans.write_text('{"configurations": {"2d": {}}}', encoding="utf-8")
    with pytest.raises(InputError, match="has no configuration 3d_fullres"):
        write_for_nnunet(exported, plans, ["CT"], normalizations=tmp_path)
    with pytest.raises(InputError, match=r"patches of \[9, 9, 9\]"):
        network_for_nnunet(exported, channels=1, classes=2, patch_size=[9, 9, 9])
    assert main([str(exported)]) == 2
    assert main([str(exported), str(plans), "CT"]) == 2
    assert "nnU-Net is not in this environment" in capsys.readouterr().err
