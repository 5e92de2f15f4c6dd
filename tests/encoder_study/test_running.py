"""An encoder study from images to trained encoders: resumed exactly, private, and honest about what is out of date."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from voxmix.encoder_study import EncoderView, run_encoder_study, run_step, study_state
from voxmix.errors import InputError, StepPendingError, VoxmixError

pytestmark = pytest.mark.filterwarnings("ignore::voxmix.errors.VoxmixWarning")


def weights(view: EncoderView) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in view.study.runs_dir.glob("*/weights.safetensors")}


def test_every_run_of_the_design_is_made_once_and_stands_in_the_table(
    begin: Callable[..., EncoderView],
) -> None:
    view = begin(objectives=("dino", "unicl", "mae"))
    runs = run_encoder_study(view.root)
    assert len(runs) == 3 * 2
    assert all(run.result is not None and run.result.draws == 24 for run in runs)
    with view.study.table_path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6
    assert {row["objective"] for row in rows} == {"dino", "unicl", "mae"}
    for row in rows:
        assert float(row["epochs"]) == pytest.approx(24 / int(row["samples"]), rel=1e-3)
        assert int(row["repeats"]) == max(24 - int(row["samples"]), 0)
    before = weights(view)
    assert weights(EncoderView.open(view.root)) == before
    run_encoder_study(view.root)  # nothing is left to do
    assert weights(view) == before


def test_nothing_in_the_study_but_its_private_list_names_a_person_or_quotes_a_report(
    begin: Callable[..., EncoderView],
) -> None:
    view = begin(objectives=("unicl",), samples=("all",))
    run_encoder_study(view.root)
    for path in view.root.rglob("*"):
        if path.is_file() and "private" not in path.parts:
            content = path.read_bytes()
            assert b"Person Name" not in content, path
            assert b"Case 3" not in content, path
    assert b"Person Name 3" in b"".join(path.read_bytes() for path in view.study.private_dir.rglob("*.json"))


def test_a_study_that_was_stopped_ends_with_the_same_weights(
    begin: Callable[..., EncoderView], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = begin("whole", objectives=("dino",)), begin("stopped", objectives=("dino",))
    run_encoder_study(whole.root)
    first = next(iter(whole.planned)).spec

    import voxmix.encoder_study.training as training

    real = training.finish_specs

    def one_alone(specs: list[object], **options: object) -> object:
        real(specs[:1], **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "finish_specs", one_alone)
    with pytest.raises(KeyboardInterrupt):
        run_encoder_study(stopped.root)
    monkeypatch.undo()
    assert list(weights(stopped)) == [first.run_id]
    assert (
        len(stopped.study.table_path.read_text(encoding="utf-8").splitlines()) == 2
    )  # what is finished stands in the table
    run_encoder_study(stopped.root)
    assert weights(stopped) == weights(whole)


def test_settings_that_change_what_is_prepared_ask_for_it_again(begin: Callable[..., EncoderView]) -> None:
    view = begin(objectives=("dino",))
    with pytest.raises(StepPendingError, match="voxmix prepare"):
        run_step("run", view)
    run_step("prepare", view)
    assert [step.done for step in study_state(EncoderView.open(view.root)).steps[:2]] == [True, False]
    path = view.study.path
    path.write_text(path.read_text(encoding="utf-8").replace("pixels: 20", "pixels: 24"), encoding="utf-8")
    assert [step.done for step in study_state(EncoderView.open(view.root)).steps[:2]] == [False, False]


def test_an_objective_that_reads_reports_is_added_and_finished_runs_of_others_are_kept(
    begin: Callable[..., EncoderView],
) -> None:
    view = begin(objectives=("dino", "clip"), samples=(4,))
    text = view.study.path.read_text(encoding="utf-8").replace(
        "only_with_reports: true", "only_with_reports: false"
    )
    head, clip = text.split("  clip:\n")
    _, rest = clip.split("\n# Speed", 1)
    view.study.path.write_text(f"{head}\n# Speed{rest}", encoding="utf-8")
    run_encoder_study(view.root)
    before = weights(view)
    assert len(before) == 1
    view.study.path.write_text(text, encoding="utf-8")
    assert [step.done for step in study_state(EncoderView.open(view.root)).steps[:2]] == [False, False]
    with pytest.raises(StepPendingError, match="not prepared with its present settings"):
        run_step("run", view.root)
    run_encoder_study(view.root)
    assert len(weights(view)) == 2
    assert study_state(EncoderView.open(view.root)).left_behind == 0
    assert before.items() <= weights(view).items()


def test_a_table_that_was_edited_asks_to_be_prepared_again_and_one_out_of_reach_does_not(
    begin: Callable[..., EncoderView], films: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "films"
    shutil.copytree(films.parent, copied)
    table = copied / films.name
    root = begin(images=table, objectives=("mae",)).root
    run_step("prepare", root)
    text = table.read_bytes()
    table.write_bytes(b"\n".join(text.splitlines()[:-1]) + b"\n")
    assert not study_state(EncoderView.open(root)).steps[0].done
    with pytest.raises(StepPendingError, match="not prepared"):
        run_step("run", root)
    table.write_bytes(text)
    assert study_state(EncoderView.open(root)).steps[0].done
    table.unlink()
    assert study_state(EncoderView.open(root)).steps[0].done


def test_runs_of_other_settings_are_kept_and_counted(begin: Callable[..., EncoderView]) -> None:
    view = begin(objectives=("mae",))
    run_encoder_study(view.root)
    path = view.study.path
    path.write_text(path.read_text(encoding="utf-8").replace("budget: 24", "budget: 30"), encoding="utf-8")
    state = study_state(EncoderView.open(view.root))
    assert state.left_behind == 2
    assert [one.finished for one in state.runs] == [0]
    assert any("not of the study's present settings" in line for line in state.notes)


def test_a_study_goes_on_from_its_own_run(begin: Callable[..., EncoderView]) -> None:
    first = begin("first", objectives=("dino",))
    run_encoder_study(first.root)
    folder = sorted(first.study.runs_dir.iterdir())[0]
    second = begin("second", objectives=("dino", "mae"), starts={"own": folder, "scratch": None})
    runs = run_encoder_study(second.root)
    assert {run.planned.start for run in runs} == {"own", "scratch"}
    assert len(runs) == 2 * 2 * 2
    own = next(run for run in runs if run.planned.start == "own" and run.planned.spec.objective == "dino")
    assert own.result is not None
    assert own.result.spec.start is not None
    card = json.loads((second.study.run_dir(own.planned.spec) / "card.json").read_text(encoding="utf-8"))
    assert card["start"]["digest"] == own.result.spec.start.digest


def test_a_study_goes_on_from_a_run_with_a_text_tower_and_its_tokenizer(
    begin: Callable[..., EncoderView],
) -> None:
    first = begin("first", objectives=("clip",), samples=("all",))
    run_encoder_study(first.root)
    (folder,) = first.study.runs_dir.iterdir()
    second = begin("second", objectives=("unicl", "dino"), samples=("all",), starts={"own": folder})
    runs = run_encoder_study(second.root)
    found = {run.planned.spec.objective: run for run in runs}
    assert found["unicl"].result is not None
    assert found["unicl"].planned.spec.tokenizer == first.planned[0].spec.tokenizer
    assert found["unicl"].planned.spec.warm_draws == 0  # its projections come along
    assert found["dino"].planned.spec.warm_draws > 0


def test_weights_that_changed_since_they_were_looked_at_ask_to_be_prepared_again(
    begin: Callable[..., EncoderView], tmp_path: Path
) -> None:
    import shutil

    first = begin("first", objectives=("mae",))
    run_encoder_study(first.root)
    runs = sorted(first.study.runs_dir.iterdir())
    folder = tmp_path / "weights"
    shutil.copytree(runs[0], folder)
    second = begin("second", objectives=("mae",), starts={"own": folder})
    run_step("prepare", second)
    shutil.copy(runs[1] / "weights.safetensors", folder / "weights.safetensors")
    assert not study_state(EncoderView.open(second.root)).steps[0].done
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=r"starts\.own: there is no folder"):
        run_encoder_study(second.root)


def test_a_run_that_fails_is_named_and_stops_no_other(begin: Callable[..., EncoderView]) -> None:
    view = begin(objectives=("dino", "mae"))
    run_step("prepare", view)
    bad = next(run.spec for run in EncoderView.open(view.root).planned if run.spec.objective == "dino")
    folder = view.study.run_dir(bad)
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text("{}", encoding="utf-8")
    with pytest.raises(VoxmixError, match="1 of 4 runs failed"):
        run_encoder_study(view.root, tell=lambda _: None)
    assert len(weights(view)) == 3
