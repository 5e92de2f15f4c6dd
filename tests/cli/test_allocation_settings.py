"""One settings type: what is asked of an allocation is the same for the function, every verb's flags and study.yaml."""

import json
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from voxmix.allocation import AllocationSettings, allocate, path, plan
from voxmix.allocation.plan import WITHOUT_EFFECT
from voxmix.cli import app
from voxmix.cli.allocation import allocate as allocate_verb
from voxmix.cli.allocation_flags import AllocationFlags
from voxmix.cli.decision import plan as plan_verb
from voxmix.errors import InputError
from voxmix.law import FittedLaw
from voxmix.study import Study, StudyView, study_status
from voxmix.study.config import StudyAllocation, read_config, render_config

VOLUMES = {"ABD-CT": 30.0, "BRAIN-T1": 12.0, "HN-CT": 8.0}

CASES = {
    "budget": (4000, ["--budget", "4000"]),
    "min_weight": (0.12, ["--min-weight", "0.12"]),
    "max_weight": (
        {"ABD-CT": 0.3, "HN-CT": 0.34},
        ["--max-weight", "ABD-CT=0.3", "--max-weight", "HN-CT=0.34"],
    ),
    "fixed": ({"HN-CT": 0.21}, ["--fix", "HN-CT=0.21"]),
    "max_epochs": (90.0, ["--max-epochs", "90"]),
    "no_worse_than": ("uniform", ["--no-worse-than", "uniform"]),
    "tolerance": (0.05, ["--tolerance", "0.05"]),
    "volumes": (VOLUMES, [word for name, n in VOLUMES.items() for word in ("--volumes", f"{name}={n:g}")]),
    "cost": ({"HN-CT": 4.0}, ["--cost", "HN-CT=4"]),
    "target_weights": ({"ABD-CT": 9.0}, ["--target-weight", "ABD-CT=9"]),
    "objective": ("relative", ["--objective", "relative"]),
    "level": (0.5, ["--level", "0.5"]),
}
"""Setting to a value that is not its default, and the flags that say the same."""


def voxmix(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def changed(study: Path, **values: object) -> None:
    text = yaml.safe_load((study / "study.yaml").read_text(encoding="utf-8"))
    text["allocation"] |= values
    (study / "study.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")


def without_key(study: Path, *names: str) -> None:
    text = yaml.safe_load((study / "study.yaml").read_text(encoding="utf-8"))
    for name in names:
        del text["allocation"][name]
    (study / "study.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")


def files_below(folder: Path) -> dict[Path, bytes]:
    return {item: item.read_bytes() for item in folder.rglob("*") if item.is_file()}


def test_every_setting_has_its_case() -> None:
    assert set(CASES) == {item.name for item in fields(AllocationSettings)}
    assert set(CASES) == {item.name for item in fields(AllocationFlags)}
    assert set(CASES) == {item.name for item in fields(StudyAllocation)} - {"strategies", "seeds"}


def test_verbs_have_a_flag_for_every_setting_that_means_something_there() -> None:
    def options(verb: object) -> set[str]:
        return set(signature(verb).parameters)  # type: ignore[arg-type]

    assert set(CASES) <= options(allocate_verb)
    assert set(CASES) - options(plan_verb) == set(WITHOUT_EFFECT)


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_setting_is_one_in_python_on_the_command_line_and_in_the_file(
    finished_study: Path, name: str
) -> None:
    value, flags = CASES[name]
    law = FittedLaw.load(finished_study / "laws" / "transfer.json")
    asked = {"budget": 2000, "volumes": StudyView(Study.open(finished_study)).counts, name: value}
    if name == "volumes":
        asked, flags = asked | {"max_epochs": 40.0}, [*flags, "--max-epochs", "40"]
    by_function = allocate(law, **asked).to_dict()
    assert by_function == allocate(law, AllocationSettings(**asked)).to_dict()
    if name not in ("tolerance", "level"):
        assert by_function["weights"] != allocate(law, budget=2000).to_dict()["weights"], (
            "no effect to compare"
        )

    before = files_below(finished_study)
    code, out, err = voxmix("allocate", finished_study, *flags, "--json")
    assert code == 0, err
    assert json.loads(out)["transfer-aware"] == by_function
    assert files_below(finished_study) == before, "a question keeps nothing"
    counted = [word for key, n in asked["volumes"].items() for word in ("--volumes", f"{key}={n:g}")]
    more = [] if name == "volumes" else counted
    more += [] if name == "budget" else ["--budget", "2000"]
    code, out, err = voxmix("allocate", finished_study / "laws" / "transfer.json", *flags, *more, "--json")
    assert code == 0, err
    assert json.loads(out) == by_function

    changed(finished_study, **({name: value, "max_epochs": 40.0} if name == "volumes" else {name: value}))
    assert voxmix("allocate", finished_study, "--json")[0] == 0
    kept = json.loads((finished_study / "allocations" / "transfer-aware.json").read_text(encoding="utf-8"))
    assert kept == by_function


def test_a_change_of_the_file_asks_for_the_mixtures_and_their_runs_again(finished_study: Path) -> None:
    def done() -> dict[str, bool]:
        return {state.name: state.done for state in study_status(Study.open(finished_study))}

    assert all(done().values())
    changed(finished_study, objective="relative")
    assert done() == {
        "prepare": True,
        "run": True,
        "fit": True,
        "allocate": False,
        "pretrain": False,
        "report": False,
    }
    assert voxmix("allocate", finished_study)[0] == 0
    assert done()["allocate"]
    assert not done()["pretrain"], "the law's mixture is another one"


def test_a_study_without_the_keys_is_as_it_was(finished_study: Path) -> None:
    view = StudyView(Study.open(finished_study))
    before = {name: view.inputs(name) for name in ("fit", "allocate")}
    runs = [spec.run_id for spec in view.checks]
    without_key(finished_study, "volumes", "cost", "target_weights", "objective", "level")
    view = StudyView(Study.open(finished_study))
    assert {name: view.inputs(name) for name in before} == before
    assert [spec.run_id for spec in view.checks] == runs
    assert all(state.done for state in study_status(view))


def test_init_writes_every_key(finished_study: Path) -> None:
    config = read_config(finished_study / "study.yaml")
    text = render_config(config)
    assert set(yaml.safe_load(text)["allocation"]) == {item.name for item in fields(StudyAllocation)}
    assert "# objective: mean loss; relative:" in text


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"objective": "relativ"}, "did you mean 'relative'?"),
        ({"level": 1.0}, "level must lie between 0 and 1, got 1.0"),
        ({"cost": {"HN-CT": 0}}, "cost of HN-CT must be a price above 0"),
        ({"cost": {"HN-CTT": 2}}, "did you mean 'HN-CT'?"),
        ({"target_weights": {"HN-CT": -1}}, "target_weights of HN-CT must be a number, at least 0"),
        ({"target_weights": {"ABD-CT": 0, "BRAIN-T1": 0, "HN-CT": 0}}, "all 0"),
        ({"target_weights": {"HN-CTT": 1}}, "did you mean 'HN-CT'?"),
        ({"volumes": {"HN-CT": -3}}, "volumes of HN-CT must be a number of volumes"),
        ({"volumes": {"HN-CTT": 3}}, "did you mean 'HN-CT'?"),
        ({"cost": {"HN-CT": 2}, "strategies": ["uniform", "budget-aware"]}, "counts shares of the budget"),
    ],
)
def test_a_value_that_cannot_work_is_named(finished_study: Path, values: dict, says: str) -> None:
    changed(finished_study, **values)
    code, out, err = voxmix("status", finished_study)
    assert code == 2
    assert says in " ".join((out + err).split())


