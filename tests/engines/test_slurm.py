"""The engine of a cluster against commands that stand for Slurm: what is submitted, watched, told, refused and left running."""

import os
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from fake_slurm import FakeSlurm

from voxmix.compute import ClusterSettings, ComputeSettings
from voxmix.engines import slurm as engine_module
from voxmix.engines.base import run_jobs
from voxmix.engines.job import run_job
from voxmix.engines.job_file import read_job, write_job
from voxmix.engines.pull import pull
from voxmix.engines.slurm_commands import QueuedJob, clean_environment
from voxmix.engines.slurm_script import array_script
from voxmix.engines.submitted import kept, place_of
from voxmix.errors import HandedOver, InputError, VoxmixError, VoxmixWarning
from voxmix.runs import read_run
from voxmix.runs.unfinished import desk_of


@pytest.fixture
def slurm_here(tmp_path, monkeypatch):
    """Return a Slurm that only says yes, on the PATH; it is asked without pauses."""
    fake = FakeSlurm(tmp_path / "fake")
    monkeypatch.setenv("PATH", f"{fake.bin}:{os.environ['PATH']}")
    monkeypatch.setattr(engine_module, "_FIRST_LOOKS", ())
    monkeypatch.setattr(engine_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(engine_module, "_YIELD_SECONDS", 0.01)
    return fake


@pytest.fixture
def jobs_of(job_of, spec, stored):
    """Return a function that makes jobs of so many runs with settings of a cluster."""

    def make(count, **cluster):
        return [
            job_of(
                replace(spec, cache=stored[0].digest, budget=8 * (n + 1)),
                engine="slurm",
                cluster=ClusterSettings(**cluster),
            )
            for n in range(count)
        ]

    return make


def running(jobs, do):
    """Run jobs by the engine, and call a function with a count at every look; return the failed ones."""
    looks = iter(range(10**6))
    return run_jobs(jobs, engine="slurm", progress=lambda done, total: do(next(looks)))


def test_jobs_are_submitted_watched_and_forgotten(slurm_here, jobs_of, tmp_path):
    jobs = jobs_of(2, jobs=8, partition="main", memory_gb=1.5, cpus=4, workers_per_job=2)
    place = place_of(tmp_path / "runs")
    slurm_here.queue("101_0|RUNNING|None")

    def do(look):
        if look == 1:
            assert kept(place) == {"101": 1}
            for job in jobs:
                assert "cluster" not in (desk_of(job.folder) / "job.json").read_text(encoding="utf-8")
                assert run_job(job.folder)

    assert running(jobs, do) == ()
    [script] = slurm_here.scripts
    assert "#SBATCH --array=0-0\n" in script, "two workers of one job are enough for two runs"
    assert "--workers 2" in script
    assert kept(place) == {}
    assert slurm_here.told("canceled") == ["--state=PENDING 101"]
    assert all((job.folder / "result.json").is_file() for job in jobs)


def test_what_sbatch_is_given(tmp_path):
    settings = ClusterSettings(
        at_once=3, cpus=8, memory_gb=1.5, gpus=2, minutes=90, partition="gpu", account="a lab", qos="long",
        requeues=7, workers_per_job=4, setup=("module load cuda",), extra={"constraint": "a100|h100", "exclusive": True, "nice": 5, "comment": False},
    )  # fmt: skip
    text = array_script(
        settings, ["-m", "voxmix.engines.pull", "runs/it's"], jobs=9, root=tmp_path, logs=tmp_path, python="python3"
    )  # fmt: skip
    assert [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")] == [
        "job-name=voxmix", "array=0-8%3", "nodes=1", "ntasks=1", "cpus-per-task=8", "mem=1536M", "gpus-per-node=2", "time=90",
        "partition=gpu", "account='a lab'", "qos=long", "requeue", "open-mode=append", "signal=B:USR2@120",
        f"output={tmp_path}/%A_%a.log", "constraint='a100|h100'", "exclusive", "nice=5",
    ]  # fmt: skip
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert text.index("module load cuda") < text.index("crew --workers 4")
    plain = array_script(ClusterSettings(), ["x"], jobs=1, root=tmp_path, logs=tmp_path, python="p")
    assert not {"mem", "gpus", "partition", "account", "qos"} & {
        line.removeprefix("#SBATCH --").partition("=")[0].partition("-")[0] for line in plain.splitlines()
    }


PYTHON = """\
#!/bin/bash
[ "$1" = -c ] && exit {imports}
echo "$@" > {root}/crew
trap 'exit 75' TERM
[ {waits} = yes ] || exit {waits}
touch {root}/up
while :; do sleep 0.05; done
"""


def script_of(tmp_path, *, waits="yes", imports=0, root=None, **settings):
    """Return a process that runs the script as a node would, with a program in the place of Python."""
    program = tmp_path / "python"
    program.write_text(PYTHON.format(root=tmp_path, waits=waits, imports=imports), encoding="utf-8")
    program.chmod(0o755)
    given = {"python": str(program), **settings}
    python = given.pop("python")
    text = array_script(
        ClusterSettings(**given), ["-m", "work", "my study"], jobs=2, root=root or tmp_path, logs=tmp_path, python=python
    )  # fmt: skip
    variables = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1", "SLURM_RESTART_COUNT": "2"}
    with (tmp_path / "log").open("w") as log:
        return subprocess.Popen(
            ["bash", "-c", text], env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT
        )


@pytest.mark.parametrize(
    ("requeues", "controlled"), [(3, ["requeue 7_1"]), (2, [])], ids=["queued again", "often enough"]
)
def test_a_job_near_its_limit_saves_and_is_queued_again(
    requeues, controlled, tmp_path, slurm_here, monkeypatch
):
    (slurm_here.bin / "sleep").write_text("#!/bin/sh\n[ $1 = 300 ] || exec /bin/sleep $1\n", encoding="utf-8")
    (slurm_here.bin / "sleep").chmod(0o755)
    process = script_of(tmp_path, requeues=requeues)
    deadline = time.monotonic() + 20
    while not (tmp_path / "up").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(12)  # USR2
    assert process.wait(timeout=20) == 75
    assert slurm_here.told("controlled") == controlled
    crew = (tmp_path / "crew").read_text(encoding="utf-8").split(" -- ")
    assert crew == ["-m voxmix.engines.crew --workers 1", f"{tmp_path}/python -m work my study\n"]


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({"waits": "1"}, 1, ""),
        ({"waits": "0"}, 0, ""),
        ({"waits": "75"}, 75, ""),
        (
            {"root": Path("/no/$uch/study")},
            66,
            "error: this node does not see /no/$uch/study; put the study on a disk",
        ),
        ({"python": "/no/python"}, 66, "error: this node has no /no/python; install voxmix on a disk"),
        ({"imports": 1}, 66, "of this node has no voxmix"),
    ],
)
def test_a_node_that_lacks_something_says_so(given, code, words, tmp_path, slurm_here):
    process = script_of(tmp_path, **given)
    assert process.wait(timeout=20) == code
    assert words in (tmp_path / "log").read_text(encoding="utf-8")
    assert slurm_here.told("controlled") == []


