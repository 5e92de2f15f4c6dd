"""Domain: one modality-anatomy pair, such as abdominal CT."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from voxmix.errors import InputError

_FORBIDDEN = set('/\\:*?"<>|\0')
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp")
"""Kinds of characters that cannot be seen, or steer the text around them."""
_MAX_NAME = 64


@lru_cache(maxsize=4096)  # a study of 60 domains asks 50,000 times for the same names
def check_domain_name(name: str) -> str:
    """Return ``name`` in its one spelling (composed letters) if it can name a domain, a folder and a column.

    Raises:
        InputError: empty, longer than 64 characters, or with a character that no folder can hold or nobody can see.
    """
    if not name or name != name.strip() or name.startswith("."):
        raise InputError(
            f"domain name {name!r} is empty or starts with a space or dot; give a name such as ABD-CT"
        )
    name = unicodedata.normalize("NFC", name)
    if len(name) > _MAX_NAME:
        raise InputError(f"domain name {name!r} has {len(name)} characters; use at most {_MAX_NAME}")
    bad = sorted({c for c in name if c in _FORBIDDEN or (c != " " and unicodedata.category(c) in _UNSEEN)})
    if bad:
        raise InputError(f"domain name {name!r} holds {bad}; use letters, digits, '-' and '_'")
    return name


def as_domain_name(text: str) -> str:
    """Return a text as a domain's name: every run of other characters becomes a dash."""
    return check_domain_name(re.sub(r"[^0-9A-Za-z]+", "-", text).strip("-"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Domain:
    """One modality-anatomy pair.

    Raises:
        InputError: the name cannot name a folder.
    """

    name: str
    modality: str
    anatomy: str
    description: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", check_domain_name(self.name))


PAPER_DOMAINS: tuple[Domain, ...] = (
    Domain(name="ABD-CT", modality="CT", anatomy="abdomen", description="abdominal CT"),
    Domain(name="ABD-MRI", modality="MR", anatomy="abdomen", description="abdominal MRI"),
    Domain(name="BRAIN-T1", modality="MR", anatomy="brain", description="brain MRI, T1-weighted"),
    Domain(name="BRAIN-T2", modality="MR", anatomy="brain", description="brain MRI, T2-weighted"),
    Domain(name="HN-CT", modality="CT", anatomy="head and neck", description="head and neck CT"),
    Domain(name="HN-PET", modality="PET", anatomy="head and neck", description="head and neck FDG PET"),
)
"""The six domains of arXiv 2605.06859, in the order of its tables."""
