"""Slurm's commands as a few lines of shell: what was submitted and canceled is kept, what is queued is what a test writes."""

import stat
from pathlib import Path

_SBATCH = """\
[ -e "{root}/refuses" ] && { cat "{root}/refuses" >&2; exit 1; }
n=$(ls "{root}" | grep -c '^script-'); n=$((n + 101))
cat > "{root}/script-$n"
env > "{root}/environment-$n"
echo "$n"
"""
_SQUEUE = """\
[ -e "{root}/down" ] && { echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }
[ -e "{root}/queue" ] || { echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }
cat "{root}/queue"
"""
COMMANDS = {
    "sbatch": _SBATCH,
    "squeue": _SQUEUE,
    "scancel": 'echo "$@" >> "{root}/canceled"\n',
    "scontrol": 'echo "$@" >> "{root}/controlled"\n',
    "sinfo": "printf 'main\\nurgent\\n'\n",
}


class FakeSlurm:
    """Commands in ``root/bin``, and what they were told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir(parents=True)
        for name, text in COMMANDS.items():
            path = self.bin / name
            path.write_text("#!/bin/sh\n" + text.replace("{root}", str(root)), encoding="utf-8")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def queue(self, *lines: str) -> None:
        """Say which jobs live: ``ID|STATE|REASON``."""
        (self.root / "queue").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def refuse(self, words: str) -> None:
        """Let sbatch refuse everything with these words."""
        (self.root / "refuses").write_text(words + "\n", encoding="utf-8")

    @property
    def scripts(self) -> list[str]:
        """What was submitted."""
        return [path.read_text(encoding="utf-8") for path in sorted(self.root.glob("script-*"))]

    def told(self, name: str) -> list[str]:
        """Return the lines of ``canceled``, ``controlled`` or ``environment-101``."""
        path = self.root / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
