"""TotalSegmentator: CT and MR of any region, with a file of each structure."""

from collections.abc import Iterator
from pathlib import Path

from voxmix.datasets.dataset import DataSet
from voxmix.datasets.pairing import File, pair
from voxmix.datasets.sets.folder import domain_folders
from voxmix.datasets.volume_files import gather, left_out, one_per_name, walk
from voxmix.volumes.file_names import is_junk, split_suffix
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord
from voxmix.volumes.masks import is_label_folder

_DOMAINS = {"ct": "TOTALSEGMENTATOR-CT", "mri": "TOTALSEGMENTATOR-MR", "mr": "TOTALSEGMENTATOR-MR"}


def _shown(root: Path) -> bool:
    """Return whether nearly every folder is a subject's: ``ct`` or ``mri`` beside a folder of segmentations."""
    folders = domain_folders(root)
    return bool(folders) and sum(map(_is_segmented, folders)) >= 0.8 * len(folders)


def _is_segmented(folder: Path) -> bool:
    named = any(
        split_suffix(path.name)[0].lower() in _DOMAINS for path in folder.iterdir() if not is_junk(path.name)
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
            scans = [image for image in found.images if not image.within and image.stem.lower() in _DOMAINS]
            domain = _DOMAINS[scans[0].stem.lower()] if scans else _DOMAINS["ct"]
            yield from left_out([*lost, *found.others], domain)
            for image in found.images:
                if image not in scans:
                    reason = "not called ct or mri, as TotalSegmentator's images are"
                    yield SetAside(path=image.path, domain=domain, reason=reason)
                    continue
                yield VolumeRecord(
                    path=image.path,
                    domain=_DOMAINS[image.stem.lower()],
                    subject=folder.name,
                    label=found.labels.get(image.path),
                )
            if not scans:
                yield SetAside(path=folder, domain=domain, reason="a folder without ct or mri")

    return gather(records())


DATA_SET = DataSet(
    name="totalsegmentator",
    title="TotalSegmentator",
    expects="`<subject>/ct.nii.gz` or `mri.nii.gz` next to `segmentations/`",
    traps="the masks of single structures are no scans",
    read=read_totalsegmentator,
    shows=_shown,
    special=1,
)
