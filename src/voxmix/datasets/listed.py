"""Generic archives that name their own files: BIDS, nnU-Net raw, Decathlon JSON, nnssl JSON."""

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from voxmix.datasets.pairing import File, pair, without_channel
from voxmix.datasets.sets.folder import NOT_THERE, one_per_name, volumes_in, walk
from voxmix.domain import check_domain_name
from voxmix.errors import InputError, VoxmixWarning
from voxmix.volumes.file_names import is_junk, split_suffix
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord

_BIDS_FOLDERS = ("anat", "pet", "ct")


def safe_name(text: str) -> str:
    """Return a text as a domain's name: every run of other characters becomes a dash."""
    return check_domain_name(re.sub(r"[^0-9A-Za-z]+", "-", text).strip("-"))


def below(root: Path, given: str) -> Path:
    """Return a path that an archive names, which must stay below its folder; an absolute path into it is one.

    Raises:
        InputError: it leads out of the folder.
    """
    target, inside = _anywhere(root, given)
    if not inside and Path(_slashes(given)).is_absolute():
        real = Path(os.path.realpath(root))  # The list may name the folder that a link leads to.
        inside = target.is_relative_to(real)
        target = Path(os.path.abspath(root)) / target.relative_to(real) if inside else target
    if not inside or re.match(r"[A-Za-z]:", given):
        raise InputError(f"{root} lists a file outside itself: {given}; correct the list")
    return target


def _slashes(given: str) -> str:
    """Return a path with the slashes of this system; a list from Windows has the others."""
    return given if os.sep == "\\" else given.replace("\\", "/")


def gather(records: Iterator[VolumeRecord | SetAside]) -> Manifest:
    """Return a manifest of what a layout yields; files that do not exist are set aside."""
    kept: list[VolumeRecord] = []
    lost: list[SetAside] = []
    for item in records:
        if isinstance(item, SetAside):
            lost.append(item)
        elif not os.path.exists(item.path):
            reason = NOT_THERE if os.path.islink(item.path) else "no such file"
            lost.append(SetAside(path=item.path, domain=item.domain, reason=reason))
        else:
            kept.append(item)
    if lost and not kept:
        raise InputError(
            f"no volumes that can be used: {len(lost)} set aside, first because: {lost[0].reason}"
        )
    return Manifest(records=tuple(kept), set_aside=tuple(lost))


NO_NAMES = "an entry of dataset.json that does not name its images"
NO_LABEL = "label map: no such file"


def existing(path: Path) -> Path | None:
    """Return the path of a label map if there is one."""
    return path if os.path.exists(path) else None


_SCANS = {"T1w": "T1", "T2w": "T2", "FLAIR": "FLAIR", "PDw": "PD", "T2starw": "T2STAR", "inplaneT1": "T1",
          "inplaneT2": "T2", "PDT2": "PDT2", "angio": "ANGIO", "pet": "PET", "ct": "CT"}  # fmt: skip
"""BIDS suffixes of scans, and their domains. All others are maps, masks or parts of a multi-part acquisition."""


def read_bids(root: Path) -> Manifest:
    """Return the images of ``sub-*/[ses-*/]{anat,pet,ct}``, one domain per suffix (T1, T2, FLAIR, PET, ...).

    Derivatives and source data are passed over. The subject is ``sub-<label>``, whatever the session. Quantitative maps,
    parts of an acquisition (MP2RAGE inversions), phase, real and imaginary parts, and masks are set aside.
    """
    return gather(
        item
        for folder in sorted(root.glob("sub-*"))
        for place, names in walk(folder)
        if place.name in _BIDS_FOLDERS
        for item in _bids_folder(place, names, subject=folder.name)
    )


def _bids_folder(place: Path, names: Sequence[str], *, subject: str) -> Iterator[VolumeRecord | SetAside]:
    chosen, lost = one_per_name(place, names)
    found = pair([File(path=path, stem=stem) for stem, path in chosen.items()])
    for path, reason in (*lost, *found.others):
        yield SetAside(path=path, domain=_bids_domain(split_suffix(path.name)[0]), reason=reason)
    for image in found.images:
        domain, reason = _bids_domain(image.stem), _no_bids_scan(image.stem)
        if reason:
            yield SetAside(path=image.path, domain=domain, reason=reason)
        else:
            label = found.labels.get(image.path)
            yield VolumeRecord(path=image.path, domain=domain, subject=subject, label=label)


def _bids_domain(stem: str) -> str:
    suffix = stem.rsplit("_", 1)[-1]
    return safe_name(_SCANS.get(suffix, suffix))


