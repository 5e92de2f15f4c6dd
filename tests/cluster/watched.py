"""What Python processes do to files, written down; and no locks, as on many network disks: for any process, also of a job."""

import os
from collections import Counter
from pathlib import Path

_HOOK = """\
import os
import sys

notes = os.open(os.path.join({notes!r}, str(os.getpid())), os.O_CREAT | os.O_WRONLY | os.O_APPEND)


def note(event, arguments):
    if event in ("fcntl.flock", "fcntl.lockf"):
        os.write(notes, (event + "\\n").encode())
        raise OSError(37, "No locks available")
    if event in ("open", "os.mkdir") and {word!r} in str(arguments[0]):
        os.write(notes, (event + " " + str(arguments[0]) + "\\n").encode("utf-8", "replace"))


sys.addaudithook(note)
"""


class Watched:
    """Python processes that have :attr:`path` as their PYTHONPATH.

    Args:
        root: of what they write down.
        word: of the files whose opening is noted, and of the folders whose making is.
    """

    def __init__(self, root: Path, *, word: str) -> None:
        self._notes = root / "notes"
        self._hook = root / "hook"
        for folder in (self._notes, self._hook):
            folder.mkdir(parents=True)
        text = _HOOK.format(notes=str(self._notes), word=word)
        (self._hook / "sitecustomize.py").write_text(text, encoding="utf-8")

    @property
    def path(self) -> str:
        """The PYTHONPATH by which Python loads the hook when it starts."""
        return os.pathsep.join(filter(None, [str(self._hook), os.environ.get("PYTHONPATH", "")]))

    def notes(self) -> dict[str, list[list[str]]]:
        """Return of each process, by its number, what it did, in order: an event and a path."""
        return {
            file.name: [line.split(" ", 1) for line in file.read_text(encoding="utf-8").splitlines()]
            for file in sorted(self._notes.iterdir())
        }

    def attempts(self) -> dict[str, int]:
        """Return of each run how many attempts at it were begun, where the folders of attempts are noted."""
        made = {
            Path(note[1]).parts[-3:]
            for notes in self.notes().values()
            for note in notes
            if note[0] == "os.mkdir" and Path(note[1]).parent.name == "attempts"
        }
        return dict(Counter(run for run, _, _ in made))