def test_path_plan_and_suggest_ask_as_the_study_does(finished_study: Path) -> None:
    changed(
        finished_study,
        min_weight=0.1,
        max_weight={"ABD-CT": 0.3},
        objective="relative",
        target_weights={"HN-CT": 3},
    )
    law = FittedLaw.load(finished_study / "laws" / "transfer.json")
    view = StudyView(Study.open(finished_study))
    code, out, _ = voxmix(
        "path", finished_study, "--law", "transfer", "--budget", "500", "--budget", "2000", "--json"
    )
    assert code == 0
    by_file = json.loads(out)
    assert by_file == path(law, view.asked, budgets=(500, 2000)).to_dict()
    assert by_file["weights"]["ABD-CT"][1] <= 0.3 + 1e-9
    ends = allocate(law, view.asked).mixture.weights
    assert [by_file["weights"][name][1] for name in law.domains] == pytest.approx(ends, abs=1e-5)
    code, out, err = voxmix(
        "path", finished_study, "--law", "transfer", "--budget", "2000", "--objective", "mean", "--json"
    )
    assert code == 0
    assert json.loads(out) == path(law, view.asked, budgets=(2000,), objective="mean").to_dict()
    assert "objective as given here" in " ".join(err.split())

    wanted = dict(zip(law.targets, (allocate(law, budget=1500).predicted_loss * 1.02).tolist(), strict=True))
    losses = [word for name, loss in wanted.items() for word in ("--loss", f"{name}={loss}")]
    code, out, _ = voxmix("plan", finished_study, "--law", "transfer", *losses, "--json")
    assert code == 0
    found = json.loads(out)
    assert found == plan(law, view.asked, loss=wanted).to_dict()
    assert found["weights"]["ABD-CT"] <= 0.3 + 1e-6
    assert found["weights"]["ABD-CT"] >= 0.1 - 1e-6


def test_a_plan_stops_where_the_volumes_are_used_up(finished_study: Path) -> None:
    law = FittedLaw.load(finished_study / "laws" / "transfer.json")
    wanted = {law.targets[0]: float(allocate(law, budget=3000).predicted_loss[0])}
    free = plan(law, loss=wanted)
    assert plan(law, loss=wanted, volumes=VOLUMES, max_epochs=1e9).budget == pytest.approx(
        free.budget, rel=1e-5
    )
    with pytest.raises(InputError, match=r"no budget up to .* reaches"):
        plan(law, loss=wanted, volumes=VOLUMES, max_epochs=0.5 * free.budget / sum(VOLUMES.values()))
    epochs = 1.5 * free.budget / sum(VOLUMES.values())
    held = plan(law, loss=wanted, volumes=VOLUMES, max_epochs=epochs, min_weight=0.01)
    for name, share in held.mixture.as_dict().items():
        assert share * held.budget <= VOLUMES[name] * epochs * (1 + 1e-6)
    with pytest.raises(InputError, match="objective has no effect on a plan"):
        plan(law, loss=wanted, objective="relative")


def test_allocate_says_the_objective_and_what_another_would_change(finished_study: Path) -> None:
    law = finished_study / "laws" / "transfer.json"
    code, out, _ = voxmix("allocate", law, "--budget", "2000", "--objective", "relative", "--json")
    assert code == 0
    found = json.loads(out)
    assert set(found["by_objective"]) == {"mean", "minimax"}
    moved = found["by_objective"]["mean"]["largest_change"]
    changed(finished_study, objective="relative")
    for arguments in (
        ("allocate", law, "--budget", "2000", "--objective", "relative"),
        ("allocate", finished_study),
    ):
        code, out, _ = voxmix(*arguments)
        text = " ".join(out.split())
        assert "It minimizes the predicted mean of relative losses." in text
        assert f"{moved['domain']} would get {moved['there']:.1%} instead of {moved['here']:.1%}" in text
