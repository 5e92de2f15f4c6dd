"""The script of a Slurm array, as text: what each job asks for, what it runs, and how it goes on behind its time limit."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from voxmix.compute import ClusterSettings
from voxmix.engines.crew import WORK_LEFT

Value = bool | int | float | str

_BODY = """\
# Made by voxmix. It can be submitted by hand, too: sbatch FILE
echo "job ${{SLURM_ARRAY_JOB_ID:-}}_${{SLURM_ARRAY_TASK_ID:-}} begins, start $((${{SLURM_RESTART_COUNT:-0}} + 1))"
{setup}
cd {root} || {{ echo "error: this node does not see {root_words}; put the study on a disk that all nodes share"; exit 66; }}
python={python}
command -v "$python" > /dev/null || {{
  echo "error: this node has no $python; install voxmix on a disk that all nodes share, or say in compute.cluster.python where it is"
  exit 66
}}
"$python" -c 'import voxmix' || {{
  echo "error: $python of this node has no voxmix (see above); say in compute.cluster.python which has"
  exit 66
}}
# At USR2, before the time limit, workers are told to write their states, and the job is queued again. TERM, of scancel and
# of preemption, reaches every process of a job by itself.
limit=
trap 'limit=yes; kill -TERM "$crew"' USR2
trap : TERM
"$python" -m voxmix.engines.crew --workers {workers} -- \\
  "$python" {command} &
crew=$!
while wait "$crew"; code=$?; kill -0 "$crew" 2> /dev/null; do :; done
wait "$crew"; code=$?
if [ "$limit" ] && [ "$code" -eq {left} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {requeues} ]; then
  echo "the time limit is near: states are written, and the job is queued again"
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}" && sleep 300
fi
exit "$code"
"""


def array_script(
    settings: ClusterSettings, command: Sequence[str], *, jobs: int, root: Path, logs: Path, python: str
) -> str:
    """Return what ``sbatch`` is given: an array of ``jobs`` jobs, each of which runs ``python COMMAND`` as its workers in ``root``.

    ``logs`` is the folder of their logs, ``ARRAY_NUMBER.log``; a job that is queued again goes on in its own.
    """
    lines = [_option(name, value) for name, value in options(settings, jobs=jobs, logs=logs).items()]
    body = _BODY.format(
        setup="\n".join(settings.setup),
        root=shlex.quote(str(root)),
        root_words=_in_double_quotes(str(root)),
        python=shlex.quote(python),
        workers=settings.workers_per_job,
        command=" \\\n  ".join(shlex.quote(part) for part in command),
        left=WORK_LEFT,
        requeues=settings.requeues,
    )
    return "#!/bin/bash\n" + "\n".join(filter(None, lines)) + "\n" + body


def options(settings: ClusterSettings, *, jobs: int, logs: Path) -> Mapping[str, Value | None]:
    """Return the options of sbatch by their long names; None and false are left out."""
    limit = "" if settings.at_once is None else f"%{settings.at_once}"
    return {
        "job-name": "voxmix",
        "array": f"0-{jobs - 1}{limit}",
        "nodes": 1,
        "ntasks": 1,
        "cpus-per-task": settings.cpus,
        "mem": None if settings.memory_gb is None else f"{round(settings.memory_gb * 1024)}M",
        "gpus-per-node": settings.gpus or None,
        "time": settings.minutes,
        "partition": settings.partition,
        "account": settings.account,
        "qos": settings.qos,
        "requeue": True,
        "open-mode": "append",
        "signal": f"B:USR2@{settings.save_seconds}",
        "output": str(logs / "%A_%a.log"),
        **settings.extra,
    }


def _option(name: str, value: Value | None) -> str:
    if value is None or value is False:
        return ""
    return f"#SBATCH --{name}" if value is True else f"#SBATCH --{name}={shlex.quote(str(value))}"


def _in_double_quotes(text: str) -> str:
    return "".join(f"\\{character}" if character in '\\"$`' else character for character in text)