def _no_bids_scan(stem: str) -> str:
    """Return why a file is no scan, or "" for one."""
    entities = stem.split("_")
    part = next((entity.removeprefix("part-") for entity in entities if entity.startswith("part-")), "mag")
    if part != "mag":
        return "phase, real or imaginary part: only magnitudes are scans"
    if entities[-1] not in _SCANS:
        return "a map, or one part of an acquisition: no scan (T1w, T2w, FLAIR, PDw, T2starw, angio, pet and ct are)"
    return ""


_NNUNET_PARTS = (
    ("imagesTr", "labelsTr"),
    ("imagesVa", "labelsVa"),
    ("imagesVal", "labelsVal"),
    ("imagesTs", "labelsTs"),
)


def read_nnunet(root: Path) -> Manifest:
    """Return the images of one nnU-Net raw data set, a domain ``<name>-<channel>`` per channel.

    ``imagesTr/<case>_<channel>.*`` with ``labelsTr/<case>.*``; ``imagesTs`` has no labels. Files count whatever their
    format is, also where ``file_ending`` names another. With the ``dataset`` key the list itself names the files, which
    may lie elsewhere, as in nnU-Net; a warning says so.

    Warns:
        VoxmixWarning: the list names files outside the data set's folder.
    """
    described = _object(root / "dataset.json") if (root / "dataset.json").is_file() else {}
    channels = _channels(described)
    name = str(described.get("name") or re.sub(r"^(Dataset|Task)\d+_", "", root.resolve().name))

    def domain(channel: str) -> str:
        return safe_name(f"{name}-{channels.get(int(channel), channel)}")

    if isinstance(described.get("dataset"), dict):
        return gather(_nnunet_listed(root, described["dataset"], domain))

    def records() -> Iterator[VolumeRecord | SetAside]:
        for images, labels in _NNUNET_PARTS:
            chosen, lost = volumes_in(root / images)
            maps, lost_maps = volumes_in(root / labels)
            for path, reason in (*lost, *lost_maps):
                yield SetAside(path=path, domain=domain("0000"), reason=reason)
            numbered = any(without_channel(stem) != stem for stem in chosen)
            for stem, path in chosen.items():
                case, channel = without_channel(stem), stem[-4:]
                if case == stem or (case not in maps and stem in maps):
                    if numbered and stem not in maps:
                        reason = "its name ends in no number of a channel (_0000)"
                        yield SetAside(path=path, domain=domain("0000"), reason=reason)
                        continue
                    case, channel = stem, "0000"
                yield VolumeRecord(path=path, domain=domain(channel), subject=case, label=maps.get(case))

    return gather(records())


def _nnunet_listed(
    root: Path, listed: Mapping[str, Any], domain: Callable[[str], str]
) -> Iterator[VolumeRecord | SetAside]:
    outside = 0
    for case, entry in listed.items():
        label, inside = None, True
        texts = _texts(entry.get("images")) if isinstance(entry, dict) else []
        if not texts:
            yield SetAside(path=root / "dataset.json", domain=domain("0000"), reason=NO_NAMES)
            continue
        if isinstance(entry.get("label"), str):
            label, inside = _anywhere(root, entry["label"])
        outside += not inside
        if label is not None and existing(label) is None:
            yield SetAside(path=label, domain=domain("0000"), reason=NO_LABEL)
        for index, given in enumerate(texts):
            path, inside = _anywhere(root, given)
            outside += not inside
            yield VolumeRecord(
                path=path,
                domain=domain(f"{index:04d}"),
                subject=case,
                label=None if label is None else existing(label),
            )
    if outside:
        warnings.warn(
            f"the list of {root} (dataset.json, key dataset) names {outside} files outside its folder, as nnU-Net allows; "
            "they are used",
            VoxmixWarning,
            stacklevel=2,
        )


def _texts(given: Any) -> list[str]:
    """Return the names of files that an entry gives, one or a list; none where anything else stands among them."""
    texts = given if isinstance(given, list) else [given]
    return texts if all(isinstance(text, str) and text for text in texts) else []


def _anywhere(root: Path, given: str) -> tuple[Path, bool]:
    """Return a path that a list names, and whether it lies in the list's folder."""
    folder = Path(os.path.abspath(root))
    target = Path(os.path.normpath(folder / _slashes(given)))
    return target, target.is_relative_to(folder)


def _channels(described: Mapping[str, Any]) -> dict[int, str]:
    """Return the number of each channel and its name: ``{"0": "CT"}``, ``{"CT": 0}`` or ``["CT"]``."""
    given = described.get("channel_names") or described.get("modality") or {}
    pairs = enumerate(given) if isinstance(given, list) else given.items() if isinstance(given, dict) else ()
    found: dict[int, str] = {}
    for key, value in pairs:
        number, name = (key, value) if _is_number(key) else (value, key)
        if not _is_number(number):
            raise InputError(
                f'the channels of dataset.json are {given!r}; give them as {{"0": "CT"}}, a name per number'
            )
        found[int(number)] = str(name)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and value.isdecimal() and len(value) < 5)


