"""The study file: what is written is read back, and every mistake is named."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from voxmix.compute import ComputeSettings
from voxmix.errors import InputError
from voxmix.study.config import (
    DataSettings,
    PhantomSettings,
    StudyAllocation,
    StudyConfig,
    parse_config,
    read_config,
    render_config,
    write_config,
)
from voxmix.study.presets import PRESETS


@pytest.fixture
def config() -> StudyConfig:
    return StudyConfig(
        name="sechs Domänen",
        data=DataSettings(phantoms=PhantomSettings(counts={"A": 3, "B-MR": 4})),
        allocation=StudyAllocation(budget=100, min_weight=0.01),
    )


def test_what_is_written_is_read_back(config: StudyConfig, tmp_path: Path) -> None:
    write_config(config, tmp_path / "study.yaml")
    assert read_config(tmp_path / "study.yaml") == config


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_survive_the_round_trip(name: str, tmp_path: Path) -> None:
    study = PRESETS[name].study(name="x", data=DataSettings(path="volumes"))
    assert parse_config(yaml.safe_load(render_config(study)), where="x") == study


def test_demo_and_small_fit_both_the_papers_law_and_laws_of_mixtures_and_paper_is_the_papers() -> None:
    kinds = {
        name: tuple(
            len(runs) for runs in preset.design.runs_by_kind(tuple("ABCDEF"), min_weight=0.05).values()
        )
        for name, preset in PRESETS.items()
    }
    assert kinds == {"demo": (24, 24, 8), "small": (24, 24, 8), "paper": (24, 0, 8)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"desing": {}}, ["desing: unknown key", "did you mean 'design'"]),
        ({"design": {"budgts": [1, 2]}}, ["design.budgts: unknown key", "did you mean 'budgets'"]),
        ({"allocation": {"budget": 0}}, ["allocation", "at least 1", "got 0"]),
        ({"allocation": {}}, ["allocation.budget: missing"]),
        ({"design": {"budgets": [8, 4]}}, ["budgets must rise", "[8, 4]"]),
        ({"design": {"budgets": [0, 4]}}, ["at least 1, got 0"]),
        ({"design": {"min_weight": 2}}, ["min_weight of the design", "got 2"]),
        ({"design": {"min_weight": "low"}}, ["design.min_weight", "'low'"]),
        ({"design": {"seeds": 0}}, ["neither pure runs", "vertex_seeds: 0"]),
        ({"model": {"crop": 33}}, ["crop must be a multiple of patch", "33"]),
        ({"training": {"learning_rate": "fast"}}, ["training.learning_rate", "'fast'"]),
        ({"data": {}}, ["data", "exactly one"]),
        ({"data": {"path": "x", "validation_fraction": 1.5}}, ["validation_fraction", "1.5"]),
        ({"format": 2}, ["format 2", "reads 1"]),
        ({"allocation": {"budget": 9, "strategies": ["unifrom"]}}, ["unknown strategies ['unifrom']"]),
    ],
)
def test_mistakes_are_named(config: StudyConfig, change: dict[str, object], words: list[str]) -> None:
    values = yaml.safe_load(render_config(config)) | change
    with pytest.raises(InputError) as caught:
        parse_config(values, where="study.yaml")
    assert all(word in str(caught.value) for word in ["study.yaml", *words])


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2\n", "", "\x00"])
def test_what_is_no_study_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"study\.yaml"):
        read_config(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    ("given", "least"), [("0.1", (0.1,)), ("[0.1, 0.02]", (0.1, 0.02)), ("null", (0.01,))]
)
def test_the_design_has_one_min_weight_several_or_that_of_the_allocation(
    config: StudyConfig, tmp_path: Path, given: str, least: tuple[float, ...]
) -> None:
    written = render_config(config).replace("vertex_seeds: 0", "vertex_seeds: 1")
    text = written.replace("min_weight: null", f"min_weight: {given}")
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    again = read_config(tmp_path / "study.yaml")
    assert again.design.least_weights(again.allocation.min_weight) == least
    kinds = again.design.runs_by_kind(("A", "B-MR"), min_weight=again.allocation.min_weight)
    assert len(kinds["vertex runs"]) == len(least) * 2 * len(again.design.budgets)
    assert {m["A"] for m, _, _ in kinds["vertex runs"]} == {x for each in least for x in (each, 1 - each)}


def test_a_key_that_was_renamed_is_read_by_its_old_name(config: StudyConfig) -> None:
    """``compute.strategy`` became ``sharing``: a strategy is a way to choose a mixture."""
    today = yaml.safe_load(render_config(replace(config, compute=ComputeSettings(devices=2, sharing="fsdp"))))
    earlier = {**today, "compute": dict(today["compute"])}
    earlier["compute"]["strategy"] = earlier["compute"].pop("sharing")
    assert parse_config(earlier, where="x").compute == ComputeSettings(devices=2, sharing="fsdp")
    both = {**today, "compute": {**today["compute"], "strategy": "ddp"}}
    with pytest.raises(InputError, match="strategy: unknown key"):
        parse_config(both, where="x")


def test_budgets_may_be_written_as_amounts(config: StudyConfig, tmp_path: Path) -> None:
    text = render_config(config)
    path = tmp_path / "study.yaml"
    path.write_text(
        text.replace("budgets: [500, 1000, 2000, 4000]", 'budgets: [500, 1k, 2e3, "4,000"]').replace(
            "budget: 100\n", "budget: 1e2\n"
        ),
        encoding="utf-8",
    )
    assert read_config(path) == config
    path.write_text(text.replace("budget: 100\n", "budget: 8q\n"), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"allocation.budget: '8q' is no amount; give a number such as 16000"
    ):
        read_config(path)


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: !!python/object/apply:os.getcwd []\n", encoding="utf-8")
    with pytest.raises(InputError, match="not YAML"):
        read_config(tmp_path / "study.yaml")


def test_every_setting_stands_in_the_file(config: StudyConfig) -> None:
    values = yaml.safe_load(render_config(replace(config, workers=3)))
    assert values["workers"] == 3
    assert set(values["training"]) == set(config.training.__slots__)
