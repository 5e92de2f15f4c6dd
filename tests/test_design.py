"""Same spec, same run; any other number, another run."""

from dataclasses import replace

import pytest

from voxmix import Mixture, RunSpec, StudyDesign
from voxmix.design import EvaluationSettings, ModelSettings, TrainingSettings
from voxmix.errors import InputError

SPEC = RunSpec(mixture=Mixture.from_dict({"A": 0.25, "B": 0.75}), budget=100, seed=0, cache="c")


def test_round_trip_keeps_the_run_id():
    again = RunSpec.from_dict(SPEC.as_dict())
    assert again.run_id == SPEC.run_id
    assert again == SPEC


@pytest.mark.parametrize(
    "change",
    [
        {"budget": 101},
        {"seed": 1},
        {"cache": "d"},
        {"mixture": Mixture.from_dict({"A": 0.75, "B": 0.25})},
        {"model": ModelSettings(mask_ratio=0.6)},
        {"training": TrainingSettings(learning_rate=2e-4)},
        {"evaluation": EvaluationSettings(crops_per_domain=32)},
    ],
)
def test_every_number_is_part_of_the_run_id(change):
    assert replace(SPEC, **change).run_id != SPEC.run_id


def test_specs_of_another_format_are_refused():
    with pytest.raises(InputError, match="format 99"):
        RunSpec.from_dict(SPEC.as_dict() | {"format": 99})


def test_design_holds_every_pure_run_and_the_anchors_at_every_budget_and_seed():
    design = StudyDesign(budgets=(10, 20), seeds=1, anchor_seeds=2)
    names = ("A", "B", "C")
    runs = design.runs(names)
    assert len(set(runs)) == len(runs) == 2 * (3 * 1 + 2)
    assert {m.source for m, _, _ in runs} == {"A", "B", "C", None}
    assert [(b, s) for m, b, s in runs if m == Mixture.uniform(names)] == [(10, 0), (10, 1), (20, 0), (20, 1)]
    assert all(m.source == "A" for m, _, _ in design.runs(("A",)))
    assert all(m.source for m, _, _ in StudyDesign(anchor_seeds=0).runs(names))


@pytest.mark.parametrize("budgets", [(), (0,), (1000, 500), (500, 500)])
def test_budgets_that_do_not_rise_are_refused(budgets):
    with pytest.raises(InputError, match="budget"):
        StudyDesign(budgets=budgets)


@pytest.mark.parametrize(
    "change", [{"patch": 7}, {"heads": 5}, {"mask_ratio": 1.0}, {"depth": 0}, {"decoder_heads": 7}]
)
def test_models_that_cannot_be_built_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        ModelSettings(**change)
