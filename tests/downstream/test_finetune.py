"""The loop: killed and resumed it ends with the same bits; one protocol for all; inference and scores are right."""

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from voxmix.compute import ComputeSettings
from voxmix.datasets.table import tasks_of_sets
from voxmix.datasets.task import ClassTable, Task
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.finetune import finetune
from voxmix.downstream.inference import predict, score, window_logits
from voxmix.downstream.loss import build_loss
from voxmix.downstream.networks import build_network
from voxmix.downstream.protocol import Protocol
from voxmix.downstream.spec import FinetuneSpec
from voxmix.encoders.interchange import PretrainedEncoder
from voxmix.encoders.mae import MaskedAutoencoder
from voxmix.errors import InputError
from voxmix.run_settings import ModelSettings
from voxmix.training.checkpoint import load_state

MakeProtocol = Callable[..., Protocol]
OFTEN = ComputeSettings(checkpoint_seconds=0)


@pytest.fixture
def encoder(model_settings: ModelSettings) -> PretrainedEncoder:
    torch.manual_seed(3)
    model = MaskedAutoencoder(model_settings, domains=1)
    model.initialize()
    weights = {f"vit.{name}": tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    return PretrainedEncoder(weights=weights, card={"run_id": "abc"})


def result(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return value


def test_a_result_says_what_was_agreed(
    cases: CaseSet, protocol_of: MakeProtocol, encoder: PretrainedEncoder, tmp_path: Path
) -> None:
    protocol = protocol_of(cases)
    spec = FinetuneSpec(protocol=protocol, init="single", seed=1, checkpoint="abc")
    finetune(spec, cases=cases, encoder=encoder, folder=tmp_path / "run", surface=True)
    found = result(tmp_path / "run")
    assert (found["format"], found["task"], found["kind"]) == (1, "boxes", "segmentation")
    assert (found["init"], found["control"], found["seed"]) == ("single", None, 1)
    assert found["protocol_digest"] == protocol.digest
    assert found["draws"] == 32
    assert found["flops"] > 0
    assert found["classes"] == ["background", "box", "bar"]
    assert [row["case"] for row in found["cases"]] == [case.name for case in cases.part("test")]
    assert set(found["cases"][0]["scores"]) == {"dice", "surface_distance_mm"}
    assert [point["step"] for point in found["curve"]] == [4, 8]
    assert not (tmp_path / "run/state.pt").exists()
    assert len((tmp_path / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 8
    before = (tmp_path / "run/result.json").stat().st_mtime_ns
    finetune(spec, cases=cases, encoder=encoder, folder=tmp_path / "run")
    assert (tmp_path / "run/result.json").stat().st_mtime_ns == before


def test_stopped_anywhere_a_run_ends_with_the_same_bits(
    cases: CaseSet, protocol_of: MakeProtocol, tmp_path: Path
) -> None:
    spec = FinetuneSpec(protocol=protocol_of(cases), init="scratch", seed=0)
    finetune(spec, cases=cases, encoder=None, folder=tmp_path / "whole")

    def dies(done: int, total: int) -> None:
        if done > 4 * step:
            raise RuntimeError("killed")

    for step in range(8):  # a state after every step, and death after every state
        with pytest.raises(RuntimeError, match="killed"):
            finetune(
                spec, cases=cases, encoder=None, folder=tmp_path / "killed", compute=OFTEN, progress=dies
            )
        assert load_state(tmp_path / "killed")["steps"] == step + 1  # type: ignore[index]
    finetune(spec, cases=cases, encoder=None, folder=tmp_path / "killed")
    first, second = result(tmp_path / "whole"), result(tmp_path / "killed")
    assert first["cases"] == second["cases"]
    assert first["curve"] == second["curve"]
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "killed")]
    assert metrics[0] == metrics[1]


KILLED_AT = """
import os, pickle, signal, sys
from pathlib import Path
from voxmix.compute import ComputeSettings
from voxmix.downstream.finetune import finetune

OFTEN = ComputeSettings(checkpoint_seconds=0)
with open(sys.argv[1], "rb") as stream:
    spec, cases = pickle.load(stream)

def progress(done, total):
    if done >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

finetune(spec, cases=cases, encoder=None, folder=Path(sys.argv[2]), compute=OFTEN, threads=1, progress=progress)
"""


def test_killed_by_the_system_a_run_ends_with_the_same_bits(
    cases: CaseSet, protocol_of: MakeProtocol, tmp_path: Path
) -> None:
    spec = FinetuneSpec(protocol=protocol_of(cases), init="scratch", seed=0)
    finetune(spec, cases=cases, encoder=None, folder=tmp_path / "whole", threads=1)
    (tmp_path / "spec").write_bytes(pickle.dumps((spec, cases)))
    for draws in (8, 20):
        command = [
            sys.executable,
            "-c",
            KILLED_AT,
            str(tmp_path / "spec"),
            str(tmp_path / "killed"),
            str(draws),
        ]
        done = subprocess.run(command, capture_output=True, check=False, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        assert not (tmp_path / "killed/result.json").exists()
    finetune(spec, cases=cases, encoder=None, folder=tmp_path / "killed", threads=1)
    first, second = result(tmp_path / "whole"), result(tmp_path / "killed")
    assert (first["cases"], first["curve"]) == (second["cases"], second["curve"])
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "killed")]
    assert metrics[0] == metrics[1]


def test_it_learns_what_can_be_learned(cases: CaseSet, protocol_of: MakeProtocol, tmp_path: Path) -> None:
    """Bright boxes on dark noise: from scratch, in a few hundred draws, far above an untrained network."""
    protocol = protocol_of(cases, draws=240, learning_rate=1e-2, validations=1, shift=0.02)
    finetune(
        FinetuneSpec(protocol=protocol, init="scratch", seed=0), cases=cases, encoder=None, folder=tmp_path
    )
    dice = [row["scores"]["dice"]["box"] for row in result(tmp_path)["cases"]]
    assert min(dice) > 0.6


def test_every_initialization_runs_under_the_same_protocol(
    cases: CaseSet, protocol_of: MakeProtocol, encoder: PretrainedEncoder, tmp_path: Path
) -> None:
    protocol = protocol_of(cases, draws=4, validations=1)
    plans = [
        FinetuneSpec(protocol=protocol, init="scratch", seed=0),
        FinetuneSpec(protocol=protocol, init="single", seed=0, checkpoint="abc"),
        FinetuneSpec(protocol=protocol, init="single", seed=0, control="permuted", checkpoint="abc"),
        FinetuneSpec(protocol=protocol, init="single", seed=0, control="no-tokens", checkpoint="abc"),
    ]
    assert len({spec.run_id for spec in plans}) == 4
    assert all(spec.protocol is protocol for spec in plans)
    results = []
    for number, spec in enumerate(plans):
        folder = tmp_path / str(number)
        finetune(spec, cases=cases, encoder=encoder if spec.checkpoint else None, folder=folder)
        results.append(result(folder))
    for shared in ("protocol_digest", "protocol", "draws", "flops", "parameters", "split", "classes"):
        assert len({json.dumps(found[shared]) for found in results}) == 1, shared
    # The same crops in the same order: what differs is the network alone.
    losses = [(tmp_path / str(n) / "metrics.jsonl").read_text(encoding="utf-8") for n in range(4)]
    assert len(set(losses)) == 4


@pytest.mark.parametrize("change", [{"draws": 33}, {"learning_rate": 3e-3}, {"final_overlap": 0.25}])
def test_another_protocol_has_another_digest(
    cases: CaseSet, protocol_of: MakeProtocol, change: dict[str, float]
) -> None:
    assert protocol_of(cases, **change).digest != protocol_of(cases).digest


def test_a_folder_of_another_run_is_refused(
    cases: CaseSet, protocol_of: MakeProtocol, encoder: PretrainedEncoder, tmp_path: Path
) -> None:
    spec = FinetuneSpec(protocol=protocol_of(cases, draws=4, validations=1), init="scratch", seed=0)
    finetune(spec, cases=cases, encoder=None, folder=tmp_path)
    (tmp_path / "result.json").unlink()
    with pytest.raises(InputError, match="other settings"):
        finetune(replace(spec, seed=1), cases=cases, encoder=None, folder=tmp_path)
    with pytest.raises(InputError, match="needs an encoder"):
        finetune(replace(spec, checkpoint="abc"), cases=cases, encoder=None, folder=tmp_path / "other")
    other = replace(spec, protocol=replace(spec.protocol, cases="else"))
    with pytest.raises(InputError, match="plan it again"):
        finetune(other, cases=cases, encoder=None, folder=tmp_path / "other")


def test_one_window_equals_the_whole_volume(cases: CaseSet, protocol_of: MakeProtocol) -> None:
    protocol = protocol_of(cases)
    network = build_network(protocol, classes=3, seed=0).eval()
    volume = torch.rand(16, 16, 16)
    for overlap in (0.25, 0.5):
        windows = window_logits(network, volume, protocol, overlap=overlap)
        with torch.no_grad():
            whole = network(volume[None, None])[0]
        torch.testing.assert_close(windows, whole)


def test_windows_of_a_voxelwise_network_equal_the_whole_volume(
    cases: CaseSet, protocol_of: MakeProtocol
) -> None:
    """Where no output depends on its surroundings, any overlap must give the plain pass, on any shape."""
    voxelwise = torch.nn.Conv3d(1, 3, kernel_size=1)
    volume = torch.rand(23, 16, 40)
    with torch.no_grad():
        whole = voxelwise(volume[None, None])[0]
    for overlap in (0.0, 0.25, 0.5):
        windows = window_logits(voxelwise, volume, protocol_of(cases), overlap=overlap)
        torch.testing.assert_close(windows, whole, atol=1e-5, rtol=1e-5)


def test_softmax_loss_by_hand(cases: CaseSet, protocol_of: MakeProtocol) -> None:
    logits, labels = torch.randn(2, 3, 4, 4, 4), torch.randint(0, 3, (2, 4, 4, 4))
    p = logits.softmax(dim=1)
    truth = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    overlap, total = (p * truth).flatten(2).sum(2), (p + truth).flatten(2).sum(2)
    dice = (1 - (2 * overlap + 1e-5) / (total + 1e-5)).mean()
    expected = dice + torch.nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(build_loss(protocol_of(cases))(logits, labels), expected)


def test_sigmoid_loss_by_hand(model_settings: ModelSettings) -> None:
    brats = next(task for task in tasks_of_sets() if task.name == "brats-t2")
    logits, labels = torch.randn(2, 3, 4, 4, 4), torch.randint(0, 4, (2, 4, 4, 4))
    truth = torch.stack([labels > 0, (labels == 1) | (labels == 3), labels == 3], dim=1).float()
    p = logits.sigmoid()
    overlap, total = (p * truth).flatten(2).sum(2), (p + truth).flatten(2).sum(2)
    dice = (1 - (2 * overlap + 1e-5) / (total + 1e-5)).mean()
    expected = dice + torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    loss = build_loss(Protocol(task=brats, model=model_settings, cases=""))
    torch.testing.assert_close(loss(logits, labels), expected)


class Oracle(torch.nn.Module):
    """Answers with logits that were laid down for the whole image."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits[None])

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(volume), -1, -1, -1, -1)


@pytest.mark.parametrize("regions", [False, True])
def test_perfect_logits_score_one(
    cases: CaseSet, protocol_of: MakeProtocol, model_settings: ModelSettings, regions: bool
) -> None:
    task = cases.task
    if regions:
        task = replace(task, regions=True, classes={"both": (1, 2), "bar": (2,)})
        cases = replace(cases, task=task, classes=task.class_names)
    case = cases.part("test")[0]
    labels = torch.from_numpy(np.asarray(cases.labels(case)).astype(np.int64))
    truth = torch.stack([labels > 0, labels == 2] if regions else [labels == k for k in range(3)])
    protocol = replace(protocol_of(cases), task=task, model=replace(model_settings, crop=20))
    found = predict(Oracle(20 * truth.float() - 10), cases, case, protocol, overlap=0.5)
    assert found.labels is not None
    assert found.labels.shape == ((2, 20, 20, 20) if regions else (20, 20, 20))
    dice = score(found, cases, protocol)["scores"]["dice"]
    assert dice == ({"both": 1.0, "bar": 1.0} if regions else {"box": 1.0, "bar": 1.0})


def test_classification_end_to_end(
    dataset: Path, build: Callable[..., CaseSet], protocol_of: MakeProtocol, tmp_path: Path
) -> None:
    rows = ["path,class"] + [f"p{n}.nii.gz,{'even' if n % 2 == 0 else 'odd'}" for n in range(10)]
    (dataset / "table.csv").write_text("\n".join(rows), encoding="utf-8")
    task = Task(
        name="parity",
        kind="classification",
        domain="CT",
        classes={"even": ("even",), "odd": ("odd",)},
        table=ClassTable(file="table.csv"),
        split=(0.6, 0.2, 0.2),
        settings={"draws": 16, "batch_size": 4, "validations": 1},
    )
    cases = build(task, dataset)
    spec = FinetuneSpec(protocol=protocol_of(cases), init="scratch", seed=0)
    finetune(spec, cases=cases, encoder=None, folder=tmp_path / "run")
    found = result(tmp_path / "run")
    assert found["kind"] == "classification"
    assert len(found["cases"]) == 2
    for row in found["cases"]:
        assert sum(row["probability"]) == pytest.approx(1)
        assert row["truth"] in (0, 1)