def test_a_second_command_submits_nothing_while_jobs_live(slurm_here, jobs_of, tmp_path):
    jobs = jobs_of(2, jobs=2, wait=False)
    slurm_here.queue("101_0|RUNNING|None", "101_1|PENDING|Priority")
    with pytest.raises(
        HandedOver, match=r"submitted: 101\. squeue -j 101 shows .*, scancel 101 cancels"
    ) as told:
        run_jobs(jobs, engine="slurm")
    assert told.value.value == {"submitted": ["101"], "logs": str(place_of(tmp_path / "runs"))}
    assert read_job(jobs[0].folder).work.spec == jobs[0].work.spec, "what the jobs need stays"
    with (
        pytest.warns(VoxmixWarning, match=r"jobs of an earlier command go on \(101\), so no more are"),
        pytest.raises(HandedOver, match="submitted: 101"),
    ):
        run_jobs(jobs, engine="slurm")
    assert len(slurm_here.scripts) == 1
    slurm_here.queue()
    with pytest.raises(HandedOver, match="submitted: 102"):
        run_jobs(jobs, engine="slurm")
    assert list(kept(place_of(tmp_path / "runs"))) == ["102"]


def test_a_stopped_command_leaves_its_jobs_and_says_how_to_cancel_them(slurm_here, jobs_of, tmp_path):
    jobs = jobs_of(1)
    slurm_here.queue("101_0|PENDING|Resources")

    def do(look):
        if look == 3:
            raise KeyboardInterrupt

    with (
        pytest.warns(VoxmixWarning, match=r"go on without this command \(0 running, 1 waiting\).*scancel 101 cancels"),
        pytest.raises(KeyboardInterrupt),
    ):  # fmt: skip
        running(jobs, do)
    assert slurm_here.told("canceled") == []
    assert kept(place_of(tmp_path / "runs")) == {"101": 1}
    assert read_job(jobs[0].folder).work.spec == jobs[0].work.spec


