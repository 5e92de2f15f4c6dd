"""FittedLaw: parameters with their health, and what they predict."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from voxmix import _frames, _html, _io
from voxmix.errors import InputError, VoxmixWarning
from voxmix.law import forms, law_json, law_rows
from voxmix.law.family import LawForm, known_laws, law_form
from voxmix.law.forms import LawParameters
from voxmix.law.holdout import Holdout
from voxmix.law.outliers import Outlier
from voxmix.law.profile import own_curve_intervals
from voxmix.law.quality import FitQuality
from voxmix.law.seeds import NO_EFFECTS, SeedEffects
from voxmix.law.status import ParameterStatus
from voxmix.law.status_lines import few_lines
from voxmix.law.uncertainty import percentiles
from voxmix.mixture import Mixture
from voxmix.response import LOSS, Response

_LEVELS = ("irreducible_loss", "amplitude")
_WITH_INTERVAL = ("irreducible_loss", "amplitude", "exponent", "transfer", "rho")
FAR = 10.0  # times outside the fitted budgets from which a number is a guess


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedLaw:
    """A law fitted to measurements.

    ``transfer[source, target]`` is the worth of one draw of source for target, in draws of target.
    ``targets`` are the domains that were measured, then targets that are no source; the largest transfer to such a
    target is 1, and its effective budget counts draws of that source. ``holdout`` compares the law with a budget that was kept from the fit, ``comparison`` is what law "auto" tried, and why it chose this.
    ``outliers`` are the losses that no noise explains; they were set aside from the fit unless ``outliers_kept``;
    ``suspects`` look wrong and were fitted.
    ``response`` is what the table holds: of a law of scores, losses are ``best - score`` everywhere but in
    :meth:`predict` and :meth:`predicted_interval`. ``noise`` is the standard deviation of a cell's mean loss per target, relative to the loss, as the fit judged it,
    after ``seed_effects``: how much better or worse each seed is for all runs alike; ``noise_common`` is the share of that
    variance that the targets of a run have in common. The law is that of the average seed.
    """

    domains: tuple[str, ...]
    targets: tuple[str, ...]
    law: str
    method: str
    loss: str
    parameters: LawParameters
    budget_range: tuple[float, float]
    quality: FitQuality
    status: tuple[ParameterStatus, ...]
    noise: Float[np.ndarray, " target"]
    noise_common: float = 1.0
    max_exponent: float = 2.0
    seed_effects: SeedEffects = NO_EFFECTS
    bootstrap: LawParameters | None = None
    table_digest: str = ""
    volumes: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    holdout: Holdout | None = None
    comparison: dict[str, Any] | None = None
    outliers: tuple[Outlier, ...] = ()
    outliers_kept: bool = False
    suspects: tuple[Outlier, ...] = ()
    response: Response = LOSS

    @property
    def own(self) -> Int[np.ndarray, " target"]:
        """Index of each target in ``domains``; -1 for a target that is no source."""
        place = {name: i for i, name in enumerate(self.domains)}
        return np.array([place.get(name, -1) for name in self.targets], dtype=np.int64)

    @property
    def form(self) -> LawForm:
        """The row of the law in the family's table."""
        return law_form(self.law)

    @property
    def irreducible_loss(self) -> Float[np.ndarray, " target"]:
        """E: the loss that more draws do not remove."""
        return self.parameters.irreducible_loss

    @property
    def amplitude(self) -> Float[np.ndarray, " target"]:
        """A: scale of the reducible loss."""
        return self.parameters.amplitude

    @property
    def exponent(self) -> Float[np.ndarray, " target"]:
        """beta: how fast the reducible loss falls."""
        return self.parameters.exponent

    @property
    def transfer(self) -> Float[np.ndarray, "source target"]:
        """tau[source, target]; 1 on the diagonal."""
        return self.parameters.transfer

    @property
    def rho(self) -> Float[np.ndarray, " target"]:
        """CES exponent per target: 1 adds contributions up, less rewards variety."""
        return self.parameters.rho

    @property
    def r2_target(self) -> Float[np.ndarray, " target"]:
        """R squared of each target's own curve."""
        return self.quality.r2_target

    @property
    def r2_pair(self) -> Float[np.ndarray, "source target"]:
        """R squared per (source, target)."""
        return self.quality.r2_pair

    def weights_of(self, mixture: Mixture) -> Float[np.ndarray, " source"]:
        """Return the weights of a mixture in the order of ``domains``.

        Raises:
            InputError: the mixture names other domains; those it leaves out count as 0.
        """
        unknown = [name for name in mixture.domains if name not in self.domains]
        if unknown:
            raise InputError(f"mixture has unknown domains {unknown}; the law knows {list(self.domains)}")
        shares = mixture.as_dict()
        return np.array([shares.get(name, 0.0) for name in self.domains])

    def extrapolation(self, budget: float) -> float:
        """Return how many times ``budget`` lies outside the fitted budgets; 1 inside."""
        low, high = self.budget_range
        return max(budget / high, low / budget, 1.0)

    def beyond(self, budget: float) -> str:
        """Return in words how far a budget lies outside the fitted ones, from ten times on as a guess; "" inside."""
        times = self.extrapolation(budget)
        if times <= 1:
            return ""
        low, high = self.budget_range
        if low == high:
            return (
                f"budget {budget:,.6g} is not the one budget of the fitted runs, {low:,g}: how losses fall with more draws "
                "was not measured, so it is a guess"
            )
        told = f"{times:,.1f}" if times < 1e6 else f"{times:.0e}"
        found = f"budget {budget:,.6g} lies {told} times outside the fitted budgets {low:,g} to {high:,g}"
        return found + (": no run near it backs this, so it is a guess" if times > FAR else "")

    def evaluate(
        self, weights: Float[np.ndarray, "*rows source"], budget: float
    ) -> Float[np.ndarray, "*rows target"]:
        """Return predicted losses for weight vectors at one budget, without a word on extrapolation."""
        rows = np.atleast_2d(weights)
        values = forms.predict(self.parameters, rows, np.full(len(rows), float(budget)))[0]
        return values if np.ndim(weights) == 2 else values[0]

    def predict(self, mixture: Mixture, budget: float) -> Float[np.ndarray, " target"]:
        """Return the predicted loss per target, in the order of ``targets``; of a law of scores, the score.

        Warns:
            VoxmixWarning: the budget lies outside the fitted budgets (see :meth:`extrapolation`).
        """
        if not budget > 0:
            raise InputError(f"budget must be above 0 draws, got {budget}")
        if beyond := self.beyond(budget):
            warnings.warn(f"{beyond}; check the prediction with a run", VoxmixWarning, stacklevel=2)
        return self.response.from_loss(self.evaluate(self.weights_of(mixture), budget))

    def effective_budget(self, mixture: Mixture, budget: float) -> Float[np.ndarray, " target"]:
        """Return n_j, in draws of each target."""
        weights = self.weights_of(mixture)[None]
        return forms.effective_budget(self.parameters, weights, np.array([float(budget)]))[0, 0]

    def contributions(self, mixture: Mixture, budget: float) -> Float[np.ndarray, "source target"]:
        """Return ``tau_ij lambda_i N``: what each source gives each target, in draws of the target."""
        return forms.contributions(self.parameters, self.weights_of(mixture), float(budget))

    def problems(self) -> tuple[ParameterStatus, ...]:
        """Return the statuses that are not ok."""
        return tuple(item for item in self.status if item.state != "ok")

    def intervals(self, level: float = 0.9) -> dict[str, Float[np.ndarray, "*shape 2"]] | None:
        """Return intervals per parameter, low and high on the last axis; None without bootstrap draws.

        Percentiles of the bootstrap, but for E, A and beta of a two-stage fit: there four losses judge three
        numbers, draws run along a valley of the misfit and their percentiles cover 97% for 90%, so these are
        intervals of the profile likelihood (:func:`voxmix.law.profile`; docs/concepts/law.md has the coverage). Those
        of E and A hold the average of all seeds, of which only some were run.
        """
        if not 0 < level < 1:
            raise InputError(f"level must lie between 0 and 1, got {level}; 0.9 is usual")
        if self.bootstrap is None:
            return None
        draws = self.bootstrap.by_draw()
        found = {name: percentiles(draws[name], level) for name in _WITH_INTERVAL}
        found |= {name: percentiles(draws[name], level) for name in self.parameters.formula_numbers}
        if self.method == "two-stage" and not self.form.one_exponent:
            found |= own_curve_intervals(self, found, level)
        for name in _LEVELS:
            value = getattr(self.parameters, name)
            found[name] = self.seed_effects.widened(found[name], value, level, new_seed=False)
        return found

    def predicted_interval(
        self, mixture: Mixture, budget: float, level: float = 0.9
    ) -> Float[np.ndarray, "target 2"] | None:
        """Return intervals of the losses that one more seed is expected to have; None without bootstrap draws.

        Percentiles of the bootstrap, widened by how much seeds differ, as far as those that were run tell. A table
        of one seed does not tell it: then the interval is of the law alone.
        """
        if self.bootstrap is None:
            return None
        weights = self.weights_of(mixture)[None]
        losses = forms.predict(self.bootstrap, weights, np.array([float(budget)]))[:, 0]
        value = self.evaluate(weights[0], budget)
        found = self.seed_effects.widened(percentiles(losses, level), value, level, new_seed=True)
        return self.response.interval(found)

    def __repr__(self) -> str:
        seeds = f"; {self.seed_effects.sentence}" if self.seed_effects.seeds else ""
        of = f" of {self.response.as_loss}" if self.response.rises else ""
        return (
            f"FittedLaw({self.law}{of}, {self.method}; {len(self.domains)} domains, budgets "
            f"{self.budget_range[0]:g} to {self.budget_range[1]:g}, {len(self.problems())} of "
            f"{len(self.status)} parameters not ok{seeds})"
        )

    def _repr_html_(self) -> str:
        own = _html.table(
            ("target", "E", "A", "beta", "rho", "R2"),
            (
                (name, *(f"{value:.3g}" for value in values))
                for name, *values in zip(
                    self.targets,
                    self.irreducible_loss,
                    self.amplitude,
                    self.exponent,
                    self.rho,
                    self.r2_target,
                    strict=True,
                )
            ),
            caption="Each target's own curve",
        )
        transfer = _html.table(
            ("source", *(f"to {name}" for name in self.targets)),
            (
                (name, *("" if np.isnan(worth) else f"{worth:.3g}" for worth in row))
                for name, row in zip(self.domains, self.transfer, strict=True)
            ),
            caption="Transfer: what a draw of the source (row) is worth for the target (column), in draws of the target",
        )
        lines = few_lines(self.notes, self.status, where="the attribute status lists every one")
        return (
            _html.paragraph(repr(self)) + own + (transfer if self.form.transfers else "") + _html.items(lines)
        )

    def to_rows(self, what: str = "parameters", *, level: float = 0.9) -> list[dict[str, Any]]:
        """Return the law's numbers as records, for tables of others.

        Args:
            what: "parameters", one row per target, with the ends of the intervals at ``level`` where there are bootstrap
                draws; "transfer", one row per source and one column per target; or "pairs", one row per source and target,
                with interval and status.
            level: of the intervals.

        Raises:
            InputError: another word for what.
        """
        if what == "parameters":
            return law_rows.parameter_rows(self, level)
        if what == "transfer":
            names = {name: self.transfer[:, j].tolist() for j, name in enumerate(self.targets)}
            return [
                {"source": name, **{target: values[i] for target, values in names.items()}}
                for i, name in enumerate(self.domains)
            ]
        if what == "pairs":
            return law_rows.pair_rows(self, level)
        raise InputError(f"what is {what!r}, expected 'parameters', 'transfer' or 'pairs'")

    def to_frame(self, what: str = "parameters", *, level: float = 0.9, library: str | None = None) -> Any:
        """Return :meth:`to_rows` as a DataFrame of pandas, Polars or PyArrow: the first that is installed, without ``library``.

        Of pandas, ``to_frame("transfer")`` has the sources as its index and the targets as its columns.
        """
        index = {"parameters": "target", "transfer": "source"}.get(what, "")
        return _frames.frame_of(self.to_rows(what, level=level), library=library, index=index)

    def to_dict(self) -> dict[str, Any]:
        """Return the law as JSON-like data; :meth:`from_dict` is its inverse."""
        return law_json.law_to_dict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "FittedLaw":
        """Return the law written by :meth:`to_dict`.

        Raises:
            InputError: another format version, or a key is missing.
        """
        read = (law_json.FORMAT, *law_json.FORMER_FORMATS)
        if value.get("kind") != "law" or value.get("format") not in read:
            raise InputError(
                f"expected a law of format {law_json.FORMAT}, got kind {value.get('kind')!r} format "
                f"{value.get('format')!r}; fit it again with this version of voxmix"
            )
        try:
            return cls(**law_json.law_fields(value))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"the law is damaged ({type(error).__name__}: {error}); fit it again") from None

    def save(self, path: str | Path) -> None:
        """Write the law as JSON (kind "law")."""
        _io.write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> "FittedLaw":
        """Return the law of a JSON file.

        Raises:
            InputError: no such file, another kind of file, another format version, or a law that is not known.
        """
        value = _io.read_versioned(
            Path(path), kind="law", version=law_json.FORMAT, former=law_json.FORMER_FORMATS
        )
        if isinstance(name := value.get("law"), str) and name not in (known := known_laws()):
            raise InputError(
                f"{path} holds the law {name!r}, which is not known here ({', '.join(known)} are); if a program of yours "
                "added it with voxmix.law.register, read the file there"
            )
        with _io.naming_damage(Path(path), remedy="fit it again"):
            return cls.from_dict(value)
