"""The JSON schema of the study.yaml of a study of mixtures."""

from typing import Any

from voxmix.settings_schema import schema_of, whole_schema
from voxmix.study.config import StudyConfig
from voxmix.study.files import MIXTURES


def study_schema() -> dict[str, Any]:
    """Return what a study file may hold, for editors."""
    from voxmix.volumes.recipe import Recipe

    found, recipe = schema_of(StudyConfig), schema_of(Recipe)
    parts = found["$defs"] | recipe.pop("$defs", {})
    keys = found["properties"]
    keys["recipe"] = {"$ref": "#/$defs/Recipe"}
    keys["kind"] = {
        "const": MIXTURES,
        "description": "What tells this study file from that of a study of encoders.",
    }
    compute = parts["ComputeSettings"]["properties"]
    compute["strategy"] = {**compute["sharing"], "description": "What sharing was called before."}
    return whole_schema(
        found | {"$defs": {**parts, "Recipe": recipe}}, title="study.yaml of a study of mixtures"
    )
