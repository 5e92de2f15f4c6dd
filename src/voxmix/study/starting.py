"""Starting a study: look at the volumes, choose what fits them, write the study file."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix.errors import InputError
from voxmix.settings import checked
from voxmix.study import presets
from voxmix.study.config import DataSettings, PhantomSettings
from voxmix.study.folder import Study
from voxmix.study.preparing import read_wanted

if TYPE_CHECKING:
    from voxmix.volumes import Manifest
    from voxmix.volumes.auditing.fields import Fields, Proposal


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StartedStudy:
    """A study that was begun, and what was seen for it: nothing of made volumes.

    ``fields`` are the fields of view by header, ``proposal`` the spacing and crop that fit them; the study has these
    where its preset was not asked for by name.
    """

    study: Study
    manifest: Manifest | None = None
    fields: tuple[Fields, ...] = ()
    proposal: Proposal | None = None
    adapted: bool = False


def start_study(
    root: Path,
    *,
    data: Path | None = None,
    phantoms: bool = False,
    preset: str | None = None,
    domains: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    subject_pattern: str | None = None,
) -> StartedStudy:
    """Look at the volumes and write the study file with every setting in it.

    Without a ``preset``, made volumes get that of the demo, and yours the small one, with the spacing and crop that fit
    their fields of view (:func:`voxmix.volumes.auditing.fields.propose`). A preset that is named is kept as it is.

    Raises:
        InputError: no or two sources of volumes, a domain that cannot be split, an unknown preset, or
            a folder that is in use.
    """
    from voxmix.volumes import Recipe
    from voxmix.volumes.auditing.fields import fields_text

    if phantoms == (data is not None):
        raise InputError(
            "give either --data DIR (your volumes) or --phantoms (made ones); for a study of encoders, --images TABLE "
            "(your images) or --radiographs (made ones)"
        )
    start = presets.preset(preset or ("demo" if phantoms else "small"))
    manifest: Manifest | None = None
    seen: tuple[Fields, ...] = ()
    proposal: Proposal | None = None
    if data is None:
        if subject_pattern:
            raise InputError(
                "--subject-pattern is for your own volumes; every phantom is a person of its own"
            )
        if exclude:
            raise InputError(
                "--exclude is for your own volumes; for phantoms, name the domains to make with --domain"
            )
        counts = presets.phantom_counts(domains or ())
        settings = DataSettings(phantoms=PhantomSettings(counts=counts))
        names = tuple(counts)
    else:
        settings = DataSettings(
            path=os.path.relpath(data.resolve(), root.resolve()),
            domains=tuple(domains or ()),
            exclude=tuple(exclude or ()),
            subject_pattern=subject_pattern or "",
        )
        manifest = _readable_manifest(data, settings)
        names = manifest.domains
        seen, proposal = propose_for(manifest, start)
        if preset is None:
            start = start.adapted(
                spacing_mm=proposal.spacing_mm, crop=proposal.crop, min_shape=proposal.min_shape
            )
    if len(names) < 2:
        raise InputError(f"only one domain given ({names[0]}): a mixture needs two or more domains")
    recipe = checked(Recipe, start.recipe, where="the preset").resolved(names)
    config = start.study(name=root.resolve().name, data=settings)
    config = dataclasses.replace(config, recipe=dataclasses.asdict(recipe))
    notes = {}
    if proposal is not None:
        notes["recipe"] = f"Fields of view in mm (median by domain, by header): {fields_text(seen)}."
        if preset is None:
            notes["recipe"] += f" Spacing, min_shape and model.crop are {proposal.reason}."
    return StartedStudy(
        study=Study.create(root, config, notes),
        manifest=manifest,
        fields=seen,
        proposal=proposal,
        adapted=proposal is not None and proposal.changed and preset is None,
    )


def _readable_manifest(data: Path, settings: DataSettings) -> Manifest:
    """Return the volumes of the user; domains that cannot be split are told with the flags that leave them out."""
    found = read_wanted(data, settings)
    single = [name for name in found.domains if len(found.subjects(name)) < 2]
    try:
        return found.split(seed=settings.split_seed, fraction=settings.validation_fraction)
    except InputError as error:
        if not single:
            raise
        flags = " ".join(f"--exclude {shlex.quote(name)}" for name in single)
        raise InputError(f"{error}: {flags}") from None


def propose_for(manifest: Manifest, start: presets.Preset) -> tuple[tuple[Fields, ...], Proposal]:
    """Return the fields of view of a manifest, by headers alone, and what fits them, nearest to a preset."""
    from voxmix.volumes.auditing.fields import propose, see_fields

    seen = see_fields(manifest)
    proposal = propose(
        seen,
        spacing_mm=start.recipe["spacing_mm"],
        crop=start.model.crop,
        min_shape=min(start.recipe["min_shape"]),
        patch=start.model.patch,
    )
    return seen, proposal
