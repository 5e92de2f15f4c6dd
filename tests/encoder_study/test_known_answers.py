"""The benchmark of known answers, in small: what nobody can tell is told by nobody, and the second center is judged from the first."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")
pytest.importorskip("PIL.Image")
pytest.importorskip("tokenizers")


FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = [
    pytest.mark.skipif(not FOLDER.exists(), reason="there are no benchmarks beside the tests"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def known() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    import known_answers

    yield known_answers
    sys.path.remove(str(FOLDER))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_objectives_are_set_against_each_other_seed_by_seed(known: ModuleType) -> None:
    found = {("drain", "unicl"): {1: 0.9, 2: 0.8, 3: 0.7}, ("drain", "clip"): {3: 0.9, 2: 0.5, 1: 0.7}}
    mean, error, above = known.against(found, "drain", "unicl", "clip")  # gaps 0.2, 0.3 and -0.2
    assert (mean, above) == (pytest.approx(0.1), 2)
    assert error == pytest.approx((0.14 / 2 / 3) ** 0.5)


def test_nobody_tells_a_coin_and_no_report_names_the_drain(known: ModuleType, tmp_path: Path) -> None:
    found = known.truths(tmp_path, count=160, seed=1, seeds=1, compute=0.02)
    learned = rows(tmp_path / "learn.csv")
    judged = rows(tmp_path / "judge.csv")
    assert not any("wide drain" in row["report"] for row in learned)
    assert sum(row["wide_drain"] == "1" for row in learned) > 20
    assert "texture" not in learned[0]
    assert not {row["person"] for row in learned} & {row["person"] for row in judged}
    coins = [row["coin"] == "1" for row in judged if row["split"] == "validation"]
    ones = sum(coins)
    error = (
        (len(coins) + 1) / (12 * ones * (len(coins) - ones))
    ) ** 0.5  # of an AUC of 0.5 (Mann and Whitney)
    for name in ("clip", "unicl", "dino", "mae", "untrained"):
        assert abs(found["coin", name][0] - 0.5) < 3.5 * error
    assert len(list(known.truth_lines(found))) > 8


def test_probes_of_the_second_center_learn_in_the_first(known: ModuleType, tmp_path: Path) -> None:
    root = known.shortcut(
        tmp_path, count=320, seed=1, seeds=1, compute=0.005, samples=(8, 16, "all"), objectives=("unicl",)
    )
    told = rows(tmp_path / "turned.csv")
    assert {row["split"] for row in told} == {"train", "validation"}
    agree = {
        side: [row["stamp"] == row[known.FINDING] for row in told if row["split"] == side]
        for side in ("train", "validation")
    }
    assert sum(agree["train"]) > 0.85 * len(agree["train"])
    assert sum(agree["validation"]) < 0.15 * len(agree["validation"])
    laws = known.laws_of(root)
    (reversed_,) = [one for one in laws.series if one.task == f"{known.FINDING}-turned"]
    assert reversed_.outside
    assert len(reversed_.samples) == 3
