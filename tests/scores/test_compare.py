"""Metrics against torchmetrics' definitions, and comparisons against planted effects."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import rankdata

from voxmix import plots
from voxmix.scores import ACCURACY, AUC, BALANCED, DICE, SURFACE, compare
from voxmix.scores.metric import weighted

CASES = [f"c{k:02d}" for k in range(40)]


def study(make, *inits: tuple[str, float], seeds: int = 3, **options):
    return [
        make(name, seed=s, effect=effect, **options) for name, effect in inits for s in range(1, seeds + 1)
    ]


def test_metrics_equal_those_that_finetuning_reports(make_classification, table_of) -> None:
    metrics = pytest.importorskip("voxmix.downstream.metrics")
    (run,) = table_of(make_classification("scratch")).results
    truth = np.array([case.truth for case in run.cases])
    probability = np.array([case.probability for case in run.cases])
    expected = metrics.classification_scores(truth, probability)
    ones = np.ones((1, 40))
    for metric, name in ((ACCURACY, "accuracy"), (BALANCED, "balanced_accuracy"), (AUC, "auc")):
        assert weighted(run, metric, CASES)(ones)[0] == pytest.approx(expected[name], abs=1e-6)


def test_weights_count_cases(make_classification, table_of) -> None:
    """A resample's counts as weights give the score of the resample itself."""
    (run,) = table_of(make_classification("scratch")).results
    counts = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40))
    picked = np.repeat(np.arange(40), counts)
    truth = np.array([run.cases[i].truth for i in picked])
    probability = np.array([run.cases[i].probability for i in picked])
    right = probability.argmax(axis=1) == truth
    areas = []
    for k in range(3):
        own = truth == k
        ranks = rankdata(probability[:, k])[own].sum() - own.sum() * (own.sum() + 1) / 2
        areas.append(ranks / (own.sum() * (~own).sum()))
    score = {m: weighted(run, m, CASES)(counts[None].astype(float))[0] for m in (ACCURACY, BALANCED, AUC)}
    assert score[ACCURACY] == pytest.approx(right.mean())
    assert score[BALANCED] == pytest.approx(np.mean([right[truth == k].mean() for k in range(3)]))
    assert score[AUC] == pytest.approx(np.mean(areas))


def test_a_better_initialization_is_found_and_equals_are_not(make_segmentation, table_of) -> None:
    inits = (("scratch", 0.0), ("single", 0.005), ("transfer-aware", 0.15))
    found = compare(table_of(*study(make_segmentation, *inits)), resamples=200)
    assert found.best("organs") == ("transfer-aware",)
    assert found.apart("organs", "transfer-aware", "scratch")
    assert found.apart("organs", "transfer-aware", "single")
    assert not found.apart("organs", "single", "scratch")
    difference = next(d for d in found.differences if {d.first, d.second} == {"transfer-aware", "scratch"})
    assert difference.first == "transfer-aware"
    assert difference.test.difference == pytest.approx(0.15, abs=0.03)
    assert difference.test.low < 0.15 < difference.test.high


def test_what_cannot_be_told_apart_is_not_ranked(make_segmentation, table_of) -> None:
    inits = (("scratch", 0.0), ("single", 0.004), ("transfer-aware", 0.008))
    found = compare(table_of(*study(make_segmentation, *inits)), resamples=200)
    assert set(found.best("organs")) == {"scratch", "single", "transfer-aware"}
    assert not any(d.apart for d in found.differences)


def test_one_seed_ranks_nothing_however_large_the_effect(make_segmentation, table_of) -> None:
    runs = study(make_segmentation, ("scratch", 0.0), ("single", 0.25), seeds=1)
    found = compare(table_of(*runs), resamples=200)
    assert found.best("organs") == ("single", "scratch")
    assert np.isnan(found.differences[0].corrected)


