"""The law family as one table: a row says how a law is fitted, shown and turned into a strategy.

Adding a law is one row, and a :class:`~voxmix.law.reducible.Formula` where its loss does not fall as a power of the
effective budget. :func:`register` takes a row from outside.
"""

from dataclasses import dataclass

from voxmix._table import Table
from voxmix.errors import InputError
from voxmix.law.forms import BY_TARGET
from voxmix.law.reducible import OFFSET, POWER, Fall, PowerFall

AUTO = "auto"
"""In place of a name: the law that predicts held-out runs best."""

CURVE = ("irreducible_loss", "amplitude", "exponent")
TRANSFER = "transfer"
BUDGET_TERM = ("budget_amplitude", "budget_exponent")


@dataclass(frozen=True, kw_only=True, slots=True)
class LawForm:
    """One law of the family.

    Attributes:
        name: in commands, files and reports.
        label: what is special about it, in words.
        free: the numbers that a fit finds: E, A and beta, ``transfer``, ``rho``, ``budget_amplitude`` and
            ``budget_exponent``. Without transfer, other sources count for nothing; with the budget's term, the
            effective budget counts shares.
        one_exponent: whether all targets share beta.
        fall: how the reducible loss falls with the effective budget; its own numbers are fitted too.
        needs_mixtures: whether only runs of mixtures tell its numbers: a study of pure runs leaves it out.
        in_every_study: whether a study fits it although no strategy asks for it.
        in_paper: whether the paper's tables list its strategy.
        preference: rank among the laws where one has to be the answer; the least is the first choice.
        strategy: name of the strategy that allocates by it.
        marker: what that strategy is drawn as; without, it gets one that is left.
    """

    name: str
    label: str
    free: tuple[str, ...]
    strategy: str
    preference: int
    one_exponent: bool = False
    fall: Fall = POWER
    needs_mixtures: bool = False
    in_every_study: bool = False
    in_paper: bool = False
    marker: str = ""

    def __post_init__(self) -> None:
        unknown = [name for name in self.free if name not in (*BY_TARGET, TRANSFER)]
        if unknown:
            raise InputError(
                f"the law {self.name} frees {unknown}; choose from {[*BY_TARGET, TRANSFER]}, and give other numbers "
                "with its formula"
            )

    @property
    def transfers(self) -> bool:
        """Whether other sources count."""
        return TRANSFER in self.free

    @property
    def variety(self) -> bool:
        """Whether rho, the worth of variety, is fitted."""
        return "rho" in self.free

    @property
    def by_share(self) -> bool:
        """Whether the effective budget counts shares, and the budget has a term of its own."""
        return "budget_amplitude" in self.free

    @property
    def in_two_stages(self) -> bool:
        """Whether the paper's two stages can fit it; else only the joint fit can."""
        return isinstance(self.fall, PowerFall) and not self.by_share


_ALL = (*CURVE, TRANSFER)
_ROWS = (  # in the order in which auto tries those that it tries
    LawForm(
        name="transfer",
        label="the paper's: every domain counts for every target, by its transfer",
        free=_ALL,
        strategy="transfer-aware",
        preference=4,
        in_every_study=True,
        in_paper=True,
        marker="D",
    ),
    LawForm(
        name="shared-exponent",
        label="the paper's with one exponent for all targets",
        free=_ALL,
        one_exponent=True,
        strategy="shared-exponent",
        preference=7,
    ),
    LawForm(
        name="naive",
        label="no transfer: every target learns from its own domain alone",
        free=CURVE,
        strategy="transfer-naive",
        preference=8,
        in_every_study=True,
        in_paper=True,
        marker="v",
    ),
    LawForm(
        name="diversity",
        label="variety counts: contributions are added up as powers (rho)",
        free=(*_ALL, "rho"),
        needs_mixtures=True,
        strategy="diversity-aware",
        preference=3,
        in_every_study=True,
        marker="o",
    ),
    LawForm(
        name="budget",
        label="shares of the budget count, and the budget has a term of its own",
        free=(*_ALL, *BUDGET_TERM),
        needs_mixtures=True,
        strategy="budget-aware",
        preference=6,
    ),
    LawForm(
        name="budget-diversity",
        label="the budget law in which variety counts",
        free=(*_ALL, *BUDGET_TERM, "rho"),
        needs_mixtures=True,
        strategy="budget-diversity-aware",
        preference=5,
    ),
    LawForm(
        name="offset",
        label="the paper's with an offset (kappa): losses start at a plateau, finite where nothing is drawn",
        free=_ALL,
        fall=OFFSET,
        strategy="offset-aware",
        preference=2,
        marker="<",
    ),
    LawForm(
        name="offset-diversity",
        label="the offset law in which variety counts",
        free=(*_ALL, "rho"),
        fall=OFFSET,
        needs_mixtures=True,
        strategy="offset-diversity-aware",
        preference=1,
        marker="*",
    ),
)

LAWS = tuple(row.name for row in _ROWS)
"""Names of the laws that voxmix brings."""
PAPER = _ROWS[0].name

LAW_FORMS: Table[LawForm] = Table("laws", {row.name: row for row in _ROWS})
"""Every law. Packages add rows by entry points of the group ``voxmix.laws``, scripts by :func:`register`."""


def law_forms() -> tuple[LawForm, ...]:
    """Return every law, those of voxmix first."""
    return tuple(LAW_FORMS.rows().values())


def known_laws() -> tuple[str, ...]:
    """Return the names of every law."""
    return LAW_FORMS.names()


def law_form(name: str) -> LawForm:
    """Return the law of a name.

    Raises:
        InputError: no such law; names the nearest, or all.
    """
    return LAW_FORMS[name]


def preferred_forms() -> tuple[LawForm, ...]:
    """Return every law, the first choice for an answer first."""
    return tuple(sorted(law_forms(), key=lambda form: form.preference))


def register(form: LawForm) -> None:
    """Add a law in this process: fits, files, studies and reports then know it.

    Raises:
        InputError: the name of the law or of its strategy is taken.
    """
    if form.name == AUTO or any(form.strategy == other.strategy for other in law_forms()):
        raise InputError(
            f"the law {form.name!r} with the strategy {form.strategy!r} needs names that no other law has"
        )
    LAW_FORMS.add(form.name, form)


def unregister(name: str) -> None:
    """Take a law that was registered out of the family."""
    if name in LAWS:
        raise InputError(f"{name} is a law of voxmix itself; it stays")
    if name in LAW_FORMS:
        LAW_FORMS.remove(name)
