"""A real Slurm of two nodes on this machine, everything below one folder: ``python small_slurm.py start|stop DIR [PORT]``.

It needs Debian's slurm-wlm and munge, and writes nothing outside the folder; its daemons belong to whoever starts it. After
``start``, ``export SLURM_CONF=DIR/slurm.conf`` shows it to Slurm's commands. Ports PORT to PORT + 2 of this machine are taken, or
the first three that are free.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scancel", "scontrol", "squeue")
PORT = 16817

CONF = """\
ClusterName=small
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.sock
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/%n.pid
SlurmctldLogFile={root}/log/slurmctld
SlurmdLogFile={root}/log/%n
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=20
SlurmdTimeout=20
SlurmctldTimeout=10
MinJobAge=600
JobRequeue=1
SchedulerParameters=bf_interval=3,sched_interval=3,sched_min_interval=0,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{second}] CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=urgent Nodes=n[1-2] State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> list[str]:
    """Return the programs that a Slurm needs and this machine has not."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in DAEMONS if shutil.which(name, path=path) is None]


def free_ports() -> int:
    """Return the first of three ports in a row that nobody listens on."""
    for first in range(PORT, 40_000, 10):
        with suppress(OSError), socket.socket() as one, socket.socket() as two, socket.socket() as three:
            for number, listening in enumerate((one, two, three)):
                listening.bind(("", first + number))
            return first
    raise RuntimeError("no three ports in a row are free")


@dataclass(frozen=True)
class SmallSlurm:
    """A Slurm below a folder.

    Attributes:
        root: of all its files; a short path, for sockets.
        port: of its controller; the two behind it are those of the nodes.
        cpus: that each node claims to have; they are no cores.
    """

    root: Path
    port: int = PORT
    cpus: int = 4

    @property
    def conf(self) -> Path:
        return self.root / "slurm.conf"

    def environment(self) -> dict[str, str]:
        """Return the variables of a shell that uses it, without those of another Slurm or job."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))
        }
        return {**kept, "SLURM_CONF": str(self.conf), "PATH": kept.get("PATH", "") + ":/usr/sbin:/sbin"}

    def start(self) -> None:
        """Start its four daemons and wait until both nodes are idle."""
        for name in ("state", "spool-n1", "spool-n2", "log"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        (self.root / "key").write_bytes(os.urandom(1024))
        (self.root / "key").chmod(0o400)
        self.conf.write_text(
            CONF.format(
                host=socket.gethostname(), user=getpass.getuser(), root=self.root, port=self.port,
                first=self.port + 1, second=self.port + 2, cpus=self.cpus, memory=4000 * self.cpus,
            ), encoding="utf-8",
        )  # fmt: skip
        self.call(
            "munged", "--force", f"--key-file={self.root}/key", f"--socket={self.root}/munge.sock", f"--pid-file={self.root}/munged.pid",
            f"--log-file={self.root}/log/munged", f"--seed-file={self.root}/seed",
        )  # fmt: skip
        self._until(lambda: (self.root / "munge.sock").exists(), what="munged")
        self.start_controller()
        for node in ("n1", "n2"):
            self.start_node(node)
        self._until(
            lambda: self.call("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split() == ["idle"] * 2,
            what="nodes",
        )

    def start_node(self, node: str) -> None:
        """Start the daemon of a node, or start it again."""
        self.call("slurmd", "-N", node, "-f", str(self.conf))

    def start_controller(self) -> None:
        """Start the daemon that knows the jobs, or start it again: it reads what it has kept of them."""
        self.call("slurmctld", "-f", str(self.conf))
        self._until(lambda: "UP" in self.call("scontrol", "ping", check=False), what="slurmctld")

    @property
    def controller(self) -> int | None:
        """Number of the process of its controller; None where that has ended."""
        with suppress(OSError, ValueError):
            number = int((self.root / "slurmctld.pid").read_text(encoding="ascii"))
            if Path(f"/proc/{number}/comm").read_text(encoding="ascii").strip().startswith("slurmctld"):
                return number
        return None

    def last_words(self, lines: int = 25) -> str:
        """Return the end of the controller's log."""
        text = (self.root / "log" / "slurmctld").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """End its jobs and daemons and remove its folder."""
        if (self.root / "slurmctld.pid").exists():
            self._end_jobs()
        for name in ("n1", "n2", "slurmctld", "munged"):
            self._end(name)
        self._end_steps()
        shutil.rmtree(self.root, ignore_errors=True)

    def _end_jobs(self) -> None:
        with suppress(subprocess.SubprocessError):
            self.call("scancel", "--user", getpass.getuser(), check=False)
            self._until(
                lambda: not self.call("squeue", "-h", check=False).strip(),
                what="jobs",
                seconds=40,
                hard=False,
            )

    def _end_steps(self) -> None:
        """End what a controller that was gone could not: processes that know this Slurm, and no other."""
        ours = f"SLURM_CONF={self.conf}".encode()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if (
                    entry.name.isdecimal()
                    and int(entry.name) != os.getpid()
                    and ours in (entry / "environ").read_bytes().split(b"\0")
                ):
                    os.kill(int(entry.name), signal.SIGKILL)

    def _end(self, name: str) -> None:
        with suppress(OSError, ValueError):
            number = int((self.root / f"{name}.pid").read_text(encoding="ascii"))
            os.kill(number, signal.SIGTERM)
            self._until(lambda: not Path(f"/proc/{number}").exists(), what=name, seconds=10, hard=False)
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def call(self, *command: str, check: bool = True) -> str:
        """Return what a command says."""
        done = subprocess.run(
            command, env=self.environment(), text=True, capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _until(self, true, *, what: str, seconds: float = 60, hard: bool = True) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                if hard:
                    raise RuntimeError(
                        f"{what} of the small Slurm below {self.root} are not ready after {seconds:g} s; see log/ there"
                    )
                return
            time.sleep(0.2)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit(__doc__)
    if lacking := missing():
        sys.exit(f"this machine has no {', '.join(lacking)}; on Debian: apt-get install slurm-wlm munge")
    made = SmallSlurm(
        Path(sys.argv[2]).absolute(), port=int(sys.argv[3]) if len(sys.argv) > 3 else free_ports()
    )
    made.start() if sys.argv[1] == "start" else made.stop()
