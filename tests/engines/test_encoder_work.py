"""Encoder runs as jobs: killed and gone on with to the same bits; other keys, weights and networks are refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import voxmix
from voxmix.backbone_rows import VitSettings
from voxmix.compute import ComputeSettings
from voxmix.encoder_runs import EncoderSpec, SourceSubset, Start, learned_from
from voxmix.encoders.start import load_start
from voxmix.engines.base import run_jobs
from voxmix.engines.job import run_job
from voxmix.engines.job_file import Chain, Job, read_job, write_job
from voxmix.engines.progress import state_of
from voxmix.engines.work import EncoderWork, Opened
from voxmix.errors import InputError, VoxmixError
from voxmix.images.cache import ImageCache
from voxmix.images.finding import find_images
from voxmix.images.prepare import prepare_images
from voxmix.images.recipe import ImageRecipe
from voxmix.images.sources import open_source
from voxmix.objective_rows import objective_settings
from voxmix.objectives.made import make_objective
from voxmix.run_settings import TrainingSettings
from voxmix.runs import is_finished
from voxmix.runs.unfinished import attempts_at, desk_of
from voxmix.study.making import at_once, finish_specs
from voxmix.subsets import Subset, nested_subsets, read_keys, write_keys
from voxmix.training import loop

Pillow = pytest.importorskip("PIL.Image")
pytestmark = pytest.mark.filterwarnings("ignore::voxmix.errors.VoxmixWarning")
SIZES = {"image": 16, "patch": 8, "width": 16, "depth": 1, "heads": 2, "layer_scale": 0.0}
SMALL = {
    "mae": {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 1},
    "dino": {"prototypes": 8, "head_hidden": 8, "head_bottleneck": 4, "local_views": 1, "local_image": 8},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder with the prepared films of twelve persons, two each, and the keys of two nested subsets."""
    films, root = tmp_path_factory.mktemp("films"), tmp_path_factory.mktemp("study")
    rows = []
    for number in range(24):
        values = np.random.default_rng(number).integers(0, 255, (6, 7)).astype(np.uint8)
        Pillow.fromarray(np.kron(values, np.ones((4, 4), np.uint8))).save(films / f"{number}.png")
        rows.append(f"{number}.png,p{number // 2},{'validation' if number < 8 else 'train'},A")
    (films / "films.csv").write_text("image,person,split,domain\n" + "\n".join(rows), encoding="utf-8")
    prepare_images(find_images(films), root / "cache", ImageRecipe(pixels=24))
    return root


@pytest.fixture(scope="module")
def cache(root: Path) -> ImageCache:
    return ImageCache.open(root / "cache")


@pytest.fixture(scope="module")
def subsets(root: Path, cache: ImageCache) -> dict[int, Subset]:
    pool = [item for item in cache.items if item.split == "train"]
    found = nested_subsets(pool, (6, "all"), seed=0)
    for subset in found:
        keys = [pool[place].key for place in subset.items]
        assert write_keys(root / "subsets" / f"{subset.digest}.json", keys) == subset.digest
    return {subset.images: subset for subset in found}


@pytest.fixture
def spec_of(cache: ImageCache, subsets: dict[int, Subset]) -> Callable[..., EncoderSpec]:
    def make(name: str, images: int, **more: Any) -> EncoderSpec:
        return EncoderSpec(
            objective=name,
            objective_settings=objective_settings(name, SMALL[name]),
            samples=images,
            subset=subsets[images].digest,
            cache=learned_from(cache, name),
            training=TrainingSettings(batch_size=8, warmup_steps=2),
            **{"backbone": VitSettings(**SIZES), "seed": 1, "budget": 40} | more,
        )

    return make


