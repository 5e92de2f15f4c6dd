"""Reading results: what is there, what is not, what cannot be and what may not stand together."""

import json
from pathlib import Path

import pytest

from voxmix.errors import InputError
from voxmix.scores import ScoreTable, compare, read_result


def test_results_come_back_as_they_were_written(make_segmentation, make_classification, table_of) -> None:
    seg, cls = make_segmentation("scratch"), make_classification("single", seed=2)
    table = table_of(cls, seg)
    assert table.tasks == ("dementia", "organs")
    (found,) = table.select("organs")
    assert found.cases[3].dice == seg["cases"][3]["scores"]["dice"]
    assert found.cases[3].surface_distance_mm["spleen"] is None
    assert found.curve[0] == (50, seg["curve"][0]["validation"])
    assert (found.protocol, found.checkpoint, found.draws) == ("p1", None, 4000)
    (other,) = table.select("dementia", init="single")
    assert other.cases[5].truth == cls["cases"][5]["truth"]
    assert list(other.cases[5].probability) == cls["cases"][5]["probability"]


def test_unfinished_and_missing_runs_are_named(tmp_path: Path, make_segmentation, write_results) -> None:
    runs = [make_segmentation("scratch", seed=s) for s in (1, 2)] + [make_segmentation("single", seed=1)]
    runs.append(make_segmentation("transfer-aware", seed=5, task="tumor"))
    runs.append(make_segmentation("scratch", seed=2, control="frozen"))
    root = write_results(tmp_path / "d", runs)
    (root / "organs" / "transfer-aware" / "seed-2").mkdir(parents=True)
    table = ScoreTable.read(root)
    assert table.unfinished == ("organs/transfer-aware/seed-2",)
    assert table.missing() == (
        "organs: scratch, frozen, seed 1",
        "organs: single, seed 2",
        "organs: transfer-aware, seed 1",
        "organs: transfer-aware, seed 2",
        "tumor: scratch, seed 5",
        "tumor: single, seed 5",
    )


def test_inits_stand_in_the_order_of_the_paper(make_segmentation, table_of) -> None:
    names = ["zebra", "transfer-aware", "data-proportional", "scratch", "apple", "single"]
    table = table_of(*(make_segmentation(name) for name in names))
    assert table.inits == ("scratch", "single", "data-proportional", "transfer-aware", "apple", "zebra")


def test_an_empty_or_absent_folder_is_an_empty_table(tmp_path: Path) -> None:
    table = ScoreTable.read(tmp_path / "nothing")
    assert (table.tasks, table.missing(), table.unfinished) == ((), (), ())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol_digest": "p2"}, "task organs: scratch, seed 1 has protocol p1, single, seed 1 has p2"),
        ({"draws": 8000}, "draws 4000.*8000"),
        ({"classes": ["background", "liver", "spleen", "bone"]}, "classes"),
    ],
)
def test_runs_of_different_protocols_are_refused_in_one_table(
    change: dict, words: str, make_segmentation, table_of
) -> None:
    with pytest.raises(InputError, match=words):
        table_of(make_segmentation("scratch"), make_segmentation("single", **change))
    other_task = make_segmentation("single", task="tumor", **change)
    assert table_of(make_segmentation("scratch"), other_task).tasks == ("organs", "tumor")


def test_a_task_can_be_chosen_past_one_that_is_refused(
    tmp_path: Path, make_segmentation, write_results
) -> None:
    bad = [make_segmentation("scratch"), make_segmentation("single", protocol_digest="p2")]
    root = write_results(tmp_path / "d", [*bad, make_segmentation("scratch", task="tumor")])
    assert ScoreTable.read(root, tasks=["tumor"]).tasks == ("tumor",)
    with pytest.raises(InputError, match=r"no finetuning run of \['bone'\].*there are \['organs', 'tumor'\]"):
        ScoreTable.read(root, tasks=["bone"])


