"""Bad images, reports, settings, weights and files of an encoder study, given to the verbs: a sentence each, and nothing lost."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from voxmix.cli import app
from voxmix.encoder_study import EncoderView
from voxmix.errors import InputError
from voxmix.study import marks

Rows = list[dict[str, str]]
Answer = tuple[int, str]

# What else voxmix says is in tests/images (files), tests/encoders/test_open_weights.py (weights) and test_starting.py (settings).


def voxmix(*arguments: object) -> Answer:
    """Return the exit code of a command and all that it said, on one line; a traceback is no answer."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, " ".join(done.output.split())


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".claims" not in path.parts
    }


@pytest.fixture
def changed(films: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that copies films with their table and changes rows, or files beside them."""

    def copy(change: Callable[[Rows, Path], object]) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(films.parent, folder)
        with films.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        change(rows, folder)
        with (folder / "films.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return folder / "films.csv"

    return copy


def set_column(name: str, *values: str) -> Callable[[Rows, Path], None]:
    def change(rows: Rows, folder: Path) -> None:
        for number, row in enumerate(rows):
            row[name] = values[number % len(values)]

    return change


def colour(rows: Rows, folder: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(1).integers(0, 255, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "2.png")


def volumes(rows: Rows, folder: Path) -> None:
    (folder / "v.nii.gz").write_bytes(b"no matter")
    np.savez(folder / "w.npz", np.zeros((8, 8, 8), np.float32))
    rows[2]["image"], rows[3]["image"] = "v.nii.gz", "w.npz"


@pytest.mark.parametrize(
    ("change", "words", "images"),
    [
        (lambda rows, folder: (folder / "3.png").unlink(), ("set aside 1: no such file",), 29),
        (
            lambda rows, folder: rows.append({**rows[0], "image": "", "report": "Seen: Smith."}),
            ("set aside 1: a report without an image",),
            30,
        ),
        (colour, ("set aside 1: color image (RGB)", "give a gray one"), 29),
        (volumes, ("a 3D file in a study of images", "3 axes (8 x 8 x 8): a volume"), 28),
    ],
    ids=["missing image", "report without an image", "colour", "3D"],
)
def test_an_image_that_cannot_be_used_is_set_aside_and_counted(
    changed: Callable[..., Path], begin: Callable[..., EncoderView], change: Any, words: Any, images: int
) -> None:
    root = begin(images=changed(change), objectives=("dino",)).root
    code, said = voxmix("prepare", root)
    assert code == 0, said
    for part in words:
        assert part in said
    assert "Smith" not in said
    assert "Person Name" not in said
    assert len(EncoderView.open(root).source.items) == images


def test_an_empty_report_counts_as_none_and_one_of_50000_words_is_cut(
    changed: Callable[..., Path], begin: Callable[..., EncoderView]
) -> None:
    def change(rows: Rows, folder: Path) -> None:
        rows[0]["report"], rows[1]["report"] = "  ", "nodule " * 50_000

    root = begin(images=changed(change), objectives=("clip",)).root
    code, said = voxmix("prepare", root)
    assert code == 0, said
    assert "24 reports with text" in said
    assert "6 images without a text" in said
    assert "1 reports were cut, being too long" in said
    source = EncoderView.open(root).source
    assert sum(item.has_text for item in source.items) == 24
    assert max(len(source.tokens(item)) for item in source.items) <= 402  # max_words, begin and end


def test_labels_of_several_spellings_are_read_and_others_counted(
    changed: Callable[..., Path], tmp_path: Path
) -> None:
    cells = ("yes", "No", "TRUE", "0.0", "present", "absent", "maybe", "-1", "", "Y")
    table = changed(set_column("effusion", *cells))
    code, said = voxmix("init", tmp_path / "x", "--images", table, "--objective", "unicl")
    assert code == 0, said
    assert "label effusion: 12 yes, 9 no, 9 unknown" in said
    assert "label effusion: 6 uncertain, taken as unknown" in said


@pytest.mark.parametrize(
    ("objective", "change", "words"),
    [
        ("clip", set_column("report", "All the same."), "by their report, which is the same for all of the"),
        ("unicl", set_column("effusion", "1"), "by their set of labels, which is the same for all of the"),
    ],
)  # fmt: skip
def test_texts_or_labels_that_are_all_alike_are_refused_before_anything_is_trained(
    changed: Callable[..., Path], begin: Callable[..., EncoderView], objective: str, change: Any, words: str
) -> None:
    root = begin(images=changed(change), objectives=(objective,)).root
    assert voxmix("prepare", root)[0] == 0
    code, said = voxmix("run", root)
    assert (code, words in said) == (2, True), said
    assert "mend the table, or take dino or mae" in said
    assert not EncoderView.open(root).study.runs_dir.exists()


def test_labels_alone_of_few_words_are_enough_for_unicl(
    changed: Callable[..., Path], begin: Callable[..., EncoderView]
) -> None:
    root = begin(images=changed(set_column("report", "")), objectives=("unicl",)).root
    assert voxmix("prepare", root)[0] == 0
    view = EncoderView.open(root)
    assert view.vocabulary is not None
    assert view.vocabulary < 300  # bytes, markers, and no pair of letters that occurs often
    assert {run.spec.text.vocabulary for run in view.planned} == {view.vocabulary}


@pytest.mark.parametrize("objective", ["dino", "clip"])
@pytest.mark.parametrize(
    ("key", "words"),
    [("batch_size: 6", "objectives.{}.training.batch_size is 1"), ("budget: 24", "design.budget is 1")],
)
def test_a_batch_smaller_than_two_is_refused_by_every_verb(
    begin: Callable[..., EncoderView], objective: str, key: str, words: str
) -> None:
    root = begin(objectives=(objective, "mae")).root
    path = root / "study.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace(key, f"{key.split(':')[0]}: 1", 1), encoding="utf-8"
    )
    for verb in ("status", "prepare", "run", "estimate"):
        code, said = voxmix(verb, root)
        assert code == 2, said
        assert words.format(objective) in said
        assert "give at least 2" in said
    assert not (root / "cache").exists()


def test_a_subset_larger_than_what_is_left_after_repeated_images_is_refused(
    changed: Callable[..., Path], begin: Callable[..., EncoderView]
) -> None:
    def repeat(rows: Rows, folder: Path) -> None:
        for number in range(1, 20):
            shutil.copy(folder / "0.png", folder / f"{number}.png")

    root = begin(images=changed(repeat), objectives=("dino",), samples=(4, 18)).root
    code, said = voxmix("prepare", root)
    assert code == 0, said
    assert "the same image as another" in said
    for verb in ("status", "run", "estimate"):
        code, said = voxmix(verb, root)
        assert code == 2, said
        assert "design.samples asks for 18 images, and there are" in said
        assert "write all in its place" in said
    path = root / "study.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("samples: [4, 18]", "samples: [4, all]"), encoding="utf-8"
    )
    assert voxmix("status", root)[0] == 0


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder of open weights as small as the study's networks."""
    return write_dinov2(tmp_path / "weights")


def write_dinov2(folder: Path) -> Path:
    """Write weights under the names of transformers' Dinov2Model."""
    import safetensors.torch

    from voxmix.backbone_rows import VitSettings
    from voxmix.encoders.backbone import build_backbone
    from voxmix.encoders.checkpoint_names import dinov2_names

    settings = VitSettings(
        image=16, channels=3, patch=8, width=24, depth=1, heads=3, layer_scale=1.0, style="dinov2"
    )
    state, tensors = build_backbone(settings, 0).state_dict(), {}
    for ours, (theirs, *_) in dinov2_names(settings).items():
        if ours in state:
            parts = state[ours].chunk(len(theirs))
            tensors |= {name: part.contiguous() for name, part in zip(theirs, parts, strict=True)}
    folder.mkdir()
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    config = {"model_type": "dinov2", "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
    (folder / "config.json").write_text(
        json.dumps({**config, "image_size": 16, "patch_size": 8}), encoding="utf-8"
    )
    square = {"height": 16, "width": 16}
    recipe = {"size": {"shortest_edge": 20}, "crop_size": square, "do_center_crop": True}
    norm = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(recipe | norm), encoding="utf-8")
    return folder


def lose_a_tensor(folder: Path) -> None:
    import safetensors.torch

    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    del tensors["layernorm.bias"]
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


def cut_the_end(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8"),
            "weights of the family 'bert', which voxmix cannot start from",
        ),
        (lose_a_tensor, "does not fit its configuration. Missing: layernorm.bias."),
        (cut_the_end, "is not safetensors"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "no preprocessor_config.json in"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_at_init_and_again_at_prepare(
    films: Path, weights: Path, tmp_path: Path, harm: Callable[[Path], object], words: str
) -> None:
    root = tmp_path / "x"
    arguments = ("init", root, "--images", films, "--objective", "mae", "--start", f"w={weights}")
    code, said = voxmix(*arguments)
    assert code == 0, said
    before = files_of(root)
    harm(weights)
    code, said = voxmix("prepare", root)
    assert code == 2, said
    assert words in said or "starts.w: there is no folder" in said
    assert files_of(root) == before
    shutil.rmtree(root)
    code, said = voxmix(*arguments)
    assert (code, words in said) == (2, True), said
    assert not root.exists()


@pytest.fixture
def prepared(begin: Callable[..., EncoderView], weights: Path) -> Path:
    """A prepared study with texts, from scratch and from weights."""
    root = begin(objectives=("clip",), starts={"scratch": None, "w": weights}).root
    code, said = voxmix("prepare", root)
    assert code == 0, said
    return root


FILES = {
    "tokenizer": ("cache/texts/tokenizer-*.json", 'remove {root}/cache/texts and index.json and prepare again'),
    "index": ("cache/index.json", "delete it and prepare again: finished images are kept"),
    "starts": ("starts.json", "delete it and prepare again"),
    "steps": ("steps.json", "delete it: finished runs stay"),
}  # fmt: skip


@pytest.mark.parametrize("file", list(FILES))
def test_a_damaged_file_is_named_with_what_to_do_and_doing_it_helps(prepared: Path, file: str) -> None:
    pattern, remedy = FILES[file]
    path = next(prepared.glob(pattern))
    whole, planned = path.read_bytes(), [run.spec.run_id for run in EncoderView.open(prepared).planned]
    for verb, damage in (("status", b"["), ("run", b'{"w": 3}'), ("status", whole[: len(whole) // 2])):
        path.write_bytes(damage)
        code, said = voxmix(verb, prepared)
        assert code == 2, said
        assert path.name in said
        assert remedy.format(root=prepared) in said
    path.unlink()
    if file == "tokenizer":
        shutil.rmtree(prepared / "cache" / "texts")
        (prepared / "cache" / "index.json").unlink()
    code, said = voxmix("status", prepared, "--json")
    assert json.loads(said)["next"].startswith("voxmix prepare"), said
    assert voxmix("prepare", prepared)[0] == 0
    assert [run.spec.run_id for run in EncoderView.open(prepared).planned] == planned


def test_a_tokenizer_that_changed_is_refused(prepared: Path) -> None:
    path = next(prepared.glob("cache/texts/tokenizer-*.json"))
    path.write_text(path.read_text(encoding="utf-8").replace('"<pad>"', '"<pat>"'), encoding="utf-8")
    for verb in ("status", "prepare", "run"):
        code, said = voxmix(verb, prepared)
        assert code == 2, said
        assert "changed since the texts were made with it" in said


def test_a_start_of_which_nothing_is_known_is_never_trained_from_scratch(prepared: Path) -> None:
    (prepared / "starts.json").write_text("{}", encoding="utf-8")
    code, said = voxmix("run", prepared)
    assert code == 2, said
    assert "what the starts w are is not known; delete starts.json" in said
    assert not (prepared / "runs").exists()


def test_a_second_process_is_told_to_wait(prepared: Path) -> None:
    with marks.held(prepared):
        for verb in (("prepare",), ("run",), ("study", "run")):
            code, said = voxmix(*verb, prepared)
            assert code == 1, said
            assert f"another voxmix process (pid {os.getpid()} on " in said
        assert voxmix("status", prepared)[0] == 0


def test_finished_runs_outlast_a_damaged_list_of_images(begin: Callable[..., EncoderView]) -> None:
    root = begin(objectives=("mae",), samples=("all",)).root
    code, said = voxmix("study", "run", root)
    assert code == 0, said
    (path,) = (root / "subsets").iterdir()
    before, path_before = files_of(root / "runs"), path.read_bytes()
    path.write_text("{", encoding="utf-8")
    code, said = voxmix("study", "run", root)
    assert code == 0, said
    assert files_of(root / "runs") == before
    assert voxmix("run", root)[0] == 0
    assert path.read_bytes() == path_before


def test_the_settings_of_one_kind_under_the_name_of_the_other_are_told_apart(
    begin: Callable[..., EncoderView], tmp_path: Path
) -> None:
    assert voxmix("init", tmp_path / "mixtures", "--phantoms")[0] == 0
    path = tmp_path / "mixtures" / "study.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "\nkind: encoders\n", encoding="utf-8")
    code, said = voxmix("status", path.parent)
    assert code == 2, said
    assert "holds the settings of a study of mixtures under kind: encoders; set kind to mixtures" in said
    path = begin().study.path
    for kind in ("kind: mixtures\n", ""):
        path.write_text(path.read_text(encoding="utf-8").replace("kind: encoders\n", kind), encoding="utf-8")
        code, said = voxmix("status", path.parent)
        assert code == 2, said
        assert "holds the settings of a study of encoders under another kind; write `kind: encoders`" in said
        if kind:
            with pytest.raises(InputError, match="kind is 'mixtures'"):
                EncoderView.open(path.parent)
            path.write_text(
                path.read_text(encoding="utf-8").replace(kind, "kind: encoders\n"), encoding="utf-8"
            )
