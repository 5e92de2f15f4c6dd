"""Which runs are planned: nested, at equal compute, alike but for the subset."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from voxmix.encoder_study.config import EncoderDesign, EncoderStudyConfig, ImageData, StartSettings
from voxmix.encoder_study.presets import PRESETS
from voxmix.encoder_study.specs import PlannedRun, StartFacts, plan_runs, subsets_of
from voxmix.errors import InputError


@dataclass(frozen=True)
class Film:
    key: str
    person: str
    domain: str = "A"
    split: str = "train"
    shape: tuple[int, ...] = (20, 20)
    has_text: bool = True
    labels: Mapping[str, int] = field(default_factory=dict)


class Films:
    digest, pictures, axes, tokenizer, label_names = "films", "films", 2, "words", ()

    def __init__(self, count: int, *, without: int = 0) -> None:
        self.items = tuple(
            Film(key=f"k{i}", person=f"p{i // 3}", domain="AB"[i // 3 % 2], has_text=i >= without)
            for i in range(count)
        )

    def array(self, item: Any) -> Any:
        raise NotImplementedError

    tokens = label_tokens = array


@pytest.fixture
def config() -> Callable[..., EncoderStudyConfig]:
    small = PRESETS["small"]

    def make(*, starts: Any = None, objectives: Any = ("dino", "clip"), **design: Any) -> EncoderStudyConfig:
        options = {"samples": (8, 16, "all"), "budget": 640, "extremes_at": None, **design}
        more = {} if starts is None else {"starts": starts}
        return EncoderStudyConfig(
            name="x",
            data=ImageData(path="films.csv"),
            backbone=small.backbone,
            objectives=small.objectives(objectives),
            design=EncoderDesign(**options),
            **more,
        )

    return make


def plan(config: EncoderStudyConfig, films: Films, starts: Any = None) -> tuple[PlannedRun, ...]:
    return plan_runs(config, films, subsets_of(config, films), starts or {}, vocabulary=300)


def test_runs_are_objectives_by_subsets_by_seeds_and_differ_by_nothing_else(
    config: Callable[..., EncoderStudyConfig],
) -> None:
    runs = plan(config(), Films(40))
    assert len(runs) == 2 * 3 * 2
    for objective in ("dino", "clip"):
        for seed in (0, 1):
            mine = [r.spec for r in runs if (r.spec.objective, r.spec.seed) == (objective, seed)]
            assert [spec.samples for spec in mine] == [9, 18, 40]  # whole persons of three
            alike = {replace(spec, samples=1, subset="") for spec in mine}
            assert len(alike) == 1
    assert {run.spec.budget for run in runs} == {640}


def test_subsets_nest_and_are_the_same_for_every_objective(config: Callable[..., EncoderStudyConfig]) -> None:
    films = Films(40)
    small, middle, whole = (set(subset.items) for subset in subsets_of(config(), films))
    assert small < middle < whole
    runs = plan(config(), films)
    subsets = {name: {r.spec.subset for r in runs if r.spec.objective == name} for name in ("dino", "clip")}
    assert subsets["dino"] == subsets["clip"]


def test_images_without_a_report_are_in_no_subset_where_one_objective_reads_reports(
    config: Callable[..., EncoderStudyConfig],
) -> None:
    films = Films(40, without=10)
    assert subsets_of(config(), films)[-1].images == 30
    assert subsets_of(config(only_with_reports=False), films)[-1].images == 40
    assert subsets_of(config(objectives=("dino",)), films)[-1].images == 40
    with pytest.raises(InputError, match="none of the 40 training images has one"):
        plan(config(), Films(40, without=40))


def test_sizes_of_the_same_images_are_one(config: Callable[..., EncoderStudyConfig]) -> None:
    assert [s.images for s in subsets_of(config(samples=(8, 9, 40, "all")), Films(40))] == [9, 40]


def test_the_extremes_are_repeated_at_more_compute(config: Callable[..., EncoderStudyConfig]) -> None:
    runs = plan(config(extremes_at=2.0), Films(40))
    more = [run.spec for run in runs if run.kind == "more compute"]
    assert len(runs) == 12 + 8
    assert {(spec.samples, spec.budget) for spec in more} == {(9, 1280), (40, 1280)}


def test_equal_epochs_draw_every_image_equally_often(config: Callable[..., EncoderStudyConfig]) -> None:
    runs = plan(config(epochs=5, budget_unit="flops", budget=10**12), Films(40))
    control = [run for run in runs if run.kind == "equal epochs"]
    assert len(control) == 12
    assert {run.subset.epochs(run.spec.budget) for run in control} == {5.0}
    assert {run.spec.budget_unit for run in control} == {"draws"}


def test_a_run_that_a_control_asks_for_again_is_one(config: Callable[..., EncoderStudyConfig]) -> None:
    runs = plan(config(epochs=16, budget=640), Films(40))  # 16 epochs of 40 images are 640 draws
    assert len(runs) == 12 + 8


def test_a_start_brings_its_network_its_rate_and_warms_a_head_that_it_does_not_have(
    config: Callable[..., EncoderStudyConfig],
) -> None:
    own = PRESETS["small"].backbone
    facts = StartFacts(
        digest="abc",
        backbone=replace(own, depth=2),
        text=None,
        head={"prototypes": 32},
        shorter_side=40,
    )
    starts = {"scratch": StartSettings(), "w": StartSettings(folder="w", rate=0.1, warm=0.25)}
    runs = plan(config(starts=starts), Films(40), {"w": facts})
    for run in runs:
        scratch = next(r for r in runs if r.start == "scratch" and r.spec.objective == run.spec.objective)
        if run.start == "scratch":
            assert (run.spec.backbone.depth, run.spec.warm_draws, run.spec.start) == (4, 0, None)  # type: ignore[attr-defined]
            continue
        assert run.spec.backbone.depth == 2  # type: ignore[attr-defined]
        assert run.spec.training.learning_rate == pytest.approx(0.1 * scratch.spec.training.learning_rate)
        assert run.spec.warm_draws == (0 if run.spec.objective == "dino" else 160)
        if run.spec.objective == "dino":
            assert run.spec.objective_settings.prototypes == 32  # type: ignore[attr-defined]


def test_more_samples_than_images_are_refused(config: Callable[..., EncoderStudyConfig]) -> None:
    with pytest.raises(InputError, match="asks for 64 images, and there are 40"):
        plan(config(samples=(64,)), Films(40))


def test_a_warm_head_needs_a_budget_in_draws(config: Callable[..., EncoderStudyConfig]) -> None:
    with pytest.raises(InputError, match="share of draws"):
        config(starts={"w": StartSettings(folder="w", warm=0.1)}, budget_unit="flops")
