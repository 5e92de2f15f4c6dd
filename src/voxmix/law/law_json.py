"""FittedLaw as JSON, with names instead of positions; missing numbers are null."""

from typing import Any

import numpy as np

from voxmix import __version__
from voxmix.errors import InputError
from voxmix.law import forms
from voxmix.law.fitted import FORMAT, FitQuality, FittedLaw, ParameterStatus
from voxmix.law.forms import LawParameters
from voxmix.law.holdout import Holdout
from voxmix.law.outliers import Outlier
from voxmix.law.profile import MOST_PROFILED, has_profile, profile

_BY_TARGET = ("irreducible_loss", "amplitude", "exponent", "rho", "budget_amplitude", "budget_exponent")


def plain(value: Any) -> Any:
    """Return arrays as nested lists, with null for NaN and infinity."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim:
        return (
            [plain(item) for item in array]
            if array.ndim > 1 or not np.isfinite(array).all()
            else array.tolist()
        )
    return float(array) if np.isfinite(array) else None


def numbers(value: Any, missing: float = np.nan) -> np.ndarray:
    """Return the array of nested lists where null means ``missing``."""
    array = np.array(value, dtype=np.float64)
    return np.where(np.isnan(array), missing, array)


def law_to_dict(law: FittedLaw) -> dict[str, Any]:
    """Return the JSON-like form of a law: parameters by name, status, fit, and the bootstrap draws."""
    by_target = {
        name: dict(zip(law.targets, plain(getattr(law.parameters, name)), strict=True)) for name in _BY_TARGET
    }
    quality = law.quality
    intervals = law.intervals()
    return {
        "kind": "law",
        "format": FORMAT,
        "code": __version__,
        "domains": list(law.domains),
        "targets": list(law.targets),
        "law": law.law,
        "method": law.method,
        "loss": law.loss,
        **by_target,
        "transfer": _by_pair(law, law.transfer),
        "by_share": law.parameters.by_share,
        "unique_volumes": dict(zip(law.domains, plain(law.parameters.unique), strict=True)),
        "repeats": dict(zip(law.domains, plain(law.parameters.repeats), strict=True)),
        "volumes": {name: plain(count) for name, count in law.volumes.items()},
        "intervals": None if intervals is None else _intervals(law, intervals),
        "status": [item.to_dict() for item in law.status],
        "fit": {
            "target": _fit_by_target(law),
            "pair": _fit_by_pair(law),
            "cells": {
                "weights": plain(quality.weights),
                "budget": plain(quality.budget),
                "observed": plain(quality.observed),
                "predicted": plain(quality.predicted),
                "residuals": plain(quality.residuals),
            },
        },
        "noise": dict(zip(law.targets, plain(law.noise), strict=True)),
        "max_exponent": law.max_exponent,
        "profile": _profiles(law),
        "budget_range": [float(b) for b in law.budget_range],
        "table_digest": law.table_digest,
        "notes": list(law.notes),
        "outliers": [item.to_dict() for item in law.outliers],
        "outliers_kept": law.outliers_kept,
        "holdout": None if law.holdout is None else law.holdout.to_dict(),
        "comparison": law.comparison,
        "bootstrap": None
        if law.bootstrap is None
        else {name: plain(getattr(law.bootstrap, name)) for name in (*_BY_TARGET, "transfer", "repeats")},
    }


def _by_pair(law: FittedLaw, values: np.ndarray) -> dict[str, dict[str, Any]]:
    rows = plain(values)
    return {
        source: dict(zip(law.targets, row, strict=True))
        for source, row in zip(law.domains, rows, strict=True)
    }


def _fit_by_target(law: FittedLaw) -> dict[str, Any]:
    """R2 of each target's own curve, its mean relative error, and residuals of its own pure runs by budget."""
    error = plain(law.quality.relative_error)
    return {
        name: {
            "r2": plain(law.r2_target[j]),
            "relative_error": error[j],
            **_residuals(law, law.domains.index(name), j),
        }
        for j, name in enumerate(law.targets)
    }


def _fit_by_pair(law: FittedLaw) -> dict[str, Any]:
    return {
        source: {
            target: {"r2": plain(law.r2_pair[i, j]), **_residuals(law, i, j)}
            for j, target in enumerate(law.targets)
        }
        for i, source in enumerate(law.domains)
    }


