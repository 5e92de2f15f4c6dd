"""The mixtures of a study: that of every strategy at its budget, kept; and what they would be under other limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voxmix._io import naming_full_disk
from voxmix.mixture import Mixture
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.allocation import Allocation


def allocate_strategies(study: Study | StudyView, hear: Listener = QUIET) -> dict[str, Allocation | Mixture]:
    """Find the mixture of every strategy at the study's budget; keep those that a law gave.

    Raises:
        StepPendingError: no law is fitted to the study as it is now; names the command.
    """
    from voxmix.allocation import Allocation, candidates

    view = StudyView.of(study)
    for name in view.strategies_pending:
        hear.tell(view.pending_words(name))
    with hear.waiting("allocating"):
        kept = view.kept("allocate", lambda: view.allocations, again="they are found again now")
        if kept is not None:
            return kept
        found = candidates(
            view.strategies_wanted,
            domains=view.domains,
            settings=view.asked,
            laws=view.laws,
            refined=view.situation.refined,
        )
        for strategy, item in found.items():
            if isinstance(item, Allocation):
                with naming_full_disk(view.study.allocation_path(strategy)):
                    item.save(view.study.allocation_path(strategy))
        view.mark_made("allocate")
        return view.allocations


def allocations_if(study: Study | StudyView, **changed: Any) -> dict[str, Allocation]:
    """Return the mixtures of the laws' strategies with some settings of the allocation changed; nothing is kept."""
    from voxmix.allocation import allocate
    from voxmix.allocation.settings import asked
    from voxmix.allocation.strategies import find_strategy

    view = StudyView.of(study)
    laws, settings = view.laws, asked(view.asked, changed)
    rows = {name: find_strategy(name) for name in view.strategies_wanted}
    asked_of = {name: settings.on(law.targets, of=view.targets) for name, law in laws.items()}
    return {
        name: allocate(laws[row.law], asked_of[row.law]) for name, row in rows.items() if row.mixture is None
    }
