"""DownstreamResult: what one finetuning run or probe scored, case by case; read from its folder without torch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from voxmix._io import read_json
from voxmix.errors import InputError
from voxmix.probe_tasks import JudgedEncoder
from voxmix.runs.files import FINETUNING_FORMAT, RESULT_KINDS, ResultKind
from voxmix.settings import checked

Control = Literal["frozen", "permuted", "no-tokens"]
"""Runs that catch self-deception (:mod:`voxmix.downstream.networks` says what each does to the encoder)."""
CONTROLS: tuple[Control, ...] = get_args(Control)
_SUM_TOLERANCE = 1e-3
_LONGEST_MM = 10_000.0
"""No surface of a person is farther from another."""
SCORES = ("dice", "surface_distance_mm")


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentedCase:
    """Scores of one case of a segmentation: class to value, None where the class was not scored.

    ``subject`` is a digest, the same for all cases of a person; the case's own name where it is not known.
    """

    case: str
    subject: str
    domain: str
    dice: Mapping[str, float | None]
    surface_distance_mm: Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifiedCase:
    """One case of a classification: its class, counted from 0, and the probability of every class."""

    case: str
    subject: str
    domain: str
    truth: int
    probability: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabeledCase:
    """One case of several labels: label to 1 (present), 0 (absent) or None (not known), and to its score, higher where it is
    rather present."""

    case: str
    subject: str
    domain: str
    truth: Mapping[str, int | None]
    score: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class ValuedCase:
    """Numbers of one case, by metric; more is better, None where there is none."""

    case: str
    subject: str
    domain: str
    values: Mapping[str, float | None]


ScoredCase = SegmentedCase | ClassifiedCase | LabeledCase | ValuedCase


@dataclass(frozen=True, kw_only=True, slots=True)
class DownstreamResult:
    """One finished finetuning run, or one probe of a frozen encoder.

    Attributes:
        run_id: digest of the run's spec; "" in results of the first voxmix.
        init: the initialization, such as "scratch" or "transfer-aware".
        control: None, or what was done to catch self-deception: "frozen", "permuted", "no-tokens".
        protocol: digest of all that every initialization of the task shares.
        checkpoint: id of the pretraining run whose encoder was loaded, or None.
        draws: crops or volumes that training saw.
        cases: one entry per test case; all of the kind of the task.
        curve: (step, validation score) while training.
        folder: where it was read from, below the folder of all runs, or "".
        judged: of a probe: the encoder that was judged; None of finetuning.
        outside: of a probe: whether the task is out of domain.
        metrics: of kind values: the names of its metrics, the main one first.
    """

    task: str
    kind: ResultKind
    init: str
    control: str | None
    seed: int
    protocol: str
    checkpoint: str | None
    draws: int | None
    flops: float | None
    seconds: float | None
    classes: tuple[str, ...]
    cases: tuple[ScoredCase, ...]
    curve: tuple[tuple[int, float], ...]
    folder: str = ""
    run_id: str = ""
    judged: JudgedEncoder | None = None
    outside: bool = False
    metrics: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Initialization with its control, as it is written everywhere."""
        return self.init if self.control is None else f"{self.init}, {self.control}"


