"""Scores of probes: labels and values per case, compared like those of finetuning; known truths are found."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxmix.cli.columns import laid_out
from voxmix.errors import InputError
from voxmix.probe_tasks import JudgedEncoder
from voxmix.report.score_tables import brief_differences_table, brief_scores_table
from voxmix.scores import AUPRC, AUROC, DownstreamResult, ScoreTable, compare, main_score, read_result
from voxmix.scores.metric import average_precision, metrics_of, roc_area, weighted

LABELS = ("tube", "coin")


def probe(
    name: str,
    *,
    kind: str = "labels",
    seed: int = 0,
    effect: float = 1.0,
    seed_noise: float = 0.0,
    cases: int = 120,
    reference: bool = False,
    world: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """Return a result.json; scores of "tube" hold the truth times ``effect``, "coin" is never known by a score."""
    shared = np.random.default_rng([world, 5])
    own = np.random.default_rng([world, seed, *map(ord, name)])
    moved = effect + own.normal(0, seed_noise)
    truth = shared.integers(0, 2, (cases, 2))
    common = shared.normal(0, 1, (cases, 2))
    scores = 0.8 * common + 0.6 * own.normal(0, 1, (cases, 2)) + truth * [moved, 0.0]
    rows: list[dict[str, Any]] = []
    for k in range(cases):
        about = {"case": f"c{k:03d}", "subject": f"s{k // 2}", "domain": "A"}
        if kind == "values":
            rows.append(about | {"values": {"recall@5": float(scores[k, 0]), "recall@1": None}})
        else:
            known = {"tube": int(truth[k, 0]), "coin": None if k % 9 == 0 else int(truth[k, 1])}
            rows.append(about | {"truth": known, "score": dict(zip(LABELS, scores[k].tolist(), strict=True))})
    judged = JudgedEncoder(
        name=name,
        encoder=f"e{name}{seed}",
        objective="" if reference else name.split()[0],
        samples=64,
        seed=seed,
    )
    return {
        "format": 1, "task": "findings", "kind": kind, "init": name, "control": None, "seed": seed, "protocol_digest": "p",
        "checkpoint": None, "draws": None, "flops": None, "seconds": 1.0, "classes": list(LABELS) if kind == "labels" else [],
        "metrics": ["recall@5", "recall@1"] if kind == "values" else [], "cases": rows, "curve": [], "judged": asdict(judged),
        "outside": False,
    } | more  # fmt: skip


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Return a function that writes a result and reads it."""

    def back(value: dict[str, Any]) -> DownstreamResult:
        path = tmp_path / "result.json"
        path.write_text(json.dumps(value), encoding="utf-8")
        return read_result(path)

    return back


def test_what_was_judged_is_read_again(read: Any) -> None:
    found = read(probe("unicl scratch", seed=2, outside=True))
    assert found.judged == JudgedEncoder(
        name="unicl scratch", encoder="eunicl scratch2", objective="unicl", samples=64, seed=2
    )
    assert found.outside
    assert found.cases[0].truth == {"tube": found.cases[0].truth["tube"], "coin": None}
    assert metrics_of([found]) == (AUROC, AUPRC)
    values = read(probe("unicl scratch", kind="values"))
    assert [(m.name, m.main) for m in metrics_of([values])] == [("recall@5", True), ("recall@1", False)]
    assert main_score(values) == pytest.approx(np.mean([case.values["recall@5"] for case in values.cases]))
    assert read(probe("x") | {"judged": None}).judged is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["cases"][0]["truth"].update(other=1), "label 'other' is none of"),
        (lambda v: v["cases"][0]["truth"].update(tube=2), "expected 0, 1 or null"),
        (lambda v: v["cases"][0]["truth"].update(tube=True), "expected 0, 1 or null"),
        (lambda v: v["cases"][0]["score"].pop("tube"), "label tube has no score"),
        (lambda v: v["cases"].append(v["cases"][0]), "a case occurs twice"),
        (lambda v: v["judged"].update(objectve="x"), "objectve"),
        (lambda v: v.update(kind="words"), "is none of"),
        (lambda v: v.update(kind="values"), "names no metric"),
    ],
)
def test_a_result_that_cannot_be_is_refused(change: Any, words: str, read: Any) -> None:
    value = probe("x")
    change(value)
    with pytest.raises(InputError, match=words):
        read(value)


def test_areas_are_those_of_torchmetrics_also_with_ties() -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(0)
    for levels in (5, 1000):
        score, truth = rng.integers(0, levels, 80) / levels, rng.integers(0, 2, 80)
        both = torch.tensor(score), torch.tensor(truth)
        one = np.ones((1, 80))
        assert roc_area(truth, score)(one)[0] == pytest.approx(
            float(functional.binary_auroc(*both)), abs=1e-6
        )
        expected = float(functional.binary_average_precision(*both))
        assert average_precision(truth, score)(one)[0] == pytest.approx(expected, abs=1e-6)


def test_a_weight_is_a_number_of_copies() -> None:
    rng = np.random.default_rng(1)
    score, truth, weight = rng.integers(0, 9, 40) / 9, rng.integers(0, 2, 40), rng.integers(0, 4, 40)
    for area in (roc_area, average_precision):
        copied = area(np.repeat(truth, weight), np.repeat(score, weight))(np.ones((1, weight.sum())))
        assert area(truth, score)(weight[None].astype(float))[0] == pytest.approx(copied[0])
        assert np.isnan(area(np.ones(4, dtype=np.int64), score[:4])(np.ones((1, 4)))).all()
        assert np.isnan(area(truth, score)(np.zeros((2, 40)))).all()


