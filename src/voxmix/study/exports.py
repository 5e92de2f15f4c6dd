"""Which run and which mixture of a study leave it: those of its answer, or of a strategy by name."""

from pathlib import Path

from voxmix._io import as_argument
from voxmix.errors import InputError, StepPendingError
from voxmix.mixture import Mixture
from voxmix.runs import is_finished
from voxmix.study import Study
from voxmix.study.report_contents import report_content
from voxmix.study.steps import checks_by_strategy, read_allocations


def exported_strategy(study: Study, wanted: str | None) -> str:
    """Return the strategy to export: the wanted one, or the one that the study's report gives as the answer.

    Raises:
        InputError: no such strategy in the study.
        StepPendingError: no mixture is allocated yet; names the command.
    """
    strategies = tuple(read_allocations(study))
    name = wanted or report_content(study).answer
    if name not in strategies:
        given = f"no strategy {name!r}" if name else "the study has no answer of a law"
        raise InputError(f"{given}; give --strategy with one of {list(strategies)}")
    return name


def exported_mixture(study: Study, strategy: str) -> Mixture:
    """Return the mixture of a strategy at the study's budget."""
    found = read_allocations(study)[strategy]
    return found if isinstance(found, Mixture) else found.mixture


def exported_run(study: Study, strategy: str, *, seed: int | None) -> Path:
    """Return the folder of the finished run that trained a strategy's mixture; the first seed if none is named.

    Raises:
        InputError: no run of that seed is planned.
        StepPendingError: the run is not finished; names the command.
    """
    specs = checks_by_strategy(study)[strategy]
    chosen = [spec for spec in specs if seed is None or spec.seed == seed]
    if not chosen:
        raise InputError(f"no run of {strategy} with seed {seed}; its seeds are {[s.seed for s in specs]}")
    finished = [spec for spec in chosen if is_finished(study.run_dir(spec))]
    if not finished:
        raise StepPendingError(
            f"no run of {strategy} is finished; first: voxmix pretrain {as_argument(study.root)}"
        )
    return study.run_dir(finished[0])
