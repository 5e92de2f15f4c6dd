"""The study file of an encoder study as text: written with a comment above each part, read with every fault named."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voxmix._io import write_text
from voxmix.backbone_rows import BACKBONES, BackboneSettings
from voxmix.encoder_study.config import EncoderStudyConfig
from voxmix.errors import InputError
from voxmix.objective_rows import OBJECTIVES
from voxmix.run_settings import identity
from voxmix.settings import checked, parse_yaml, read_settings, render_yaml
from voxmix.settings_schema import MODELINE
from voxmix.study.files import ENCODERS, MIXTURES

_COMMENTS = {
    "name": f"{MODELINE}\nA voxmix study of encoders. Edit, then run `voxmix study run` on this folder: it makes again what changed.",
    "data": "`path` is a folder or a table of images (docs/how-to/encoder-study.md); whole persons are held out, by `split_seed`.",
    "recipe": "From files to arrays: shorter side in pixels, aspect kept, a window by percentiles.",
    "texts": "What is kept of a report; names, dates and numbers of persons are replaced before anything is stored.",
    "design": "Nested subsets by person, at equal compute: every objective x start x subset x seed is a run.",
    "starts": "Weights to begin from, by name: folder, factor of learning rates, share of the budget for a fresh head.",
    "backbone": "The network whose features are kept; runs that begin from weights take theirs, at this edge.",
    "text": "The text transformer of clip, unicl and siglip.",
    "views": "What a draw shows of an image (dino has areas of its own). Nothing is mirrored: left and right are findings.",
    "watch": "A probe at the start of each run and along it, where images have labels; an alarm rings where it falls.",
    "objectives": "What encoders learn by, each with its own settings and optimization.",
    "tasks": "What encoders are judged on, frozen (docs/how-to/encoder-study.md): kind labels, classes, masks, retrieval or reports.",
    "probes": "How: the same for every encoder. Grids are chosen on an inner split by person.",
    "references": "Encoders beside the study's own, by name: folder of open weights, of a run or of an exported encoder.",
    "compute": "Speed and memory; does not change results beyond rounding. trackers: tensorboard, mlflow, wandb.",
    "workers": "Runs at the same time, and processes of prepare; null uses every core, or every GPU.",
}


def render_config(config: EncoderStudyConfig, notes: Mapping[str, str] | None = None) -> str:
    """Return the study file's text, with a comment above each part; ``notes`` adds one to the parts it names."""
    values = asdict(config)
    values["backbone"] = {"name": config.backbone.name, **identity(config.backbone)}
    values["text"] = identity(config.text)
    values["data"] = {key: item for key, item in values["data"].items() if item is not None}
    if config.data.radiographs is not None:
        values["data"]["radiographs"] = identity(config.data.radiographs)
    order = ("name", "kind", *(key for key in _COMMENTS if key != "name"), "format")
    return render_yaml({key: values[key] for key in order}, comments=_COMMENTS, notes=notes)


def write_config(config: EncoderStudyConfig, path: Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the study file atomically."""
    write_text(path, render_config(config, notes))


def read_config(path: Path) -> EncoderStudyConfig:
    """Return the settings of a study file.

    Raises:
        InputError: no such file, not YAML, a key that is not known, or a value that cannot be used; every problem of the
            first part that has any is listed.
    """
    text = read_settings(
        path, absent=f"{path.parent} is not a study: it has no {path.name}; make one with: voxmix init"
    )
    return parse_config(parse_yaml(text, where=str(path)), where=str(path))


def parse_config(values: Mapping[str, Any], *, where: str) -> EncoderStudyConfig:
    """Return the settings in ``values``; ``where`` names their origin in errors.

    Backbone and objectives come first: which settings they have depends on their names.
    """
    known = dict(values)
    if "objectives" not in known and "allocation" in known:
        raise InputError(
            f"{where} holds the settings of a study of mixtures under kind: {ENCODERS}; set kind to {MIXTURES}, or make a "
            "study of encoders with: voxmix init STUDY --images FILMS"
        )
    known["backbone"] = _backbone(known.get("backbone"), where=where)
    known["objectives"] = _objectives(known.get("objectives"), where=where)
    return checked(EncoderStudyConfig, known, where=where)


def _backbone(value: Any, *, where: str) -> BackboneSettings:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise InputError(
            f"{where}: backbone should be a part with a name ({', '.join(BACKBONES.names())}) and settings, got {value!r}"
        )
    own = dict(value)
    kind = BACKBONES[own.pop("name")].settings
    return checked(kind, own, where=f"{where}: backbone")


def _objectives(value: Any, *, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise InputError(
            f"{where}: objectives should name at least one of {', '.join(OBJECTIVES.names())}, each with settings and training; "
            f"got {value!r}"
        )
    found = {}
    for name, part in value.items():
        row, plan = OBJECTIVES[str(name)], dict(part or {}) if isinstance(part, dict | None) else None
        if plan is None or not isinstance(plan.get("settings", {}), dict | None):
            raise InputError(f"{where}: objectives.{name} should hold settings and training, got {part!r}")
        given = row.defaults | dict(plan.get("settings") or {})
        own = checked(row.settings, given, where=f"{where}: objectives.{name}.settings")
        found[str(name)] = plan | {"settings": own, "training": plan.get("training") or {}}
    return found