def test_areas_are_compared_by_pseudovalues(make_classification, table_of) -> None:
    runs = study(make_classification, ("scratch", 0.0), ("single", 0.0), ("transfer-aware", 3.0), cases=60)
    found = compare(table_of(*runs), resamples=200)
    assert found.best("dementia") == ("transfer-aware",)
    assert not found.apart("dementia", "single", "scratch")
    areas = {e.init: e.value for e in found.estimates if e.metric == AUC}
    for d in found.differences:
        assert d.test.difference == pytest.approx(areas[d.first] - areas[d.second])


def test_comparisons_of_all_tasks_are_one_family_and_controls_another(make_segmentation, table_of) -> None:
    inits = (("scratch", 0.0), ("single", 0.03), ("transfer-aware", 0.06))
    runs = study(make_segmentation, *inits) + study(make_segmentation, *inits, task="tumor")
    runs += study(make_segmentation, ("single", -0.2), control="frozen")
    found = compare(table_of(*runs), resamples=200)
    assert len(found.differences) == 6
    assert [d.first for d in found.control_differences] == ["single, frozen"]
    smallest = min(found.differences, key=lambda d: d.test.p)
    assert smallest.corrected == pytest.approx(min(1, 6 * smallest.test.p))
    (control,) = found.control_differences
    assert control.corrected == control.test.p
    assert control.apart
    assert control.test.difference < -0.15
    assert all(e.control is None for e in found.by_class)


def test_a_noisy_control_does_not_drown_the_others(make_segmentation, table_of) -> None:
    runs = study(make_segmentation, ("single", 0.0), cases=30)
    calm = study(make_segmentation, ("single", -0.1), cases=30, control="frozen")
    wild = study(make_segmentation, ("single", -0.3), cases=30, control="no-tokens", seed_noise=0.15)
    alone = compare(table_of(*runs, *calm), resamples=50).control_differences
    beside = compare(table_of(*runs, *calm, *wild), resamples=50).control_differences
    assert [d.first for d in beside] == ["single, frozen", "single, no-tokens"]
    assert beside[0].test == alone[0].test
    assert beside[0].apart


def test_the_value_is_the_mean_over_classes_then_cases_then_seeds(make_segmentation, table_of) -> None:
    first, second = make_segmentation("scratch", seed=1), make_segmentation("scratch", seed=2)
    first["cases"][0]["scores"]["dice"] = {"liver": 0.4, "spleen": None}
    second["cases"][1]["scores"]["dice"] = {"liver": None, "spleen": None}
    found = compare(table_of(first, second), resamples=100)
    by_seed = []
    for value in (first, second):
        means = []
        for case in value["cases"]:
            known = [v for v in case["scores"]["dice"].values() if v is not None]
            means += [np.mean(known)] if known else []
        by_seed.append(np.mean(means))
    item = found.estimate("organs", DICE, "scratch")
    assert item is not None
    assert item.value == pytest.approx(np.mean(by_seed))
    assert item.seed_values == pytest.approx(by_seed)
    assert item.unscored == 1
    assert item.seed_spread == pytest.approx(abs(by_seed[0] - by_seed[1]) / np.sqrt(2))
    distance = found.estimate("organs", SURFACE, "scratch")
    assert distance is not None
    assert distance.metric.unit == "mm"
    by_class = {e.label: e for e in found.by_class}
    assert by_class["spleen"].unscored == 2


def test_runs_are_compared_on_the_cases_and_seeds_that_both_have(make_segmentation, table_of) -> None:
    full = study(make_segmentation, ("scratch", 0.0), ("single", 0.1))
    extra = make_segmentation("single", seed=4, effect=0.1)
    full[3]["cases"] = full[3]["cases"][1:]  # single, seed 1 has lost a case
    full[0]["cases"][5]["scores"]["dice"] = {"liver": None, "spleen": None}
    found = compare(table_of(*full, extra), resamples=100)
    (difference,) = found.differences
    assert difference.seeds == (1, 2, 3)
    assert difference.cases == 8
    assert found.notes == (
        "organs: some differences rest on 8 of 10 cases, those that both sides have a score for",
        "organs: some differences rest on 3 of 4 seeds, those that both sides have a score for",
    )


