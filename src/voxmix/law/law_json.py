"""A law as JSON-like data and back, with names instead of positions; missing numbers are null."""

from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix import __version__
from voxmix.law.family import law_form
from voxmix.law.forms import BY_TARGET, LawParameters
from voxmix.law.holdout import Holdout
from voxmix.law.law_draws import draws_from_dict, draws_to_dict
from voxmix.law.numbers import numbers, plain
from voxmix.law.outliers import Outlier
from voxmix.law.profile import MOST_PROFILED, Profiled, has_profile, profile
from voxmix.law.quality import FitQuality
from voxmix.law.reducible import Fall
from voxmix.law.seeds import SeedEffects
from voxmix.law.status import ParameterStatus
from voxmix.response import Response

FORMAT, FORMER_FORMATS = 2, (1,)
"""Format 1 has the draws of the bootstrap as nested lists."""
Names = tuple[str, ...]


def law_to_dict(law: Any) -> dict[str, Any]:
    """Return a :class:`voxmix.law.FittedLaw` as JSON-like data; :func:`law_fields` is its inverse."""
    names, intervals = (law.domains, law.targets), law.intervals()
    return {
        "kind": "law",
        "format": FORMAT,
        "code": __version__,
        "domains": list(law.domains),
        "targets": list(law.targets),
        "law": law.law,
        "method": law.method,
        "loss": law.loss,
        **parameters_to_dict(law.parameters, *names),
        "volumes": {name: plain(count) for name, count in law.volumes.items()},
        "intervals": None if intervals is None else intervals_to_dict(intervals, *names),
        "status": [item.to_dict() for item in law.status],
        "fit": quality_to_dict(law.quality, *names),
        "noise": dict(zip(law.targets, plain(law.noise), strict=True)),
        "noise_common": law.noise_common,
        "seed_effects": law.seed_effects.to_dict(),
        "max_exponent": law.max_exponent,
        "profile": profiles_to_dict(law, transfers=law.form.transfers),
        "budget_range": [float(b) for b in law.budget_range],
        "table_digest": law.table_digest,
        "notes": list(law.notes),
        "outliers": [item.to_dict() for item in law.outliers],
        "outliers_kept": law.outliers_kept,
        "response": law.response.to_dict(),
        "suspects": [item.to_dict() for item in law.suspects],
        "holdout": None if law.holdout is None else law.holdout.to_dict(),
        "comparison": law.comparison,
        "bootstrap": None if law.bootstrap is None else draws_to_dict(law.bootstrap),
    }