def test_the_mean_is_over_labels_each_over_the_cases_that_know_it(read: Any) -> None:
    found = read(probe("x"))
    names = [case.case for case in found.cases]
    one = np.ones((1, len(names)))
    each = []
    for label in LABELS:
        known = [case for case in found.cases if case.truth[label] is not None]
        truth, score = (
            np.array([case.truth[label] for case in known]),
            np.array([case.score[label] for case in known]),
        )
        above = score[truth == 1][:, None] > score[truth == 0][None]
        each.append(above.mean())
        assert weighted(found, AUROC, names, label=label)(one)[0] == pytest.approx(each[-1])
    assert main_score(found) == pytest.approx(np.mean(each))


@pytest.mark.parametrize("kind", ["labels", "values"])
def test_a_true_difference_is_found_with_its_label_and_equals_are_not_apart(kind: str, table_of: Any) -> None:
    runs = [
        probe(name, kind=kind, seed=seed, effect=effect)
        for name, effect in (("unicl 64", 2.0), ("clip 64", 0.3), ("dino 64", 0.3))
        for seed in (0, 1, 2)
    ]
    found = compare(table_of(*runs), resamples=300)
    assert found.apart("findings", "unicl 64", "clip 64")
    assert not found.apart("findings", "dino 64", "clip 64")
    assert found.best("findings") == ("unicl 64",)
    best = found.estimate("findings", found.metrics("findings")[0], "unicl 64")
    assert best is not None
    assert best.low < best.value < best.high
    assert best.subjects == 60
    if kind == "labels":
        area = {(item.init, item.label): item for item in found.by_class}
        assert area["unicl 64", "tube"].value > 0.9
        assert area["unicl 64", "coin"].low < 0.5 < area["unicl 64", "coin"].high
        # of scores of unit spread, d apart: Phi(d / sqrt 2)
        assert area["clip 64", "tube"].low < 0.584 < area["clip 64", "tube"].high


def test_open_weights_of_one_set_are_held_against_every_seed(table_of: Any) -> None:
    runs = [probe("unicl 64", seed=seed, effect=2.0) for seed in (0, 1, 2)]
    table = table_of(
        *runs, probe("open", effect=0.3, reference=True), probe("other", effect=0.3, reference=True)
    )
    assert table.missing() == ()
    found = compare(table, resamples=100)
    (against,) = (d for d in found.differences if {d.first, d.second} == {"open", "unicl 64"})
    assert against.seeds == (0, 1, 2)
    assert against.apart
    assert not found.apart("findings", "open", "other")
    (both,) = (d for d in found.differences if {d.first, d.second} == {"open", "other"})
    assert 0 < both.test.p <= 1
    assert found.notes == ()


def test_two_references_are_told_apart_by_their_persons_alone(table_of: Any) -> None:
    """A paired t-test over persons: values of a reference have no seeds."""
    from scipy.stats import ttest_rel

    runs = [
        probe(name, kind="values", effect=e, reference=True) for name, e in (("open", 1.0), ("other", 0.7))
    ]
    (found,) = compare(table_of(*runs), resamples=10).differences
    sides = [
        np.array([row["values"]["recall@5"] for row in run["cases"]]).reshape(-1, 2).mean(axis=1)
        for run in runs
    ]
    assert found.test.p == pytest.approx(ttest_rel(*sides).pvalue, rel=1e-6)


def test_equals_are_seldom_called_apart(read: Any) -> None:
    called = 0
    for world in range(60):
        runs = [
            probe(name, kind="values", seed=seed, seed_noise=0.15, cases=40, world=world)
            for name in ("a 64", "b 64", "c 64")
            for seed in (0, 1, 2)
        ]
        table = ScoreTable(results=tuple(read(run) for run in runs))
        called += any(difference.apart for difference in compare(table, resamples=2).differences)
    assert called <= 9  # of 60 families at 5%: more than 9 once in 3,000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cases": 118}, "scored on another test set"),
        ({"protocol_digest": "q"}, "another task or other settings"),
        ({"judged": None}, "a probe and a finetuning run"),
    ],
)
def test_scores_that_do_not_belong_together_are_not_mixed(
    change: dict[str, Any], words: str, table_of: Any
) -> None:
    given = {"cases": change["cases"]} if "cases" in change else {}
    other = probe("dino 64", **given) | ({} if given else change)
    with pytest.raises(InputError, match=words):
        table_of(probe("unicl 64"), other)


def test_many_encoders_are_read_at_80_columns(tmp_path: Path) -> None:
    """Scores and differences stand in one part each, a value with its interval in a cell; the CSV keeps every column."""
    names = [f"unicl from rad-dino {n:,}" for n in (64, 256, 1024)] + ["untrained encoder"]
    found = compare(
        ScoreTable(results=tuple(_read(probe(name, effect=k / 2), tmp_path) for k, name in enumerate(names)))
    )
    for table in (brief_scores_table(found), brief_differences_table(found)):
        layout = laid_out([table.headers, *table.text_rows()], 80, split=True)
        assert len(layout.parts) == 1
        assert layout.parts[0].width <= 80
    shown = {row[1]: row[3] for row in brief_scores_table(found).rows}
    assert set(shown) == set(names)
    assert shown == {e.init: e.value for e in found.estimates if e.metric.main}


def _read(value: dict[str, Any], folder: Path) -> DownstreamResult:
    path = folder / "result.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return read_result(path)
