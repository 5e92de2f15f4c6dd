"""Whether volumes were prepared as a pretrained encoder saw them."""

from collections.abc import Mapping, Sequence
from typing import Any

from voxmix.errors import InputError
from voxmix.volumes.recipe import Recipe


def check_preprocessing(card: Mapping[str, Any], recipe: Recipe, *, domains: Sequence[str] = ()) -> None:
    """Check that a recipe prepares volumes as the card of an encoder says.

    Spacing, the version of the preparation and the intensity rule of each of ``domains`` must be equal. Padding
    and foreground cropping may differ: they move no voxel's value. A domain that the encoder never saw has no
    rule to compare with and passes; it is served by the identity adapter.

    Raises:
        InputError: names everything that differs, with both values.
    """
    theirs, ours = card["recipe"], recipe.as_dict()
    differences = [
        f"{name} is {ours[name]}, the encoder's {theirs.get(name)}"
        for name in ("version", "spacing_mm")
        if ours[name] != theirs.get(name)
    ]
    for domain in domains:
        expected = theirs["intensity"].get(domain)
        if expected is not None and expected != (given := recipe.rule(domain).as_dict()):
            differences.append(f"intensity of {domain} is {given}, the encoder's {expected}")
    if differences:
        raise InputError(
            "these volumes are not prepared as the encoder's were, so its features would mean nothing: "
            f"{'; '.join(differences)}. Prepare them again with the recipe in its card"
        )
