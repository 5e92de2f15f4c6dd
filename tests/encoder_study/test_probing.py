"""Judging the encoders of a study: every run and what it began from, once; what fails is named and the rest goes on."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from verbs import voxmix

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

import torch

from voxmix.encoder_study import EncoderView, run_step
from voxmix.encoder_study.candidates import candidates
from voxmix.encoder_study.config_file import write_config
from voxmix.encoder_study.probing import ProbedStudy, score_table
from voxmix.errors import InputError
from voxmix.probe_tasks import ProbeTask
from voxmix.scores import ScoreTable
from voxmix.study.listener import Listener


def _probe(root: Path, said: list[str] | None = None, **options: Any) -> ProbedStudy:
    found: ProbedStudy = run_step(
        "probe", root, Listener(tell=(said if said is not None else []).append), **options
    )
    return found


def _set(root: Path, **changes: Any) -> None:
    view = EncoderView.open(root)
    write_config(replace(view.config, **changes), view.study.path)


LABELS = {"findings": ProbeTask(kind="labels", labels=("nodule",))}


def test_every_run_and_what_it_began_from_is_judged_once(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    probed = _probe(trained)
    assert not probed.failed
    names = [result.judged.name for result in probed.results if result.judged]
    assert len(names) == len(set(names)) == 7  # two objectives on three sizes, and the untrained network
    assert probed.made == 7
    judged = {result.judged.name: result.judged for result in probed.results if result.judged}
    assert judged["untrained"].is_reference
    assert judged["untrained"].start == "untrained"
    sizes = sorted(one.samples for one in judged.values() if one.objective == "clip")
    assert sizes == sorted(subset.images for subset in EncoderView.open(trained).subsets)
    assert len({one.encoder for one in judged.values()}) == 7
    again = _probe(trained)
    assert again.made == 0
    assert again.results == probed.results


def test_an_edit_of_a_task_judges_that_task_again_from_the_features_that_are_there(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    _probe(trained)
    features = {path: path.stat().st_mtime_ns for path in (trained / "features").rglob("*.npy")}
    _set(trained, tasks={**LABELS, "near": ProbeTask(kind="labels", head="knn")})
    assert not EncoderView.open(trained).steps["probe"].progress(EncoderView.open(trained)).done
    probed = _probe(trained)
    assert probed.made == 7
    assert {result.task for result in probed.results} == {"findings", "near"}
    assert {path: path.stat().st_mtime_ns for path in (trained / "features").rglob("*.npy")} == features


def test_a_task_that_cannot_be_judged_is_named_and_the_others_go_on(trained: Path) -> None:
    said: list[str] = []
    _set(trained, tasks={**LABELS, "other": ProbeTask(kind="labels", labels=("edema",))})
    probed = _probe(trained, said)
    assert [name for name, _ in probed.set_aside] == ["other"]
    assert any("no image has the label 'edema'" in line for line in said)
    assert {result.task for result in probed.results} == {"findings"}
    _set(trained, tasks={"other": ProbeTask(kind="labels", labels=("edema",))})
    with pytest.raises(InputError, match=r"no task can be judged; the first one: .*edema"):
        _probe(trained)
    with pytest.raises(InputError, match="there is no task 'x'"):
        _probe(trained, tasks=("x",))


def test_an_encoder_that_cannot_be_read_is_named_and_the_others_go_on(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    broken = next(one for one in candidates(EncoderView.open(trained)) if one.judged.objective == "clip")
    assert broken.folder is not None
    next(broken.folder.glob("*.safetensors")).write_bytes(b"nothing")
    said: list[str] = []
    probed = _probe(trained, said)
    assert [one.encoder for one in probed.failed] == [broken.judged.name]
    assert len(probed.results) == 6
    assert any("1 of 7 probes failed" in line for line in said)
    done = voxmix("probe", trained, "--json")
    assert done.exit_code == 1
    assert len(json.loads(done.stdout)["failed"]) == 1


def test_untrained_networks_and_references_are_named_as_what_they_are(trained: Path) -> None:
    run = next(path for path in (trained / "runs").iterdir() if path.is_dir())
    _set(trained, references={"mine": f"runs/{run.name}"}, tasks=LABELS)
    found = {one.judged.name: one for one in candidates(EncoderView.open(trained))}
    assert {"untrained", "mine"} == {name for name, one in found.items() if one.judged.is_reference}
    probed = _probe(trained)
    scores = {result.judged.name: result for result in probed.results if result.judged}
    twin = next(r for r in probed.results if r.judged is not None and r.judged.run == run.name)
    assert scores["mine"].cases == twin.cases  # the same weights under another name


def test_compare_holds_the_largest_subset_and_references_against_each_other(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    assert voxmix("compare", trained).exit_code == InputError.exit_code
    assert "voxmix probe" in voxmix("compare", trained).output
    _probe(trained)
    found = json.loads(voxmix("compare", trained, "--json").stdout)
    told = {row["initialization"] for row in found["scores"]}
    largest = max(subset.images for subset in EncoderView.open(trained).subsets)
    assert told == {f"dino scratch {largest}", f"clip scratch {largest}", "untrained"}
    every = json.loads(voxmix("compare", trained, "--every", "--json").stdout)
    assert len({row["initialization"] for row in every["scores"]}) == 7
    wrong = voxmix("compare", trained, "--samples", "3")
    assert wrong.exit_code == 2
    assert "no judged encoder learned from 3 images" in wrong.output
    assert voxmix("compare", trained).exit_code == 0


def test_a_study_without_tasks_is_as_it_was(begin: Callable[..., EncoderView], trained: Path) -> None:
    _set(trained, tasks={})
    assert _probe(trained).results == ()
    done = voxmix("probe", trained)
    assert done.exit_code == 2
    assert "has no tasks to judge encoders on" in done.output
    with pytest.raises(InputError, match="has no tasks"):
        score_table(EncoderView.open(trained))


def test_estimate_and_status_count_the_probes_that_are_left(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    before = json.loads(voxmix("estimate", trained, "--json").stdout)
    assert before["runs_left"] == 0
    assert (before["probes"]["probes"], before["probes"]["encoders"]) == (7, 7)
    assert before["probes"]["images"] == len(EncoderView.open(trained).tasks.data[0].cases)
    assert "7 left" in voxmix("estimate", trained).output
    assert before["probes"]["decoders"] == 0
    _set(trained, tasks=LABELS | {"reports": ProbeTask(kind="reports")})
    said = voxmix("estimate", trained).output
    assert "7 train a decoder of reports: up to minutes each" in " ".join(said.split())
    _set(trained, tasks=LABELS)
    state = json.loads(voxmix("status", trained, "--json").stdout)
    assert state["next"].startswith("voxmix probe")
    _probe(trained)
    assert json.loads(voxmix("estimate", trained, "--json").stdout) == {"runs_left": 0}
    kept = sum(path.stat().st_size for path in (trained / "features").rglob("*.npy"))
    assert kept == pytest.approx(
        before["probes"]["disk_bytes"], rel=0.5
    )  # beside them headers of so few rows


def test_an_encoder_that_learned_from_images_of_another_preprocessing_is_said(
    trained: Path, begin: Callable[..., EncoderView]
) -> None:
    """A run whose card says another window of intensities than the study's recipe."""
    run = next(path for path in (trained / "runs").iterdir() if path.is_dir())
    other = trained / "other"
    shutil.copytree(run, other)
    card = json.loads((other / "card.json").read_text(encoding="utf-8"))
    card["recipe"]["low"] = 7.0
    (other / "card.json").write_text(json.dumps(card), encoding="utf-8")
    _set(trained, references={"other": "other"}, tasks=LABELS)
    probed = _probe(trained)
    assert not probed.failed
    told = [note for note in probed.notes if note.startswith("other: ")]
    assert len(told) == 1
    assert "images were prepared otherwise than those that the encoder learned from: low" in told[0]


