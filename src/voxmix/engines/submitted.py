"""Which jobs of a scheduler were submitted for the runs of a folder: one small file for each array, and the logs beside it.

A file holds the array's number and how many jobs it has; no name of a machine, a person or an account.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from voxmix._io import naming_full_disk, read_mapping, write_json
from voxmix.errors import InputError
from voxmix.runs.unfinished import WORK_FOLDER

CLUSTER_FOLDER = "cluster"
_TAIL_BYTES = 20_000
_TELLING = ("error:", "Error:", "ModuleNotFoundError", "MemoryError", "slurmstepd", "srun:")


def place_of(runs: Path) -> Path:
    """Return where the arrays for the runs of a folder are kept."""
    return runs / WORK_FOLDER / CLUSTER_FOLDER


def keep(place: Path, array: str, *, jobs: int) -> None:
    """Remember an array.

    Raises:
        VoxmixError: the disk cannot be written to.
    """
    with naming_full_disk(place):
        write_json(place / f"{array}.json", {"jobs": jobs})


def kept(place: Path) -> dict[str, int]:
    """Return the arrays that were submitted and how many jobs each has; one whose file is damaged is left out."""
    found = {}
    for path in sorted(place.glob("*.json")):
        if not path.stem.isdecimal():
            continue
        with suppress(InputError, KeyError, TypeError, ValueError):
            found[path.stem] = int(read_mapping(path)["jobs"])
    return found


def forget(place: Path, array: str) -> None:
    """Forget an array that has ended; its logs stay."""
    with suppress(OSError):
        (place / f"{array}.json").unlink()


def logs_of(place: Path, arrays: Sequence[str]) -> list[Path]:
    """Return the logs of the jobs of arrays, as far as they have begun."""
    return [path for array in arrays for path in sorted(place.glob(f"{array}_*.log"))]


def last_words(logs: Sequence[Path], *, most: int = 3) -> tuple[str, ...]:
    """Return the lines of logs that say what went wrong, each once, the last ones."""
    said: dict[str, None] = {}
    for log in logs:
        with suppress(OSError):
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
            for line in text.splitlines():
                if any(word in line for word in _TELLING):
                    said.pop(line.strip(), None)
                    said[line.strip()] = None
    return tuple(said)[-most:]
