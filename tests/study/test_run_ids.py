"""Ids of runs, trunks, preparations and steps as voxmix gave them on 2026-11-28: they name folders that exist.

A change that alters one of these makes every such study train again. Where a number must change, change what goes
into the id on purpose, keep the folders of the former id, and say so in the change log; never edit an id here.
"""

from dataclasses import replace

import pytest

from voxmix import Mixture, RunSpec
from voxmix._io import digest
from voxmix.allocation.strategies import new_study_strategies
from voxmix.design import StudyDesign
from voxmix.run_settings import EvaluationSettings, ModelSettings, TrainingSettings, identity
from voxmix.study.config import DataSettings, FitSettings, PhantomSettings, StudyAllocation, StudyConfig
from voxmix.study.folder import Study
from voxmix.study.plan import check_specs, proxy_specs
from voxmix.study.presets import DEMO_COUNTS, PRESETS
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.recipe import Recipe

MIXTURE = Mixture.from_dict({"ABD-CT": 0.25, "HN-PET": 0.75})
DOMAINS = tuple(DEMO_COUNTS)
CACHE = "0123456789abcdef"


def of_that_day(training: TrainingSettings) -> TrainingSettings:
    """Return the training of a preset as study files of the day of these ids hold it: in whole floats."""
    return replace(training, precision="32-true")


def of_preset(name: str, **changes: object) -> RunSpec:
    preset = PRESETS[name]
    spec = RunSpec(
        mixture=MIXTURE,
        budget=5000,
        seed=3,
        model=preset.model,
        training=of_that_day(preset.training),
        evaluation=preset.evaluation,
        cache=CACHE,
    )
    return replace(spec, **changes)  # type: ignore[arg-type]


def of_model(name: str, **changes: object) -> RunSpec:
    spec = of_preset(name)
    return replace(spec, model=replace(spec.model, **changes))  # type: ignore[arg-type]


def of_training(name: str, **changes: object) -> RunSpec:
    spec = of_preset(name)
    return replace(spec, training=replace(spec.training, **changes))  # type: ignore[arg-type]


TRUNK = TrainingSettings(schedule="trunk")
SPECS = {
    "defaults": RunSpec(mixture=MIXTURE, budget=100, seed=0),
    "demo": of_preset("demo"),
    "small": of_preset("small"),
    "paper": of_preset("paper"),
    "paper, pure": of_preset("paper", mixture=Mixture.pure(DOMAINS, "HN-CT")),
    "paper, uniform": of_preset("paper", mixture=Mixture.uniform(DOMAINS)),
    "demo, another seed": of_preset("demo", seed=0),
    "demo, another budget": of_preset("demo", budget=8000),
    "demo, no cache": of_preset("demo", cache=""),
    "demo, fewer crops": of_preset("demo", evaluation=EvaluationSettings(crops_per_domain=32, seed=1)),
    "demo, crop 40": of_model("demo", crop=40),
    "demo, mask ratio": of_model("demo", mask_ratio=0.6),
    "demo, wider": of_model("demo", width=120, depth=4, heads=5, mlp_ratio=2.0),
    "demo, another decoder": of_model("demo", decoder_width=48, decoder_depth=2, decoder_heads=4),
    "demo, whole floats": of_model("demo", mlp_ratio=4),
    "demo, every part of training": of_training(
        "demo", learning_rate=1e-3, batch_size=4, weight_decay=0.1, beta1=0.8, beta2=0.99, warmup_steps=20,
        clip_norm=0.5, scale=0.2, scale_probability=0.3, contrast=0.1, contrast_probability=0.4, noise=0.01,
        noise_probability=0.6,
    ),
    "paper's network": RunSpec(
        mixture=MIXTURE, budget=5000, seed=3, model=ModelSettings(name="unetr"), cache=CACHE
    ),
    "paper's network, smaller": RunSpec(
        mixture=MIXTURE, budget=5000, seed=3, cache=CACHE,
        model=ModelSettings(name="unetr", crop=32, patch=8, width=96, depth=3, heads=3),
    ),
    "demo, bf16": of_training("demo", precision="bf16-mixed"),
    "demo, trunk": of_training("demo", schedule="trunk"),
    "demo, trunk, long cooldown": of_training("demo", schedule="trunk", cooldown=0.4, precision="16-mixed"),
    "demo, in operations": of_preset("demo", budget=10**15, budget_unit="flops"),
    "paper, trunk, in operations": of_preset("paper", budget=10**18, budget_unit="flops", training=TRUNK),
    "paper, trunk, in seconds": of_preset("paper", budget=3600, budget_unit="seconds", training=TRUNK),
}  # fmt: skip

