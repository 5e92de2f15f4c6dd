"""The public data sets of the paper, as they unpack, with their traps."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from voxmix._csv import read_csv_rows
from voxmix.datasets.listed import gather, read_bids, read_decathlon, read_nnssl, read_nnunet
from voxmix.datasets.pairing import File, pair
from voxmix.datasets.sets.folder import domain_folders, one_per_name, read_folder, volumes_in, walk
from voxmix.errors import InputError
from voxmix.volumes.file_names import PAIR_HEADERS, is_junk, split_suffix
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord
from voxmix.volumes.masks import is_label_folder
from voxmix.volumes.persons.rules import join_standards
from voxmix.volumes.reading.npz_stacks import PARTS, part_sizes, stack_classes

_AMOS_LAST_CT, _AMOS_LAST_MR = 500, 600
_BRATS = {"t1n": "BRAIN-T1", "t1c": "BRAIN-T1", "t2w": "BRAIN-T2", "t2f": "BRAIN-T2"}
_HECKTOR = {"CT": "HN-CT", "PT": "HN-PET"}
_OASIS_AFFINE = (0.0, 0.0, -1.0, 80.0, 1.0, 0.0, 0.0, -128.0, 0.0, 1.0, 0.0, -128.0, 0.0, 0.0, 0.0, 1.0)
"""The headers of OASIS-1 name a wrong orientation; this is what clinica writes in its place."""


def read_amos(root: Path) -> Manifest:
    """Return AMOS 2022: CT for ids up to 500, MRI for 501 to 600.

    What lies above (the unlabelled part, of which 5514 and 5437 are damaged) names no modality and is set
    aside.
    """

    def records() -> Iterator[VolumeRecord | SetAside]:
        for images, labels in (("imagesTr", "labelsTr"), ("imagesVa", "labelsVa"), ("imagesTs", "labelsTs")):
            chosen, lost = volumes_in(root / images)
            maps, _ = volumes_in(root / labels)
            yield from _lost(lost, "ABD")
            for stem, path in chosen.items():
                if not stem.startswith("amos_"):
                    continue
                number = int(re.sub(r"\D", "", stem)[:9] or 0)
                if not 1 <= number <= _AMOS_LAST_MR:
                    reason = "AMOS id above 600: its modality is not known"
                    yield SetAside(path=path, domain="ABD", reason=reason)
                    continue
                yield VolumeRecord(
                    path=path,
                    domain="ABD-CT" if number <= _AMOS_LAST_CT else "ABD-MRI",
                    subject=f"amos_{number:04d}",
                    label=maps.get(stem),
                )

    return gather(records())


def _lost(items: Iterable[tuple[Path, str]], domain: str) -> Iterator[SetAside]:
    yield from (SetAside(path=path, domain=domain, reason=reason) for path, reason in items)


def read_brats(root: Path) -> Manifest:
    """Return BraTS 2023 glioma: T1 and T1 with contrast as BRAIN-T1, T2 and FLAIR as BRAIN-T2.

    The subject is the five-digit number: ``-000`` and ``-001`` are visits of one person.
    """

    def records() -> Iterator[VolumeRecord | SetAside]:
        for folder, names in walk(root):
            if not fnmatchcase(folder.name, "BraTS-*-*-*"):
                continue
            chosen, lost = one_per_name(folder, names)
            yield from _lost(lost, "BRAIN-T1")
            for stem, path in chosen.items():
                contrast = stem.rsplit("-", 1)[-1]
                if contrast in _BRATS:
                    yield VolumeRecord(
                        path=path,
                        domain=_BRATS[contrast],
                        subject=folder.name.rsplit("-", 1)[0],
                        label=chosen.get(f"{folder.name}-seg"),
                    )

    return gather(records())


def read_hecktor(root: Path) -> Manifest:
    """Return HECKTOR 2025: ``Task */<patient>/<patient>__{CT,PT}.nii.gz``, tumors labeled on the CT's grid.

    The label map goes with the PET too, whose grid is another: preparing samples it there and says so.
    A patient that several tasks hold is taken from the first; the others are set aside.
    """

    def records() -> Iterator[VolumeRecord | SetAside]:
        seen: set[tuple[str, str]] = set()
        for folder, names in walk(root):
            chosen, lost = one_per_name(folder, names)
            yield from _lost(lost, "HN-CT")
            for stem, path in chosen.items():
                subject, _, kind = stem.partition("__")
                if kind not in _HECKTOR:
                    continue
                domain = _HECKTOR[kind]
                if (subject, kind) in seen:
                    yield SetAside(path=path, domain=domain, reason="the same patient is in another task")
                    continue
                seen.add((subject, kind))
                yield VolumeRecord(path=path, domain=domain, subject=subject, label=chosen.get(subject))

    return gather(records())


def read_bhsd(root: Path) -> Manifest:
    """Return BHSD: head CT with five kinds of hemorrhage (1 EDH, 2 IPH, 3 IVH, 4 SAH, 5 SDH)."""

    def records() -> Iterator[VolumeRecord | SetAside]:
        folder = root if (root / "images").is_dir() else root / "label_192"
        chosen, lost = volumes_in(folder / "images")
        maps, _ = volumes_in(folder / "ground truths")
        yield from _lost(lost, "HEAD-CT")
        for stem, path in chosen.items():
            yield VolumeRecord(path=path, domain="HEAD-CT", subject=stem, label=maps.get(stem))

    return gather(records())


_TOTALSEG = {"ct": "TOTALSEGMENTATOR-CT", "mri": "TOTALSEGMENTATOR-MR", "mr": "TOTALSEGMENTATOR-MR"}


def is_totalsegmentator(root: Path) -> bool:
    """Return whether nearly every folder is a subject's: ``ct`` or ``mri`` beside a folder of segmentations."""
    folders = domain_folders(root)
    return bool(folders) and sum(map(_is_segmented, folders)) >= 0.8 * len(folders)


