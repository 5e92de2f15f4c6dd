"""Sources: what a user names as volumes (a table, a folder in any known layout, several of them) to one manifest."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from voxmix.datasets.listed import read_list
from voxmix.datasets.pairing import without_channel
from voxmix.datasets.sets.folder import domain_folders, read_folder, volumes_in
from voxmix.datasets.table import is_totalsegmentator, read_layout
from voxmix.errors import InputError
from voxmix.volumes.file_names import is_junk
from voxmix.volumes.manifest import Manifest, VolumeRecord
from voxmix.volumes.manifest_files import read_table

_TABLES = (".csv", ".tsv", ".json")
_LISTS = ("dataset.json", "pretrain_data.json")


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
    if path.name in _LISTS and path.is_file():
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
    if found == "folder":
        named = frozenset(folder.name for folder in domain_folders(path))
        return read_folder(path, exclude=exclude), found, named
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
    """Return the name of the layout (see ``LAYOUTS``) that a folder shows; "folder" where it shows none.

    Only names of files and folders near the top, and the kind of a ``dataset.json``, are looked at. A set that
    could be two is taken for the more special one: AMOS and Decathlon both have a ``dataset.json``.
    """
    if (root / "pretrain_data.json").is_file():
        return "nnssl"
    names = {path.name for path in root.iterdir()}
    if "imagesTr" in names or "imagesVa" in names:
        return _with_images_tr(root)
    if (root / "dataset.json").is_file():
        described = read_list(root / "dataset.json")
        if isinstance(described, dict) and isinstance(described.get("dataset"), dict):
            return "nnunet"
        if isinstance(described, dict) and isinstance(described.get("training"), list):
            return "decathlon"
    for layout, pattern in _SIGNS:
        if any(not is_junk(path.name) for glob in pattern for path in root.glob(glob)):
            return layout
    return "totalsegmentator" if is_totalsegmentator(root) else "folder"


_SIGNS = (
    ("medmnist", ("*mnist3d*.npz",)),
    ("bhsd", ("label_192/images", "ground truths")),
    ("oasis", ("OAS1_*_MR?", "disc*/OAS1_*_MR?", "*/disc*/OAS1_*_MR?")),
    ("brats", ("BraTS-*-*-*/BraTS-*.nii*", "*/BraTS-*-*-*/BraTS-*.nii*")),
    ("hecktor", ("Task */*/*__[CP]T.nii*", "*/*__[CP]T.nii*", "*/Task */*/*__[CP]T.nii*")),
    ("bids", ("dataset_description.json", "sub-*/anat", "sub-*/ses-*/anat", "sub-*/pet")),
)


def _with_images_tr(root: Path) -> str:
    if any(root.glob("images*/amos_*.nii*")):
        return "amos"
    described = read_list(root / "dataset.json") if (root / "dataset.json").is_file() else {}
    known = described if isinstance(described, dict) else {}
    if "channel_names" in known or "dataset" in known or "training" not in known:
        return "nnunet"
    # nnU-Net numbers channels with four digits behind the case's name, also where its list leaves them out. A case of
    # Decathlon may end in four digits too: then its label map is called the same.
    images, labels = set(volumes_in(root / "imagesTr")[0]), set(volumes_in(root / "labelsTr")[0])
    numbered = [stem for stem in images if without_channel(stem) != stem and stem not in labels]
    return "nnunet" if numbered and "modality" in known else "decathlon"


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
