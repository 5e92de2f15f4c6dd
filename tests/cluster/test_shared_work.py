"""What workers in jobs of a real Slurm share with nobody's help: time limits, a lost node, disks without locks, volumes to prepare."""

import json
import random
import sys
import time
from collections import Counter

import numpy as np
import pytest
from slurm_faults import Faults
from tiny_study import finished_runs, make_study, outcome, processes, until, voxmix
from watched import Watched

from voxmix.study import DataSettings, Study, StudyAllocation, StudyConfig, StudyView
from voxmix.volumes.preparing.cache import PreparedCache

BUDGETS = (1000, 3000)
LEASE = 6.0
VOLUMES = 160  # five units


def made_alone(root, **settings):
    """Return a study that one process with one thread has run."""
    study = make_study(root, **settings)
    done = voxmix("run", study.root, "--workers", 1)
    assert done.returncode == 0, done.stderr
    return study


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The study that one process has run."""
    return made_alone(tmp_path_factory.mktemp("one") / "study", budgets=BUDGETS)


def rate(study):
    """Return how many draws a second one process makes here and now."""
    results = [json.loads((run / "result.json").read_text("utf-8")) for run in finished_runs(study)]
    return sum(sum(found["draws"].values()) for found in results) / sum(found["seconds"] for found in results)


def submit(quiet, study, *flags):
    done = voxmix(
        "run", study.root, "--engine", "slurm", *flags, "--submit-only", environment=quiet.environment()
    )
    assert done.returncode == 0, done.stderr


def is_whole(study):
    return len(finished_runs(study)) == len(StudyView(study).proxies)


def joined(study):
    """Let the command write what the runs are put together to, and return it."""
    done = voxmix("run", study.root)
    assert done.returncode == 0, done.stderr
    return outcome(study)


@pytest.mark.timeout(1800)
def test_chains_longer_than_the_time_limit_are_finished_by_one_job_that_comes_back(quiet, tmp_path, one):
    """The limit is Slurm's own, which sends its signal when it thinks fit; only its pause of two minutes is cut short."""
    most = round(130 * rate(one))  # two chains of 130 s each, or of half of it where the machine grows quiet
    settings = {"budgets": (most // 3, most), "schedule": "trunk"}
    alone = outcome(made_alone(tmp_path / "alone", **settings))
    study = make_study(tmp_path / "study", lease=LEASE, minutes=2, save_seconds=10, **settings)
    submit(quiet, study, "--jobs", 1)
    faults = Faults(slurm=quiet, study=study, draw=random.Random(0), lease=LEASE)

    def true():
        faults.hasten()
        return is_whole(study)

    until(true, seconds=1200, pause=0.5)
    [log] = study.runs_dir.glob(".work/cluster/*.log")
    said = log.read_text(encoding="utf-8")
    assert "the time limit is near: states are written, and the job is queued again" in said
    assert "start 2" in said
    assert "DUE TO TIME LIMIT" not in said
    assert joined(study) == alone


@pytest.mark.timeout(1200)
def test_a_lost_node_is_replaced_by_slurm_and_the_workers_alone(quiet, tmp_path, one):
    """Its daemon, its steps and all workers are killed at once, and nobody tells Slurm or gives a command."""
    study = make_study(tmp_path / "study", budgets=BUDGETS, lease=LEASE)
    submit(quiet, study, "--jobs", 1)
    faults = Faults(slurm=quiet, study=study, draw=random.Random(0), lease=LEASE)
    until(lambda: faults.is_training() and processes(study))
    node = faults.kill_node(faults.jobs("R")[0])
    assert node is not None
    until(lambda: not processes(study), seconds=20)
    assert not is_whole(study)
    try:
        until(lambda: is_whole(study), seconds=900, pause=1.0)
    finally:
        quiet.start_node(node)
        time.sleep(1)
        quiet.call("scontrol", "update", f"nodename={node}", "state=resume", check=False)
    assert joined(study) == outcome(one)


def test_where_nothing_can_be_locked_no_run_is_made_twice(quiet, tmp_path, one):
    watched = Watched(tmp_path / "watched", word="/attempts/")
    study = make_study(
        tmp_path / "study", budgets=BUDGETS, lease=LEASE, setup=(f"export PYTHONPATH={watched.path}",)
    )
    done = voxmix("run", study.root, "--engine", "slurm", "--jobs", 3, environment=quiet.environment())
    assert done.returncode == 0, done.stderr
    assert outcome(study) == outcome(one)
    assert watched.attempts() == dict.fromkeys([run.name for run in finished_runs(study)], 1)
    locks = [note for notes in watched.notes().values() for note in notes if note[0].startswith("fcntl")]
    assert locks == [], "nothing even asks for one"


@pytest.fixture
def volumes(tmp_path):
    """A folder of volumes of two domains."""
    import nibabel

    for number in range(VOLUMES):
        path = tmp_path / "volumes" / ("A-MR", "B-MR")[number % 2] / f"p{number}" / "scan.nii"
        path.parent.mkdir(parents=True)
        data = np.random.default_rng(number).uniform(1, 100, (40, 36, 44)).astype(np.float32)
        nibabel.Nifti1Image(data, np.diag([1.0, 1, 1, 1])).to_filename(path)
    return tmp_path / "volumes"


def to_prepare(root, volumes):
    """Return a study whose volumes are not prepared yet."""
    config = StudyConfig(
        name="small",
        data=DataSettings(path=str(volumes)),
        allocation=StudyAllocation(budget=200),
        recipe={"spacing_mm": 2.0, "min_shape": [16, 16, 16]},
        workers=1,
    )
    return Study.create(root, config)


def opened(watched):
    """Return how often each process has opened each volume, and every process that has opened one."""
    return {
        process: counts
        for process, notes in watched.notes().items()
        if (counts := Counter(path for event, path in notes if event == "open"))
    }


def test_four_jobs_prepare_the_cache_of_one_command_and_every_volume_is_read_by_one(quiet, tmp_path, volumes):
    alone, single = to_prepare(tmp_path / "alone", volumes), Watched(tmp_path / "single", word="scan.nii")
    done = voxmix("prepare", alone.root, environment=quiet.environment() | {"PYTHONPATH": single.path})
    assert done.returncode == 0, done.stderr
    [wanted] = opened(single).values()
    assert len(wanted) == VOLUMES
    study, several = to_prepare(tmp_path / "study", volumes), Watched(tmp_path / "several", word="scan.nii")
    (tmp_path / "job.sh").write_text(
        f"""#!/bin/bash
export PYTHONPATH={several.path}
cd {tmp_path} && touch here-$SLURM_ARRAY_TASK_ID
until [ "$(ls here-* | wc -l)" -eq 4 ]; do sleep 0.2; done  # so that all begin together
{sys.executable} -m voxmix work {study.root} --step prepare
echo ended with $?
""",
        encoding="utf-8",
    )
    quiet.call("sbatch", "--array=0-3", f"--output={tmp_path}/log-%a", str(tmp_path / "job.sh"))
    logs = [tmp_path / f"log-{number}" for number in range(4)]
    until(lambda: all(log.exists() and "ended with" in log.read_text(encoding="utf-8") for log in logs))
    said = [log.read_text(encoding="utf-8") for log in logs]
    assert all("ended with 0" in text for text in said), said
    assert PreparedCache.open(study.cache_dir).digest == PreparedCache.open(alone.cache_dir).digest
    found = opened(several)
    assert len(found) > 1, "several have worked"
    once = min(wanted.values())  # one command looks at some of them again
    assert sum(found.values(), Counter()) == dict.fromkeys(wanted, once), "the joining opens no volume"
    assert sum(len(counts) for counts in found.values()) == VOLUMES, "each is read by one process"
