"""voxmix probe without a study: any encoder folders on any images."""

import json
from pathlib import Path

import pytest
from verbs import voxmix

pytest.importorskip("torch")
pytest.importorskip("tokenizers")


def _runs(study: Path) -> list[Path]:
    return sorted(path for path in (study / "runs").iterdir() if path.is_dir())


def test_two_folders_are_judged_and_compared_and_nothing_twice(
    trained: Path, films: Path, tmp_path: Path
) -> None:
    first, second = _runs(trained)[:2]
    given = (
        "probe",
        "--encoder",
        f"a={first}",
        "--encoder",
        f"b={second}",
        "--images",
        films,
        "--out",
        tmp_path / "out",
    )
    done = voxmix(*given, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {row["initialization"] for row in found["scores"]} == {"a", "b"}
    assert len(found["differences"]) == 1
    assert found["made"] == 2
    again = voxmix(*given)
    assert again.exit_code == 0
    assert "2 probes, 0 made now" in again.output
    assert "Person Name" not in again.output
    written = [path for path in (tmp_path / "out").rglob("*.json") if "private" not in path.parts]
    assert written
    assert not any("Person Name" in path.read_text(encoding="utf-8") for path in written)


def test_images_that_a_run_learned_from_are_not_what_it_is_judged_on(
    trained: Path, films: Path, tmp_path: Path
) -> None:
    """Another split of the same films holds persons out that the largest run learned from."""
    text = films.read_text(encoding="utf-8").splitlines()
    table = films.parent / "other-split.csv"
    rows = [f"{line},{'train' if number % 8 < 4 else 'validation'}" for number, line in enumerate(text[1:])]
    table.write_text("\n".join([text[0] + ",split", *rows]) + "\n", encoding="utf-8")
    largest = max(
        _runs(trained),
        key=lambda run: json.loads((run / "result.json").read_text(encoding="utf-8"))["images"],
    )
    done = voxmix("probe", "--encoder", largest, "--images", table, "--out", tmp_path / "out")
    table.unlink()
    assert done.exit_code == 2
    assert "encoders learned from" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give a study, or --encoder FOLDER with --images TABLE"),
        (("--encoder", "nowhere", "--images", "x.csv"), "no such folder: nowhere"),
        (("--encoder", ".", "--encoder", ".", "--images", "x.csv"), "names"),
        (("--encoder", ".", "--images", "x.csv", "--task", "a", "--task", "b"), "there is one --task"),
        (("--encoder", ".", "--images", "x.csv", "--task", "lables"), "kind"),
        (("--encoder", ".", "--images", "x.csv", "--task", "classes"), "needs column"),
        (("--encoder", ".", "--images", "x.csv", "--device", "gpu"), "device"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = voxmix("probe", *arguments)
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.output.split())


def test_flags_of_folders_are_refused_beside_a_study(trained: Path) -> None:
    done = voxmix("probe", trained, "--images", "x.csv")
    assert done.exit_code == 2
    assert "--images is for probing without a study" in done.output
