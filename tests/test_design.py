"""Same spec, same run; any other number, another run."""

from dataclasses import replace

import pytest

from voxmix import Mixture, RunSpec, StudyDesign
from voxmix.errors import InputError
from voxmix.run_settings import EvaluationSettings, ModelSettings, TrainingSettings
from voxmix.study.presets import preset

SPEC = RunSpec(mixture=Mixture.from_dict({"A": 0.25, "B": 0.75}), budget=100, seed=0, cache="c")


def test_round_trip_keeps_the_run_id():
    again = RunSpec.from_dict(SPEC.as_dict())
    assert again.run_id == SPEC.run_id
    assert again == SPEC


@pytest.mark.parametrize("damage", ["mixture", "training", "seed"])
def test_damaged_specs_are_refused(damage):
    value = {key: item for key, item in SPEC.as_dict().items() if key != damage}
    with pytest.raises(InputError, match=f"damaged or of a later voxmix .*{damage}"):
        RunSpec.from_dict(value)
    later = SPEC.as_dict() | {"training": {"warp": 9}}
    with pytest.raises(InputError, match=r"later voxmix .*warp"):
        RunSpec.from_dict(later)


def test_settings_that_came_later_do_not_rename_the_runs_that_exist():
    # Ids as voxmix gave them on 2026-11-22, before schedule, cooldown, precision and budget_unit were settings.
    assert SPEC.run_id == "7eda2d35ba11a01f"
    demo = preset("demo")
    assert replace(SPEC, model=demo.model, training=demo.training, evaluation=demo.evaluation).run_id == (
        "f5ed90f88534bca8"
    )


def test_runs_of_one_trunk_differ_in_budget_cooldown_and_evaluation_alone():
    trunk = replace(SPEC, budget=1000, training=TrainingSettings(schedule="trunk"))
    same = [
        {"budget": 2000},
        {"budget": 10**15, "budget_unit": "flops"},
        {"training": TrainingSettings(schedule="trunk", cooldown=0.3)},
        {"evaluation": EvaluationSettings(crops_per_domain=3)},
    ]
    other = [{"seed": 1}, {"cache": "d"}, {"training": TrainingSettings(schedule="trunk", noise=0.1)}]
    assert all(replace(trunk, **change).trunk_id == trunk.trunk_id for change in same)
    assert all(replace(trunk, **change).run_id != trunk.run_id for change in same)
    assert all(replace(trunk, **change).trunk_id != trunk.trunk_id for change in other)
    assert all(RunSpec.from_dict(s.as_dict()) == s for s in (replace(trunk, **change) for change in same))


def test_schedules_that_cannot_be_kept_are_refused():
    trunk = TrainingSettings(schedule="trunk", warmup_steps=50)
    with pytest.raises(
        InputError, match=r"400 draws is 50 steps.*cooldown would begin at step 40, before warm"
    ):
        replace(SPEC, budget=400, training=trunk)
    with pytest.raises(InputError, match=r"cooldown 0\.3 has no effect with schedule cosine"):
        TrainingSettings(cooldown=0.3)
    with pytest.raises(InputError, match="a budget in seconds needs schedule trunk"):
        replace(SPEC, budget_unit="seconds")


@pytest.mark.parametrize("branch", [*range(1, 60), 1000, 12345])
@pytest.mark.parametrize("cooldown", [0.05, 0.2, 0.5])
def test_a_branch_at_any_step_has_a_budget(branch, cooldown):
    training = TrainingSettings(schedule="trunk", cooldown=cooldown, warmup_steps=0, batch_size=4)
    draws = training.draws_from_branch(branch)
    assert draws % 4 == 0
    assert training.branch_step(draws) == branch
    assert abs(draws / 4 - branch / (1 - cooldown)) <= 1 / (1 - cooldown)


