"""voxmix export of the runs of an encoder study: folders that open, nothing private, and one sentence for what cannot be."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from verbs import voxmix

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from voxmix.encoder_study import EncoderView, run_encoder_study

pytestmark = pytest.mark.filterwarnings("ignore::voxmix.errors.VoxmixWarning")


def test_runs_become_folders_that_a_study_begins_from(begin: Callable[..., EncoderView]) -> None:
    from voxmix.encoders.start import load_start

    view = begin(objectives=("dino", "unicl"), samples=("all",))
    done = voxmix("export", view.root)
    assert done.exit_code == 2
    assert "none is finished yet: voxmix status" in " ".join(done.output.split())
    run_encoder_study(view.root)
    with view.study.table_path.open(encoding="utf-8") as stream:
        rows = {row["objective"]: view.study.runs_dir / row["run"] for row in csv.DictReader(stream)}
    for objective, run in rows.items():
        folder = view.root.parent / objective
        done = voxmix("export", run, "-o", folder, "--json")
        assert done.exit_code == 0, done.output
        assert ("the tokenizer is not written" in " ".join(done.stderr.split())) == (objective == "unicl")
        assert {"model.safetensors", "config.json", "heads.safetensors"} < {*json.loads(done.stdout)["files"]}
        assert json.loads((folder / "card.json").read_text(encoding="utf-8"))["objective"] == objective
        assert load_start(folder).digest == load_start(run).digest
        for path in folder.iterdir():
            content = path.read_bytes()
            for word in (b"Person", b"Case 3", str(view.root.parent).encode()):
                assert word not in content, path
        shutil.copytree(folder, folder.with_name(f"{objective}-copied"))  # outside any study
        assert voxmix("export", folder.with_name(f"{objective}-copied"), "-o", folder / "x").exit_code == 0
    for arguments, words in {
        (
            view.root,
        ): "is a study of encoders, of which each run has an encoder; give the folder of a run, e.g.",
        (rows["dino"], "--mixture-for", "torch"): "has no mixture; leave --mixture-for out",
        (rows["dino"], "--names", "timm"): "--names has no meaning for a run of a study of encoders",
        (rows["dino"], "--monai", "1.5"): "--monai has no meaning for a run of a study of encoders",
        (rows["dino"], "--strategy", "law"): "--strategy has no meaning for a run of a study of encoders",
        (rows["dino"], "-o", rows["dino"]): "is what is exported; choose another folder to write to",
        (view.study.runs_dir,): "is neither a study (study.yaml) nor a finished run",
    }.items():
        done = voxmix("export", *arguments)
        assert done.exit_code == 2, done.output
        assert words in " ".join(done.output.split())
    third = begin("third", objectives=("unicl",), starts={"own": view.root.parent / "unicl"})
    assert not (view.root.parent / "unicl" / "tokenizer.json").exists()
    done = voxmix("prepare", third.root)
    assert done.exit_code == 2
    assert "no tokenizer.json at" in " ".join(done.output.split())
    shutil.copy(rows["unicl"] / "tokenizer.json", view.root.parent / "unicl")
    assert voxmix("prepare", third.root).exit_code == 0
    begun = begin("second", objectives=("dino",), starts={"own": view.root.parent / "dino"})
    assert begun.config.starts["own"].folder == "../dino"
    assert voxmix("prepare", begun.root).exit_code == 0
    assert all(run.spec.start is not None for run in EncoderView.open(begun.root).planned)


def test_a_study_file_alone_is_a_study_of_encoders_too(begin: Callable[..., EncoderView]) -> None:
    path: Path = begin().study.path
    done = voxmix("export", path, "--mixture-for", "torch")
    assert done.exit_code == 2
    assert "is a study of encoders" in " ".join(done.output.split())
