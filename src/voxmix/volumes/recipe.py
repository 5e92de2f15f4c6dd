"""Recipe: everything that decides how a file becomes a prepared array."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from voxmix._io import digest
from voxmix.errors import InputError
from voxmix.volumes.intensity import RULES, IntensityRule, rule_from_name

PREPARATION_VERSION = 1
"""Raised whenever the same file and recipe give other voxels than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How volumes are prepared: RAS axes, cubic voxels, [0, 1], foreground only, padded.

    ``spacing_mm`` is the edge of the cubic voxel (default 1.5, of the field); ``min_shape`` the least
    number of voxels per axis (the paper's patch, 96); ``intensity`` gives rules by domain, and a domain
    without one is judged by its name. ``max_voxels`` bounds memory: larger volumes are set aside. Volumes of few
    values in pieces are label maps and set aside, except in the domains of ``masks``.

    Raises:
        InputError: a spacing or size that is not above 0.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    spacing_mm: float = 1.5
    """Edge of the cubic voxels."""
    min_shape: tuple[int, int, int] = (96, 96, 96)
    """Least number of voxels per axis; smaller volumes are padded."""
    crop_foreground: bool = True
    """Cut empty margins away."""
    intensity: Mapping[str, IntensityRule] = field(default_factory=dict)
    """Domain to rule, by name (`HN-CT: bone`) or in numbers (`{kind: window, low: -175, high: 250}`; kinds window, zscore, percentile)."""
    max_voxels: int = 2**29
    """Larger volumes are set aside."""
    masks: tuple[str, ...] = ()
    """Domains whose volumes may be masks (a few whole values); elsewhere such volumes are set aside."""

    def __post_init__(self) -> None:
        if not 0.05 <= self.spacing_mm <= 50:
            raise InputError(
                f"spacing_mm must lie from 0.05 to 50, got {self.spacing_mm}; the default is 1.5"
            )
        object.__setattr__(self, "min_shape", tuple(self.min_shape))
        object.__setattr__(self, "masks", tuple(self.masks))
        if len(self.min_shape) != 3 or min(self.min_shape) < 1:
            raise InputError(f"min_shape needs three sizes of at least 1, got {self.min_shape}")
        if self.max_voxels < 1:
            raise InputError(f"max_voxels must be at least 1, got {self.max_voxels}")

    def rule(self, domain: str) -> IntensityRule:
        """Return the intensity rule of a domain: the one given here, else by its name."""
        return self.intensity[domain] if domain in self.intensity else rule_from_name(domain)

    def resolved(self, domains: tuple[str, ...]) -> "Recipe":
        """Return the recipe with the rule of every domain written out."""
        rules = {domain: self.rule(domain) for domain in domains}
        return Recipe(
            spacing_mm=self.spacing_mm,
            min_shape=self.min_shape,
            crop_foreground=self.crop_foreground,
            intensity=rules,
            max_voxels=self.max_voxels,
            masks=self.masks,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-like data; :meth:`from_dict` is its inverse."""
        return {
            "version": PREPARATION_VERSION,
            "spacing_mm": self.spacing_mm,
            "min_shape": list(self.min_shape),
            "crop_foreground": self.crop_foreground,
            "intensity": {domain: rule.as_dict() for domain, rule in sorted(self.intensity.items())},
            "max_voxels": self.max_voxels,
            **({"masks": list(self.masks)} if self.masks else {}),
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Recipe":
        """Return the recipe written by :meth:`as_dict`."""
        return cls(
            spacing_mm=value["spacing_mm"],
            min_shape=tuple(value["min_shape"]),
            crop_foreground=value["crop_foreground"],
            intensity={domain: IntensityRule(**rule) for domain, rule in value["intensity"].items()},
            max_voxels=value["max_voxels"],
            masks=tuple(value.get("masks", ())),
        )

    @property
    def digest(self) -> str:
        """Digest of everything in the recipe."""
        return digest(self.as_dict())

    def volume_digest(self, domain: str) -> str:
        """Digest of what decides the voxels of one domain: other domains' rules have no part in it."""
        return digest(
            {
                "version": PREPARATION_VERSION,
                "spacing_mm": float(self.spacing_mm),
                "min_shape": list(self.min_shape),
                "crop_foreground": self.crop_foreground,
                "rule": self.rule(domain).as_dict(),
            }
        )


def spell_out(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a recipe file with each rule that is named (``HN-CT: bone``) written out.

    Raises:
        InputError: a rule of that name does not exist.
    """
    rules = values.get("intensity")
    if not isinstance(rules, Mapping):
        return dict(values)
    unknown = [
        (domain, rule) for domain, rule in rules.items() if isinstance(rule, str) and rule not in RULES
    ]
    if unknown:
        domain, rule = unknown[0]
        raise InputError(
            f"intensity of {domain}: no rule is called {rule!r}; choose one of {list(RULES)}, or give "
            "{kind: window, low: -175, high: 250} (kinds: window, zscore, percentile)"
        )
    named = {
        domain: RULES[rule].as_dict() if isinstance(rule, str) else rule for domain, rule in rules.items()
    }
    return {**values, "intensity": named}