def test_one_run_twice_is_refused(make_segmentation, tmp_path: Path, write_results) -> None:
    root = write_results(tmp_path / "d", [make_segmentation("scratch")])
    (root / "organs" / "scratch" / "seed-1").rename(root / "organs" / "scratch" / "seed-1-copy")
    write_results(root, [make_segmentation("scratch")])
    with pytest.raises(InputError, match="seed 1 occurs twice"):
        ScoreTable.read(root)


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda v: v.update(format=9), "format version 9"),
        (lambda v: v.pop("cases"), "damaged"),
        (lambda v: v.update(cases=[]), "no case was scored"),
        (lambda v: v["cases"].append(v["cases"][0]), "a case occurs twice"),
        (lambda v: v["cases"][0]["scores"]["dice"].update(liver=1.2), "class liver: 1.2 is no score"),
        (lambda v: v["cases"][0]["scores"]["dice"].update(liver="x"), "damaged"),
        (lambda v: v["cases"][0]["scores"]["dice"].update(knee=0.5), "class 'knee' is none of"),
        (lambda v: v.update(control="magic"), "control 'magic'"),
        (lambda v: v.update(seed=1.5), "seed is 1.5, expected a whole number"),
        (lambda v: v.update(seed=float("inf")), "Infinity is not a finite number"),
        (lambda v: v.update(kind="detection"), "is none of"),
    ],
)
def test_a_result_that_cannot_be_is_set_aside_with_its_reason(
    break_it, words: str, tmp_path: Path, make_segmentation, write_results
) -> None:
    value = make_segmentation("scratch")
    root = write_results(tmp_path / "d", [value, make_segmentation("scratch", seed=2)])
    break_it(value)
    (root / "organs/scratch/seed-1/result.json").write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_result(root / "organs/scratch/seed-1/result.json")
    table = ScoreTable.read(root)
    assert [run.seed for run in table.results] == [2]
    ((name, reason),) = table.set_aside
    assert name == "organs/scratch/seed-1"
    assert str(tmp_path) not in reason


def test_half_a_file_is_set_aside(tmp_path: Path, make_segmentation, write_results) -> None:
    root = write_results(tmp_path / "d", [make_segmentation("scratch")])
    path = root / "organs/scratch/seed-1/result.json"
    path.write_text(path.read_text(encoding="utf-8")[:200], encoding="utf-8")
    ((_, reason),) = ScoreTable.read(root).set_aside
    assert "is not JSON" in reason


@pytest.mark.parametrize(
    ("probability", "truth", "words"),
    [([0.5, 0.2, 0.2], 0, "sum to 1"), ([0.5, 0.5], 0, "expected 3 prob"), ([1.0, 0, 0], 3, "class 3 of 3")],
)
def test_what_are_no_probabilities_is_refused(
    probability: list[float], truth: int, words: str, tmp_path: Path, make_classification, write_results
) -> None:
    value = make_classification("scratch")
    value["cases"][4].update(probability=probability, truth=truth)
    root = write_results(tmp_path / "d", [value])
    with pytest.raises(InputError, match=words):
        read_result(root / "dementia/scratch/seed-1/result.json")


LEAVES = [None, True, -1, 0.5, 1e308, float("nan"), float("inf"), "", "../x", [], {}, ["a"], {"a": None}]


def _places(value, path=()):
    """Every place in a JSON-like value, the containers too."""
    if path:
        yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from _places(value[key], (*path, key))


@pytest.mark.parametrize("kind", ["segmentation", "classification"])
def test_whatever_stands_in_a_result_it_is_read_or_set_aside(
    kind: str, tmp_path: Path, make_segmentation, make_classification, write_results
) -> None:
    """Every place of a result, replaced by things that do not belong there: a sentence, never a traceback."""
    make = make_segmentation if kind == "segmentation" else make_classification
    good = make("scratch", cases=3, task="t")
    good["curve"] = good["curve"][:1]
    root = write_results(tmp_path / "d", [good])
    path = root / "t/scratch/seed-1/result.json"
    for place in _places(good):
        for leaf in LEAVES:
            value = json.loads(json.dumps(good))
            spot = value
            for key in place[:-1]:
                spot = spot[key]
            spot[place[-1]] = leaf
            path.write_text(json.dumps(value), encoding="utf-8")
            table = ScoreTable.read(root)
            assert len(table.results) + len(table.set_aside) == 1
            if table.results:
                compare(table, resamples=5)