def test_the_same_table_gives_the_same_numbers(make_segmentation, table_of) -> None:
    runs = study(make_segmentation, ("scratch", 0.0), ("single", 0.1))
    once, again = (compare(table_of(*runs), resamples=100) for _ in range(2))
    assert once.estimates == again.estimates
    assert once.differences == again.differences


def test_many_cases_of_few_subjects_are_not_many_witnesses(make_segmentation, table_of) -> None:
    """Forty cases of four subjects that share a luck of their own are compared as four."""
    inits = (("scratch", 0.0), ("single", 0.0))
    runs = study(make_segmentation, *inits, cases=40)
    lucks = dict(zip(("scratch", "single"), np.random.default_rng(3).normal(0, 0.05, (2, 4)), strict=True))
    for run in runs:
        luck = lucks[run["init"]]
        for k, case in enumerate(run["cases"]):
            case["subject"] = f"s{k % 4}"
            case["scores"]["dice"] = {
                "liver": float(np.clip(case["scores"]["dice"]["liver"] + luck[k % 4], 0, 1))
            }
    clustered = compare(table_of(*runs), resamples=200)
    for run in runs:
        for case in run["cases"]:
            del case["subject"]
    naive = compare(table_of(*runs), resamples=200)
    (with_subjects,), (without,) = clustered.differences, naive.differences
    assert (with_subjects.cases, with_subjects.subjects) == (40, 4)
    assert without.subjects == 40
    assert with_subjects.test.difference == pytest.approx(without.test.difference)
    widths = [d.test.high - d.test.low for d in (with_subjects, without)]
    assert widths[0] > 1.5 * widths[1]


def test_equal_areas_are_called_different_about_as_often_as_promised() -> None:
    """Areas under curves have no values per case; their pseudovalues must not promise too much."""
    from voxmix.scores.metric import _area
    from voxmix.scores.statistics import crossed_test, pseudovalues, seed_noise

    rng, worlds, wrong = np.random.default_rng(6), 300, 0
    for _ in range(worlds):
        truth = rng.permutation(np.repeat([0, 1], 20))
        shared = rng.normal(0, 1, 40) + truth
        shift = rng.normal(0, 0.3, (2, 3, 1)) * (2 * truth - 1)  # a seed makes its run sharper or duller
        scores = [
            [_area(truth, _both(s)) for s in side] for side in shared + shift + rng.normal(0, 0.7, (2, 3, 40))
        ]
        values = np.array([[pseudovalues(score, np.eye(40)) for score in side] for side in scores])
        noise = seed_noise(values.mean(axis=2))
        wrong += crossed_test((values[0] - values[1]).T, level=0.95, noise=noise).p < 0.05
    assert wrong / worlds < 0.09


def _both(score: np.ndarray) -> np.ndarray:
    own = 1 / (1 + np.exp(-score))
    return np.stack([1 - own, own], axis=1)


def test_a_notebook_shows_a_small_table(make_segmentation, table_of) -> None:
    table = table_of(*study(make_segmentation, ("scratch", 0.0), ("single", 0.2)))
    found = compare(table, resamples=50)
    assert repr(table) == "ScoreTable(6 runs; tasks ['organs']; initializations ['scratch', 'single'])"
    assert repr(found) == "Comparison(best, or tied with it: organs: single)"
    assert '<th scope="row">organs</th><td>Dice</td>' in found._repr_html_()
    assert '<th scope="row">organs</th><td>scratch</td><td>1</td>' in table._repr_html_()
    assert [row["init"] for row in found.to_rows()][:1] == ["scratch"]
    assert len(table.to_rows()) == len(table.results)
    assert plots.scores(found, ax=(ax := Figure().add_subplot())) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["single", "scratch"]
    assert "nan" not in compare(table_of(make_segmentation("scratch", cases=2)), resamples=10)._repr_html_()
