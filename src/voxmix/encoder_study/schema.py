"""The JSON schema of the study.yaml of a study of encoders: its backbone and objectives have the settings of their rows."""

from typing import Any

from voxmix.backbone_rows import BACKBONES
from voxmix.encoder_study.config import EncoderStudyConfig
from voxmix.objective_rows import OBJECTIVES
from voxmix.settings_schema import first_paragraph, schema_of, whole_schema
from voxmix.study.files import ENCODERS


def study_schema() -> dict[str, Any]:
    """Return what a study file may hold, for editors."""
    found = schema_of(EncoderStudyConfig)
    parts = found["$defs"]
    for unused in ("BackboneSettings", "ObjectiveSettings"):
        parts.pop(unused, None)
    plan = parts.pop("ObjectivePlan")
    keys = found["properties"]
    keys["kind"] |= {"const": ENCODERS}
    keys["backbone"] = {
        "oneOf": [_backbone(name, row.settings, parts) for name, row in BACKBONES.rows().items()]
    }
    keys["objectives"] = {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {
            name: _objective(row.settings, plan, parts) for name, row in OBJECTIVES.rows().items()
        },
    }
    found["required"] = sorted({*found["required"], "kind"})
    return whole_schema(found, title="study.yaml of a study of encoders")


def _backbone(name: str, kind: type, parts: dict[str, Any]) -> dict[str, Any]:
    own = schema_of(kind)
    parts |= own.pop("$defs", {})
    own["properties"] = {"name": {"const": name}} | own["properties"]
    return own | {"required": ["name", *own.get("required", ())]}


def _objective(kind: type, plan: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an objective: its settings and its training, each left out for the defaults."""
    own = schema_of(kind)
    parts |= own.pop("$defs", {})
    own.pop("required", None)  # a row has defaults of its own
    settings = {"anyOf": [own, {"type": "null"}]}
    training = {"anyOf": [plan["properties"]["training"], {"type": "null"}]}
    part = {
        "type": "object",
        "description": first_paragraph(kind),
        "additionalProperties": False,
        "properties": {"settings": settings, "training": training},
    }
    return {"anyOf": [part, {"type": "null"}], "description": first_paragraph(kind)}
