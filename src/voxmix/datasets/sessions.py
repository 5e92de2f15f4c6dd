"""Sessions that the names of a published standard tell apart, joined to their persons in every data set."""

import re
from dataclasses import replace

from voxmix.datasets.table import data_sets
from voxmix.volumes.manifest import Manifest, VolumeRecord
from voxmix.volumes.persons.rules import with_persons


def standards() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return the published ways of naming sessions: the first group is the person."""
    return tuple(row.sessions for row in data_sets().values() if row.sessions is not None)


def join_sessions(manifest: Manifest) -> Manifest:
    """Return the manifest with sessions that names of a standard tell apart joined to their persons, and a note."""
    persons: dict[str, str] = {}
    notes: list[str] = []
    for standard, pattern in standards():
        found = {
            record.subject: match[1]
            for record in manifest.records
            if (match := pattern.fullmatch(record.subject))
        }
        if found:
            persons |= found
            notes.append(
                f"{len(found)} subjects are sessions of {len(set(found.values()))} persons by the names of {standard}: "
                "joined to these persons"
            )
    return replace(with_persons(manifest, persons), notes=(*manifest.notes, *notes)) if persons else manifest


def session_names(record: VolumeRecord) -> tuple[str, ...]:
    """Return the names of sessions that a standard joins, in a file's or folder's name: once they were subjects."""
    stem = record.path.name.split(".")[0]
    names = dict.fromkeys((stem, re.sub(r"_\d{4}$", "", stem), record.path.parent.name))
    return tuple(name for name in names if any(pattern.fullmatch(name) for _, pattern in standards()))