@pytest.mark.parametrize(
    "change",
    [
        {"budget": 101},
        {"seed": 1},
        {"cache": "d"},
        {"mixture": Mixture.from_dict({"A": 0.75, "B": 0.25})},
        {"model": ModelSettings(mask_ratio=0.6)},
        {"training": TrainingSettings(learning_rate=2e-4)},
        {"training": TrainingSettings(precision="bf16-mixed")},
        {"budget_unit": "flops"},
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


NAMES = ("A", "B", "C")


def test_vertices_get_min_weight_of_every_domain_and_the_rest_of_one_at_every_budget_and_seed():
    design = StudyDesign(budgets=(10, 20), seeds=1, vertex_seeds=2, anchor_seeds=2)
    kinds = design.runs_by_kind(NAMES, min_weight=0.1)
    assert {kind: len(runs) for kind, runs in kinds.items()} == {
        "pure runs": 6,
        "vertex runs": 12,
        "anchors": 4,
    }
    first = Mixture.from_dict({"A": 0.8, "B": 0.1, "C": 0.1})
    assert [run for run in kinds["vertex runs"] if run[0] == first] == [
        (first, budget, seed) for budget in (10, 20) for seed in (0, 1)
    ]
    assert design.runs(NAMES, min_weight=0.1) == tuple(run for runs in kinds.values() for run in runs)
    without = replace(design, vertex_seeds=0)
    assert without.runs(NAMES) == (*kinds["pure runs"], *kinds["anchors"])


def test_every_kind_has_the_seeds_from_0_on():
    kinds = StudyDesign(budgets=(10,), seeds=3, vertex_seeds=2, anchor_seeds=4).runs_by_kind(
        NAMES, min_weight=0.1
    )
    seeds = {kind: {seed for _, _, seed in runs} for kind, runs in kinds.items()}
    assert seeds == {"pure runs": {0, 1, 2}, "vertex runs": {0, 1}, "anchors": {0, 1, 2, 3}}


def test_where_min_weight_is_0_the_vertices_are_the_pure_runs_made_once():
    design = StudyDesign(budgets=(10, 20), seeds=1, vertex_seeds=2, anchor_seeds=0)
    runs = design.runs(NAMES, min_weight=0)
    assert len(set(runs)) == len(runs) == 2 * 3 * 2
    assert set(runs) == set(replace(design, seeds=2, vertex_seeds=0).runs(NAMES))
    specs = [
        {replace(SPEC, mixture=m, budget=b, seed=s).run_id for m, b, s in some}
        for some in (runs, replace(design, seeds=2, vertex_seeds=0).runs(NAMES))
    ]
    assert specs[0] == specs[1]
    assert design.trains_alone(0)
    assert not design.trains_mixtures(0)


def test_where_min_weight_is_the_uniform_share_the_vertices_are_the_anchors():
    design = StudyDesign(budgets=(10,), seeds=0, vertex_seeds=1, anchor_seeds=2)
    runs = design.runs(NAMES, min_weight=1 / 3)
    assert [(mixture, seed) for mixture, _, seed in runs] == [
        (Mixture.uniform(NAMES), 0),
        (Mixture.uniform(NAMES), 1),
    ]


def test_the_min_weight_of_the_design_comes_before_that_of_the_allocation():
    asked = {"budgets": (10,), "seeds": 0, "vertex_seeds": 1, "anchor_seeds": 0}
    own = StudyDesign(min_weight=0.2, **asked)
    assert own.runs(NAMES, min_weight=0.05) == StudyDesign(**asked).runs(NAMES, min_weight=0.2)
    both = StudyDesign(min_weight=(0.05, 0.2), **asked)
    assert both.runs(NAMES) == (*StudyDesign(**asked).runs(NAMES, min_weight=0.05), *own.runs(NAMES))
    assert own.trains_mixtures(0.05)
    assert not own.trains_alone(0.05)
    with pytest.raises(InputError, match="vertex runs need a min_weight"):
        StudyDesign(**asked).runs(NAMES)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seeds": 0}, "neither pure runs .* nor vertex runs"),
        ({"seeds": -1}, "seeds must be at least 0"),
        ({"vertex_seeds": -1}, "vertex_seeds must be at least 0"),
        ({"min_weight": 1.5}, r"must lie in \[0, 1\], got 1.5"),
        ({"min_weight": (0.1, float("nan"))}, "got nan"),
        ({"min_weight": ()}, "empty list"),
    ],
)
def test_designs_without_sense_are_refused(change, says):
    with pytest.raises(InputError, match=says):
        StudyDesign(**change)


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


UNETR = ModelSettings(name="unetr", crop=32, patch=8, width=96, depth=3, heads=3)
UNREAD = replace(UNETR, decoder_width=64, decoder_depth=1, decoder_heads=2)


def test_settings_that_a_network_does_not_read_have_no_part_in_an_id():
    spec = replace(SPEC, model=UNETR)
    for change in ({"decoder_width": 64, "decoder_heads": 2}, {"decoder_depth": 9}):
        other = replace(spec, model=replace(UNETR, **change))
        assert other.run_id == spec.run_id
        assert other.trunk_id == spec.trunk_id
        assert other.former_id != spec.run_id
    assert spec.former_id == spec.run_id
    mae = replace(SPEC, model=replace(UNREAD, name="mae"))
    assert mae.former_id == mae.run_id
    assert mae.run_id != replace(mae, model=replace(UNETR, name="mae")).run_id
    assert replace(spec, model=replace(UNREAD, mlp_ratio=2.0)).run_id != spec.run_id


def test_the_former_id_is_the_one_that_voxmix_gave_before_2026_11_28():
    assert replace(SPEC, model=UNREAD).former_id == "87e4823d8b3e0002"
    assert (
        RunSpec.from_dict(replace(SPEC, model=UNREAD).as_dict()).run_id == replace(SPEC, model=UNETR).run_id
    )
