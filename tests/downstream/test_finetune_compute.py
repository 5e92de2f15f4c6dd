"""How finetuning is computed: the plain loop, pieces, processes, precision, loaders; each changes rounding alone, or nothing."""

import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from voxmix.compute import ComputeSettings
from voxmix.datasets.task import IGNORED
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.finetune import finetune
from voxmix.downstream.loss import build_loss
from voxmix.downstream.networks import build_network
from voxmix.downstream.protocol import Protocol
from voxmix.downstream.spec import FinetuneSpec
from voxmix.downstream.transforms import CropSource, change
from voxmix.encoders.interchange import PretrainedEncoder
from voxmix.encoders.mae import MaskedAutoencoder
from voxmix.errors import VoxmixError, VoxmixWarning
from voxmix.training.checkpoint import load_state
from voxmix.training.trackers import TRACKERS, flat_settings

MakeProtocol = Callable[..., Protocol]
QUIET = {"device": "cpu", "trackers": ()}


@pytest.fixture
def short(cases: CaseSet, protocol_of: MakeProtocol) -> FinetuneSpec:
    """Three steps of 4, 4 and 2 draws."""
    return FinetuneSpec(protocol=protocol_of(cases, draws=10, validations=1), init="scratch", seed=0)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def result(folder: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return value


def trained(spec: FinetuneSpec, cases: CaseSet, folder: Path, **compute: Any) -> list[dict[str, Any]]:
    settings = ComputeSettings(**{**QUIET, **compute})
    finetune(spec, cases=cases, encoder=None, folder=folder, compute=settings, threads=1)
    return rows(folder)


def near(found: list[dict[str, Any]], expected: list[dict[str, Any]], rel: float) -> bool:
    return len(found) == len(expected) and all(
        a == pytest.approx(b, rel=rel) for a, b in zip(found, expected, strict=True)
    )


def test_it_is_a_plain_loop_to_the_bit(short: FinetuneSpec, cases: CaseSet, tmp_path: Path) -> None:
    """Twelve lines of torch, as finetuning was written before it had a loop in common with pretraining."""
    found = trained(short, cases, tmp_path)
    protocol, settings = short.protocol, short.protocol.settings
    network, loss = build_network(protocol, classes=3, seed=0), build_loss(protocol)
    free = {name for name, p in network.named_parameters() if p.ndim < 2 or "position_embeddings" in name}
    groups = [
        {"params": [p for n, p in network.named_parameters() if n not in free], "weight_decay": 1e-2},
        {"params": [p for n, p in network.named_parameters() if n in free], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=True)
    source = CropSource(cases, protocol, seed=0)
    for step, (start, stop) in enumerate([(0, 4), (4, 8), (8, 10)]):
        warmup = min(50, 3 // 4)
        rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / 3))
        for group in optimizer.param_groups:
            group["lr"] = rate
        images, labels = change(*source.batch(start, stop), source.numbers(start, stop), protocol)
        value = loss(network(images), labels, None)
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for g in groups for p in g["params"]], settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        assert (found[step]["loss"], found[step]["gradient_norm"]) == (value.item(), norm.item())
        assert found[step]["learning_rate"] == rate


def test_pieces_change_rounding_alone(short: FinetuneSpec, cases: CaseSet, tmp_path: Path) -> None:
    whole = trained(short, cases, tmp_path / "whole")
    pieces = trained(short, cases, tmp_path / "pieces", micro_batch=3)
    assert near(pieces, whole, 1e-4)
    assert result(tmp_path / "pieces")["computed"]["micro_batch"] == 3