def test_what_holds_of_several_encoders_is_said_once(trained: Path) -> None:
    _set(trained, tasks={"retrieval": ProbeTask(kind="retrieval")})
    probed = _probe(trained)
    assert not probed.failed
    own = [note.split(": ", 1)[1] for note in probed.notes if note.startswith(("dino", "clip", "untrained"))]
    shared = [note for note in probed.notes if "the words of reports" in note]
    assert len(shared) == 1, probed.notes
    assert int(shared[0].split(" encoders (e.g. ")[0]) >= 4
    assert len(own) == len(set(own))


def test_a_label_of_one_class_among_persons_held_out_is_one_sentence(trained: Path) -> None:
    view = EncoderView.open(trained)
    index = view.study.prepared_dir / "index.json"
    value = json.loads(index.read_text(encoding="utf-8"))
    place = value["label_names"].index("nodule")
    held_out = [number for number, side in enumerate(value["images"]["split"]) if side == "validation"]
    for number in held_out:
        labels = value["images"]["labels"][number]
        value["images"]["labels"][number] = labels[:place] + "0" + labels[place + 1 :]
    index.write_text(json.dumps(value), encoding="utf-8")
    _set(trained, tasks=LABELS)
    with pytest.raises(
        InputError, match=r"label nodule needs images with it and without it in both parts; there is none"
    ):
        _probe(trained)