def _residuals(law: FittedLaw, source: int, target: int) -> dict[str, Any]:
    rows = law.quality.pure_rows(source, target)
    return {
        "budget": plain(law.quality.budget[rows]),
        "residuals": plain(law.quality.residuals[rows, target]),
    }


def _profiles(law: FittedLaw) -> dict[str, Any] | None:
    """Profile likelihood of exponents and transfers, where there are runs enough; None for many domains."""
    if len(law.domains) > MOST_PROFILED:
        return None
    able = [name for j, name in enumerate(law.targets) if has_profile(law, j)]
    paired = {
        source: {
            target: profile(law, "transfer", target=target, source=source).to_dict()
            for target in able
            if source != target and len(law.quality.pure_rows(i, law.targets.index(target)))
        }
        for i, source in enumerate(law.domains)
    }
    return {
        "level": 0.9,
        "exponent": {name: profile(law, "exponent", target=name).to_dict() for name in able},
        "transfer": paired if law.law != forms.NAIVE else {},
    }


def _intervals(law: FittedLaw, values: dict[str, np.ndarray]) -> dict[str, Any]:
    result: dict[str, Any] = {"level": 0.9}
    for name, array in values.items():
        if name == "transfer":
            result[name] = _by_pair(law, array)
        else:
            result[name] = dict(zip(law.targets, plain(array), strict=True))
    return result


def law_from_dict(value: dict[str, Any]) -> FittedLaw:
    """Return the law of its JSON-like form.

    Raises:
        InputError: another format version, or a key is missing.
    """
    if value.get("kind") != "law" or value.get("format") != FORMAT:
        raise InputError(
            f"expected a law of format {FORMAT}, got kind {value.get('kind')!r} format {value.get('format')!r}; "
            "fit it again with this version of voxmix"
        )
    try:
        return _read(value)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the law is damaged ({type(error).__name__}: {error}); fit it again") from None


def _read(value: dict[str, Any]) -> FittedLaw:
    domains, targets = tuple(value["domains"]), tuple(value["targets"])
    unique = numbers([value["unique_volumes"][d] for d in domains], np.inf)
    parameters = LawParameters(
        **{name: numbers([value[name][t] for t in targets]) for name in _BY_TARGET},
        transfer=_pairs(value["transfer"], domains, targets),
        by_share=bool(value["by_share"]),
        unique=unique,
        repeats=numbers([value["repeats"][d] for d in domains], np.inf),
    )
    saved = value["bootstrap"]
    draws = None
    if saved is not None:
        draws = LawParameters(
            **{name: numbers(saved[name]) for name in (*_BY_TARGET, "transfer")},
            repeats=numbers(saved["repeats"], np.inf),
            by_share=parameters.by_share,
            unique=unique,
        )
    fit, cells = value["fit"], value["fit"]["cells"]
    shape = (-1, len(targets))
    quality = FitQuality(
        r2_target=numbers([fit["target"][t]["r2"] for t in targets]),
        r2_pair=numbers([[fit["pair"][s][t]["r2"] for t in targets] for s in domains]),
        weights=numbers(cells["weights"]).reshape(-1, len(domains)),
        budget=numbers(cells["budget"]),
        observed=numbers(cells["observed"]).reshape(shape),
        predicted=numbers(cells["predicted"]).reshape(shape),
    )
    low, high = value["budget_range"]
    return FittedLaw(
        domains=domains,
        targets=targets,
        law=value["law"],
        method=value["method"],
        loss=value["loss"],
        parameters=parameters,
        budget_range=(low, high),
        quality=quality,
        noise=numbers([value["noise"][t] for t in targets]),
        max_exponent=float(value["max_exponent"]),
        status=tuple(ParameterStatus(**item) for item in value["status"]),
        bootstrap=draws,
        table_digest=value["table_digest"],
        volumes=dict(value["volumes"]),
        notes=tuple(value["notes"]),
        holdout=None if value["holdout"] is None else Holdout.from_dict(value["holdout"]),
        comparison=value["comparison"],
        outliers=tuple(
            Outlier(**item) for item in value.get("outliers", ())
        ),  # laws of voxmix 0.1 before 2026-11-28
        outliers_kept=bool(value.get("outliers_kept", False)),
    )


def _pairs(
    value: dict[str, dict[str, Any]], domains: tuple[str, ...], targets: tuple[str, ...]
) -> np.ndarray:
    return numbers([[value[s][t] for t in targets] for s in domains])
