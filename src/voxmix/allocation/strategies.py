"""The mixtures a study compares (spec, section 5)."""

from collections.abc import Mapping

from voxmix.allocation.optimize import allocate
from voxmix.errors import InputError
from voxmix.law import FittedLaw
from voxmix.mixture import Mixture

_OF_LAW = {
    "naive": "transfer-naive",
    "transfer": "transfer-aware",
    "shared-exponent": "shared-exponent",
    "diversity": "diversity-aware",
    "budget": "budget-aware",
    "budget-diversity": "budget-diversity-aware",
}


def strategy_name(law: str) -> str:
    """Return the name of the strategy that allocates by a law: "transfer" gives "transfer-aware"."""
    return _OF_LAW[law]


def strategies(
    laws: Mapping[str, FittedLaw],
    *,
    budget: float,
    volumes: Mapping[str, float] | None = None,
    min_weight: float = 0.05,
    temperature: float | None = None,
    single: str | None = None,
) -> dict[str, Mixture]:
    """Return name to mixture: uniform, data-proportional, temperature, single, and one per law.

    Args:
        laws: law name ("transfer", "naive", "diversity", ...) to its fit; all over the same domains.
        budget: draws for which the laws allocate.
        volumes: volumes that exist per domain; without them there is no data-proportional mixture.
        min_weight: least share of any domain in the mixtures that laws choose.
        temperature: adds ``p_i ~ volumes_i**(1/T)``; 2 to 5 are usual (Arivazhagan et al. 2019).
        single: adds the pure mixture of that domain.

    Raises:
        InputError: no law, laws over different domains, or a domain without its count of volumes.
    """
    if not laws:
        raise InputError("no laws given; give at least one fitted law")
    domains = next(iter(laws.values())).domains
    for name, law in laws.items():
        if law.domains != domains:
            raise InputError(f"law {name!r} has domains {list(law.domains)}, the first has {list(domains)}")
    result = {"uniform": Mixture.uniform(domains)}
    if volumes is not None:
        missing = [name for name in domains if name not in volumes]
        if missing:
            raise InputError(
                f"volumes lacks a count for {missing}; give how many volumes exist of every domain"
            )
        counts = {name: volumes[name] for name in domains}
        result["data-proportional"] = Mixture.from_counts(counts)
        if temperature is not None:
            result["temperature"] = Mixture.from_counts(counts, temperature=temperature)
    for law in laws.values():
        result[strategy_name(law.law)] = allocate(law, budget=budget, min_weight=min_weight).mixture
    if single is not None:
        result["single"] = Mixture.pure(domains, single)
    return result
