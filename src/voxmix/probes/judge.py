"""One probe: a frozen encoder is judged on a task, and its scores are written case by case."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from voxmix._io import digest, naming_full_disk, read_json, write_json
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError, VoxmixError
from voxmix.probe_tasks import HEADS, JudgedEncoder, ProbeSettings
from voxmix.probes.data import ProbeData
from voxmix.probes.device import whole_products
from voxmix.probes.done import is_done, made_from
from voxmix.probes.encoder import LoadedEncoder, check_fits
from voxmix.probes.features import FeatureStore
from voxmix.probes.heads import HeadResult, Probing, head_of
from voxmix.runs.files import FINETUNING_FORMAT, RESULT_FILE
from voxmix.scores.result import (
    SCORES,
    ClassifiedCase,
    DownstreamResult,
    LabeledCase,
    ScoredCase,
    SegmentedCase,
    read_result,
)

_DEFAULT = ProbeSettings()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ProbeResult:
    """What one probe scored.

    Attributes:
        result: as :func:`voxmix.scores.read_result` reads it.
        made: whether it was made now; False where it lay there already.
        chosen: value taken from each grid.
        figures: other numbers.
        notes: what a user should know.
    """

    result: DownstreamResult
    made: bool
    chosen: Mapping[str, Any]
    figures: Mapping[str, float]
    notes: tuple[str, ...]


def judge(
    data: ProbeData,
    encoder: LoadedEncoder,
    judged: JudgedEncoder,
    *,
    store: FeatureStore,
    folder: Path,
    settings: ProbeSettings = _DEFAULT,
    progress: ProgressCallback = silent,
) -> ProbeResult:
    """Judge a frozen encoder on a task, unless its result lies in ``folder`` already.

    Args:
        judged: what to call it; ``judged.encoder`` is the digest of ``encoder``.
        folder: of this probe, see :func:`probe_folder`.

    Raises:
        InputError: images that this encoder cannot take, or that are too few.
        VoxmixError: a file is damaged, or the disk is full.
    """
    notes = check_fits(encoder, data)
    path = folder / RESULT_FILE
    made = not is_done(folder, data, judged, settings=settings)
    if made:
        started = time.monotonic()
        probing = Probing(
            data=data, encoder=encoder, store=store, settings=settings, folder=folder, progress=progress
        )
        with whole_products():
            found = _read_by(head_of(data.task), probing)
        origin = made_from(data, judged, settings)
        value = _as_dict(found, data, judged, origin, seconds=time.monotonic() - started, notes=notes)
        with naming_full_disk(folder):
            write_json(path, value)
    value = read_json(path)
    return ProbeResult(
        result=read_result(path),
        made=made,
        chosen=dict(value["chosen"]),
        figures=dict(value["figures"]),
        notes=tuple(value["notes"]),
    )


def _read_by(name: str, probing: Probing) -> HeadResult:
    """Return what a head scored.

    Raises:
        InputError: the head cannot be imported.
        VoxmixError: one of another package failed, or has not scored the cases that judge.
    """
    try:
        row = HEADS[name]
        head = row if callable(row) else _imported(row)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"the head {name!r} cannot be imported: {error}; install its package, or mend its entry point"
        ) from None
    if isinstance(row, str) and row.startswith("voxmix."):
        found: HeadResult = head(probing)
        return found
    try:
        found = head(probing)
    except VoxmixError:
        raise
    except Exception as error:  # code of others: whatever it raises, the other probes go on
        raise VoxmixError(
            f"the head {name!r} of another package failed ({type(error).__name__}: {str(error)[:200]}); tell its makers"
        ) from error
    wanted = [case.case for case in probing.data.part("test")]
    if not isinstance(found, HeadResult) or [case.case for case in found.cases] != wanted:
        raise VoxmixError(
            f"the head {name!r} of another package should return a HeadResult with one case for each of the {len(wanted)} images "
            "that judge, in their order (voxmix.probes.heads.scored does); tell its makers"
        )
    return found


def _imported(place: str) -> Any:
    module, _, function = place.partition(":")
    return getattr(import_module(module), function)


def _as_dict(
    found: HeadResult,
    data: ProbeData,
    judged: JudgedEncoder,
    origin: Mapping[str, str],
    *,
    seconds: float,
    notes: tuple[str, ...],
) -> dict[str, Any]:
    return {
        "format": FINETUNING_FORMAT,
        "run_id": digest(dict(origin)),
        "task": data.name,
        "kind": found.kind,
        "init": judged.name,
        "control": None,
        "seed": judged.seed,
        "protocol_digest": digest({name: origin[name] for name in ("task", "settings", "version")}),
        "checkpoint": judged.run or None,
        "draws": None,
        "flops": None,
        "seconds": round(seconds, 3),
        "classes": list(found.names),
        "metrics": list(found.metrics),
        "cases": [_case(case) for case in found.cases],
        "curve": [],
        "judged": asdict(judged),
        "outside": data.task.outside,
        "head": head_of(data.task),
        "chosen": dict(found.chosen),
        "figures": dict(found.figures),
        "train": {
            "images": len(data.part("train")),
            "persons": len({case.subject for case in data.part("train")}),
        },
        "notes": [*data.notes, *notes, *found.notes],
        "made_from": dict(origin),
    }


def _case(case: ScoredCase) -> dict[str, Any]:
    about = {"case": case.case, "subject": case.subject, "domain": case.domain}
    if isinstance(case, SegmentedCase):
        return {**about, "scores": {name: dict(getattr(case, name)) for name in SCORES}}
    if isinstance(case, ClassifiedCase):
        return {**about, "truth": case.truth, "probability": list(case.probability)}
    if isinstance(case, LabeledCase):
        return {**about, "truth": dict(case.truth), "score": dict(case.score)}
    return {**about, "values": dict(case.values)}
