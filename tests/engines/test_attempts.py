"""Attempts: what the last one left is taken over and never written into; the first whole one becomes the run."""

import shutil
from pathlib import Path

import pytest

from voxmix import _io
from voxmix.engines.attempts import Attempt, GivenUpError
from voxmix.errors import VoxmixError
from voxmix.runs.unfinished import attempts_at, begun_specs, desk_of, finetuning_runs, run_of


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "0123456789abcdef"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")


def read(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.is_file()}


def test_the_next_attempt_goes_on_where_the_last_one_ended_and_leaves_it_alone(run: Path) -> None:
    first = Attempt.begin(run)
    assert not run.exists()
    write(first.folder, state_pt="head\nstate", metrics_jsonl="1\n2\n", spec_json="{}")
    write(first.folder / "predictions", a_nii="voxels")
    assert list(begun_specs(run.parent)) == [(run, first.folder / "spec.json")]
    kept = run.parent.parent / "kept"
    shutil.copytree(first.folder, kept)
    second = Attempt.begin(run)
    assert read(second.folder) == read(kept)
    assert (second.folder / "predictions" / "a.nii").read_text(encoding="utf-8") == "voxels"
    assert attempts_at(run)[-1] == second.folder
    (second.folder / "metrics.jsonl").write_text("1\n", encoding="utf-8")
    write(second.folder, result_json="{}")
    assert second.publish()
    assert read(run) == {"spec.json": "{}", "metrics.jsonl": "1\n", "result.json": "{}"}
    assert not desk_of(run).parent.exists()


def test_the_first_whole_attempt_is_the_run(run: Path) -> None:
    late = Attempt.begin(run)
    write(late.folder, result_json="late", metrics_jsonl="late")
    frozen = late.folder.rename(run.parent / "frozen")  # taken over while it published
    early = Attempt.begin(run)
    write(early.folder, result_json="early")
    assert early.publish()
    frozen.rename(late.folder.parent.mkdir(parents=True) or late.folder)
    assert not late.publish()
    assert read(run) == {"result.json": "early"}
    assert not desk_of(run).exists()


def test_an_attempt_that_was_whole_is_published_by_the_next(run: Path) -> None:
    first = Attempt.begin(run)
    write(first.folder, result_json="{}", state_pt="head\n", weights_safetensors="w")
    second = Attempt.begin(run)
    assert second.publish()
    assert read(run) == {"result.json": "{}", "weights.safetensors": "w"}


def test_what_an_older_voxmix_began_is_gone_on_with(run: Path) -> None:
    write(run, state_pt="head\nstate", metrics_jsonl="1\n", job_json="{}", progress_json="{}")
    attempt = Attempt.begin(run)
    assert not run.exists()
    assert read(attempt.folder) == {"state.pt": "head\nstate", "metrics.jsonl": "1\n"}
    run.mkdir()
    write(attempt.folder, result_json="{}")
    assert attempt.publish(), "an empty folder is in nobody's way"


def test_attempts_without_progress_are_counted_and_those_that_were_stopped_are_not(run: Path) -> None:
    for _ in range(2):
        Attempt.begin(run)
    Attempt.begin(run).end("stopped")
    Attempt.begin(run).end("stopped")
    further = Attempt.begin(run)
    write(further.folder, state_pt="one\n")
    for _ in range(2):
        Attempt.begin(run)
    Attempt.begin(run).end("broken", reason="ZeroDivisionError: by accident")
    with pytest.raises(GivenUpError, match=r"ended 3 times .* \(ZeroDivisionError: by accident\)"):
        Attempt.begin(run)
    again = Attempt.begin(run)
    assert read(again.folder) == {"state.pt": "one\n"}, "who tries again goes on"
    again.end("failed", reason="said so")
    assert Attempt.begin(run).facts.fruitless == 0


def test_a_copy_that_was_cut_is_not_gone_on_with(run: Path) -> None:
    first = Attempt.begin(run)
    write(first.folder, state_pt="one\n", metrics_jsonl="1\n")
    cut = first.folder.with_name("0002-cut")
    write(cut, state_pt="one\n")
    _io.write_json(cut.with_name("0002-cut.json"), {"number": 2})
    third = Attempt.begin(run)
    assert read(third.folder) == {"state.pt": "one\n", "metrics.jsonl": "1\n"}
    assert third.facts.fruitless == 1
    assert attempts_at(run) == [third.folder]


def test_a_run_cannot_lie_where_a_file_is(run: Path) -> None:
    run.parent.mkdir()
    run.write_text("a file", encoding="utf-8")
    with pytest.raises(VoxmixError, match="cannot write below"):
        Attempt.begin(run)


def test_unfinished_finetuning_runs_are_found_where_they_will_be(tmp_path: Path) -> None:
    run = tmp_path / "liver" / "scratch" / "seed-0"
    attempt = Attempt.begin(run)
    assert finetuning_runs(tmp_path) == [run]
    assert run_of(desk_of(run)) == run
    write(attempt.folder, result_json="{}")
    attempt.publish()
    assert finetuning_runs(tmp_path) == [run]
