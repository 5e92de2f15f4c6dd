"""What audit says of images: of a folder, of a table, or of an encoder study."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from voxmix._progress import progress_bar
from voxmix.cli.app import emit, emit_json
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.encoder_study import EncoderView
    from voxmix.encoder_study.config import ImageData
    from voxmix.images.audit import ImageAudit

_FEW = 5


def audit_source(source: Path, *, sheets: Path | None, workers: int | None, as_json: bool) -> None:
    """Print what is odd about the images of a folder or a table; exit code 1 when there is a leak."""
    from voxmix.encoder_study.config import ImageData

    _audit(source, ImageData(path=str(source)), sheets=sheets, workers=workers, as_json=as_json)


def audit_encoders(
    view: "EncoderView",
    *,
    images: bool = False,
    sheets: Path | None = None,
    workers: int | None = None,
    as_json: bool = False,
) -> None:
    """Print what is odd about the images of an encoder study, which ``images`` says again; exit code 1 when there is a leak."""
    study = view.study
    if study.config.data.volumes is not None:
        raise InputError(
            f"{study.root} is a study of prepared volumes; audit the volumes that they were made from"
        )
    _audit(study.source, study.config.data, sheets=sheets, workers=workers, as_json=as_json)


def _audit(
    place: Path, data: "ImageData", *, sheets: Path | None, workers: int | None, as_json: bool
) -> None:
    from voxmix.encoder_study.preparing import read_table
    from voxmix.images.audit import audit_images
    from voxmix.report.audit_page import write_image_audit
    from voxmix.runs import cores

    read = read_table(place, data)
    table, seen = read.split(seed=data.split_seed, fraction=data.validation_fraction), read.summary()
    with progress_bar("auditing", unit="images") as progress:
        found = audit_images(table, workers=workers or cores(), progress=progress)
    written = write_image_audit(found, sheets) if sheets is not None else ()
    if as_json:
        emit_json(
            {
                "images": len(found.surveys),
                "seen": list(seen),
                "counts": found.counts(),
                "findings": [
                    {
                        "kind": f.kind,
                        "domain": f.domain,
                        "id": f.name,
                        "path": str(f.path),
                        "message": f.message,
                    }
                    for f in found.findings
                ],
                "written": [str(path) for path in written],
            }
        )
    else:
        for line in seen:
            emit(line)
        _show_findings(found)
        for path in written:
            if path.suffix == ".html":
                emit(f"\nlook at: {path}  (shows patients: keep it with the data)")
    if found.counts().get("leak"):
        raise typer.Exit(1)


def _show_findings(found: "ImageAudit") -> None:
    """Print the first findings of each kind and domain, and how many there are."""
    images = Counter(survey.record.domain for survey in found.surveys)
    groups: dict[tuple[str, str], list[str]] = {}
    for finding in found.findings:
        groups.setdefault((finding.kind, finding.domain), []).append(f"  {finding.path}: {finding.message}")
    for (kind, domain), lines in groups.items():
        emit(f"{kind}, {domain}: {len(lines)} of {images[domain]:,} images")
        for line in lines[:_FEW]:
            emit(line)
        if len(lines) > _FEW:
            emit(f"  ... and {len(lines) - _FEW} more (--json lists all)")
    if not groups:
        emit("nothing odd was found")