RUN_IDS: dict[str, str] = {
    "defaults": "e61306fe863e3f20",
    "demo": "bfb00350be908169",
    "small": "bfb00350be908169",
    "paper": "d0fde21ac3ad7986",
    "paper, pure": "b061c053e3f23155",
    "paper, uniform": "aff218bb3f9667ff",
    "demo, another seed": "9794447604dc2693",
    "demo, another budget": "1c337f2235d4392b",
    "demo, no cache": "26a6562edab2be22",
    "demo, fewer crops": "8c113c09e9bf4682",
    "demo, crop 40": "32763ecbe9c3ea2c",
    "demo, mask ratio": "e8fcfd833301619e",
    "demo, wider": "2242f176e65e1f8a",
    "demo, another decoder": "e33138cb51b79f39",
    "demo, whole floats": "34c1e2cf86e9d5df",
    "demo, every part of training": "dccb5d5a6e3ac09a",
    "paper's network": "d59cba2697ef0ed1",
    "paper's network, smaller": "c557620ba11772b8",
    "demo, bf16": "e1f291d212f38efc",
    "demo, trunk": "460d61bb39951b07",
    "demo, trunk, long cooldown": "455c5b1055e0fecf",
    "demo, in operations": "30697fcd22659ebb",
    "paper, trunk, in operations": "4a4f013db3f6a64f",
    "paper, trunk, in seconds": "a0902f1564b0349f",
}
TRUNK_IDS: dict[str, str] = {
    "defaults": "c6d792e54b0bc295",
    "demo": "5941e4a7a0cb46ee",
    "small": "5941e4a7a0cb46ee",
    "paper": "5a787c0f1e4fb100",
    "paper, pure": "8b42a0bb11929f62",
    "paper, uniform": "73125302f0dbec64",
    "demo, another seed": "c54103ff2388078b",
    "demo, another budget": "5941e4a7a0cb46ee",
    "demo, no cache": "70a0921f1045ec64",
    "demo, fewer crops": "5941e4a7a0cb46ee",
    "demo, crop 40": "0c519bdc62b9e57b",
    "demo, mask ratio": "33fef8a510e9d57a",
    "demo, wider": "80adc026971d2616",
    "demo, another decoder": "f3550e654106ff17",
    "demo, whole floats": "93076aee88100f42",
    "demo, every part of training": "f763106519ce17c3",
    "paper's network": "b5c22d4fa5155dc0",
    "paper's network, smaller": "af5e150c22907352",
    "demo, bf16": "d77678b18a603049",
    "demo, trunk": "6bd90c7768e37142",
    "demo, trunk, long cooldown": "d8a65d51eeedd43a",
    "demo, in operations": "5941e4a7a0cb46ee",
    "paper, trunk, in operations": "b6ffad699b025e37",
    "paper, trunk, in seconds": "b6ffad699b025e37",
}