def read_result(path: Path) -> DownstreamResult:
    """Return the result that a finetuning run or a probe left at ``path``.

    Raises:
        InputError: the file is missing, damaged, of another format, or holds what cannot be: a Dice above 1, a
            case twice, probabilities that do not sum to 1.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.get("format") != FINETUNING_FORMAT:
        found = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise InputError(
            f"{path} has format version {found!r}, this voxmix reads {FINETUNING_FORMAT}; finetune again with this version"
        )
    try:
        return _result(value)
    except InputError as error:
        raise InputError(f"{path}: {error}; delete its folder and finetune again") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path} is damaged ({error!r}); delete its folder, the run will be made again"
        ) from None


def _result(value: dict[str, Any]) -> DownstreamResult:
    kind, control = value["kind"], value["control"]
    if kind not in RESULT_KINDS:
        raise InputError(f"kind {kind!r} is none of {list(RESULT_KINDS)}")
    if control is not None and control not in CONTROLS:
        raise InputError(f"control {control!r} is none of {list(CONTROLS)}")
    classes = tuple(str(name) for name in value["classes"])
    metrics = tuple(str(name) for name in value.get("metrics") or ())
    if kind == "values" and not metrics:
        raise InputError("a result of kind values names no metric")
    cases = tuple(_READ[kind](item, metrics if kind == "values" else classes) for item in value["cases"])
    judged = value.get("judged")
    names = [item.case for item in cases]
    if not names or len(set(names)) < len(names):
        raise InputError("a case occurs twice" if names else "no case was scored")
    return DownstreamResult(
        task=str(value["task"]),
        run_id=str(value.get("run_id") or ""),
        kind=kind,
        init=str(value["init"]),
        control=control,
        seed=_whole(value["seed"], "seed"),
        protocol=str(value["protocol_digest"]),
        checkpoint=value.get("checkpoint"),
        draws=_optional(value.get("draws"), int),
        flops=_optional(value.get("flops"), float),
        seconds=_optional(value.get("seconds"), float),
        classes=classes,
        cases=cases,
        curve=tuple(
            (int(point["step"]), float(point["validation"]))
            for point in value.get("curve") or ()
            if point["validation"] is not None
        ),
        judged=None if judged is None else checked(JudgedEncoder, judged, where="judged"),
        outside=bool(value.get("outside", False)),
        metrics=metrics,
    )


def _segmented(item: dict[str, Any], classes: tuple[str, ...]) -> SegmentedCase:
    dice, distance = (dict(item["scores"].get(name) or {}) for name in SCORES)
    for values, most in ((dice, 1.0), (distance, _LONGEST_MM)):
        for name, score in values.items():
            if name not in classes:
                raise InputError(f"case {item['case']}: class {name!r} is none of {list(classes)}")
            if score is not None and not 0 <= score <= most:
                raise InputError(f"case {item['case']}, class {name}: {score} is no score")
    return SegmentedCase(**_about(item), dice=dice, surface_distance_mm=distance)


def _classified(item: dict[str, Any], classes: tuple[str, ...]) -> ClassifiedCase:
    probability = tuple(float(p) for p in item["probability"])
    fits = len(probability) == len(classes) and all(0 <= p <= 1 for p in probability)
    if not (fits and abs(sum(probability) - 1) <= _SUM_TOLERANCE):
        raise InputError(
            f"case {item['case']}: expected {len(classes)} probabilities that sum to 1, got {list(probability)}"
        )
    truth = _whole(item["truth"], f"case {item['case']}: class")
    if not 0 <= truth < len(classes):
        raise InputError(f"case {item['case']}: class {truth} of {len(classes)}, counted from 0")
    return ClassifiedCase(**_about(item), truth=truth, probability=probability)


def _labeled(item: dict[str, Any], labels: tuple[str, ...]) -> LabeledCase:
    truth, score = dict(item["truth"]), {name: float(value) for name, value in item["score"].items()}
    for name in (*truth, *score):
        if name not in labels:
            raise InputError(f"case {item['case']}: label {name!r} is none of {list(labels)}")
    for name, value in truth.items():
        if value is not None and (isinstance(value, bool) or value not in (0, 1)):
            raise InputError(f"case {item['case']}: label {name} is {value!r}, expected 0, 1 or null")
        if value is not None and name not in score:
            raise InputError(f"case {item['case']}: label {name} has no score")
    return LabeledCase(**_about(item), truth=truth, score=score)


def _valued(item: dict[str, Any], metrics: tuple[str, ...]) -> ValuedCase:
    values = {name: _optional(value, float) for name, value in item["values"].items()}
    for name, value in values.items():
        if name not in metrics:
            raise InputError(f"case {item['case']}: metric {name!r} is none of {list(metrics)}")
        if value is not None and not math.isfinite(value):
            raise InputError(f"case {item['case']}, {name}: {value} is no score")
    return ValuedCase(**_about(item), values=values)


_READ: dict[ResultKind, Callable[[dict[str, Any], tuple[str, ...]], ScoredCase]] = {
    "segmentation": _segmented,
    "classification": _classified,
    "labels": _labeled,
    "values": _valued,
}


def _about(item: dict[str, Any]) -> dict[str, str]:
    case = str(item["case"])
    return {
        "case": case,
        "subject": str(item.get("subject") or case),
        "domain": str(item.get("domain") or ""),
    }


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or int(value) != value:
        raise InputError(f"{what} is {value!r}, expected a whole number")
    return int(value)


def _optional(value: Any, kind: type) -> Any:
    return None if value is None else kind(value)