def test_a_dry_run_prints_the_script_alone(slurm_here, jobs_of, tmp_path):
    jobs = jobs_of(3, jobs=2, dry_run=True)
    with pytest.raises(HandedOver) as shown:
        run_jobs(jobs, engine="slurm")
    assert "#SBATCH --array=0-1\n" in str(shown.value)
    assert sys.executable in str(shown.value)
    assert slurm_here.scripts == []
    assert not place_of(tmp_path / "runs").exists()


def test_jobs_that_end_too_soon_are_told_with_what_their_logs_say(slurm_here, jobs_of, tmp_path):
    jobs = jobs_of(2)
    slurm_here.queue()
    with pytest.raises(VoxmixError, match=r"101 have ended and 2 of 2 runs .* not even begun a log .* disk"):
        run_jobs(jobs, engine="slurm")
    place = place_of(tmp_path / "runs")
    (place / "102_0.log").write_text("hello\nerror: this node has no p\n" * 3, encoding="utf-8")
    with pytest.raises(VoxmixError) as told:
        run_jobs(jobs, engine="slurm")
    assert "their logs say: error: this node has no p. The logs: " in str(told.value)


def test_why_jobs_wait_is_told_once_where_something_can_be_done(slurm_here, jobs_of):
    jobs = jobs_of(1)
    slurm_here.queue("101_0|PENDING|PartitionTimeLimit")

    def do(look):
        if look == 9:
            assert run_job(jobs[0].folder)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert running(jobs, do) == ()
    assert [str(one.message) for one in told] == [
        "job 101_0 waits: PartitionTimeLimit; it will never start so: scancel 101_0, and change compute.cluster"
    ]
    assert QueuedJob(id="1", state="PENDING", reason="Resources").advice == ""


def test_jobs_that_do_not_start_for_a_while_are_told(slurm_here, jobs_of, monkeypatch):
    monkeypatch.setattr(engine_module, "_PATIENCE_SECONDS", 0.1)
    jobs = jobs_of(1)
    slurm_here.queue("101_0|PENDING|Priority")
    began = time.monotonic()

    def do(look):
        if time.monotonic() > began + 1 and not (jobs[0].folder / "result.json").exists():
            assert run_job(jobs[0].folder)

    with pytest.warns(VoxmixWarning, match=r"all 1 jobs wait \(Priority\); squeue --start -j 101 says when"):
        assert running(jobs, do) == ()


def test_a_controller_that_is_started_again_is_waited_for(slurm_here, jobs_of):
    jobs = jobs_of(1)
    (slurm_here.root / "down").touch()

    def do(look):
        if look == 5:
            (slurm_here.root / "down").unlink()
            slurm_here.queue("101_0|RUNNING|None")
        if look == 9:
            assert run_job(jobs[0].folder)

    assert running(jobs, do) == ()
    (slurm_here.root / "down").touch()
    assert len(slurm_here.scripts) == 1


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("sbatch: error: invalid partition specified: gpus", r"invalid partition.*has main, urgent: set compute\.cluster\.part"),
        ("sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified", "cluster.account"),
        ("sbatch: error: Batch job submission failed: Invalid qos specification", r"cluster\.qos"),
        ("sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)", "minutes"),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", "no node has so much"),
        ("sbatch: error: Memory specification can not be satisfied", "memory_gb"),
        ("sbatch: error: Invalid generic resource (gres) specification", r"gpus to 0"),
        ("sbatch: unrecognized option '--constrain=x'", r"cluster\.extra"),
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", "does not answer"),
        ("sbatch: fatal: Could not establish a configuration source: establish_config_source", "log in to a login node"),
        ("", "it says nothing; change compute.cluster; --dry-run"),
    ],
)  # fmt: skip
def test_what_slurm_refuses_is_told_with_what_to_change(said, told, slurm_here, jobs_of):
    slurm_here.refuse(said)
    with pytest.raises(InputError, match=told):
        run_jobs(jobs_of(1), engine="slurm")