def read_decathlon(root: Path) -> Manifest:
    """Return the images of one Medical Segmentation Decathlon task, by its ``dataset.json``.

    A domain ``<name>-<modality>`` per modality; where there are several, images are 4D and each record
    names its volume. Entries are names of files, or objects with an image (one, or a list with one per modality) and,
    if there is one, a label.
    """
    described = _object(root / "dataset.json")
    modality = _channels(described) or {0: ""}
    name = described.get("name") or root.resolve().name

    def records() -> Iterator[VolumeRecord | SetAside]:
        for key in ("training", "validation", "test", "testing"):
            for entry in described.get(key) or []:
                yield from _decathlon_entry(root, entry, name, modality)

    found = gather(records())
    taken = [*(record.path for record in found.records), *(item.path for item in found.set_aside)]
    listed = {os.path.abspath(path) for path in taken}
    domain = safe_name(f"{name}-{next(iter(modality.values()))}")
    more = [
        SetAside(path=path, domain=domain, reason="not in the data set's list (dataset.json)")
        for part in ("imagesTr", "imagesTs")
        for path in volumes_in(root / part)[0].values()
        if os.path.abspath(path) not in listed
    ]
    return replace(found, set_aside=(*found.set_aside, *more))


def _decathlon_entry(
    root: Path, entry: Any, name: Any, modality: Mapping[int, str]
) -> Iterator[VolumeRecord | SetAside]:
    given, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (entry, None)
    texts = _texts(given)
    if not texts or 1 < len(texts) < len(modality):
        domain = safe_name(f"{name}-{next(iter(modality.values()))}")
        yield SetAside(path=root / "dataset.json", domain=domain, reason=NO_NAMES)
        return
    labeled = below(root, label) if isinstance(label, str) else None
    files = [below(root, text) for text in texts]
    for index, kind in modality.items():
        path = files[index] if len(files) > 1 else files[0]
        domain, stem = safe_name(f"{name}-{kind}"), split_suffix(path.name)[0]
        if is_junk(path.name):
            yield SetAside(path=path, domain=domain, reason="a file that a system left, no volume")
            continue
        if labeled is not None and existing(labeled) is None:
            yield SetAside(path=labeled, domain=domain, reason=NO_LABEL)
        yield VolumeRecord(
            path=path,
            domain=domain,
            subject=without_channel(split_suffix(files[0].name)[0]) if len(files) > 1 else stem,
            label=None if labeled is None else existing(labeled),
            volume=index if len(modality) > 1 and len(files) == 1 else None,
        )


def read_nnssl(root: Path) -> Manifest:
    """Return the images that ``pretrain_data.json`` of nnssl lists, a domain per modality.

    ``$nnssl_raw/...`` is the folder above the data set's, as nnssl lays it out; other variables are not
    known here, and such files are set aside. Subjects of different data sets are different people.
    """
    described = _object(root / "pretrain_data.json")

    def records() -> Iterator[VolumeRecord | SetAside]:
        for index, dataset in sorted(described.get("datasets", {}).items()):
            for subject, person in sorted(dataset.get("subjects", {}).items()):
                for session in person.get("sessions", {}).values():
                    for image in session.get("images", []):
                        yield _nnssl_record(root, image, subject=f"{index}/{subject}")

    return gather(records())


def _nnssl_record(root: Path, image: Mapping[str, Any], *, subject: str) -> VolumeRecord | SetAside:
    given, domain = str(image["image_path"]), safe_name(str(image["modality"]))
    if given.startswith("$nnssl_raw/"):
        path = below(root.parent, given.removeprefix("$nnssl_raw/"))
    elif given.startswith("$"):
        return SetAside(path=Path(given), domain=domain, reason="its folder is an unknown variable")
    else:
        path = Path(given) if Path(given).is_absolute() else below(root, given)
    return VolumeRecord(path=path, domain=domain, subject=subject)


def _object(path: Path) -> dict[str, Any]:
    value = read_list(path)
    if not isinstance(value, dict):
        raise InputError(f"{path} should hold a JSON object; give the data set's own file")
    return value


def read_list(path: Path) -> Any:
    """Return the JSON of a data set's own list, also with a byte-order mark or a comma after the last item.

    Raises:
        InputError: no such file, or not JSON.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode(json.detect_encoding(raw))
        # Texts are matched first, so that a comma in one is left alone.
        return json.loads(re.sub(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', lambda found: found[1] or "", text))
    except FileNotFoundError:
        raise InputError(
            f"no such file: {path}; give the folder into which the data set was unpacked"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give the data set's own file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); fix it, or write a CSV of the volumes") from None
