"""The paper's table 3 (arXiv 2605.06859): rebuilt as voxmix's own, and what does not hold together (docs/paper.md)."""

import json

import numpy as np
import pytest

from voxmix.report.score_tables import scores_table
from voxmix.scores import ClassifiedCase, DownstreamResult, ScoreTable, SegmentedCase, compare

pytestmark = pytest.mark.shared

INITS = {
    "scratch": "from_scratch",
    "single": "single_modality",
    "data-proportional": "data_proportional",
    "transfer-aware": "transfer_aware",
}
TEST_CASES = {"OASIS-1": 35, "SynBrain-PET": 76, "OrganMNIST3D": 610}


@pytest.fixture(scope="module")
def published(shared_data) -> dict:
    path = shared_data.parent / "paper" / "published.json"
    if not path.is_file():
        pytest.skip("the paper's tables (../shared/paper/published.json) are not on this machine")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def printed(published) -> dict[str, np.ndarray]:
    """Accuracy or Dice in percent by column, in the order of INITS."""
    table = published["table3_downstream"]
    accuracy, dice = table["classification_acc_auc"], table["segmentation_dice"]
    columns = {
        name: np.array([accuracy[key][k][0] for key in INITS.values()])
        for k, name in enumerate(accuracy["columns"])
    }
    return columns | {
        name: np.array([dice[key][k] for key in INITS.values()]) for k, name in enumerate(dice["columns"])
    }


def result(task: str, init: str, percent: float, *, classify: bool) -> DownstreamResult:
    """A run whose accuracy over 1,000 cases, or Dice on each of 3, is the printed number."""
    right = round(percent * 10)
    cases = (
        tuple(
            ClassifiedCase(
                case=str(k),
                subject=str(k),
                domain="",
                truth=k % 2,
                probability=(1.0, 0.0) if hit else (0.0, 1.0),
            )
            for k in range(1000)
            for hit in [(k % 2 == 0) == (k < right)]
        )
        if classify
        else tuple(
            SegmentedCase(
                case=str(k), subject=str(k), domain="", dice={"all": percent / 100}, surface_distance_mm={}
            )
            for k in range(3)
        )
    )
    return DownstreamResult(
        task=task,
        kind="classification" if classify else "segmentation",
        init=init,
        control=None,
        seed=1,
        protocol="paper",
        checkpoint=None,
        draws=None,
        flops=None,
        seconds=None,
        classes=("no", "yes") if classify else ("all",),
        cases=cases,
        curve=(),
    )


def test_table_3_comes_out_as_printed_and_is_not_ranked(printed: dict[str, np.ndarray]) -> None:
    table = ScoreTable(
        results=tuple(
            result(task, init, float(value), classify=task in TEST_CASES)
            for task, values in printed.items()
            for init, value in zip(INITS, values, strict=True)
        )
    )
    shown = scores_table(compare(table, resamples=10))
    rows = {(row[0], row[1]): row for row in shown.text_rows()}
    assert shown.headers == ("task", "metric", "best", *INITS)
    for task, values in printed.items():
        row = rows[task, "accuracy" if task in TEST_CASES else "Dice"]
        assert [cell.split("%")[0] for cell in row[3:]] == [f"{value:.1f}" for value in values]
    # One number per cell says nothing about seeds, so nothing is told apart.
    assert {row[2] for row in rows.values()} == {"all tied", "–"}


def test_transfer_aware_is_highest_in_every_column(printed: dict[str, np.ndarray]) -> None:
    assert all(int(values.argmax()) == 3 for values in printed.values())
    gains = {name: round(float(v[3] - v[2]), 1) for name, v in printed.items()}
    assert gains == {
        "OASIS-1": 2.8,
        "SynBrain-PET": 8.4,
        "OrganMNIST3D": 1.4,
        "AMOS ABD-CT": 1.5,
        "AMOS ABD-MRI": 0.6,
        "BraTS BRAIN-T1": 4.7,
        "BraTS BRAIN-T2": 4.0,
        "HECKTOR HN-CT": 3.3,
        "BHSD HN-CT": 4.0,
    }


def test_the_other_two_pretrainings_are_worse_than_none_on_brain_pet(printed: dict[str, np.ndarray]) -> None:
    worse = {
        name: [i for i, gain in zip(INITS, v - v[0], strict=True) if gain < 0] for name, v in printed.items()
    }
    assert {name: inits for name, inits in worse.items() if inits} == {
        "SynBrain-PET": ["single", "data-proportional"]
    }
    single_first = [name for name, v in printed.items() if v[1] > v[2]]
    assert single_first == ["OASIS-1", "BraTS BRAIN-T1", "BraTS BRAIN-T2"]


def test_data_proportional_loses_auc_against_scratch_on_two_of_three(published: dict) -> None:
    table = published["table3_downstream"]["classification_acc_auc"]
    auc = {key: [pair[1] for pair in table[name]] for key, name in INITS.items()}
    change = np.array(auc["data-proportional"]) - np.array(auc["scratch"])
    assert change.round(1).tolist() == [-0.2, -1.3, 0.6]
    assert auc["transfer-aware"][2] == auc["data-proportional"][2]  # printed with a star all the same


def test_one_pair_of_strategies_has_both_a_proxy_loss_and_scores(published: dict) -> None:
    both = set(published["table2_mae"]["mean"]) & set(INITS.values())
    assert both == {"data_proportional", "transfer_aware"}


@pytest.mark.parametrize(
    ("task", "seeds"), [("OASIS-1", [5]), ("SynBrain-PET", [3]), ("OrganMNIST3D", [2, 3, 4, 5])]
)
def test_which_numbers_of_seeds_can_give_the_printed_accuracies(
    task: str, seeds: list[int], printed: dict[str, np.ndarray]
) -> None:
    def possible(count: int) -> bool:
        grid = 100 * np.arange(TEST_CASES[task] * count + 1) / (TEST_CASES[task] * count)
        return all(np.abs(grid - value).min() <= 0.05 + 1e-9 for value in printed[task])

    assert [count for count in range(1, 6) if possible(count)] == seeds


def test_on_oasis_the_gain_is_one_case(printed: dict[str, np.ndarray]) -> None:
    gain = float(printed["OASIS-1"][3] - printed["OASIS-1"][2])
    assert gain / 100 * TEST_CASES["OASIS-1"] == pytest.approx(1, abs=0.05)


def test_split_sizes_add_up_and_one_differs_from_the_data_set(published: dict) -> None:
    sizes = {row["name"]: row["train_val_test"] for row in published["table5_tasks"]}
    assert sizes["OrganMNIST3D"] == [972, 161, 610]  # MedMNIST v2 has 971 for training
    assert {name: sum(parts) for name, parts in sizes.items()} == {
        "AMOS 2022": 200,
        "BraTS 2023": 480,
        "HECKTOR 2025": 524,
        "BHSD 2024": 92,
        "OASIS-1": 235,
        "SynBrain-PET": 500,
        "OrganMNIST3D": 1743,
    }
