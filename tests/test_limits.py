"""Cores and memory that a process may use, read from made control groups and made variables of Slurm."""

import os
from pathlib import Path

import pytest

from voxmix._limits import cores, memory_limit

# A pod of Kubernetes as it sees itself; a pod that sees the whole machine; steps of Slurm with the limit at the job;
# a container that sees only its own group, whose path names those outside; version 1, alone and beside version 2.
POD = "kubepods.slice/pod7/c1"
STEP = "system.slice/slurmstepd.scope/job_7/step_0/user/task_0"
TREES = {
    "no limits": ("0::/\n", {"cpu.max": "max 100000", "memory.max": "max"}, None, None),
    "own root": ("0::/\n", {"cpu.max": "150000 100000", "memory.max": "1048576"}, 2, 1 << 20),
    "at the group": (f"0::/{POD}\n", {f"{POD}/cpu.max": "50000 100000", f"{POD}/memory.max": "77"}, 1, 77),
    "at its parent": (
        f"0::/{STEP}\n",
        {
            f"{STEP}/cpu.max": "max 100000",
            f"{STEP}/memory.max": "max",
            "system.slice/slurmstepd.scope/job_7/memory.max": "4096",
            "system.slice/slurmstepd.scope/job_7/cpu.max": "300000 100000",
            "system.slice/memory.max": "8192",
        },
        3,
        4096,
    ),
    "path of outside": (
        "0::/docker/4711\n",
        {"cpu.max": "200000 100000", "memory.max": "9000"},
        2,
        9000,
    ),
    "above the namespace": ("0::/../../x\n", {"cpu.max": "100000 100000"}, 1, None),
    "version 1": (
        "4:memory:/slurm/uid_1/job_7/step_0\n1:cpu,cpuacct:/slurm\n0::/\n",
        {
            "memory/slurm/uid_1/job_7/memory.limit_in_bytes": "2048",
            "memory/memory.limit_in_bytes": "9223372036854771712",
            "cpu,cpuacct/slurm/cpu.cfs_quota_us": "250000",
            "cpu,cpuacct/slurm/cpu.cfs_period_us": "100000",
        },
        3,
        2048,
    ),
    "version 1, no limit": (
        "2:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        None,
        None,
    ),
    "both versions": ("0::/a\n3:pids:/\n", {"unified/a/cpu.max": "100000 100000"}, 1, None),
    "damaged": ("0\n::\n0::/\n", {"cpu.max": "1 0", "memory.max": "much"}, None, None),
    "no groups": (None, {}, None, None),
}


@pytest.fixture
def sixteen(monkeypatch):
    """Let the machine have 16 cores, outside of any job."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize("name", TREES)
def test_limits_of_control_groups_and_of_those_around_them_count(name, sixteen, tmp_path):
    own, files, most, memory = TREES[name]
    for place, text in ({} if own is None else {"proc/self/cgroup": own}).items():
        _write(tmp_path / place, text)
    for place, text in files.items():
        _write(tmp_path / "sys/fs/cgroup" / place, text + "\n")
    assert cores(tmp_path) == (most or 16)
    assert memory_limit(tmp_path) == memory


@pytest.mark.parametrize(
    ("variables", "most"),
    [
        ({}, 16),
        ({"SLURM_JOB_ID": "7"}, 16),
        # A batch script: all cores of the job on the machine, however many tasks it may start.
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2", "SLURM_NTASKS": "4"}, 8),
        ({"SLURM_CPUS_PER_TASK": "4"}, 4),
        ({"SLURM_CPUS_ON_NODE": "1"}, 1),
        ({"SLURM_CPUS_ON_NODE": "64"}, 16),
        # One of several tasks of a step.
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2", "SLURM_STEP_NUM_TASKS": "4"}, 2),
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_STEP_NUM_TASKS": "4"}, 2),
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2"}, 4),
        ({"SLURM_CPUS_ON_NODE": "2", "SLURM_STEP_NUM_TASKS": "40"}, 1),
        ({"SLURM_STEP_NUM_TASKS": "4"}, 16),
        # A step of one task, as of srun --pty.
        ({"SLURM_CPUS_ON_NODE": "6", "SLURM_STEP_NUM_TASKS": "1"}, 6),
        ({"SLURM_CPUS_PER_TASK": "", "SLURM_CPUS_ON_NODE": "many"}, 16),
        ({"SLURM_CPUS_ON_NODE": "0"}, 16),
    ],
)
def test_what_slurm_gave_the_job_or_the_task_counts(variables, most, sixteen, tmp_path):
    for name, value in variables.items():
        sixteen.setenv(name, value)
    assert cores(tmp_path) == most


def test_cores_that_the_process_may_not_run_on_do_not_count(sixteen, tmp_path):
    sixteen.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    assert cores(tmp_path) == 2
    sixteen.delattr(os, "sched_getaffinity")
    assert cores(tmp_path) == (os.cpu_count() or 1)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
