"""Preparing in pieces that any process on any machine may take: which are left, and making one."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from voxmix._io import digest, naming_full_disk
from voxmix._parallel import KILLED, alone
from voxmix.errors import VoxmixError
from voxmix.volumes.manifest import Manifest
from voxmix.volumes.preparing.outcomes import (
    Arrays,
    Asked,
    Known,
    Row,
    ask_all,
    outcomes_folder,
    read_outcomes,
    row_of,
    write_outcomes,
)
from voxmix.volumes.preparing.prepare_record import Outcome, prepare_record
from voxmix.volumes.preparing.private_lists import Names
from voxmix.volumes.preparing.storage import Codec
from voxmix.volumes.recipe import Recipe

VOLUMES_A_UNIT = 32
"""Few enough that a unit is minutes of work, many enough that 100,000 volumes leave few files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is known of every record of a manifest before it is prepared: ``rows`` are its outcomes, None where unknown.

    ``asked`` is empty, and nothing known, where outcomes are not kept (``folder`` is None).
    """

    manifest: Manifest
    recipe: Recipe
    root: Path
    codec: Codec
    folder: Path | None
    asked: tuple[Asked, ...]
    known: Known
    rows: tuple[Row | None, ...]

    @property
    def make(self) -> Callable[..., Outcome]:
        """What prepares one record."""
        return partial(prepare_record, recipe=self.recipe, root=self.root, codec=self.codec)

    @property
    def left(self) -> tuple[int, ...]:
        """Places of the records that are to be prepared."""
        return tuple(place for place, row in enumerate(self.rows) if row is None)


def plan(
    manifest: Manifest,
    *,
    recipe: Recipe,
    root: Path,
    codec: Codec,
    source: Path | None,
    names: Names | None,
    again: bool,
) -> Plan:
    """Return what is known of the records of a manifest; no source is read.

    With ``again``, what went wrong before is tried once more.

    Warns:
        VoxmixWarning: a file of outcomes is damaged.
    """
    nothing = Known(rows={})
    if names is None:
        unknown = (None,) * len(manifest.records)
        return Plan(
            manifest=manifest,
            recipe=recipe,
            root=root,
            codec=codec,
            folder=None,
            asked=(),
            known=nothing,
            rows=unknown,
        )
    folder = outcomes_folder(names)
    asked = ask_all(manifest.records, recipe=recipe, source=source)
    known = read_outcomes(folder) if folder.is_dir() else nothing
    arrays = Arrays.in_cache(root)
    rows = tuple(known.of(one, arrays=arrays, codec=codec, again=again) for one in asked)
    return Plan(
        manifest=manifest,
        recipe=recipe,
        root=root,
        codec=codec,
        folder=folder,
        asked=asked,
        known=known,
        rows=rows,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Some records of a manifest that are prepared by one process: those from ``start`` up to ``stop`` that are left.

    ``name`` is the same in every process that finds the same left to do.
    """

    name: str
    start: int
    stop: int
    volumes: int


def units_of(found: Plan) -> tuple[Unit, ...]:
    """Return the units that are left, in order."""
    units = []
    for start in range(0, len(found.asked), VOLUMES_A_UNIT):
        stop = min(start + VOLUMES_A_UNIT, len(found.asked))
        left = [place for place in range(start, stop) if found.rows[place] is None]
        if left:
            asked = [[found.asked[place].what, found.asked[place].state] for place in left]
            gone = [(found.asked[place].what, found.asked[place].state) in found.known.rows for place in left]
            name = digest([asked, gone, found.codec])
            units.append(Unit(name=name, start=start, stop=stop, volumes=len(left)))
    return tuple(units)


def is_done(found: Plan, unit: Unit) -> bool:
    """Return whether some process has prepared a unit since it was planned."""
    assert found.folder is not None
    return (found.folder / f"{unit.name}.json").exists()


def make_unit(
    found: Plan,
    unit: Unit,
    *,
    names: Names,
    careful: bool = False,
    stop: Callable[[], bool] | None = None,
) -> bool:
    """Prepare a unit in this process and publish what came of it, in one small file; return whether all of it is done.

    Two processes that make the same unit write the same arrays under the same names, and equal files: the later
    replaces the former.

    Args:
        names: where the private lists of the cache are kept, and the outcomes.
        careful: read every file in a process of its own, so that one that kills its reader is set aside alone.
        stop: asked before each volume; once it says so, what is done is published and the rest left.

    Raises:
        VoxmixError: the folder of the outcomes cannot be written, or the disk is full.
    """
    assert found.folder is not None
    make = partial(alone, found.make, killed=Outcome(reason=KILLED)) if careful else found.make
    rows: list[tuple[Asked, Row]] = []
    ended = False
    with naming_full_disk(found.root):
        make_folders(found.root)
        open_outcomes(found.folder, names)
        for place in range(unit.start, unit.stop):
            if found.rows[place] is not None:
                continue
            if stop is not None and stop():
                ended = True
                break
            asked = found.asked[place]
            rows.append((asked, row_of(asked, make(asked.record))))
        if rows:
            name = f"{unit.name}-part-{len(rows)}" if ended else unit.name
            write_outcomes(found.folder, name, rows)
    return not ended


def make_folders(root: Path) -> None:
    """Make the folders of a cache."""
    for folder in ("volumes", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)


def open_outcomes(folder: Path, names: Names) -> None:
    """Make the folder of outcomes, closed to others.

    Raises:
        VoxmixError: it cannot be made, or not written.
    """
    try:
        names.open_folder()
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error.strerror) from None
    if not os.access(folder, os.W_OK):
        raise _unwritable(folder, "no permission")


def _unwritable(folder: Path, why: str | None) -> VoxmixError:
    return VoxmixError(
        f"{folder} cannot be written ({why}), and machines that share the work write there what they have done; name "
        "another folder for the private lists (data.names, --names)"
    )
