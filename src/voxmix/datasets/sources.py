"""Sources: what a user names as volumes (a table, a folder in any known layout, several of them) to one manifest."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from voxmix.datasets.dataset import LabeledManifest
from voxmix.datasets.sessions import join_sessions
from voxmix.datasets.table import data_sets, layouts
from voxmix.datasets.task import Task
from voxmix.errors import InputError
from voxmix.volumes.manifest import Manifest, VolumeRecord
from voxmix.volumes.manifest_files import read_table

_TABLES = (".csv", ".tsv", ".json")


def read_source(
    path: Path, *, layout: str | None = None, exclude: Sequence[str] = ()
) -> tuple[Manifest, str]:
    """Return the volumes of a table or of a folder, and the layout: the one named, else the one detected.

    A ``dataset.json`` or ``pretrain_data.json`` stands for its folder. Domains named in ``exclude`` are left out
    before anything is asked of them.

    Raises:
        InputError: no such file or folder, an unknown layout, a table that cannot be used, no volume, or a domain to
            exclude that is not there.
    """
    manifest, found, domains = _read_source(path, layout, exclude)
    _check_excluded(exclude, domains)
    return manifest, found


def _check_excluded(exclude: Sequence[str], domains: Collection[str]) -> None:
    unknown = sorted(set(exclude) - set(domains))
    if unknown:
        raise InputError(f"no domain {unknown[0]!r} to exclude; there are {sorted(domains)}")


def _read_source(
    path: Path, layout: str | None, exclude: Sequence[str]
) -> tuple[Manifest, str, frozenset[str]]:
    """Return the manifest without the excluded domains, the layout, and every domain that there was."""
    if path.name in {row.list_name for row in data_sets().values()} and path.is_file():
        path = path.parent
    if path.is_file() or path.suffix.lower() in _TABLES:
        if layout is not None:
            raise InputError(f"{path} is a table; a layout ({layout!r}) is for folders")
        return _without(read_table(path), exclude, found="table")
    if not path.is_dir():
        raise InputError(
            f"no such file or folder: {path}; give a folder of volumes, or a CSV or JSON manifest"
        )
    found = layout or detect_layout(path)
    row = data_sets().get(found)
    if row is not None and row.read_without is not None:
        manifest, domains = row.read_without(path, exclude)
        return join_sessions(manifest), found, domains
    return _without(read_layout(found, path), exclude, found=found)


def _without(
    manifest: Manifest, exclude: Sequence[str], *, found: str
) -> tuple[Manifest, str, frozenset[str]]:
    left = [name for name in manifest.domains if name not in exclude]
    if not left:
        raise InputError(f"every domain is excluded: {list(manifest.domains)}; leave one in")
    aside = tuple(item for item in manifest.set_aside if item.domain not in exclude)
    records = tuple(record for record in manifest.records if record.domain not in exclude)
    return replace(manifest, records=records, set_aside=aside), found, frozenset(manifest.domains)


def detect_layout(root: Path) -> str:
    """Return the name of the layout that a folder shows; "folder" where it shows none.

    Only names of files and folders near the top, and the kind of a ``dataset.json``, are looked at. A set that
    could be two is taken for the more special one: AMOS and Decathlon both have a ``dataset.json``.
    """
    most_special_first = sorted(data_sets().values(), key=lambda row: -row.special)
    return next(row.name for row in most_special_first if row.shows is not None and row.shows(root))


def read_layout(name: str, root: Path) -> Manifest:
    """Return the manifest of a data set in a known layout.

    Raises:
        InputError: an unknown name, no such folder, or no volume in it.
    """
    row = data_sets().get(name)
    if row is None or row.read is None:
        raise InputError(f"unknown layout {name!r}; choose one of {list(layouts())}, or write a CSV")
    if not root.is_dir():
        raise InputError(f"no such folder: {root}; give the folder into which the data set was unpacked")
    try:
        return join_sessions(row.read(root))
    except InputError as error:
        if "no volumes found" in str(error):
            raise InputError(
                f"no volumes of layout {name!r} in {root}; give the data set's own folder"
            ) from None
        raise
    except (KeyError, AttributeError, TypeError, IndexError) as error:  # A JSON list of another shape.
        raise InputError(
            f"the list of files in {root} is not as layout {name!r} has it ({type(error).__name__}: {error}); fix "
            "it, name another layout, or write a CSV"
        ) from None


def read_labeled(task: Task, data: Path) -> LabeledManifest:
    """Return the images of a task's data set, with the publisher's parts where it has them.

    Raises:
        InputError: as :func:`read_layout`; data that the task's layout cannot read.
    """
    row = data_sets().get(task.layout)
    if row is None or row.labeled is None:
        return LabeledManifest(manifest=read_layout(task.layout, data))
    found = row.labeled(task, data)
    if found.parts or not row.joins_sessions:
        return found
    return replace(found, manifest=join_sessions(found.manifest))


def read_sources(
    paths: Sequence[Path],
    *,
    layout: str | None = None,
    rename: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
) -> tuple[Manifest, tuple[str, ...]]:
    """Return one manifest of several sources, and the layout of each; ``rename`` gives domains other names.

    Domains named in ``exclude`` (by the names they have in the sources) are left out first.

    Subjects of different sources are different people, so with several sources each subject is called
    ``<source>/<subject>``, by the name of the folder or table; a table that voxmix wrote so keeps its names.

    Raises:
        InputError: as :func:`read_source`; two sources of one name; a domain to rename that does not exist.
    """
    read = [_read_source(path, layout, exclude) for path in paths]
    _check_excluded(exclude, frozenset().union(*(domains for _, _, domains in read)))
    found = tuple(name for _, name, _ in read)
    manifests = [manifest for manifest, _, _ in read]
    if len(paths) > 1:
        manifests = list(_apart(paths, manifests))
    joined = Manifest(
        records=tuple(record for manifest in manifests for record in manifest.records),
        set_aside=tuple(item for manifest in manifests for item in manifest.set_aside),
        notes=tuple(item for manifest in manifests for item in manifest.notes),
    )
    return rename_domains(joined, rename or {}), found


def _apart(paths: Sequence[Path], manifests: Sequence[Manifest]) -> Iterator[Manifest]:
    """Yield the manifests with subjects named after their source."""
    names = [path.resolve().name.split(".")[0] for path in paths]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"two sources are called {twice[0]!r}: their subjects could not be distinguished; rename one folder, or "
            "make a manifest of each and join the tables"
        )
    for name, manifest in zip(names, manifests, strict=True):
        yield replace(
            manifest, records=tuple(replace(r, subject=f"{name}/{r.subject}") for r in manifest.records)
        )


def rename_domains(manifest: Manifest, names: Mapping[str, str]) -> Manifest:
    """Return the manifest with other names of domains; two domains that get one name become one.

    Raises:
        InputError: a domain that is not there, or a name that cannot be one.
    """
    unknown = sorted(set(names) - set(manifest.domains))
    if unknown:
        raise InputError(f"no domain {unknown[0]!r} to rename; this manifest has {list(manifest.domains)}")

    def renamed(record: VolumeRecord) -> VolumeRecord:
        return replace(record, domain=names.get(record.domain, record.domain))

    return replace(
        manifest,
        records=tuple(map(renamed, manifest.records)),
        set_aside=tuple(replace(s, domain=names.get(s.domain, s.domain)) for s in manifest.set_aside),
    )
