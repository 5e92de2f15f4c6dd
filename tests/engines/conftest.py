"""The tiny cache, settings and runs of tests/training, and jobs made of them."""

from pathlib import Path
from runpy import run_path

import pytest

from voxmix import _io
from voxmix.compute import ComputeSettings
from voxmix.engines.job_file import Job
from voxmix.engines.work import PretrainingWork
from voxmix.objectives.mae import EvaluationSet

globals().update(
    {
        name: value
        for name, value in run_path(str(Path(__file__).parents[1] / "training" / "conftest.py")).items()
        if not name.startswith("__")
    }
)


@pytest.fixture
def stored(make_cache, evaluation_settings, model_settings, tmp_path):
    """Return a cache and an evaluation set, which lie on disk too; MR has one volume."""
    cache = make_cache({"CT": 3, "MR": 1})
    _io.write_json(cache.root / "index.json", cache.as_dict())
    evaluation = EvaluationSet.build(cache, model=model_settings, evaluation=evaluation_settings)
    evaluation.save(tmp_path / "evaluation.safetensors")
    return cache, evaluation


@pytest.fixture
def job_of(stored, tmp_path):
    """Return a function that makes the job of a spec, in ``runs/<id>``."""

    def make(spec, *, trunk=None, folder=None, **compute):
        return Job(
            folder=folder or tmp_path / "runs" / spec.run_id,
            work=PretrainingWork(
                spec=spec,
                cache=stored[0].root,
                evaluation=tmp_path / "evaluation.safetensors",
                trunk=trunk,
                compute=ComputeSettings(**{"trackers": (), "device": "cpu", **compute}),
                threads=1,
            ),
        )

    return make
