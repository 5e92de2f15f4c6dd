"""The kinds of studies, and what each does for the verbs that all kinds share: one row per kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from voxmix._io import as_argument
from voxmix._table import Table
from voxmix.cli.arguments import check_is_study
from voxmix.errors import InputError
from voxmix.study.files import ENCODERS, MIXTURES, kind_of
from voxmix.study.step import loaded


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyKind:
    """One kind of study.

    Attributes:
        about: what it is of, in the plural.
        open: "module:function"; called with a path and ``check``, it gives a view of the study.
        prepared: "module:function"; called with a path, it gives the folder where what the study learns from lies prepared.
        steps: the module whose ``STEPS`` are its steps.
        schema: "module:function" that gives the JSON schema of its study file; "" for none.
        verbs: verb to "module:function", called with the view and the verb's options.
    """

    about: str
    open: str
    prepared: str
    steps: str
    verbs: Mapping[str, str]
    schema: str = ""


STUDY_KINDS = Table(
    "study_kinds",
    {
        MIXTURES: StudyKind(
            about="mixtures",
            schema="voxmix.study.schema:study_schema",
            open="voxmix.cli.arguments:open_study",
            prepared="voxmix.cli.cache:prepared_volumes",
            steps="voxmix.study.steps",
            verbs={
                "prepare": "voxmix.cli.preparation:prepare_mixtures",
                "run": "voxmix.cli.training:run_proxies",
                "status": "voxmix.cli.study:show_status",
                "study run": "voxmix.cli.whole:run_all",
                "estimate": "voxmix.cli.estimate:estimate_mixtures",
                "report": "voxmix.cli.study:report_mixtures",
                "compare": "voxmix.cli.scores:compare_mixtures",
                "audit": "voxmix.cli.audit:audit_mixtures",
                "export": "voxmix.cli.export:export_mixtures",
            },
        ),
        ENCODERS: StudyKind(
            about="encoders",
            schema="voxmix.encoder_study.schema:study_schema",
            open="voxmix.cli.encoders:open_encoders",
            prepared="voxmix.cli.encoders:prepared_images",
            steps="voxmix.encoder_study.steps",
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
                "audit": "voxmix.cli.image_audit:audit_encoders",
                "export": "voxmix.cli.encoders:export",
            },
        ),
    },
)
"""Packages add rows by entry points of the group ``voxmix.study_kinds``."""


def kind_row(study: Path) -> StudyKind:
    """Return the kind of a study.

    Raises:
        InputError: no study, or one of a kind that is not known.
    """
    check_is_study(study)
    name = kind_of(study)
    if name not in STUDY_KINDS:
        raise InputError(
            f"{study} is a study of kind {name!r}, and this voxmix knows {', '.join(STUDY_KINDS.names())}; fix kind in its "
            "study.yaml"
        )
    return STUDY_KINDS[name]


def prepared_folder(study: Path) -> Path:
    """Return the folder where what a study learns from lies prepared, or will.

    Raises:
        InputError: as :func:`kind_row`, or its study file cannot be used.
    """
    found: Path = loaded(kind_row(study).prepared)(study)
    return found


def do(verb: str, study: Path, *, flags: Any = None, check: bool = True, **options: Any) -> Any:
    """Do a verb for a study of whatever kind it is; return what its function returns.

    Args:
        flags: how runs are computed, for this command alone.
        check: whether the study's settings are checked against each other first.
        options: of the verb; one that is None or False was not given.

    Raises:
        InputError: no study, one of a kind that is not known, or an option that its kind does not have.
    """
    kind = kind_row(study)
    if verb not in kind.verbs:
        raise InputError(
            f"a study of {kind.about} has no voxmix {verb}; see voxmix status {as_argument(study)}"
        )
    work = loaded(kind.verbs[verb])
    parameters = signature(work).parameters
    every = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    known = options.keys() if every else parameters.keys()
    for option, value in options.items():
        if option not in known and value is not None and value is not False:
            raise InputError(
                f"--{option.replace('_', '-')} has no meaning for a study of {kind.about}; leave it out"
            )
    view = loaded(kind.open)(study, check=check)
    if flags is not None:
        view = flags.applied_to(view)
        if verb == "study run":
            flags.hand_over(view)
    return work(view, **{option: value for option, value in options.items() if option in known})