def studies() -> dict[str, StudyConfig]:
    phantoms = DataSettings(phantoms=PhantomSettings(counts=DEMO_COUNTS))
    own = DataSettings(
        path="volumes", domains=("ABD-CT", "HN-PET"), exclude=("HN-CT",), subject_pattern="s(..)"
    )
    found = {}
    for name, preset in PRESETS.items():  # as study files of the day of these ids: without vertex runs
        study = preset.study(name=name, data=phantoms)
        asked = replace(study.allocation, strategies=new_study_strategies())
        found[name] = replace(
            study,
            design=replace(study.design, vertex_seeds=0),
            allocation=asked,
            training=of_that_day(study.training),
        )
    demo = found["demo"]
    found["demo, vertices"] = replace(demo, design=replace(demo.design, vertex_seeds=1))
    found["own"] = replace(
        PRESETS["small"].study(name="own", data=own),
        design=StudyDesign(budgets=(10**15, 10**16), seeds=2, anchor_seeds=3, budget_unit="flops"),
        fit=FitSettings(rho="per-target", keep_outliers=True, repetition="fitted", bootstrap=0),
        allocation=StudyAllocation(
            budget=9000, max_weight={"HN-PET": 0.5}, fixed={"ABD-CT": 0.4}, max_epochs=40, no_worse_than="uniform",
            tolerance=0.02, seeds=1,
        ),
    )  # fmt: skip
    return found


STUDY_DIGESTS: dict[str, tuple[str, str, str, str]] = {
    "demo": ("2a65f19e6d608f76", "914206b86348fc41", "b86a51ee16e2013c", "3e8563bf49efbd0f"),
    "small": ("8b95628c93bd04b2", "7c20ef86aed51dee", "0bfc234874823871", "845e2be5c8850504"),
    "paper": ("02a521175aa9a323", "3133a7cb27b035e1", "6e0838454d8b7678", "29c51896cf8255ed"),
    "demo, vertices": ("2a65f19e6d608f76", "a04a1d727149e5a1", "b86a51ee16e2013c", "3e8563bf49efbd0f"),
    "own": ("ee0ff1ca95397870", "45e67b259369042d", "76434d6f540d9a2f", "c1e6af6658e7f6e0"),
}


def of_study(config: StudyConfig, tmp_path) -> tuple[str, str, str, str]:
    """Return digests of a study's preparation, of its proxy runs' ids, of the runs of its mixtures, of its settings."""
    proxies = [spec.run_id for spec in proxy_specs(config, DOMAINS, cache=CACHE)]
    checks = check_specs(config, {"uniform": Mixture.uniform(DOMAINS), "single": MIXTURE}, cache=CACHE)
    settings = digest({"fit": identity(config.fit), "allocation": identity(config.allocation)})
    return (
        Study(root=tmp_path, config=config).preparation_inputs,
        digest(proxies),
        digest({name: [spec.run_id for spec in specs] for name, specs in checks.items()}),
        settings,
    )


WINDOW = IntensityRule(kind="window", low=-175, high=250)
RECIPES = {
    "defaults": Recipe(),
    "resolved": Recipe().resolved(DOMAINS),
    "own": Recipe(
        spacing_mm=4,
        min_shape=(40, 48, 40),
        crop_foreground=False,
        intensity={"ABD-CT": WINDOW},
        masks=("M",),
    ),
}
RECIPE_DIGESTS: dict[str, tuple[str, str]] = {
    "defaults": ("b0f0acbf1215881e", "e718324371a2ff29"),
    "resolved": ("8de58c9268ba15fa", "e718324371a2ff29"),
    "own": ("88046a2be462149c", "e2294b2946e6a66b"),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_keeps_the_id_of_its_run_and_of_its_trunk(name):
    assert SPECS[name].run_id == RUN_IDS[name]
    assert SPECS[name].trunk_id == TRUNK_IDS[name]
    assert RunSpec.from_dict(SPECS[name].as_dict()).run_id == RUN_IDS[name]


@pytest.mark.parametrize("name", studies())
def test_a_study_keeps_its_preparation_its_runs_and_its_steps(name, tmp_path):
    assert of_study(studies()[name], tmp_path) == STUDY_DIGESTS[name]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_keeps_its_digest_and_that_of_its_volumes(name):
    assert (RECIPES[name].digest, RECIPES[name].volume_digest("ABD-CT")) == RECIPE_DIGESTS[name]
