"""The verbs of an encoder study on the command line: what they print, and mistakes as one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner
from verbs import voxmix

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from voxmix.cli import app
from voxmix.cli.encoder_start import begin_demo
from voxmix.encoder_study import EncoderView
from voxmix.errors import InputError


def test_init_says_what_it_found_and_writes_every_setting(films: Path, tmp_path: Path) -> None:
    done = voxmix(
        "init", tmp_path / "cxr", "--images", films, "--objective", "dino,unicl", "--samples", "4,all"
    )
    assert done.exit_code == 0, done.output
    assert "30 images of 15 persons" in done.output
    assert "dino, unicl from scratch on 4, all of" in done.output
    assert "Person Name" not in done.output
    assert "only_with_reports: true" in (tmp_path / "cxr" / "study.yaml").read_text(encoding="utf-8")


def test_objectives_are_given_by_commas_or_one_by_one(films: Path, tmp_path: Path) -> None:
    found = []
    for name, given in (("a", ["dino, unicl"]), ("b", ["dino", "unicl"]), ("c", ["dino,", "unicl"])):
        options = [part for each in given for part in ("--objective", each)]
        done = voxmix(
            "init",
            tmp_path / name,
            "--images",
            films,
            "--samples",
            "4,all",
            "--start",
            "scratch",
            *options,
            "--json",
        )
        assert done.exit_code == 0, done.output
        found.append(json.loads(done.stdout))
    assert {tuple(one["objectives"]) for one in found} == {("dino", "unicl")}
    said = found[0]
    assert any("15 persons" in line for line in said["seen"])
    assert said["samples"] == [4, "all"]
    assert said["starts"] == {"scratch": None}
    assert (said["seeds"], said["budget"], said["budget_unit"]) == (2, 8192, "draws")
    assert Path(said["study_file"]).is_file()
    assert "Person Name" not in json.dumps(said)


def test_the_help_of_init_tells_the_kinds_of_studies_apart() -> None:
    shown = CliRunner().invoke(app, ["init", "--help"], env={"COLUMNS": "80"}).output
    mixtures, encoders = (shown.index(f"Study of {kind}") for kind in ("mixtures \u2500", "encoders \u2500"))
    assert mixtures < shown.index("--subject-pattern") < encoders < shown.index("--radiographs  ", encoders)


def test_study_run_status_and_estimate_speak_of_the_same_runs(begin: Callable[..., EncoderView]) -> None:
    root = begin(objectives=("dino", "clip")).root
    assert json.loads(voxmix("status", root, "--json").stdout)["next"].startswith("voxmix prepare")
    assert voxmix("prepare", root).exit_code == 0
    cost = json.loads(voxmix("estimate", root, "--json", "--tflops", "1").stdout)
    assert cost["runs_left"] == 4
    assert [one["draws"] for one in cost["work"]] == [48, 48]
    done = voxmix("study", "run", root, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["runs"]
    assert sorted(run["objective"] for run in found) == ["clip", "clip", "dino", "dino"]
    assert len({(run["objective"], run["samples"]) for run in found}) == 4
    state = json.loads(voxmix("status", root, "--json").stdout)
    assert all(step["done"] for step in state["steps"])
    assert state["next"] is None
    assert sum(one["finished"] for one in state["runs"]) == 4
    assert json.loads(voxmix("estimate", root, "--json").stdout) == {"runs_left": 0}
    shown = voxmix("status", root).output
    assert "Nested subsets" in shown
    assert "all done" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--images", "FILMS", "--data", "x"), "give those of one kind"),
        (("--images", "FILMS", "--radiographs"), "give one of --images, --volumes and --radiographs"),
        (("--phantoms", "--objective", "dino"), "--objective is for a study of encoders"),
        (("--images", "FILMS", "--samples", "4,many"), "is no number of images"),
        (("--images", "FILMS", "--start", "rad-dino"), "should be NAME=FOLDER"),
        (("--images", "FILMS", "--start", "a=x", "--start", "a=y"), "names a twice"),
        (("--images", "nowhere.csv"), "no such file or folder"),
        (("--images", "FILMS", "--preset", "paper"), "unknown encoder preset 'paper'"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    films: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    given = [str(films) if part == "FILMS" else part for part in arguments]
    done = voxmix("init", tmp_path / "x", *given)
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.output.split())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("verb", ["fit", "allocate", "pretrain", "refine"])
def test_verbs_of_mixtures_say_what_an_encoder_study_has(
    begin: Callable[..., EncoderView], verb: str
) -> None:
    done = voxmix(verb, begin().root)
    assert done.exit_code == 2, done.output
    assert "encoder studies (kind: encoders) have" in " ".join(done.output.split())


def test_options_of_mixtures_are_refused_for_encoders(begin: Callable[..., EncoderView]) -> None:
    root = begin().root
    done = voxmix("run", root, "--pilot")
    assert done.exit_code == 2
    assert "--pilot has no meaning for a study of encoders" in done.output


def test_a_kind_that_nobody_knows_is_refused(begin: Callable[..., EncoderView]) -> None:
    view = begin()
    view.study.path.write_text(
        view.study.path.read_text(encoding="utf-8").replace("kind: encoders", "kind: encoder"),
        encoding="utf-8",
    )
    done = voxmix("status", view.root)
    assert done.exit_code == 2
    assert "study of kind 'encoder'" in done.output


def test_the_demo_begins_once_and_takes_no_other_study_over(
    begin: Callable[..., EncoderView], tmp_path: Path
) -> None:
    begin_demo(tmp_path / "demo")
    text = (tmp_path / "demo" / "study.yaml").read_text(encoding="utf-8")
    begin_demo(tmp_path / "demo")
    assert (tmp_path / "demo" / "study.yaml").read_text(encoding="utf-8") == text
    with pytest.raises(InputError, match="not this demo"):
        begin_demo(begin().root)


def test_audit_names_a_leak_and_draws_sheets(films: Path, tmp_path: Path) -> None:
    shutil.copytree(films.parent, tmp_path / "films")
    table = tmp_path / "films" / films.name
    lines = table.read_text(encoding="utf-8").splitlines()
    shutil.copy(tmp_path / "films" / "0.png", tmp_path / "films" / "again.png")
    head, *rows = lines
    sides = [f"{row},{'validation' if number > 20 else 'train'}" for number, row in enumerate(rows)]
    other = rows[0].replace("0.png", "again.png", 1).replace("Person Name 0", "Somebody Else", 1)
    table.write_text("\n".join([f"{head},split", *sides, f"{other},validation"]) + "\n", encoding="utf-8")
    done = voxmix("audit", table, "--images", "--sheets", tmp_path / "look", "--json")
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    assert found["counts"]["leak"] >= 1
    assert (tmp_path / "look" / "audit.html").exists()
    page = (tmp_path / "look" / "audit.html").read_text(encoding="utf-8")
    assert "Person Name" not in page
    assert "Somebody" not in page
    assert voxmix("audit", films, "--images", "--layout", "folder").exit_code == 2


def test_a_damaged_array_is_found_removed_and_made_again(begin: Callable[..., EncoderView]) -> None:
    view = begin(objectives=("dino",))
    assert voxmix("prepare", view.root).exit_code == 0
    assert json.loads(voxmix("cache", "verify", view.root, "--json").stdout)["images"] == 30
    array = next((view.study.cache_dir / "images").rglob("*.npy"))
    array.write_bytes(array.read_bytes()[:-1] + b"x")
    done = voxmix("cache", "verify", view.root)
    assert done.exit_code == 1
    assert array.name in done.output
    assert voxmix("cache", "verify", view.root, "--remove").exit_code == 0
    assert not array.exists()
    assert voxmix("prepare", view.root).exit_code == 0
    assert voxmix("cache", "verify", view.root).exit_code == 0
    assert json.loads(voxmix("cache", "prune", view.root, "--json").stdout)["files"] == 0
    refused = voxmix("cache", "list", view.root)
    assert refused.exit_code == 2
    assert "holds prepared images" in refused.output
