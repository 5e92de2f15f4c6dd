"""What a law of scores says: numbers with intervals, or the reason why they cannot be told and what would help."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from voxmix.probe_tasks import SCRATCH, UNTRAINED

Reach = Literal["within", "below", "not reached", "unclear"]
"""Where a curve first beats a reference: among the measured sizes, at or below the smallest already, not up to the largest, or
the interval holds all of them."""
REACHES: tuple[Reach, ...] = get_args(Reach)
LimitKind = Literal["data", "compute", "both", "neither", "unclear"]
"""What holds an objective back: the samples, the compute, both, neither, or it cannot be told."""
NAN, INF = math.nan, math.inf
NEGLIGIBLE = 0.02
"""A share of the error that a doubling takes away and that nobody would pay for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """A number with its interval; NaN where it cannot be told.

    Of a number of samples, a ``low`` of 0 stands for below the smallest measured size and a ``high`` of infinity for
    beyond the largest: no curve is followed where nothing was measured.

    Attributes:
        status: "" where all is well, else one sentence that says why it cannot be told, or what is odd.
        remedy: what would help; "" where nothing is needed.
    """

    value: float
    low: float = NAN
    high: float = NAN
    status: str = ""
    remedy: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a value with both ends of its interval, finite."""
        return all(math.isfinite(x) for x in (self.value, self.low, self.high))

    @classmethod
    def unknown(cls, status: str, remedy: str = "") -> "Number":
        """Return a number that cannot be told."""
        return cls(value=NAN, status=status, remedy=remedy)


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The fitted line of log error over log samples, at some numbers of samples, with its band.

    The outer parts lie outside of the measured sizes; they are for prediction, and are marked there.
    """

    samples: tuple[float, ...]
    errors: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One objective from one start on one task: its errors over the sizes, and what they say.

    Attributes:
        metric: score of the task; the error is 1 - score.
        outside: whether the task is out of domain.
        objective: what the encoders learned by; ``start`` what they began from, "" where that is not said.
        samples: sizes, rising; ``seeds`` those that every size has.
        errors: mean error of each size over seeds (exp of the mean log error); ``low`` and ``high`` its interval over
            persons, seeds and subsets, as far as the runs can tell.
        seed_errors: size by seed, in the order of ``seeds``.
        elasticity: minus the slope of log error over log samples in the measured range; above 0 where more samples help.
        per_doubling: share of the error that a doubling of the samples takes away; below 0 where it adds.
        floor: error that no number of samples takes away; None where the sizes are too few to ask.
        inverse: whether the error rises with samples in at least 95% of draws.
        forgetting: error minus that of its own reference (:func:`own_reference`), at the largest size; of tasks outside,
            else unknown.
        line: None where no line is fitted.
    """

    task: str
    metric: str
    outside: bool
    objective: str
    start: str
    samples: tuple[int, ...]
    seeds: tuple[int, ...]
    errors: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seed_errors: tuple[tuple[float, ...], ...]
    elasticity: Number
    per_doubling: Number
    floor: Number | None
    inverse: bool
    forgetting: Number
    line: Line | None = None

    @property
    def name(self) -> str:
        """Objective and start, as tables and flags name a series."""
        return series_name(self.objective, self.start)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """Error of an encoder that is a line in a figure and no point of a curve: open weights, or one that learned nothing."""

    task: str
    name: str
    error: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """The smallest number of samples with which an objective beats a reference.

    Attributes:
        line: the fitted error over the reference's, at the samples of the series' own line, with the band of this ratio: it is
            narrower than that of the error, because both are judged on the same persons. None where no line is fitted.
    """

    task: str
    objective: str
    start: str
    reference: str
    samples: Number
    reach: Reach
    line: Line | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Between:
    """Two fitted lines side by side, and how far their difference may be off.

    Attributes:
        samples: rising, from the smallest to the largest size that both series have.
        first, second: errors of the two lines there.
        reach: by the samples of the first, then of the second: half of the interval of the difference of log errors.
    """

    samples: tuple[float, ...]
    first: tuple[float, ...]
    second: tuple[float, ...]
    reach: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two series of one task, side by side.

    Attributes:
        first, second: names of the series.
        difference: elasticity of the first minus that of the second.
        ratio: elasticity of the first over that of the second; of elasticities in the measured range, never of exponents.
        same_law_fits: whether one exponent with a floor for each fits as well, so that a ratio is none of exponents; False
            with fewer than four sizes, where that cannot be asked.
        data_equivalent: (samples of the first, samples that the second needs for the same error).
        between: from which data equivalents of any number of samples follow, both ways.
    """

    task: str
    first: str
    second: str
    difference: Number
    ratio: Number
    same_law_fits: bool
    data_equivalent: tuple[tuple[int, Number], ...]
    between: Between | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """Whether data or compute holds a series back.

    Attributes:
        gain_small, gain_large: share of the error that twice the compute takes away at the smallest and the largest size.
    """

    task: str
    objective: str
    start: str
    limit: LimitKind
    gain_small: Number
    gain_large: Number


