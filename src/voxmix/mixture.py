"""Mixture: the share of volume draws that each source domain gets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from voxmix import _html
from voxmix.domain import check_domain_name
from voxmix.errors import InputError

_SUM_TOLERANCE = 1e-6


def check_domains(domains: Iterable[str]) -> tuple[str, ...]:
    """Return the names as a tuple after checking each, and that none occurs twice."""
    return _checked(tuple(domains))


@lru_cache(maxsize=256)  # every run of a study names the same
def _checked(domains: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(check_domain_name(name) for name in domains)
    if not names:
        raise InputError("no domains given; name at least one")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"domains are given twice: {twice}; give every domain once")
    return names


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Mixture:
    """Weights on the simplex, one per source domain.

    ``weights`` has shape (source,), read-only, each in [0, 1], summing to 1 within 1e-6. Never
    renormalized silently: use :meth:`from_counts` to normalize counts.

    Raises:
        InputError: lengths differ, a weight is negative or not finite, or the sum is not 1.

    >>> Mixture(domains=("A", "B"), weights=[0.25, 0.75]).draws(10)
    array([3, 7])
    """

    domains: tuple[str, ...]
    weights: Float[np.ndarray, " source"]

    def __post_init__(self) -> None:
        domains = check_domains(self.domains)
        weights = np.array(self.weights, dtype=np.float64)
        if weights.shape != (len(domains),):
            raise InputError(f"{len(domains)} domains need {len(domains)} weights, got shape {weights.shape}")
        bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if len(bad):
            raise InputError(f"weight of {domains[bad[0]]} is {weights[bad[0]]}; give a number from 0 to 1")
        total = float(weights.sum())
        if abs(total - 1) > _SUM_TOLERANCE:
            raise InputError(
                f"weights must sum to 1, got {total:.6f}; use Mixture.from_counts to normalize counts"
            )
        weights.setflags(write=False)
        object.__setattr__(self, "domains", domains)
        object.__setattr__(self, "weights", weights)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mixture):
            return NotImplemented
        return self.domains == other.domains and np.array_equal(self.weights, other.weights)

    def __hash__(self) -> int:
        return hash((self.domains, self.weights.tobytes()))

    def __getitem__(self, domain: str) -> float:
        """Return the weight of one domain."""
        if domain not in self.domains:
            raise InputError(f"unknown domain {domain!r}; this mixture has {list(self.domains)}")
        return float(self.weights[self.domains.index(domain)])

    def __repr__(self) -> str:
        shares = ", ".join(f"{name} {weight:.1%}" for name, weight in self.as_dict().items())
        return f"Mixture({shares})"

    def _repr_html_(self) -> str:
        return _html.table(("domain", "weight"), ((n, f"{w:.1%}") for n, w in self.as_dict().items()))

    def as_dict(self) -> dict[str, float]:
        """Return domain to weight."""
        return dict(zip(self.domains, self.weights.tolist(), strict=True))

    def draws(self, budget: int) -> Int[np.ndarray, " source"]:
        """Return whole draws per source that sum to ``budget`` exactly, by largest remainder.

        Ties go to the domain named first. Every count is within 1 of ``weight * budget``.

        Raises:
            InputError: budget is not a whole number of at least 1.
        """
        if budget != int(budget) or budget < 1:
            raise InputError(f"budget must be a whole number of draws, at least 1, got {budget}")
        quota = self.weights * (int(budget) / self.weights.sum())
        counts: Int[np.ndarray, " source"] = np.floor(quota).astype(np.int64)
        order = np.argsort(-(quota - counts), kind="stable")
        counts[order[: int(budget) - int(counts.sum())]] += 1
        return counts

    @property
    def source(self) -> str | None:
        """The only domain of a pure mixture; None when several have weight."""
        support = np.flatnonzero(self.weights)
        return self.domains[support[0]] if len(support) == 1 else None

    @property
    def hub(self) -> str | None:
        """The domain that has more than the others, all of them alike and none without; None in other mixtures.

        Of two domains one always has more, so no mixture of two has a hub.
        """
        low, top = float(self.weights.min()), int(self.weights.argmax())
        more = np.flatnonzero(self.weights > low + _SUM_TOLERANCE)
        return self.domains[top] if len(self.domains) > 2 and len(more) == 1 and low > 0 else None

    @property
    def label(self) -> str:
        """The mixture in few words: its only domain, "uniform", "A 75%, others 5%", or every share."""
        if self.source is not None:
            return self.source
        if float(np.ptp(self.weights)) < _SUM_TOLERANCE:
            return "uniform"
        if self.hub is not None:
            return f"{self.hub} {100 * self[self.hub]:.3g}%, others {100 * float(self.weights.min()):.3g}%"
        return ", ".join(f"{name} {weight:.0%}" for name, weight in self.as_dict().items() if weight > 0)

    @classmethod
    def from_dict(cls, weights: Mapping[str, float]) -> "Mixture":
        """Return the mixture of a domain-to-weight mapping."""
        return cls(domains=tuple(weights), weights=np.array(list(weights.values()), dtype=np.float64))

    @classmethod
    def from_counts(cls, counts: Mapping[str, float], *, temperature: float = 1.0) -> "Mixture":
        """Return weights in proportion to ``counts ** (1 / temperature)``.

        Temperature 1 is data-proportional; larger ones lean to uniform (Arivazhagan et al. 2019).

        Raises:
            InputError: a count is negative or not finite, all are 0, or temperature is not above 0.
        """
        values = np.array(list(counts.values()), dtype=np.float64)
        if not np.all(np.isfinite(values)) or np.any(values < 0) or values.sum() <= 0:
            raise InputError(f"counts must be finite, not negative and not all 0, got {dict(counts)}")
        if not temperature > 0:
            raise InputError(f"temperature must be above 0, got {temperature}; 1 is data-proportional")
        scaled: Any = np.where(values > 0, (values / values.max()) ** (1 / temperature), 0.0)
        return cls(domains=tuple(counts), weights=scaled / scaled.sum())

    @classmethod
    def uniform(cls, domains: Sequence[str]) -> "Mixture":
        """Return equal weights."""
        return cls(domains=tuple(domains), weights=np.full(len(domains), 1 / len(domains)))

    @classmethod
    def vertex(cls, domains: Sequence[str], source: str, *, min_weight: float) -> "Mixture":
        """Return a corner of the mixtures that give every domain ``min_weight``: the rest goes to ``source``.

        The extreme vertices of McLean and Anderson (1966); with a ``min_weight`` of 0 it is the pure mixture.

        Raises:
            InputError: ``source`` is not one of ``domains``, or ``min_weight`` lies outside 0 to 1 / domains.

        >>> Mixture.vertex(("A", "B", "C"), "B", min_weight=0.1)
        Mixture(A 10.0%, B 80.0%, C 10.0%)
        """
        pure = cls.pure(domains, source)
        most = 1 / len(pure.domains)
        if not 0 <= min_weight <= most + _SUM_TOLERANCE:
            raise InputError(
                f"min_weight {min_weight:g} of each of {len(pure.domains)} domains is not possible; give 0 to {most:.4g}"
            )
        rest = 1 - (len(pure.domains) - 1) * min_weight
        if abs(rest - min_weight) <= _SUM_TOLERANCE:
            return cls.uniform(pure.domains)
        return cls(domains=pure.domains, weights=np.where(pure.weights > 0, rest, float(min_weight)))

    @classmethod
    def pure(cls, domains: Sequence[str], source: str) -> "Mixture":
        """Return the mixture that draws from one source only.

        Raises:
            InputError: ``source`` is not one of ``domains``.
        """
        if source not in domains:
            raise InputError(f"unknown domain {source!r}; choose one of {list(domains)}")
        return cls(domains=tuple(domains), weights=np.array([float(d == source) for d in domains]))
