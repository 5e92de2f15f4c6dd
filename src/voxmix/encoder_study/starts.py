"""The starts of a study: read once when it is prepared, and remembered by what decides the runs that begin from them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voxmix._io import digest, naming_damage, read_mapping, with_remedy, write_json
from voxmix._optional import require
from voxmix.backbone_rows import BackboneSettings, backbone_from_dict
from voxmix.encoder_runs import TextSettings
from voxmix.encoder_study.config import EncoderStudyConfig
from voxmix.encoder_study.specs import StartFacts
from voxmix.errors import InputError
from voxmix.run_settings import identity


def start_folders(root: Path, config: EncoderStudyConfig) -> dict[str, Path]:
    """Return start to the folder of its weights; scratch has none."""
    return {
        name: (root / start.folder).resolve()
        for name, start in config.starts.items()
        if start.folder is not None
    }


def look_at_start(folder: Path, *, image: int | None, axes: int = 2) -> StartFacts:
    """Return the facts of the weights in a folder, at an edge of the study's images, or at their own.

    Raises:
        InputError: as :func:`voxmix.encoders.start.load_start`.
        MissingExtraError: torch is not installed.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}; give a folder of weights on this machine")
    require("torch", extra="train")
    from voxmix.encoders.start import load_start

    found = load_start(folder, image=image, axes=axes, channels=1)
    return StartFacts(
        digest=found.digest,
        backbone=found.settings,
        text=None if found.text is None else found.text.settings,
        head=found.head_settings(),
        shorter_side=found.contract.shorter_side,
    )


def starts_inputs(root: Path, config: EncoderStudyConfig) -> str:
    """Return the digest of what the facts of the starts are made from: settings, and the files by size and time."""
    files = {name: folder_stamp(folder) for name, folder in start_folders(root, config).items()}
    return digest({"image": config.backbone.image, "axes": config.backbone.axes, "files": files})


def folder_stamp(folder: Path) -> list[tuple[str, int, int]]:
    """Return the files of a folder of weights by size and time."""
    return sorted(
        (str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    )


def write_facts(path: Path, facts: Mapping[str, StartFacts]) -> None:
    """Write the facts of the starts."""
    write_json(path, {name: _plain(each) for name, each in facts.items()})


def read_facts(path: Path) -> dict[str, StartFacts]:
    """Return the facts written by :func:`write_facts`; none where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    if not path.exists():
        return {}
    remedy = "delete it and prepare again"
    with with_remedy(remedy):
        found = read_mapping(path)
    with naming_damage(path, remedy=remedy):
        return {name: _facts(value) for name, value in found.items()}


def _plain(facts: StartFacts) -> dict[str, Any]:
    return {
        **asdict(facts),
        "backbone": _named(facts.backbone),
        "text": None if facts.text is None else asdict(facts.text),
    }


def _named(settings: BackboneSettings) -> dict[str, Any]:
    return {"name": settings.name, **identity(settings)}


def _facts(value: Mapping[str, Any]) -> StartFacts:
    return StartFacts(
        digest=str(value["digest"]),
        backbone=backbone_from_dict(value["backbone"]),
        text=None if value["text"] is None else TextSettings(**value["text"]),
        head=dict(value["head"]),
        shorter_side=int(value["shorter_side"]),
    )
