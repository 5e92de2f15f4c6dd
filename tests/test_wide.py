"""Tables with a row for each run: joined by name, weights of any unit, and whatever is left out is named."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix import MeasurementTable
from voxmix.cli import app
from voxmix.errors import InputError, VoxmixWarning
from voxmix.wide import WIDE_FORMATS, WideFormat, read_wide_records

LOSSES = ["id,tokens,loss_CT,loss_MR", "a,1000,0.5,0.7", "b,2000,0.4,0.6", "c,1000,0.3,0.9"]
WEIGHTS = ["id,h_CT,h_MR", "c,0.5,0.5", "a,0.25,0.75", "b,1.0,0.0"]  # another order than the losses
FORM = WideFormat(label="", run="id", weights=("h_*",), losses=("loss_*",), budget="tokens")


def put(folder: Path, name: str, lines: list[str]) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(
    folder: Path,
    losses: list[str] = LOSSES,
    weights: list[str] | None = WEIGHTS,
    form: WideFormat = FORM,
    **more,
):
    right = None if weights is None else put(folder, "mixtures.csv", weights)
    return read_wide_records(put(folder, "losses.csv", losses), right, form, **more)


def test_joined_by_the_run_never_by_order(tmp_path):
    table = MeasurementTable.from_rows(read(tmp_path).records)
    at = {(run, target): k for k, (run, target) in enumerate(zip(table.run, table.target, strict=True))}
    assert len(table) == 6
    assert table.domains == ("CT", "MR")
    assert table.weights[at["a", "MR"]].tolist() == [0.25, 0.75]
    assert table.loss[at["a", "MR"]] == 0.7
    assert table.budget[at["b", "CT"]] == 2000
    shuffled = MeasurementTable.from_rows(read(tmp_path, [LOSSES[0], *LOSSES[:0:-1]]).records)
    assert shuffled.digest == table.digest


def test_one_file_is_as_good_as_two(tmp_path):
    one = [
        "id,tokens,loss_CT,loss_MR,h_CT,h_MR",
        "a,1000,0.5,0.7,0.25,0.75",
        "b,2000,0.4,0.6,1,0",
        "c,1000,0.3,0.9,.5,.5",
    ]
    found = MeasurementTable.from_rows(read(tmp_path, one, None).records)
    assert found.digest == MeasurementTable.from_rows(read(tmp_path).records).digest


def test_a_run_that_pandas_wrote_as_a_float_is_the_same_run(tmp_path):
    losses = ["id,tokens,loss_CT,loss_MR", "1,1000,0.5,0.7", "2,1000,0.4,0.6"]
    found = read(tmp_path, losses, ["id,h_CT,h_MR", "2.0,1,0", "1.0,0.5,0.5"])
    assert [(r["run"], r["weight:CT"]) for r in found.records[::2]] == [("1", 0.5), ("2", 1.0)]
    assert found.notes == ()


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (["c,50,50", "a,25,75", "b,100,0"], "percentages"),
        (["c,0.49999,0.49999", "a,0.25,0.75", "b,1,0"], "1 of 3 runs were rounded .run c sums to 0.99998"),
        (["c,49.9,49.9", "a,25,75", "b,100,0"], "percentages"),
    ],
)
def test_weights_in_percent_and_rounded_ones_sum_to_1_and_it_is_said(tmp_path, weights, words):
    found = read(tmp_path, weights=[WEIGHTS[0], *weights])
    assert any(words.replace(".run", "(run") in note for note in found.notes), found.notes
    for record in found.records:
        assert record["weight:CT"] + record["weight:MR"] == pytest.approx(1, abs=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MeasurementTable.from_rows(found.records)  # nothing is left to scale


def test_runs_of_one_file_alone_are_named_and_counted(tmp_path):
    found = read(tmp_path, [*LOSSES, "d,1,1,1", "e,1,1,1"], [*WEIGHTS, "z,1,0"])
    assert "2 runs (d, e) of losses.csv have no mixture, and are left out" in found.notes
    assert "1 run (z) of mixtures.csv has no loss, and is left out" in found.notes
    assert {record["run"] for record in found.records} == {"a", "b", "c"}


def test_losses_that_are_empty_or_not_finite_are_left_out_and_named(tmp_path):
    found = read(tmp_path, [LOSSES[0], "a,1000,,0.7", "b,2000,0.4,inf", "c,1000,nan,0.9"])
    assert "3 losses (a on CT, b on MR, c on CT) are empty or not finite, and left out" in found.notes
    assert [(r["run"], r["target"]) for r in found.records] == [("a", "MR"), ("b", "CT"), ("c", "MR")]


def test_columns_in_which_runs_differ_and_that_are_not_used_are_named_and_can_choose(tmp_path):
    losses = [
        "id,params,tokens,loss_CT,loss_MR",
        "a,1e8,1000,0.5,0.7",
        "b,2e8,2000,0.4,0.6",
        "c,1e8,1000,0.3,0.9",
    ]
    assert any("params (2 values)" in note for note in read(tmp_path, losses).notes)
    chosen = read(tmp_path, losses, only={"params": "100000000"})
    assert {record["run"] for record in chosen.records} == {"a", "c"}
    assert not any("params" in note for note in chosen.notes)


def test_runs_that_were_not_chosen_are_not_told_as_missing(tmp_path):
    weights = ["id,h_CT,h_MR,size", "c,0.5,0.5,1", "a,0.25,0.75,1", "b,1.0,0.0,2"]
    found = read(tmp_path, [*LOSSES, "d,1000,1,1"], weights, only={"size": "1"})
    assert [note for note in found.notes if "left out" in note] == [
        "1 run (d) of losses.csv has no mixture, and is left out"
    ]
    assert {record["run"] for record in found.records} == {"a", "c"}


@pytest.mark.parametrize(
    ("losses", "weights", "words"),
    [
        ([*LOSSES, "a,1000,0.5,0.7"], WEIGHTS, r"'a' twice \(rows 1 and 4\)"),
        (LOSSES, [*WEIGHTS, "c,1,0"], r"mixtures.csv has the run 'c' twice"),
        (LOSSES, ["id,h_CT,h_MR", "x,1,0"], "no run of .*losses.csv .*is in .*mixtures.csv"),
        (LOSSES, ["name,h_CT,h_MR", "a,1,0"], "has no column 'id' that names the run"),
        (LOSSES, ["id,CT,MR", "a,1,0"], "no column of weights"),
        (["id,tokens,CT", "a,1,1"], WEIGHTS, "no column of losses"),
        (LOSSES, [WEIGHTS[0], "a,0.2,0.3", "b,1,0", "c,1,0"], "weights of run 'a' sum to 0.5, expected 1"),
        (
            LOSSES,
            [WEIGHTS[0], "a,20,80", "b,1,0", "c,1,0"],
            "weights of run 'a' sum to 100, expected 1 or, for all runs",
        ),
        (LOSSES, [WEIGHTS[0], "a,-0.5,1.5", "b,1,0", "c,1,0"], "run 'a', column h_CT: -0.5 is no weight"),
        (
            LOSSES,
            [WEIGHTS[0], "a,half,0.5", "b,1,0", "c,1,0"],
            "run 'a', column h_CT: 'half' is not a number",
        ),
        ([LOSSES[0], "a,1000,low,0.7"], WEIGHTS, "run 'a', column loss_CT: 'low' is not a number"),
        ([LOSSES[0], "a,,0.5,0.7"], WEIGHTS, "run 'a', column tokens: empty"),
        (["id,loss_CT", "a,0.5"], WEIGHTS, "no column 'tokens' for the budget of a run"),
        ([LOSSES[0], "a,1000,0.5,0.7,8"], WEIGHTS, "row 1 of .* more cells"),
        (["id,tokens,loss_CT,loss_CT_val", "a,1,1,1"], WEIGHTS, "are both 'CT'"),
        ([LOSSES[0], ",1000,0.5,0.7"], WEIGHTS, "row 1 of .* has no id"),
        ([LOSSES[0]], WEIGHTS, "has no rows"),
        (
            LOSSES,
            ["id,h_CT,h_MR,tokens", "a,0.5,0.5,7"],
            "tokens 1000 beside its losses and 7 beside its mixture",
        ),
    ],
)
def test_refused_in_words(tmp_path, losses, weights, words):
    form = replace(FORM, losses=("loss_CT", "loss_*", "loss_*_val")) if "val" in losses[0] else FORM
    with pytest.raises(InputError, match=words):
        read(tmp_path, losses, weights, form)


def test_decimal_commas_beside_semicolons(tmp_path):
    def commas(lines: list[str]) -> list[str]:
        return [line.replace(",", ";").replace(".", ",") for line in lines]

    assert read(tmp_path, commas(LOSSES), commas(WEIGHTS)).records == read(tmp_path).records


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a,1000,-0.5,0.7", "run 'a' on CT: column loss: got -0.5"),
        ("a,0,0.5,0.7", "run 'a' on CT: column budget: got 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused_by_the_name_of_the_run(tmp_path, line, words):
    path = put(tmp_path, "l.csv", [LOSSES[0], "c,1000,0.5,0.7", line, "b,1000,0.5,0.7"])
    with pytest.raises(InputError, match=words):
        MeasurementTable.read_wide(path, put(tmp_path, "m.csv", WEIGHTS), form=FORM)


def test_separators_of_thousands_in_budgets(tmp_path):
    found = read(tmp_path, [LOSSES[0], 'a,"20,000",0.5,0.7', 'b,"1,000,000",0.4,0.6'])
    assert [record["budget"] for record in found.records[::2]] == [20_000.0, 1e6]


def test_one_budget_for_all_is_said_and_a_seed_is_read(tmp_path):
    losses = ["id,trial,loss_CT,loss_MR", "a,3,0.5,0.7", "b,4,0.4,0.6"]
    found = read(tmp_path, losses, form=replace(FORM, budget=5e9, seed="trial"))
    assert "every run counts as 5,000,000,000 draws" in found.notes
    assert [r["seed"] for r in found.records] == [3, 3, 4, 4]
    assert {r["budget"] for r in found.records} == {5e9}


def test_a_source_column_in_place_of_weights(tmp_path):
    lines = ["run,seed,budget,source,CT,MR", "a,0,1000,CT,0.5,0.7", "b,1,1000,MR,0.6,0.4"]
    table = MeasurementTable.read_wide(
        put(tmp_path, "w.csv", lines), form=WideFormat(label="", losses=("*",))
    )
    assert table.source.tolist() == [0, 0, 1, 1]
    assert table.seed.tolist() == [0, 0, 1, 1]


def test_the_verb_writes_a_table_that_fit_reads_and_json_says_what_was_left_out(tmp_path):
    out = tmp_path / "runs.csv"
    losses, mixtures = put(tmp_path, "l.csv", [*LOSSES, "d,1,1,1"]), put(tmp_path, "m.csv", WEIGHTS)
    words = (
        "table",
        str(losses),
        "--mixtures",
        str(mixtures),
        "--run",
        "id",
        "--weights",
        "h_*",
        "--losses",
        "loss_*",
    )
    done = CliRunner().invoke(app, [*words, "--budget", "tokens", "-o", str(out), "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert (value["runs"], value["losses"], value["budgets"]) == (3, 6, [1000.0, 2000.0])
    assert "1 run (d) of l.csv has no mixture, and is left out" in value["notes"]
    assert MeasurementTable.read(out).digest == MeasurementTable.from_rows(read(tmp_path).records).digest
    done = CliRunner().invoke(app, [*words, "--budget", "steps"])
    assert done.exit_code == 2
    assert "no column 'steps'" in done.stderr
    done = CliRunner().invoke(app, ["table", str(losses), "--format", "regmx"])
    assert done.exit_code == 2
    assert "regmix" in done.stderr


def test_scores_of_which_more_is_better(tmp_path):
    lines = [
        "run,budget,auc_A,auc_B,weight:CT,weight:MR",
        "a,1000,0.7,0.6,0.5,0.5",
        "b,2000,0.8,0.75,0.25,0.75",
    ]
    path, out = put(tmp_path, "scores.csv", lines), tmp_path / "runs.csv"
    words = (
        "table",
        str(path),
        "--losses",
        "auc_*",
        "--response",
        "auc",
        "--direction",
        "max",
        "-o",
        str(out),
    )
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["targets"] == ["A", "B"]
    table = MeasurementTable.read(out, response="auc", direction="max")
    np.testing.assert_allclose(table.loss, [0.3, 0.4, 0.2, 0.25])


def test_the_verb_names_what_looks_wrong_also_in_a_table_that_fit_reads(tmp_path):
    lines = ["run,seed,budget,target,loss,weight:CT,weight:MR"]
    for k, budget in enumerate((1000, 2000, 4000, 4000 * 4000)):
        for seed in range(3):
            for target, level in (("CT", 0.2), ("MR", 0.3)):
                loss = level * (budget / 1000) ** -0.3 * (1 + 0.001 * ((seed * 7 + k * 3) % 5))
                loss = (
                    0.0
                    if (k, seed, target) == (1, 1, "MR")
                    else loss * (1.3 if (k, seed, target) == (1, 2, "CT") else 1)
                )
                lines.append(f"r{k}s{seed},{seed},{budget},{target},{loss:.9f},0.5,0.5")
    done = CliRunner().invoke(app, ["table", str(put(tmp_path, "runs.csv", lines)), "--json"])
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert value["losses"] == 24  # all are there still
    assert [(item["run"], item["target"]) for item in value["outliers"]] == [("r1s1", "MR")]
    assert [(item["run"], item["target"]) for item in value["suspects"]] == [("r1s2", "CT")]
    done = CliRunner().invoke(app, ["table", str(tmp_path / "runs.csv"), "--only", "seed=0"])
    assert done.exit_code == 2
    assert "read as it is: leave out" in done.stderr
    said = " ".join(value["odd"])
    assert "1 loss that no noise of the seeds explains is in the table, and fit sets it aside" in said
    assert "1 loss looks wrong and is fitted all the same" in said
    assert "if the budgets of r3s0, r3s1, r3s2 are in another unit" in said


@pytest.mark.shared
def test_olmix_as_published_has_targets_that_are_no_source(shared_data):
    folder = shared_data / "mixtures" / "olmix"
    with pytest.warns(VoxmixWarning, match="every run counts as 3,000,000,000"):
        table = MeasurementTable.read_wide(
            folder / "dclm_metrics.csv", folder / "dclm_ratios.csv", form="olmix"
        )
    assert (len(set(table.run)), len(table.targets), len(table.domains)) == (127, 110, 24)


@pytest.mark.shared
def test_regmix_as_published(shared_data):
    folder = shared_data / "mixtures" / "regmix"
    for split, budget, runs in (
        ("train_{}_1m", 1e9, 512),
        ("test_{}_1B", 25e9, 64),
        ("test_{}_60m", 1e9, 256),
    ):
        losses, mixtures = (folder / f"{split.format(name)}.csv" for name in ("pile_loss", "mixture"))
        with pytest.warns(VoxmixWarning, match=r"were rounded|every run counts"):
            table = MeasurementTable.read_wide(
                losses, mixtures, form=replace(WIDE_FORMATS["regmix"], budget=budget)
            )
        assert (len(set(table.run)), len(set(table.target)), len(table.domains)) == (runs, 13, 17)
        np.testing.assert_allclose(table.weights.sum(axis=1), 1, atol=1e-9)