@pytest.fixture
def job_of(root: Path, tmp_path: Path) -> Callable[..., Job]:
    def make(
        spec: EncoderSpec, *, start: Path | None = None, subset: Path | None = None, **compute: Any
    ) -> Job:
        return Job(
            folder=tmp_path / "runs" / spec.run_id,
            work=EncoderWork(
                spec=spec,
                cache=root / "cache",
                subset=subset or root / "subsets" / f"{spec.subset}.json",
                start=start,
                compute=ComputeSettings(**{"trackers": (), "device": "cpu", **compute}),
                threads=1,
            ),
        )

    return make


def undisturbed(work: EncoderWork, folder: Path) -> Path:
    """Train a work's run without any engine."""
    source = SourceSubset(open_source(work.cache), read_keys(work.subset, subset=work.spec.subset))
    start = None if work.start is None else load_start(work.start, image=work.spec.backbone.image)
    made = make_objective(work.spec, source=source, start=start)
    loop.run(made, folder=folder, compute=ComputeSettings(device="cpu", trackers=()), threads=1)
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def here(chains: Sequence[Chain], *, workers: int) -> Iterator[None]:
    """Run every job in this process: an engine that loads nothing anew."""
    opened = Opened()
    for job in (job for chain in chains for job in chain):
        run_job(job.folder, opened=opened)
        yield


def started(folder: Path) -> subprocess.Popen[str]:
    """Start a job as a process that knows nothing but its folder."""
    known = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(voxmix.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "voxmix.engines.job", str(folder)]
    return subprocess.Popen(command, env=known, cwd="/", stderr=subprocess.PIPE, text=True)


