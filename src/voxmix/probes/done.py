"""Where probes are written, and which of them are done; readable without torch."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voxmix._io import digest, read_json
from voxmix.errors import InputError
from voxmix.probe_tasks import JudgedEncoder, ProbeSettings
from voxmix.probes.data import ProbeData
from voxmix.runs.files import RESULT_FILE
from voxmix.scores.result import read_result

PROBE_VERSION = 1
"""Raised whenever the same encoder, task and settings lead to other scores than before."""
_OF_KINDS = {"retrieval": 3}
"""The same for one kind of task alone, so that no other is judged again."""
_DEFAULT = ProbeSettings()


def probe_folder(root: Path, data: ProbeData, judged: JudgedEncoder) -> Path:
    """Return where a probe is written: ``<root>/<task>/<encoder>/seed-<s>``; ``root`` is the folder of all probes."""
    return root / data.name / safe_name(judged.name) / f"seed-{judged.seed}"


def safe_name(name: str) -> str:
    """Return a name as one part of a path: letters, digits, dot, dash; a digest keeps apart what would become equal."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")
    return plain if plain == name else f"{plain or 'encoder'}-{digest(name)[:6]}"


def made_from(data: ProbeData, judged: JudgedEncoder, settings: ProbeSettings) -> dict[str, str]:
    """Return the digests of what a probe is made from: the result of another one is made again."""
    return {
        "task": data.digest,
        "settings": settings.digest_of(data.task.kind),
        "encoder": judged.encoder,
        "judged": digest(asdict(judged)),
        "version": ".".join(str(n) for n in (PROBE_VERSION, _OF_KINDS.get(data.task.kind)) if n),
    }


def is_done(
    folder: Path, data: ProbeData, judged: JudgedEncoder, *, settings: ProbeSettings = _DEFAULT
) -> bool:
    """Return whether a probe's result lies in its folder, made from these images, this encoder and these settings."""
    return bool(_read_made_from(folder) == made_from(data, judged, settings))


def _read_made_from(folder: Path) -> Any:
    """Return the digests in a result; None where there is none that can be read."""
    path = folder / RESULT_FILE
    if not path.is_file():
        return None
    try:
        read_result(path)
        return read_json(path).get("made_from")
    except InputError:
        return None