def test_a_machine_without_slurm_says_so(jobs_of, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no sbatch on this machine: engine slurm works on a login"):
        run_jobs(jobs_of(1), engine="slurm")


@pytest.mark.parametrize(
    ("compute", "cluster", "told"),
    [
        ({"nodes": 2}, {}, r"compute\.nodes is 2, and a job of engine slurm has one machine; start .* with srun"),
        ({"devices": 2}, {"workers_per_job": 3}, "workers_per_job 3: a run that devices share has a job for itself"),
        ({"devices": 2, "device": "cuda"}, {}, r"cluster\.gpus 0: each .* has a GPU; set gpus to 2, or device to cpu"),
        ({"devices": 4, "device": "auto"}, {"gpus": 2}, r"cluster\.gpus 2: each .* has a GPU; set gpus to 4"),
    ],
)  # fmt: skip
def test_what_a_job_has_no_room_for_is_refused(compute, cluster, told, job_of, spec, slurm_here):
    job = job_of(spec, engine="slurm", cluster=ClusterSettings(**cluster), **compute)
    with pytest.raises(InputError, match=told):
        run_jobs([job], engine="slurm")


def test_the_worker_of_a_job_makes_a_run_that_two_devices_share(job_of, spec, stored):
    job = job_of(replace(spec, cache=stored[0].digest, budget=16), engine="slurm", devices=2)
    write_job(job)
    assert pull([[job.folder]]).exit_code == 0
    assert read_run(job.folder).details["computed"]["devices"] == 2


def test_a_job_around_the_command_is_not_handed_on(slurm_here, jobs_of, monkeypatch):
    for name, value in {
        "SLURM_CONF": "/etc/there", "SLURM_CPU_BIND": "quiet,mask_cpu:0x1", "SLURM_JOB_ID": "9", "SBATCH_ACCOUNT": "lab",
        "SBATCH_ARRAY_INX": "1", "CUDA_VISIBLE_DEVICES": "0", "MINE": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    given = clean_environment()
    assert {name for name in given if name.startswith(("SLURM", "SBATCH", "CUDA"))} == {
        "SLURM_CONF",
        "SBATCH_ACCOUNT",
    }
    with pytest.raises(HandedOver):
        run_jobs(jobs_of(1, wait=False), engine="slurm")
    seen = slurm_here.told("environment-101")
    assert "SLURM_CONF=/etc/there" in seen
    assert "MINE=1" in seen
    assert not any(line.startswith(("SLURM_CPU_BIND", "SLURM_JOB_ID")) for line in seen)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"jobs": 0}, "jobs must be at least 1, got 0"),
        ({"memory_gb": 0}, "memory_gb must be above 0"),
        ({"minutes": 2}, "save_seconds must be less than the time limit, got 120 s of 2 min"),
        ({"partition": "a\nb"}, "partition must be one line of text"),
        ({"setup": ("",)}, "setup must be one line of text, got ''"),
        ({"extra": {"--constraint": "x"}}, "long names without dashes before them"),
        ({"extra": {"time": 5}}, "extra must not hold time: give minutes; take it out"),
        ({"extra": {"array": "0-5"}}, "extra must not hold array: voxmix sets it itself"),
    ],
)
def test_wrong_settings_are_refused(given, told):
    with pytest.raises(InputError, match=told):
        ClusterSettings(**given)


def test_threads_are_those_of_a_job_and_not_of_this_machine():
    of = ClusterSettings(cpus=8, workers_per_job=2)
    assert ComputeSettings(engine="slurm", cluster=of).threads_of_each(5, cores=64) == 4
    assert ComputeSettings(engine="slurm", cluster=of, devices=2).threads_of_each(2, cores=64) == 2
    assert ComputeSettings(engine="slurm").threads_of_each(1, cores=64) == 1
    assert ComputeSettings(engine="slurm", cluster=of, threads=3).threads_of_each(1, cores=64) == 3
