"""Slurm's own commands: what is submitted, which jobs still live, and what Slurm says where something cannot be, in words."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from voxmix.errors import InputError, VoxmixError

_KEPT = {
    "SLURM_CONF", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION", "SBATCH_CONSTRAINT",
}  # fmt: skip
"""What stays of the variables of Slurm: where it is, and what people set in their shell for all of their jobs."""
_GOES = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "PMI_", "PMIX_", "CUDA_VISIBLE_DEVICES")
_TIMEOUT_SECONDS = 60

_ADVICE = (
    ("invalid partition", "there is no such partition; this Slurm has {partitions}: set compute.cluster.partition"),
    ("invalid account", "set compute.cluster.account to one that you may use (sacctmgr show assoc user=$USER)"),
    ("invalid qos", "set compute.cluster.qos to one that you may use (sacctmgr show assoc user=$USER format=qos)"),
    ("time limit", "give jobs fewer compute.cluster.minutes (sinfo -o '%P %l' shows the limits of the partitions)"),
    ("node configuration", "no node has so much: ask for fewer cpus, gpus or memory_gb in compute.cluster (sinfo -o '%P %c %m %G')"),
    ("processors requested", "ask for fewer compute.cluster.cpus (sinfo -o '%P %c' shows those of the nodes)"),
    ("memory", "ask for less compute.cluster.memory_gb (sinfo -o '%P %m' shows that of the nodes, in MB)"),
    ("generic resource", "no node has such GPUs: set compute.cluster.gpus to 0, or choose another partition (sinfo -o '%P %G')"),
    ("array", "this Slurm allows smaller arrays only: set fewer compute.cluster.jobs"),
    ("unrecognized option", "fix the name in compute.cluster.extra (man sbatch lists them, without the dashes before)"),
    ("unable to contact", "Slurm's controller does not answer: try again later, or ask who runs the cluster"),
    ("establish_config_source", "Slurm is installed here but knows no cluster: log in to a login node of one"),
)  # fmt: skip

_PENDING = (
    (("Resources", "Priority", "None", "BeginTime", "Cleaning"), ""),
    (("JobArrayTaskLimit",), "compute.cluster.at_once says so"),
    (("JobHeld",), "release it: scontrol release {id}"),
    (("PartitionTimeLimit", "PartitionNodeLimit", "BadConstraints", "Invalid"), "it will never start so: scancel {id}, and change compute.cluster"),
    (("QOS", "Assoc"), "a limit of your account or quality of service: ask for less in compute.cluster, or wait"),
    (("ReqNodeNotAvail", "Nodes_required", "PartitionDown", "PartitionInactive"), "nodes are down, drained or reserved; sinfo shows which"),
    (("launch_failed", "launch failed"), "a node could not start it: ask who runs the cluster, or scancel {id}"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuedJob:
    """A job that has not ended, as the scheduler sees it.

    Attributes:
        id: as the scheduler's commands take it.
        state: PENDING, RUNNING, ...
        reason: why it waits.
    """

    id: str
    state: str
    reason: str

    @property
    def waits(self) -> bool:
        """Whether it has not started."""
        return self.state == "PENDING"

    @property
    def advice(self) -> str:
        """What to do about its reason; "" where waiting helps."""
        for beginnings, words in _PENDING:
            if self.reason.startswith(beginnings):
                return words.format(id=self.id)
        return ""


def call(command: Sequence[str], *, stdin: str = "") -> tuple[int, str, str]:
    """Run a command of Slurm in an environment without what a job around this process has set.

    Inside a job variables of that job would be taken for wishes: ``SLURM_CPU_BIND`` alone made every worker share one core.

    Raises:
        InputError: there is no such command here.
    """
    try:
        done = subprocess.run(
            command, input=stdin, env=clean_environment(), capture_output=True, text=True, errors="replace",
            timeout=_TIMEOUT_SECONDS, check=False, cwd="/",
        )  # fmt: skip
    except FileNotFoundError:
        raise InputError(
            f"there is no {command[0]} on this machine: engine slurm works on a login node of a cluster. Leave --engine (or "
            "compute.engine) out to compute here; voxmix work does the same on any machine that sees the study"
        ) from None
    except subprocess.TimeoutExpired:
        return (
            1,
            "",
            f"{command[0]} did not answer within {_TIMEOUT_SECONDS} s: unable to contact slurm controller",
        )
    return done.returncode, done.stdout, done.stderr


def clean_environment() -> dict[str, str]:
    """Return this process's variables without those that Slurm has set in a job; where Slurm is stays (SLURM_CONF)."""
    return {name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith(_GOES)}


def submit(script: str) -> str:
    """Submit the script of an array and return its id.

    Raises:
        InputError: there is no Slurm here, or it refuses the script; says what to change.
    """
    code, said, errors = call(["sbatch", "--parsable"], stdin=script)
    number = said.strip().split(";")[0]
    if code or not number.isdecimal():
        raise InputError(f"Slurm takes no jobs: {_last_line(errors or said)}; {_advice(errors)}")
    return number


def _advice(errors: str) -> str:
    for fragment, words in _ADVICE:
        if fragment in errors.lower():
            return words.format(partitions=", ".join(_partitions()) or "none that can be seen")
    return "change compute.cluster; --dry-run prints what is submitted"


def _partitions() -> list[str]:
    _, said, _ = call(["sinfo", "-h", "-o", "%R"])
    return sorted(set(said.split()))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: ").removeprefix("error: ") if lines else "it says nothing"


def queued(arrays: Sequence[str]) -> tuple[QueuedJob, ...]:
    """Return the jobs of arrays that have not ended.

    Raises:
        VoxmixError: Slurm does not answer.
    """
    if not arrays:
        return ()
    found: list[QueuedJob] = []
    code, said, errors = call(["squeue", "-h", "-r", "-o", "%i|%T|%r", "-j", ",".join(arrays)])
    if code and "invalid job id" not in errors.lower():
        raise VoxmixError(f"squeue does not answer: {_last_line(errors)}")
    for line in said.splitlines():
        number, _, rest = line.partition("|")
        state, _, reason = rest.partition("|")
        if number:
            found.append(QueuedJob(id=number, state=state, reason=reason))
    return tuple(found)


def take_back(arrays: Sequence[str]) -> None:
    """Cancel the jobs of arrays that have not started."""
    if arrays:
        call(["scancel", "--state=PENDING", *arrays])
