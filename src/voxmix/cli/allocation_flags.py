"""Flags of the verbs that allocate: one for each key of study.yaml below ``allocation:``, from one table."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix.cli.app import note
from voxmix.cli.arguments import PairOption, draws, load_law, open_study, pairs, takes_flags
from voxmix.study.files import is_study, study_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from voxmix.allocation import AllocationSettings
    from voxmix.law import FittedLaw


@dataclass(frozen=True, kw_only=True, slots=True)
class AllocationFlags:
    """Settings of an allocation, as far as the command line says; None where it does not."""

    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            parser=draws,
            metavar="DRAWS",
            help="Volume draws to allocate, as 100000, 100k or 1e5; with --cost, money.",
        ),
    ] = None
    min_weight: Annotated[
        float | None, typer.Option("--min-weight", help="Least share of any domain; default 0.05.")
    ] = None
    max_weight: Annotated[PairOption, typer.Option("--max-weight", help="DOMAIN=SHARE at most; repeat.")] = (
        None
    )
    fixed: Annotated[PairOption, typer.Option("--fix", "--fixed", help="DOMAIN=SHARE exactly; repeat.")] = (
        None
    )
    volumes: Annotated[PairOption, typer.Option("--volumes", help="DOMAIN=N volumes that exist; repeat.")] = (
        None
    )
    max_epochs: Annotated[float | None, typer.Option("--max-epochs", help="Most draws of each volume.")] = (
        None
    )
    cost: Annotated[
        PairOption, typer.Option("--cost", help="DOMAIN=PRICE of a draw, 1 elsewhere; repeat.")
    ] = None
    target_weights: Annotated[
        PairOption, typer.Option("--target-weight", help="DOMAIN=W importance of a target; repeat.")
    ] = None
    objective: Annotated[
        str | None, typer.Option("--objective", help="mean (default), relative or minimax.")
    ] = None
    no_worse_than: Annotated[
        str | None,
        typer.Option("--no-worse-than", help="No target worse than under uniform or data-proportional."),
    ] = None
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", help="Near-optimal means within this; default 0.01.")
    ] = None
    level: Annotated[
        float | None, typer.Option("--level", help="Level of the intervals of shares; default 0.9.")
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """The settings that the command line names, by name.

        Raises:
            InputError: a pair of a domain and a number that is none.
        """
        said = {name: value for name, value in asdict(self).items() if value not in (None, [])}
        return {
            name: pairs(value, option=_SPELLED.get(name, f"--{name.replace('_', '-')}"))
            if isinstance(value, list)
            else value
            for name, value in said.items()
        }


_SPELLED = {"fixed": "--fix", "target_weights": "--target-weight"}


def takes_allocation_flags(
    *, but: tuple[str, ...] = ()
) -> "Callable[[Callable[..., None]], Callable[..., None]]":
    """Give a verb every flag of :class:`AllocationFlags` that has a meaning there, as one argument ``flags``."""
    return takes_flags(AllocationFlags, but=but)


def law_and_settings(
    path: Path, name: str | None, given: dict[str, Any]
) -> "tuple[FittedLaw, AllocationSettings]":
    """Return the law of a file or a study, and what is asked of it: for a study by its file, with what is ``given`` changed."""
    from voxmix.allocation.settings import asked

    law = load_law(path, name)
    if not is_study(path):
        return law, asked(None, given)
    view = open_study(path, check=False)
    say_changed(path, given)
    return law, asked(view.asked, given).on(law.targets, of=view.targets)


def say_changed(path: Path, given: dict[str, Any]) -> None:
    """Say of a study what of its file is asked differently this once."""
    if given:
        note(
            f"{' and '.join(given)} as given here; {study_file(path)} and what the study keeps stay as they are"
        )