def test_pieces_of_a_task_that_ignores_voxels_count_each_known_voxel_once(
    cases: CaseSet, protocol_of: MakeProtocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where draws know more and fewer voxels, a mean of the means of pieces would be another loss."""
    task = replace(cases.task, ignore=(7,))
    plain = CaseSet.labels

    def partly(self: CaseSet, case: Any) -> Any:
        labels = plain(self, case).copy()
        if int(case.name, 16) % 2:
            labels[:, :, 4:] = IGNORED
        return labels

    monkeypatch.setattr(CaseSet, "labels", partly)
    cases = replace(cases, task=task)
    protocol = replace(protocol_of(cases, draws=8, validations=1), task=task)
    spec = FinetuneSpec(protocol=protocol, init="scratch", seed=0)
    whole = trained(spec, cases, tmp_path / "whole")
    pieces = trained(spec, cases, tmp_path / "pieces", micro_batch=1)
    assert near(pieces, whole, 1e-4)
    loss = build_loss(protocol)
    logits, labels = torch.randn(2, 3, 4, 4, 4), torch.zeros(2, 4, 4, 4, dtype=torch.uint8)
    labels[0, :, :, 1:] = IGNORED
    means = sum(float(loss(logits[n : n + 1], labels[n : n + 1], None)) for n in (0, 1)) / 2
    assert means != pytest.approx(float(loss(logits, labels, None)), rel=1e-3)


@pytest.mark.parametrize("loaders", [1, 3])
def test_reading_ahead_changes_no_bit(
    loaders: int, short: FinetuneSpec, cases: CaseSet, tmp_path: Path
) -> None:
    whole = trained(short, cases, tmp_path / "whole")
    assert trained(short, cases, tmp_path / "ahead", loaders=loaders) == whole
    assert result(tmp_path / "ahead")["cases"] == result(tmp_path / "whole")["cases"]


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true"])
def test_another_precision_is_another_run_near_it(
    precision: str, short: FinetuneSpec, cases: CaseSet, protocol_of: MakeProtocol, tmp_path: Path
) -> None:
    """What can be told from the losses is part of the protocol, and so of the id."""
    half = replace(short, protocol=protocol_of(cases, draws=10, validations=1, precision=precision))
    assert half.run_id != short.run_id
    assert "precision" not in short.as_dict()["protocol"]["settings"]
    assert FinetuneSpec.from_dict(half.as_dict()).run_id == half.run_id
    whole, found = trained(short, cases, tmp_path / "whole"), trained(half, cases, tmp_path / "half")
    assert found != whole
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in whole], rel=0.02)
    assert result(tmp_path / "half")["computed"]["precision"] == precision
    assert len(result(tmp_path / "half")["cases"]) == 2


def test_trackers_get_losses_looks_and_the_score(short: FinetuneSpec, cases: CaseSet, tmp_path: Path) -> None:
    logged: list[tuple[int, dict[str, float]]] = []

    class Listening:
        def log(self, step: int, values: Mapping[str, float]) -> None:
            logged.append((step, dict(values)))

        def finish(self, summary: Mapping[str, float]) -> None:
            logged.append((0, dict(summary)))

        def close(self) -> None:
            pass

    TRACKERS.add("listening", lambda spec, folder, steps_done: Listening())
    try:
        found = trained(short, cases, tmp_path, trackers=("listening",))
    finally:
        TRACKERS.remove("listening")
    losses = [values["loss"] for _, values in logged if "loss" in values]
    assert losses == [row["loss"] for row in found]
    looks = [(step, values) for step, values in logged if "validation_score" in values]
    assert looks == [(3, {"validation_score": result(tmp_path)["curve"][0]["validation"]})]
    assert logged[-1][0] == 0
    assert set(logged[-1][1]) == {"test_score"}
    flat = flat_settings(short)
    assert flat["protocol.settings.draws"] == 10
    assert not [value for value in flat.values() if isinstance(value, str) and "/" in value]


CHILD = """
import pickle, sys
from pathlib import Path
from voxmix.compute import ComputeSettings
from voxmix.downstream.finetune import finetune

with open(sys.argv[1], "rb") as stream:
    spec, cases, encoder, compute = pickle.load(stream)
finetune(spec, cases=cases, encoder=encoder, folder=Path(sys.argv[2]), compute=ComputeSettings(**compute), threads=1)
"""


def together(spec: FinetuneSpec, cases: CaseSet, encoder: Any, folder: Path, **compute: Any) -> None:
    """Finetune by two processes, as torchrun starts them."""
    root = folder.parent
    (root / "child.py").write_text(CHILD, encoding="utf-8")
    (root / "spec").write_bytes(pickle.dumps((spec, cases, encoder, {**QUIET, "devices": 2, **compute})))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [str(root / "child.py"), str(root / "spec"), str(folder)]
    done = subprocess.run([*launcher, *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("sharing", ["ddp", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_two_processes_finetune_what_one_does(
    sharing: str, cases: CaseSet, protocol_of: MakeProtocol, tmp_path: Path
) -> None:
    protocol = protocol_of(cases, draws=9, validations=2)  # one of the processes has none of the last batch
    spec = FinetuneSpec(protocol=protocol, init="scratch", seed=0)
    one = trained(spec, cases, tmp_path / "one")
    together(spec, cases, None, tmp_path / "two", sharing=sharing, micro_batch=1)
    assert near(rows(tmp_path / "two"), one, 1e-3)
    found, expected = result(tmp_path / "two"), result(tmp_path / "one")
    assert found["computed"]["devices"] == 2
    assert [c["case"] for c in found["cases"]] == [c["case"] for c in expected["cases"]]
    assert [point["validation"] for point in found["curve"]] == pytest.approx(
        [point["validation"] for point in expected["curve"]], abs=0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["ddp", "fsdp"])
@pytest.mark.parametrize("control", ["frozen", "no-tokens"])
def test_two_processes_leave_alone_what_does_not_learn(
    sharing: str,
    control: Any,
    cases: CaseSet,
    protocol_of: MakeProtocol,
    model_settings: Any,
    tmp_path: Path,
    dies_at: Any,
) -> None:
    model = MaskedAutoencoder(model_settings, domains=1)
    weights = {f"vit.{name}": tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    encoder = PretrainedEncoder(weights=weights, card={"run_id": "abc"})
    spec = FinetuneSpec(
        protocol=protocol_of(cases, draws=8, validations=1),
        init="x",
        seed=0,
        control=control,
        checkpoint="abc",
    )
    settings = ComputeSettings(**QUIET)
    finetune(spec, cases=cases, encoder=encoder, folder=tmp_path / "one", compute=settings, threads=1)
    often, rest = replace(settings, checkpoint_seconds=0), {"cases": cases, "encoder": encoder, "threads": 1}
    with pytest.raises(RuntimeError, match="killed"):
        finetune(spec, folder=tmp_path / "two", compute=often, progress=dies_at(4), **rest)
    together(spec, cases, encoder, tmp_path / "two", sharing=sharing)  # goes on from one process's state
    assert near(rows(tmp_path / "two"), rows(tmp_path / "one"), 1e-3)


def test_memory_that_is_not_enough_names_the_setting_and_keeps_the_state(
    short: FinetuneSpec, cases: CaseSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxmix.downstream.objective import Finetuning

    plain, calls = Finetuning.losses, []

    def hungry(objective: Any, network: Any, batch: Any) -> Any:
        calls.append(None)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(objective, network, batch)

    whole = trained(short, cases, tmp_path / "whole")
    monkeypatch.setattr(Finetuning, "losses", hungry)
    with pytest.raises(VoxmixError, match=r"out of memory.*set compute\.micro_batch to 2"):
        trained(short, cases, tmp_path / "run", checkpoint_seconds=0)
    state = load_state(tmp_path / "run")
    assert state is not None
    assert state["steps"] == 2
    monkeypatch.undo()
    with pytest.warns(VoxmixWarning, match="goes on after 2 steps in another way .*micro_batch"):
        resumed = trained(short, cases, tmp_path / "run", micro_batch=2)
    assert near(resumed, whole, 1e-3)


def test_a_finished_state_of_the_loop_before_is_begun_again_not_mixed_up(
    short: FinetuneSpec, cases: CaseSet, tmp_path: Path
) -> None:
    from voxmix.training.checkpoint import save_state

    whole = trained(short, cases, tmp_path / "whole")
    old = {"run_id": short.run_id, "steps": 1, "seconds": 0.1, "curve": [], "network": {}, "optimizer": {}}
    save_state(tmp_path / "old", old)
    with pytest.warns(VoxmixWarning, match="older voxmix"):
        assert trained(short, cases, tmp_path / "old") == whole
