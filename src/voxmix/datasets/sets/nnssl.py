"""nnssl: a collection of data sets, listed in pretrain_data.json."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from voxmix.datasets.dataset import DataSet
from voxmix.datasets.lists import below, json_object
from voxmix.datasets.volume_files import gather
from voxmix.domain import as_domain_name
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord


def read_nnssl(root: Path) -> Manifest:
    """Return the images that ``pretrain_data.json`` of nnssl lists, a domain per modality.

    ``$nnssl_raw/...`` is the folder above the data set's, as nnssl lays it out; other variables are not
    known here, and such files are set aside. Subjects of different data sets are different people.
    """
    described = json_object(root / "pretrain_data.json")

    def records() -> Iterator[VolumeRecord | SetAside]:
        for index, dataset in sorted(described.get("datasets", {}).items()):
            for subject, person in sorted(dataset.get("subjects", {}).items()):
                for session in person.get("sessions", {}).values():
                    for image in session.get("images", []):
                        yield _record(root, image, subject=f"{index}/{subject}")

    return gather(records())


def _record(root: Path, image: Mapping[str, Any], *, subject: str) -> VolumeRecord | SetAside:
    given, domain = str(image["image_path"]), as_domain_name(str(image["modality"]))
    if given.startswith("$nnssl_raw/"):
        path = below(root.parent, given.removeprefix("$nnssl_raw/"))
    elif given.startswith("$"):
        return SetAside(path=Path(given), domain=domain, reason="its folder is an unknown variable")
    else:
        path = Path(given) if Path(given).is_absolute() else below(root, given)
    return VolumeRecord(path=path, domain=domain, subject=subject)


DATA_SET = DataSet(
    name="nnssl",
    title="nnssl",
    expects="`pretrain_data.json`",
    traps="`$nnssl_raw` is resolved; equal subjects of different sets are different people",
    read=read_nnssl,
    shows=lambda root: (root / "pretrain_data.json").is_file(),
    list_name="pretrain_data.json",
    special=9,
)