def law_fields(value: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a law from its JSON-like form."""
    domains, targets = tuple(value["domains"]), tuple(value["targets"])
    parameters = parameters_from_dict(value, domains, targets, fall=law_form(value["law"]).fall)
    saved, holdout = value["bootstrap"], value["holdout"]
    low, high = value["budget_range"]
    return {
        "domains": domains,
        "targets": targets,
        "law": value["law"],
        "method": value["method"],
        "loss": value["loss"],
        "parameters": parameters,
        "budget_range": (low, high),
        "quality": quality_from_dict(value["fit"], domains, targets),
        "noise": numbers([value["noise"][t] for t in targets]),
        "noise_common": float(value.get("noise_common", 1.0)),
        "max_exponent": float(value["max_exponent"]),
        "status": tuple(ParameterStatus(**item) for item in value["status"]),
        "bootstrap": None if saved is None else draws_from_dict(saved, parameters),
        "table_digest": value["table_digest"],
        "volumes": dict(value["volumes"]),
        "notes": tuple(value["notes"]),
        "holdout": None if holdout is None else Holdout.from_dict(holdout),
        "comparison": value["comparison"],
        # Laws of voxmix 0.1 before 2026-11-28 know no outliers, no effects of seeds and no common noise.
        "seed_effects": SeedEffects.from_dict(value.get("seed_effects")),
        "outliers": tuple(Outlier(**item) for item in value.get("outliers", ())),
        "outliers_kept": bool(value.get("outliers_kept", False)),
        "response": Response.from_dict(value.get("response")),
        "suspects": tuple(Outlier(**item) for item in value.get("suspects", ())),
    }


def _by_pair(
    values: Float[np.ndarray, "source target *end"], domains: Names, targets: Names
) -> dict[str, dict[str, Any]]:
    rows = plain(values)
    return {source: dict(zip(targets, row, strict=True)) for source, row in zip(domains, rows, strict=True)}


def _from_pairs(value: dict[str, dict[str, Any]], domains: Names, targets: Names) -> np.ndarray:
    return numbers([[value[s][t] for t in targets] for s in domains])


def parameters_to_dict(parameters: LawParameters, domains: Names, targets: Names) -> dict[str, Any]:
    """Return the numbers of one law, by name, target and source."""
    return {
        **{
            name: dict(zip(targets, plain(array), strict=True))
            for name, array in parameters.by_target().items()
        },
        "transfer": _by_pair(parameters.transfer, domains, targets),
        "by_share": parameters.by_share,
        "unique_volumes": dict(zip(domains, plain(parameters.unique), strict=True)),
        "repeats": dict(zip(domains, plain(parameters.repeats), strict=True)),
    }


def parameters_from_dict(
    value: dict[str, Any], domains: Names, targets: Names, *, fall: Fall
) -> LawParameters:
    """Return the numbers that :func:`parameters_to_dict` wrote, of a law that falls like this."""
    return LawParameters(
        **{name: numbers([value[name][t] for t in targets]) for name in BY_TARGET},
        formula_numbers={n.name: numbers([value[n.name][t] for t in targets]) for n in fall.numbers},
        fall=fall,
        transfer=_from_pairs(value["transfer"], domains, targets),
        by_share=bool(value["by_share"]),
        unique=numbers([value["unique_volumes"][d] for d in domains], np.inf),
        repeats=numbers([value["repeats"][d] for d in domains], np.inf),
    )


def quality_to_dict(quality: FitQuality, domains: Names, targets: Names) -> dict[str, Any]:
    """Return R2, errors and residuals by target and by pair, and the cells."""
    error = plain(quality.relative_error)
    return {
        "target": {
            name: {
                "r2": plain(quality.r2_target[j]),
                "relative_error": error[j],
                **(_residuals(quality, domains.index(name), j) if name in domains else {}),
            }
            for j, name in enumerate(targets)
        },
        "pair": {
            source: {
                target: {"r2": plain(quality.r2_pair[i, j]), **_residuals(quality, i, j)}
                for j, target in enumerate(targets)
            }
            for i, source in enumerate(domains)
        },
        "cells": {
            "weights": plain(quality.weights),
            "budget": plain(quality.budget),
            "observed": plain(quality.observed),
            "predicted": plain(quality.predicted),
            "residuals": plain(quality.residuals),
        },
    }


def _residuals(quality: FitQuality, source: int, target: int) -> dict[str, Any]:
    """Return the residuals of the pure runs of a source on a target by budget."""
    rows = quality.pure_rows(source, target)
    return {"budget": plain(quality.budget[rows]), "residuals": plain(quality.residuals[rows, target])}


def quality_from_dict(value: dict[str, Any], domains: Names, targets: Names) -> FitQuality:
    """Return the quality that :func:`quality_to_dict` wrote."""
    cells, shape = value["cells"], (-1, len(targets))
    return FitQuality(
        r2_target=numbers([value["target"][t]["r2"] for t in targets]),
        r2_pair=numbers([[value["pair"][s][t]["r2"] for t in targets] for s in domains]),
        weights=numbers(cells["weights"]).reshape(-1, len(domains)),
        budget=numbers(cells["budget"]),
        observed=numbers(cells["observed"]).reshape(shape),
        predicted=numbers(cells["predicted"]).reshape(shape),
    )


def profiles_to_dict(law: Profiled, *, transfers: bool) -> dict[str, Any] | None:
    """Return the profile likelihood of exponents and, with ``transfers``, of those; None for many domains.

    Numbers without runs enough are left out.
    """
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
        "transfer": paired if transfers else {},
    }


def intervals_to_dict(
    intervals: dict[str, Float[np.ndarray, "*shape 2"]], domains: Names, targets: Names
) -> dict[str, Any]:
    """Return low and high by number, target and source."""
    result: dict[str, Any] = {"level": 0.9}
    for name, array in intervals.items():
        if name == "transfer":
            result[name] = _by_pair(array, domains, targets)
        else:
            result[name] = dict(zip(targets, plain(array), strict=True))
    return result
