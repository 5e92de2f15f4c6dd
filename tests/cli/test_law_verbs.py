"""fit, allocate and predict on a table of their own: the truth comes back, mistakes are named."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix.cli import app

DOMAINS = ("ABD-CT", "Kopf-MR", "HN-PET")
TRANSFER = np.array([[1.0, 0.7, 0.1], [0.3, 1.0, 0.05], [0.2, 0.15, 1.0]])
FLOOR, SCALE, EXPONENT = np.array([0.02, 0.01, 0.005]), np.array([2.0, 1.0, 1.5]), np.array([0.5, 0.4, 0.6])
BUDGETS = (500, 1000, 2000, 4000)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    lines = ["run,seed,budget,source,target,loss"]
    for i, source in enumerate(DOMAINS):
        for budget in BUDGETS:
            loss = FLOOR + SCALE * (TRANSFER[i] * budget) ** -EXPONENT
            lines += [
                f"{source}-{budget},0,{budget},{source},{target},{loss[j]:.10f}"
                for j, target in enumerate(DOMAINS)
            ]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def call(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def law(table: Path) -> Path:
    path = table.parent / "law.json"
    code, _, errors = call("fit", str(table), "-o", str(path), "--bootstrap", "0")
    assert code == 0, errors
    return path


def test_the_truth_comes_back(table: Path) -> None:
    code, out, _ = call("fit", str(table), "--bootstrap", "0", "--json")
    assert code == 0
    value = json.loads(out)
    for i, source in enumerate(DOMAINS):
        for j, target in enumerate(DOMAINS):
            assert value["transfer"][source][target] == pytest.approx(TRANSFER[i, j], rel=1e-3)
    assert [value["exponent"][name] for name in DOMAINS] == pytest.approx(EXPONENT.tolist(), rel=1e-3)


def test_whether_data_matter_is_said_with_the_law(table: Path) -> None:
    code, out, _ = call("fit", str(table), "--bootstrap", "0")
    assert code == 0
    assert "Do data matter" in out
    judged = json.loads(call("fit", str(table), "--bootstrap", "0", "--json")[1])["regime"]
    assert [item["target"] for item in judged["targets"]] == list(DOMAINS)
    assert {item["verdict"] for item in judged["targets"]} == {"moves"}
    assert judged["summary"] in out


def test_predict_is_the_law(law: Path) -> None:
    weights = np.array([0.5, 0.2, 0.3])
    shares = [word for n, w in zip(DOMAINS, weights, strict=True) for word in ("--weights", f"{n}={w}")]
    code, out, _ = call("predict", str(law), "--budget", "3000", *shares, "--json")
    assert code == 0
    expected = FLOOR + SCALE * (weights @ TRANSFER * 3000) ** -EXPONENT
    found = json.loads(out)["predicted_loss"]
    assert [found[name] for name in DOMAINS] == pytest.approx(expected.tolist(), rel=1e-4)


def test_allocate_proves_what_it_found(law: Path) -> None:
    code, out, _ = call("allocate", str(law), "--budget", "4000", "--min-weight", "0.1", "--json")
    assert code == 0
    value = json.loads(out)
    assert sum(value["weights"].values()) == pytest.approx(1)
    assert min(value["weights"].values()) >= 0.1 - 1e-9
    assert 0 <= value["gap"] < 1e-6
    assert value["objective"] <= min(b["objective"] for b in value["baselines"].values()) + 1e-9


def test_plan_is_the_inverse_of_allocate(law: Path) -> None:
    _, out, _ = call("allocate", str(law), "--budget", "4000", "--objective", "minimax", "--json")
    reached = json.loads(out)["predicted_loss"]
    wanted = [word for name, loss in reached.items() for word in ("--loss", f"{name}={loss}")]
    code, out, _ = call("plan", str(law), *wanted, "--json")
    assert code == 0
    assert json.loads(out)["budget"] == pytest.approx(4000, rel=1e-3)


def test_path_meets_allocate(law: Path) -> None:
    code, out, _ = call("path", str(law), "--budget", "2000", "--budget", "4000", "--json")
    assert code == 0
    value = json.loads(out)
    _, out, _ = call("allocate", str(law), "--budget", "4000", "--json")
    assert [value["weights"][name][1] for name in DOMAINS] == pytest.approx(
        [json.loads(out)["weights"][name] for name in DOMAINS], abs=1e-3
    )


@pytest.mark.parametrize(
    ("axis", "given", "expected"),
    [
        ("budget", ("--budget", "10000", "--budget", "10000000"), "rises above"),
        ("min_weight", ("--budget", "4000", *(f"--min-weight={n / 50}" for n in range(16))), "reaches"),
    ],
)
def test_path_tells_whether_a_domain_reaches_the_least_share_or_rises_above_it(
    law: Path, axis: str, given: tuple[str, ...], expected: str
) -> None:
    code, out, _ = call("path", str(law), *given)
    assert code == 0
    ((name, how, at),) = re.findall(rf"- (\S+) (.+) the least share at {axis} ([\d.,]+)", out)
    assert how == expected
    excess = []
    for value in (float(at.replace(",", "")) * factor for factor in (0.97, 1.03)):
        least, budget = (value, 4000) if axis == "min_weight" else (0.05, round(value))
        options = ("--budget", str(budget), "--min-weight", str(least), "--json")
        excess.append(json.loads(call("allocate", str(law), *options)[1])["weights"][name] - least)
    assert (excess[1] > excess[0]) == (how == "rises above")


def test_structure_means_leave_the_diagonal_out(law: Path) -> None:
    code, out, _ = call("structure", str(law), "--json")
    assert code == 0
    outgoing = json.loads(out)["mean_outgoing_transfer"]
    expected = (TRANSFER.sum(axis=1) - 1) / 2
    assert [outgoing[name] for name in DOMAINS] == pytest.approx(expected.tolist(), rel=1e-3)


def test_suggest_needs_resamples(table: Path, law: Path) -> None:
    code, _, errors = call("suggest", str(law))
    assert code == 2
    assert "bootstrap" in errors
    call("fit", str(table), "-o", str(law), "--bootstrap", "60")
    code, out, _ = call("suggest", str(law), "--json")
    assert code == 0
    gains = [item["gain_per_draw"] for item in json.loads(out)]
    assert gains == sorted(gains, reverse=True)


def test_people_get_tables(table: Path, law: Path) -> None:
    for arguments in (
        ("fit", str(table)),
        ("allocate", str(law), "--budget", "4000"),
        ("path", str(law)),
        ("structure", str(law)),
        ("plan", str(law), "--loss", "ABD-CT=0.06"),
    ):
        code, out, _ = call(*arguments)
        assert code == 0
        assert all(name in out for name in DOMAINS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("allocate", "LAW"), "--budget N"),
        (("allocate", "LAW", "--budget", "0"), "got 0"),
        (("allocate", "LAW", "--budget", "9", "--min-weight", "0.5"), "min_weight"),
        (("allocate", "LAW", "--budget", "9", "--target-weight", "HN-PET"), "DOMAIN=NUMBER"),
        (("allocate", "LAW", "--budget", "9", "--target-weight", "KNEE=1"), "KNEE"),
        (("allocate", "TABLE", "--budget", "9"), "is a table, and this asks a law"),
        (("predict", "LAW", "--budget", "0", "--weights", "ABD-CT=1"), "at least 1"),
        (("predict", "LAW", "--budget", "9", "--weights", "ABD-CT=0.4"), "sum to 1"),
        (("predict", "LAW", "--budget", "9", "--weights", "ABD-CT=x"), "not a number"),
        (("predict", "LAW", "--budget", "9", "--weights", "KNEE=1"), "KNEE"),
        (("fit", "nothing.csv"), "nothing.csv"),
        (("fit", "TABLE", "--law", "nonsense"), "nonsense"),
        (("fit", "LAW"), "law.json"),
    ],
)
def test_mistakes_are_named(table: Path, law: Path, arguments: tuple[str, ...], words: str) -> None:
    code, out, errors = call(*(a.replace("LAW", str(law)).replace("TABLE", str(table)) for a in arguments))
    assert code == 2
    assert out == ""
    assert words in errors


def test_a_diverged_run_is_named_set_aside_and_kept_on_demand(table: Path) -> None:
    lines = table.read_text(encoding="utf-8").splitlines()
    row = next(k for k, line in enumerate(lines) if line.startswith("HN-PET-2000,0,2000,HN-PET,Kopf-MR"))
    *cells, loss = lines[row].split(",")
    lines[row] = ",".join([*cells, str(float(loss) * 50)])
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, out, errors = call("fit", str(table), "--bootstrap", "0", "--json")
    assert code == 0
    assert "1 loss that no noise of the seeds explains is set aside" in errors
    assert "run HN-PET-2000 (seed 0, 2,000 draws of HN-PET) on Kopf-MR" in errors
    value = json.loads(out)
    assert value["transfer"]["HN-PET"]["Kopf-MR"] == pytest.approx(TRANSFER[2, 1], rel=1e-3)
    assert [item["run"] for item in value["outliers"]] == ["HN-PET-2000"]
    code, out, errors = call("fit", str(table), "--bootstrap", "0", "--json", "--keep-outliers")
    assert code == 0
    assert "fitted too" in errors
    assert json.loads(out)["transfer"]["HN-PET"]["Kopf-MR"] < 0.1 * TRANSFER[2, 1]


def test_far_outside_the_fitted_budgets_is_said_by_every_verb(law: Path) -> None:
    shares = ("--weights", "ABD-CT=0.5", "--weights", "HN-PET=0.5")
    code, _, errors = call("predict", str(law), "--budget", "400000000", *shares)
    assert code == 0
    assert "100,000.0 times outside" in errors
    assert "so it is a guess" in errors
    _, out, _ = call("allocate", str(law), "--budget", "400000")
    assert "so it is a guess" in out
    _, out, _ = call("path", str(law))
    assert "100.0 times outside" in out
    code, _, errors = call("plan", str(law), "--loss", "HN-PET=0.005001")
    assert code == 2
    assert "no run shows how losses fall so far out" in errors