def test_a_killed_run_goes_on_beside_another_to_the_same_bits(
    spec_of: Callable[..., EncoderSpec], job_of: Callable[..., Job], tmp_path: Path
) -> None:
    long, short = spec_of("mae", 6, budget=1600), spec_of("dino", 16)
    often, jobs = job_of(long, checkpoint_seconds=0.05), [job_of(long), job_of(short)]
    for job in (*jobs, often):
        write_job(job)
        assert read_job(job.folder) == job
    assert str(tmp_path) not in (desk_of(jobs[0].folder) / "job.json").read_text(encoding="utf-8")
    process = started(often.folder)
    deadline = time.monotonic() + 120
    while not any((path / "state.previous.pt").exists() for path in attempts_at(jobs[0].folder)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not is_finished(jobs[0].folder)
    assert state_of(jobs[0].folder) == "lost"
    shown: list[tuple[int, int]] = []
    works = {job.work.spec.run_id: job.work for job in jobs}
    assert at_once(jobs[0].work.compute, workers=5, most=2) == 2
    failed = finish_specs(
        [long, short, long],
        work_of=lambda spec: works[spec.run_id],
        folder_of=lambda spec: jobs[0].folder.parent / spec.run_id,
        together=1,
        progress=lambda *p: shown.append(p),
    )
    assert failed == ()
    assert shown == sorted(shown)
    assert (shown[0], shown[-1]) == ((0, 1640), (1640, 1640))
    for job in jobs:
        whole = undisturbed(job.work, tmp_path / "whole" / job.folder.name)
        assert weights(job.folder) == weights(whole)
        assert not {"job.json", "progress.json", "failed.json"} & {path.name for path in job.folder.iterdir()}
        result = json.loads((job.folder / "result.json").read_text(encoding="utf-8"))
        assert (result["run_id"], result["images"]) == (job.work.spec.run_id, job.work.spec.samples)


def test_a_run_begins_from_another_runs_weights_and_from_no_others(
    spec_of: Callable[..., EncoderSpec], job_of: Callable[..., Job], tmp_path: Path
) -> None:
    first = job_of(spec_of("mae", 6))
    assert run_jobs([first], engine=here) == ()
    found = load_start(first.folder)
    begun = spec_of("dino", 6, start=Start(name="mine", digest=found.digest))
    jobs = {
        "": begun,
        "digest": replace(begun, start=Start(name="mine", digest="0123456789abcdef")),
        "heads 1 (theirs: 2)": replace(begun, backbone=VitSettings(**SIZES | {"heads": 1})),
        "style 'mae' (theirs: 'dinov2')": replace(begun, backbone=VitSettings(**SIZES, style="mae")),
    }
    made = {words: job_of(spec, start=first.folder) for words, spec in jobs.items()}
    failed = {item.job.folder: item.reason for item in run_jobs(list(made.values()), engine=here)}
    good = made.pop("")
    assert failed.keys() == {job.folder for job in made.values()}
    for words, job in made.items():
        assert words in failed[job.folder]
        assert str(first.folder) in failed[job.folder]
        assert not job.folder.exists()
    assert weights(good.folder) == weights(undisturbed(good.work, tmp_path / "whole"))
    scratch = job_of(replace(begun, start=None))
    assert run_jobs([scratch], engine=here) == ()
    assert weights(scratch.folder) != weights(good.folder)
    with pytest.raises(InputError, match="begins from start mine, and no folder of weights"):
        job_of(begun)
    with pytest.raises(InputError, match="begins from scratch, and the weights in"):
        job_of(replace(begun, start=None), start=first.folder)


def test_training_alone_may_differ_from_the_start(
    spec_of: Callable[..., EncoderSpec], job_of: Callable[..., Job]
) -> None:
    first = job_of(spec_of("mae", 6))
    assert run_jobs([first], engine=here) == ()
    start = Start(name="mine", digest=load_start(first.folder).digest)
    dropping = spec_of("mae", 6, start=start, backbone=VitSettings(**SIZES, drop_path=0.2))
    assert run_jobs([job_of(dropping, start=first.folder)], engine=here) == ()


def test_keys_other_than_the_specs_are_refused(
    spec_of: Callable[..., EncoderSpec], job_of: Callable[..., Job], root: Path, tmp_path: Path
) -> None:
    spec = spec_of("mae", 6)
    path = tmp_path / "keys.json"
    keys = sorted(read_keys(root / "subsets" / f"{spec.subset}.json", subset=spec.subset))
    other = write_keys(path, [*keys[1:], "0123456789abcdef"])
    for damage, words in [
        (lambda: None, f"holds the images of subset {other}, the run is of subset {spec.subset}"),
        (lambda: path.write_text(path.read_text(encoding="utf-8")[:40], encoding="utf-8"), "is not JSON"),
        (path.unlink, "no such file"),
    ]:
        damage()
        job = job_of(spec, subset=path)
        (failed,) = run_jobs([job], engine=here)
        assert words in failed.reason
        assert not job.folder.exists()
    write_keys(path, keys)
    assert run_jobs([job_of(spec, subset=path)], engine=here) == ()


@pytest.mark.parametrize(("unit", "budget"), [("seconds", 1), ("flops", 20_000_000)])
def test_progress_counts_what_the_budget_counts(
    unit: Any, budget: int, spec_of: Callable[..., EncoderSpec], job_of: Callable[..., Job]
) -> None:
    spec = spec_of("mae", 6, budget=budget, budget_unit=unit)
    job = job_of(replace(spec, training=replace(spec.training, schedule="trunk", batch_size=4)))
    shown: list[tuple[int, int]] = []
    assert run_jobs([job], engine=here, progress=lambda *p: shown.append(p)) == ()
    assert shown == sorted(shown)
    assert shown[-1] == (budget, budget)
    result = json.loads((job.folder / "result.json").read_text(encoding="utf-8"))
    assert result["draws"] >= 4
    if unit == "flops":
        assert budget - 4 * result["flops_per_draw"] < result["flops"] <= budget


def test_memory_that_is_not_enough_is_a_sentence(
    spec_of: Callable[..., EncoderSpec], job_of: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(loop, "run", full)
    job = job_of(spec_of("mae", 6))
    with pytest.raises(
        VoxmixError, match=r"8 draws at once.*images of 16 pixels; set compute\.micro_batch to 4"
    ):
        job.work.run(job.folder, opened=Opened(), device_index=None, progress=lambda done, total: None)