def _is_segmented(folder: Path) -> bool:
    named = any(
        split_suffix(path.name)[0].lower() in _TOTALSEG for path in folder.iterdir() if not is_junk(path.name)
    )
    return named and any(is_label_folder(path.name) for path in folder.iterdir() if path.is_dir())


def read_totalsegmentator(root: Path) -> Manifest:
    """Return TotalSegmentator's data set, or what its tool leaves: ``<subject>/{ct,mri}.nii.gz``, ``segmentations/``.

    CT and MR are a domain each. Segmentations are a file per structure: no label map of the image, and set aside. One
    label map beside the image (all structures in one) is its label.
    """

    def records() -> Iterator[VolumeRecord | SetAside]:
        for folder in domain_folders(root):
            files: list[File] = []
            lost: list[tuple[Path, str]] = []
            for place, names in walk(folder):
                chosen, more = one_per_name(place, names)
                within = place.relative_to(folder).parts
                files += [File(path=path, stem=stem, within=within) for stem, path in chosen.items()]
                lost += more
            found = pair(files)
            scans = [image for image in found.images if not image.within and image.stem.lower() in _TOTALSEG]
            domain = _TOTALSEG[scans[0].stem.lower()] if scans else _TOTALSEG["ct"]
            yield from _lost([*lost, *found.others], domain)
            for image in found.images:
                if image not in scans:
                    reason = "not called ct or mri, as TotalSegmentator's images are"
                    yield SetAside(path=image.path, domain=domain, reason=reason)
                    continue
                yield VolumeRecord(
                    path=image.path,
                    domain=_TOTALSEG[image.stem.lower()],
                    subject=folder.name,
                    label=found.labels.get(image.path),
                )
            if not scans:
                yield SetAside(path=folder, domain=domain, reason="a folder without ct or mri")

    return gather(records())