def test_scores_of_another_test_set_are_not_compared(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    first, *others = _probe(trained).results
    fewer = replace(first, cases=first.cases[:-1])
    with pytest.raises(InputError, match="is scored on another test set than"):
        ScoreTable(results=(fewer, *others))


def test_encoders_compute_where_compute_says_and_features_are_not_of_the_device(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxmix.probes import features

    chosen: list[str] = []

    def device_of(name: str, *, index: int | None = None) -> torch.device:
        chosen.append(name)
        return torch.device("cpu")

    monkeypatch.setattr(features, "device_of", device_of)
    _set(trained, tasks=LABELS)
    _probe(trained)
    assert chosen == ["cpu"]  # the study's own
    features_there = sorted((trained / "features").rglob("*.npy"))
    _set(trained, tasks=TWO)
    done = voxmix("probe", trained, "--device", "cuda", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["made"] == 7
    assert chosen == ["cpu", "cuda"]
    assert sorted((trained / "features").rglob("*.npy")) == features_there


@pytest.mark.parametrize("device", ["gpu", "cuda"])
def test_a_device_that_cannot_be_is_one_sentence(
    device: str, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    _set(trained, tasks=LABELS)
    done = voxmix("probe", trained, "--device", device)
    assert done.exit_code == 2
    assert "device" in done.output
    assert "Traceback" not in done.output


TWO = {**LABELS, "near": ProbeTask(kind="labels", head="knn")}


def _scores(root: Path) -> dict[str, Any]:
    """Return what every probe has written, but for its time."""
    return {
        path.parent.relative_to(root).as_posix(): json.loads(path.read_text(encoding="utf-8"))
        | {"seconds": 0}
        for path in (root / "probes").rglob("result.json")
    }


@pytest.fixture
def in_two_processes(trained: Path) -> Path:
    """A copy of the study with two tasks, whose encoders are judged in two processes; one encoder is damaged."""
    root = trained.with_name("two")
    shutil.copytree(trained, root)
    compute = EncoderView.open(root).config.compute
    _set(trained, tasks=TWO, compute=replace(compute, threads=1))
    _set(root, tasks=TWO, compute=replace(compute, threads=1), workers=2)
    for study in (trained, root):
        folder = sorted((study / "runs").iterdir())[0]
        next(folder.glob("*.safetensors")).write_bytes(b"damaged")
    return root


def test_several_processes_write_the_scores_of_one(trained: Path, in_two_processes: Path) -> None:
    said: tuple[list[str], list[str]] = ([], [])
    steps: list[tuple[str, int, int]] = []
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")  # as a run that was trained in this process leaves it
    try:
        alone = _probe(trained, said[0])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    hear = Listener.calling(lambda *step: steps.append(step), said[1].append)
    together: ProbedStudy = run_step("probe", in_two_processes, hear)
    assert _scores(in_two_processes) == _scores(trained)
    plain = [
        replace(one, reason=one.reason.replace(str(in_two_processes), str(trained)))
        for one in together.failed
    ]
    assert replace(together, failed=tuple(plain), results=()) == replace(alone, results=())
    assert together.made == 12
    assert len(together.failed) == 2  # one encoder, two tasks
    assert [line.replace(str(in_two_processes), str(trained)) for line in said[1]] == said[0]
    counts = [done for label, done, total in steps if total == 14]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 14)
    features = [path.parent.name for path in (in_two_processes / "features").rglob("*.npy")]
    assert len(features) == 6  # of each encoder once, whatever the number of tasks
    known = json.loads((in_two_processes / "encoders.json").read_text(encoding="utf-8"))
    assert len(known) == 6
    assert run_step("probe", in_two_processes, Listener(tell=said[1].append)).made == 0


def test_what_was_judged_before_ctrl_c_stays_judged(in_two_processes: Path) -> None:
    def stop(label: str, done: int, total: int) -> None:
        if done >= 4 and total == 14:  # two of them may be those of the damaged one
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_step("probe", in_two_processes, Listener.calling(stop, lambda line: None))
    before = _scores(in_two_processes)
    assert len(before) >= 2
    again = _probe(in_two_processes)
    assert again.made <= 12 - len(before)
    assert _scores(in_two_processes).items() >= before.items()
    assert len(_scores(in_two_processes)) == 12
