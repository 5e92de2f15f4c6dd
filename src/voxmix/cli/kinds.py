"""The kinds of studies, and what each does for the verbs that all kinds share: one row per kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from voxmix._io import as_argument
from voxmix._table import Table
from voxmix.cli.arguments import check_is_study
from voxmix.errors import InputError
from voxmix.study.files import ENCODERS, MIXTURES, kind_of


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyKind:
    """One kind of study.

    Attributes:
        about: what it is of, in the plural.
        open: "module:function"; called with a path and ``check``, it gives a view of the study.
        verbs: verb to "module:function", called with the view and the verb's options.
    """

    about: str
    open: str
    verbs: Mapping[str, str]


STUDY_KINDS = Table(
    "study_kinds",
    {
        MIXTURES: StudyKind(
            about="mixtures",
            open="voxmix.cli.arguments:open_study",
            verbs={
                "prepare": "voxmix.cli.preparation:prepare_mixtures",
                "run": "voxmix.cli.training:run_proxies",
                "status": "voxmix.cli.study:show_status",
                "study run": "voxmix.cli.whole:run_all",
                "estimate": "voxmix.cli.estimate:estimate_mixtures",
                "report": "voxmix.cli.study:report_mixtures",
                "compare": "voxmix.cli.scores:compare_mixtures",
            },
        ),
        ENCODERS: StudyKind(
            about="encoders",
            open="voxmix.cli.encoders:open_encoders",
            verbs={
                "prepare": "voxmix.cli.encoders:prepare",
                "run": "voxmix.cli.encoders:run",
                "status": "voxmix.cli.encoders:status",
                "study run": "voxmix.cli.encoders:study_run",
                "estimate": "voxmix.cli.encoders:estimate",
                "probe": "voxmix.cli.probing:probe_study",
                "compare": "voxmix.cli.scores:compare_encoders",
                "scale": "voxmix.cli.encoder_scores:scale",
                "report": "voxmix.cli.encoder_scores:report",
            },
        ),
    },
)
"""Packages add rows by entry points of the group ``voxmix.study_kinds``."""


def do(verb: str, study: Path, *, flags: Any = None, check: bool = True, **options: Any) -> None:
    """Do a verb for a study of whatever kind it is.

    Args:
        flags: how runs are computed, for this command alone.
        check: whether the study's settings are checked against each other first.
        options: of the verb; one that is None or False was not given.

    Raises:
        InputError: no study, one of a kind that is not known, or an option that its kind does not have.
    """
    check_is_study(study)
    name = kind_of(study)
    if name not in STUDY_KINDS:
        raise InputError(
            f"{study} is a study of kind {name!r}, and this voxmix knows {', '.join(STUDY_KINDS.names())}; fix kind in its "
            "study.yaml"
        )
    kind = STUDY_KINDS[name]
    if verb not in kind.verbs:
        raise InputError(
            f"a study of {kind.about} has no voxmix {verb}; see voxmix status {as_argument(study)}"
        )
    work = _load(kind.verbs[verb])
    known = signature(work).parameters
    for option, value in options.items():
        if option not in known and value is not None and value is not False:
            raise InputError(
                f"--{option.replace('_', '-')} has no meaning for a study of {kind.about}; leave it out"
            )
    view = _load(kind.open)(study, check=check)
    if flags is not None:
        view = flags.applied_to(view)
    work(view, **{option: value for option, value in options.items() if option in known})


def _load(place: str) -> Any:
    module, _, function = place.partition(":")
    return getattr(import_module(module), function)