def read_oasis(root: Path) -> Manifest:
    """Return OASIS-1: the averaged, gain-corrected MPRAGE of every session, with the orientation put right.

    ``_MR2`` is a repeat of the same subject. The class is that of the Clinical Dementia Rating, ``CDR=0`` or
    ``CDR>0``, from ``oasis_cross-sectional.csv`` beside the discs, else from the session's own text file; a blank
    rating (the young, who were not rated) is no class.
    """
    ratings = _oasis_table(root)

    def records() -> Iterator[VolumeRecord]:
        for path in sorted(root.glob("**/OAS1_*_MR*/PROCESSED/MPRAGE/SUBJ_111/*")):
            if (
                any(map(is_junk, path.relative_to(root).parts))
                or split_suffix(path.name)[1] not in PAIR_HEADERS
            ):
                continue
            index = next(i for i, part in enumerate(path.parts) if re.fullmatch(r"OAS1_\d+_MR\d", part))
            session = path.parts[index]
            beside = Path(*path.parts[: index + 1]) / f"{session}.txt"
            rating = ratings[session] if session in ratings else _oasis_rating(beside)
            yield VolumeRecord(
                path=path,
                domain="BRAIN-T1",
                subject=session.rsplit("_", 1)[0],
                affine=_OASIS_AFFINE,
                category=rating,
            )

    return gather(records())


def _oasis_table(root: Path) -> dict[str, str]:
    """Return session to class, from the table of all sessions where there is one."""
    for path in sorted(root.glob("oasis_cross-sectional*.csv")):
        table = read_csv_rows(
            path, columns=("ID", "CDR"), give="the table of OASIS-1 as its publisher has it"
        )
        return {row["ID"]: _dementia(row["CDR"]) for row in table.rows}
    return {}


def _oasis_rating(path: Path) -> str:
    if not path.is_file():
        return ""
    match = re.search(
        r"^CDR:[ \t]*([\d.]*)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE
    )
    return _dementia(match[1]) if match else ""


def _dementia(rating: str) -> str:
    try:
        return "CDR>0" if float(rating) > 0 else "CDR=0"
    except ValueError:
        return ""


def read_synbrain(root: Path) -> Manifest:
    """Return SynBrain-PET as a folder per class: the class is the folder's name, the domain BRAIN-PET.

    No public reader of the set is known; files lie ``<class>/<subject>.nii.gz`` or ``<class>/<subject>/*``. A
    subject of one name in two classes counts as one person, so that no split can part it.
    """
    found = read_folder(root)
    return replace(
        found,
        records=tuple(replace(r, domain="BRAIN-PET", category=r.domain) for r in found.records),
        set_aside=tuple(replace(s, domain="BRAIN-PET") for s in found.set_aside),
    )


def read_medmnist(root: Path) -> Manifest:
    """Return MedMNIST 3D files (``organmnist3d*.npz``): the official training and validation volumes.

    The test volumes stay for downstream. The file names no person: every volume counts as a subject of its
    own, on the side where its publisher put it. Values are 8 bits, windowed before: the domain's name has no
    modality, so the percentile rule serves. The class is the publisher's number.
    """

    def records() -> Iterator[VolumeRecord]:
        for path in sorted(path for path in root.glob("*mnist3d*.npz") if not is_junk(path.name)):
            stem = split_suffix(path.name)[0]
            classes = stack_classes(path)
            index = 0
            for name, count in part_sizes(path).items():
                for volume in range(index, index + count if PARTS[name] else index):
                    yield VolumeRecord(
                        path=path,
                        domain=stem.upper().replace("_", "-"),
                        subject=f"{stem}/{volume}",
                        split=PARTS[name],
                        volume=volume,
                        category=classes[volume] if volume < len(classes) else "",
                    )
                index += count

    return gather(records())


LAYOUTS: dict[str, Callable[[Path], Manifest]] = {
    "folder": read_folder,
    "bids": read_bids,
    "nnunet": read_nnunet,
    "decathlon": read_decathlon,
    "nnssl": read_nnssl,
    "amos": read_amos,
    "brats": read_brats,
    "hecktor": read_hecktor,
    "bhsd": read_bhsd,
    "totalsegmentator": read_totalsegmentator,
    "oasis": read_oasis,
    "medmnist": read_medmnist,
    "synbrain": read_synbrain,
}
"""Layouts by the name a user gives."""


def read_layout(name: str, root: Path) -> Manifest:
    """Return the manifest of a data set in a known layout.

    Raises:
        InputError: an unknown name, no such folder, or no volume in it.
    """
    if name not in LAYOUTS:
        raise InputError(f"unknown layout {name!r}; choose one of {list(LAYOUTS)}, or write a CSV")
    if not root.is_dir():
        raise InputError(f"no such folder: {root}; give the folder into which the data set was unpacked")
    try:
        return join_standards(LAYOUTS[name](root))
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
