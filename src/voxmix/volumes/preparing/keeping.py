"""What came of records, written down while others are still prepared, so that a sudden end loses little of it."""

import time
import warnings
from pathlib import Path

from voxmix.errors import InputError, VoxmixError, VoxmixWarning
from voxmix.volumes.preparing.outcomes import Row, compact, name_of, row_of, write_outcomes
from voxmix.volumes.preparing.prepare_record import Outcome
from voxmix.volumes.preparing.private_lists import Names
from voxmix.volumes.preparing.units import Plan, open_outcomes

_SECONDS, _ROWS = 30.0, 512
"""How often it is written. What a sudden end loses is read again, and not made again."""


class Keeper:
    """Takes the outcomes of a plan as they come, and writes a small file of its own from time to time.

    Raises:
        InputError: the folder is no place for names, such as a link.

    Warns:
        VoxmixWarning: the folder cannot be written; then nothing is kept, and sources are read again next time.
    """

    def __init__(self, found: Plan, names: Names | None) -> None:
        self._found = found
        self._rows: dict[int, Row] = {}
        self._waiting: list[int] = []
        self._files: list[Path] = []
        self._last = time.monotonic()
        self._folder = found.folder
        if found.folder is not None and names is not None and found.left:
            try:
                open_outcomes(found.folder, names)
            except InputError:
                raise
            except VoxmixError as error:
                warnings.warn(
                    f"{error}; until then all files are read again each time", VoxmixWarning, stacklevel=4
                )
                self._folder = None

    def take(self, place: int, outcome: Outcome) -> Outcome:
        """Take what came of the record at a place, and return it."""
        if self._folder is None:
            return outcome
        self._rows[place] = row_of(self._found.asked[place], outcome)
        self._waiting.append(place)
        if len(self._waiting) >= _ROWS or time.monotonic() - self._last > _SECONDS:
            self.write()
        return outcome

    def write(self) -> None:
        """Write down what was taken since the last time."""
        if self._folder is None or not self._waiting:
            return
        places, self._waiting = sorted(self._waiting), []
        rows = [(self._found.asked[place], self._rows[place]) for place in places]
        self._files.append(write_outcomes(self._folder, name_of(asked for asked, _ in rows), rows))
        self._last = time.monotonic()

    def tidy(self) -> None:
        """Put what is known of all records into few files, once there are many."""
        if self._folder is None:
            return
        rows = [self._rows.get(place) or row for place, row in enumerate(self._found.rows)]
        pairs = [(asked, row) for asked, row in zip(self._found.asked, rows, strict=True) if row is not None]
        compact(self._folder, [*self._found.known.files, *self._files], pairs)
