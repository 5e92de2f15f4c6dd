"""candidates(): the mixtures that strategies give, the allocated ones with their proof."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from voxmix.allocation.optimize import allocate
from voxmix.allocation.result import Allocation
from voxmix.allocation.settings import AllocationSettings
from voxmix.allocation.strategies import Situation, find_strategy, strategy_mixture
from voxmix.errors import InputError
from voxmix.law import FittedLaw
from voxmix.mixture import Mixture


def candidates(
    names: Iterable[str],
    *,
    domains: tuple[str, ...],
    settings: AllocationSettings,
    volumes: Mapping[str, float] | None = None,
    laws: Mapping[str, FittedLaw] | None = None,
    refined: Mixture | None = None,
) -> dict[str, Allocation | Mixture]:
    """Return strategy to mixture, an :class:`Allocation` where a law chose it.

    Args:
        names: strategies, such as "uniform", "temperature-2", "single-ABD-CT" or "transfer-aware".
        domains: what the mixtures are over.
        settings: budget and limits of the strategies that allocate; guesses stay as they are.
        volumes: volumes that exist per domain, where the settings give none; "data-proportional" and "temperature-T"
            need them.
        laws: law name to its fit, for the strategies that need one.
        refined: the mixture of the strategy "refined".

    Raises:
        InputError: an unknown strategy, a law over other domains or none, or a domain without its count of volumes.
    """
    settings = settings.knowing(volumes or {})
    now = Situation(domains=domains, settings=settings, volumes=settings.volumes, refined=refined)
    return {name: _candidate(name, now, laws or {}) for name in names}


def _candidate(name: str, now: Situation, laws: Mapping[str, FittedLaw]) -> Allocation | Mixture:
    wanted = find_strategy(name).law
    if wanted:
        if wanted not in laws:
            raise InputError(
                f"strategy {name!r} needs the law {wanted!r}; fit it and give it with the others"
            )
        law = laws[wanted]
        if law.domains != now.domains:
            raise InputError(
                f"law {wanted!r} has domains {list(law.domains)}, wanted are {list(now.domains)}"
            )
        now = replace(now, law=law)
    mixture = strategy_mixture(name, now)
    if mixture is not None:
        return mixture
    assert now.law is not None
    known = {target: None for law in laws.values() for target in law.targets}
    return allocate(now.law, now.settings.on(now.law.targets, of=tuple(known)))