def series_name(objective: str, start: str) -> str:
    """Return how tables and flags name a series.

    >>> series_name("clip", "scratch"), series_name("clip", "")
    ('clip from scratch', 'clip')
    """
    return f"{objective} from {start}" if start else objective


def own_reference(start: str, references: Sequence[str]) -> str | None:
    """Return what a series is set against first: what it began from (untrained networks, from scratch), or the only one there is.

    None where several references have nothing to do with it: to choose one of them would be to choose the answer.

    >>> own_reference("scratch", ("weights of others", "untrained")), own_reference("scratch", ("a", "b"))
    ('untrained', None)
    """
    began = UNTRAINED if start in ("", SCRATCH) else start
    return began if began in references else references[0] if len(references) == 1 else None


def plain(value: Any) -> Any:
    """Return dataclasses, tuples and numbers as JSON-like data: NaN is null, infinity the text "inf"."""
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    number = float(value)
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else ("inf" if number > 0 else "-inf")


def number_of(value: Any) -> float:
    """Return the number that :func:`plain` wrote."""
    return NAN if value is None else float(value)


def read_number(value: Mapping[str, Any]) -> Number:
    """Return the Number that :func:`plain` wrote."""
    return Number(
        **{name: number_of(value[name]) for name in ("value", "low", "high")},
        status=str(value["status"]),
        remedy=str(value["remedy"]),
    )


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(number_of(value) for value in values)


def read_series(value: Mapping[str, Any]) -> Series:
    """Return the Series that :func:`plain` wrote."""
    return Series(
        **{name: str(value[name]) for name in ("task", "metric", "objective", "start")},
        outside=bool(value["outside"]),
        samples=tuple(int(n) for n in value["samples"]),
        seeds=tuple(int(n) for n in value["seeds"]),
        errors=_numbers(value["errors"]),
        low=_numbers(value["low"]),
        high=_numbers(value["high"]),
        seed_errors=tuple(_numbers(row) for row in value["seed_errors"]),
        elasticity=read_number(value["elasticity"]),
        per_doubling=read_number(value["per_doubling"]),
        floor=None if value["floor"] is None else read_number(value["floor"]),
        inverse=bool(value["inverse"]),
        forgetting=read_number(value["forgetting"]),
        line=_read_line(value["line"]),
    )


def _read_line(value: Mapping[str, Any] | None) -> Line | None:
    if value is None:
        return None
    return Line(**{name: _numbers(value[name]) for name in ("samples", "errors", "low", "high")})


def read_reference(value: Mapping[str, Any]) -> Reference:
    """Return the Reference that :func:`plain` wrote."""
    return Reference(
        task=str(value["task"]),
        name=str(value["name"]),
        **{name: number_of(value[name]) for name in ("error", "low", "high")},
    )


def read_crossing(value: Mapping[str, Any]) -> Crossing:
    """Return the Crossing that :func:`plain` wrote."""
    return Crossing(
        **{name: str(value[name]) for name in ("task", "objective", "start", "reference")},
        samples=read_number(value["samples"]),
        reach=_one_of(value["reach"], REACHES),
        line=_read_line(value.get("line")),
    )


def read_pair(value: Mapping[str, Any]) -> Pair:
    """Return the Pair that :func:`plain` wrote."""
    between = value.get("between")
    return Pair(
        **{name: str(value[name]) for name in ("task", "first", "second")},
        difference=read_number(value["difference"]),
        ratio=read_number(value["ratio"]),
        same_law_fits=bool(value["same_law_fits"]),
        data_equivalent=tuple((int(n), read_number(number)) for n, number in value["data_equivalent"]),
        between=None
        if between is None
        else Between(
            **{name: _numbers(between[name]) for name in ("samples", "first", "second")},
            reach=tuple(_numbers(row) for row in between["reach"]),
        ),
    )


def read_limit(value: Mapping[str, Any]) -> Limit:
    """Return the Limit that :func:`plain` wrote."""
    return Limit(
        **{name: str(value[name]) for name in ("task", "objective", "start")},
        limit=_one_of(value["limit"], get_args(LimitKind)),
        gain_small=read_number(value["gain_small"]),
        gain_large=read_number(value["gain_large"]),
    )


def _one_of(value: Any, known: tuple[Any, ...]) -> Any:
    if value not in known:
        raise ValueError(f"{value!r} is none of {list(known)}")
    return value
