"""Tables that others may add a row to: voxmix's own rows, those of installed packages, and those that a script adds."""

import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from voxmix.errors import InputError, did_you_mean

Row = TypeVar("Row")


class Table(Generic[Row]):
    """Rows of one kind by name.

    A package adds a row by an entry point of the group ``voxmix.<kind>``: name = "package.module:object". So it is there
    in every process, also in those that train. :meth:`add` is for one process: a script, a notebook, a test.

    Args:
        kind: what a row is, in the plural, as in the name of the group: ``networks``.
        own: voxmix's rows, in the order in which they are shown.
    """

    def __init__(self, kind: str, own: Mapping[str, Row]) -> None:
        self.kind = kind
        self._own = dict(own)
        self._added: dict[str, Row] = {}
        self._points: dict[str, Any] | None = None

    @property
    def group(self) -> str:
        """The group of entry points."""
        return f"voxmix.{self.kind}"

    def names(self) -> tuple[str, ...]:
        """Return the names of all rows, voxmix's own first."""
        return tuple(dict.fromkeys((*self._own, *self._installed(), *self._added)))

    def rows(self) -> dict[str, Row]:
        """Return name to row, voxmix's own first."""
        return {name: self[name] for name in self.names()}

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __getitem__(self, name: str) -> Row:
        """Return the row of a name.

        Raises:
            InputError: there is none.
        """
        for rows in (self._own, self._added):
            if name in rows:
                return rows[name]
        installed = self._installed()
        if name in installed:
            row: Row = installed[name].load()
            return row
        kind = re.sub("ies$", "y", self.kind).removesuffix("s").replace("_", " ")
        hint = did_you_mean(name, self.names(), what=f"the {self.kind.replace('_', ' ')} are ")
        raise InputError(f"unknown {kind} {name!r}; {hint}")

    def add(self, name: str, row: Row) -> None:
        """Add a row, in this process alone.

        Raises:
            InputError: there is a row of this name.
        """
        if name in self:
            raise InputError(
                f"there is already a row {name!r} among the {self.kind.replace('_', ' ')}; use another name"
            )
        self._added[name] = row

    def remove(self, name: str) -> None:
        """Take away a row that was added."""
        del self._added[name]

    def _installed(self) -> dict[str, Any]:
        if self._points is None:  # looked up once: that reads the metadata of every installed package
            self._points = {point.name: point for point in entry_points(group=self.group)}
        return self._points
