"""A head of another package: a file and an entry point, and whatever it does wrong is one sentence."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxmix.errors import InputError, VoxmixError
from voxmix.probe_tasks import HEADS, JudgedEncoder, ProbeTask, named_heads
from voxmix.probes.encoder import LoadedEncoder
from voxmix.probes.features import FeatureStore
from voxmix.probes.heads import HeadResult, Probing, scored
from voxmix.probes.judge import judge
from voxmix.probes.task_cases import probe_data
from voxmix.scores import main_score

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "probes.md"
LABELS = ProbeTask(kind="labels", labels=("bright",))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages with the head of the documentation, and one that cannot be imported."""
    site = tmp_path / "site"
    (code,) = re.findall(r"```python\n(import numpy.+?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    (rows,) = re.findall(r"```toml\n(.+?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert 'entry-points."voxmix.probe_heads"' in rows
    (site / "mypackage").mkdir(parents=True)
    (site / "mypackage" / "__init__.py").write_text("", encoding="utf-8")
    (site / "mypackage" / "heads.py").write_text(code, encoding="utf-8")
    about = site / "mypackage-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mypackage\nVersion: 1.0\n", encoding="utf-8"
    )
    points = rows.split("\n", 1)[1].replace('"', "") + "broken = mypackage.heads:nowhere\n"
    (about / "entry_points.txt").write_text("[voxmix.probe_heads]\n" + points, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(HEADS, "_points", None)  # looked up again, as in a new process
    return site


def _judged(task: ProbeTask, encoder: LoadedEncoder, judged: JudgedEncoder, source: Any, folder: Path) -> Any:
    return judge(
        probe_data(task, "findings", source),
        encoder,
        judged,
        store=FeatureStore(folder / "f"),
        folder=folder / "p",
    ).result


def test_a_head_of_a_package_is_named_by_a_task_and_judges(
    package: Path, encoder: LoadedEncoder, judged: JudgedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    assert named_heads() == ("linear", "knn", "attention", "nearest-mean", "broken")
    found = _judged(replace(LABELS, head="nearest-mean"), encoder, judged, make_pictures(), tmp_path)
    assert main_score(found) > 0.95  # brightness is what such a mean sees first
    other = _judged(
        replace(LABELS, labels=("coin",), head="nearest-mean"), encoder, judged, make_pictures(), tmp_path
    )
    assert main_score(other) < 0.9
    with pytest.raises(InputError, match=r"head 'broken' cannot be imported.*install its package"):
        _judged(replace(LABELS, head="broken"), encoder, judged, make_pictures(), tmp_path)


def test_other_processes_know_it_too(package: Path) -> None:
    code = (
        "from voxmix.probe_tasks import ProbeTask; print(ProbeTask(kind='labels', head='nearest-mean').head)"
    )
    paths = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
    told = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert told.stdout.strip() == "nearest-mean"


def _short(probing: Probing) -> HeadResult:
    data = probing.data
    whole = scored(data, np.full((len(data.part("test")), len(data.names)), 0.5))
    return replace(whole, cases=whole.cases[1:])


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (lambda probing: {}["nothing"], r"head 'mine' of another package failed \(KeyError"),
        (lambda probing: 0.5, "should return a HeadResult with one case for each of the"),
        (_short, "should return a HeadResult with one case for each of the"),
    ],
    ids=["raises", "returns a number", "leaves a case out"],
)
def test_what_a_head_of_others_does_wrong_is_one_sentence(
    head: Any, words: str, encoder: LoadedEncoder, judged: JudgedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    HEADS.add("mine", head)
    try:
        with pytest.raises(VoxmixError, match=words):
            _judged(replace(LABELS, head="mine"), encoder, judged, make_pictures(), tmp_path)
    finally:
        HEADS.remove("mine")
    assert not list((tmp_path / "p").glob("result.json"))


@pytest.mark.parametrize("name", ["linaer", "masks", "", "nearest-mean"])
def test_a_head_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"unknown head '{name}'"):
        ProbeTask(kind="labels", head=name)
