"""DataSet: all that voxmix knows of one public data set, or of one generic layout, as one row."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from voxmix.datasets.task import Part, Task
from voxmix.volumes.file_names import is_junk
from voxmix.volumes.manifest import Manifest


@dataclass(frozen=True, kw_only=True, slots=True)
class LabeledManifest:
    """The images that a data set has for a task; ``parts`` is the publisher's split by subject, empty without one."""

    manifest: Manifest
    parts: Mapping[str, Part] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """One public data set or generic layout.

    Attributes:
        name: what ``--layout`` and a task's ``layout`` call it.
        title: what people call it.
        expects: what is looked for in the folder, where the title does not say it (Markdown).
        traps: what its files do that others do not, and what becomes of it (Markdown).
        read: the folder to its volumes; None for what only tasks read.
        read_without: the folder without some domains, which nothing is asked of, to its volumes and the names of all
            its domains; None where domains are known only from the volumes.
        shows: whether a folder shows this set; None where it must be named.
        list_name: the file with the set's own list, which may be given in place of its folder.
        special: of several sets that a folder shows, the most special is taken; of equals, the first in the table.
        sessions: a published way of naming sessions: the standard, and a pattern whose first group is the person.
            Names that match are joined in every data set.
        labeled: a task and its data to the images with their classes and parts; None where :attr:`read` gives them.
        joins_sessions: whether a task's images have their sessions joined; a table's own subject column is taken as
            it is.
        tasks: the paper's tasks on this set.
    """

    name: str
    title: str
    expects: str = ""
    traps: str = ""
    read: Callable[[Path], Manifest] | None = None
    read_without: Callable[[Path, Collection[str]], tuple[Manifest, frozenset[str]]] | None = None
    shows: Callable[[Path], bool] | None = None
    list_name: str = ""
    special: int = 10
    sessions: tuple[str, re.Pattern[str]] | None = None
    labeled: Callable[[Task, Path], LabeledManifest] | None = None
    joins_sessions: bool = True
    tasks: tuple[Task, ...] = ()


def holds(*patterns: str) -> Callable[[Path], bool]:
    """Return the function that says whether a folder holds a file or folder of one of these patterns."""

    def shows(root: Path) -> bool:
        return any(not is_junk(path.name) for pattern in patterns for path in root.glob(pattern))

    return shows
