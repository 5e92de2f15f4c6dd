"""What of a study leaves it: the encoder of a run, or a mixture for a data loader; of its answer, or of a strategy by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxmix._io import read_mapping
from voxmix._optional import require
from voxmix.errors import InputError, StepPendingError
from voxmix.mixture import Mixture
from voxmix.runs import is_finished
from voxmix.runs.files import CARD_FILE
from voxmix.study.files import EXPORT_FOLDER, STUDY_FILE, is_study
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.report_contents import answer_content
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.export.targets import Loader


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What was written for other tools: the folder, its files, the one to read first; the run or the mixture it is of."""

    folder: Path
    files: tuple[str, ...]
    read: Path
    run: str | None = None
    mixture: Mixture | None = None


def export_encoder_of(
    path: Path,
    *,
    output: Path | None = None,
    strategy: str | None = None,
    seed: int | None = None,
    hear: Listener = QUIET,
    **options: Any,
) -> Exported:
    """Write the encoder of a study, of a finished run, or of an earlier export, as :func:`voxmix.export.encoder.export_encoder`
    does; of a study, that of its answer, or of ``strategy`` and ``seed``. A run of a study of encoders is written as
    :func:`voxmix.export.backbone.export_backbone` does.

    Raises:
        InputError: ``path`` is none of these; or a strategy or a seed that it does not have.
        StepPendingError: the run is not finished; names the command.
    """
    if is_encoder_run(path):
        return _export_backbone(path, output=output, hear=hear, strategy=strategy, seed=seed, **options)
    study = _study_of(path)
    require("torch", extra="train")
    from voxmix.export.encoder import export_encoder, exported_files

    run = path
    options = {name: value for name, value in options.items() if value is not None}
    if is_run(path):
        _refuse(strategy, "a run has one mixture, so --strategy has no effect")
        _refuse(seed, "a run has one seed, so --seed has no effect")
        folder = output or path / EXPORT_FOLDER
    else:
        assert study is not None
        view = StudyView(study)
        with hear.waiting("choosing the run"):
            run = exported_run(view, exported_strategy(view, strategy), seed=seed)
        folder = output or study.export_dir / "encoder"
    card = export_encoder(run, folder, **options)
    return Exported(folder=folder, files=exported_files(card), read=folder / "README.md", run=card["run_id"])


def _export_backbone(
    path: Path, *, output: Path | None, hear: Listener, license: str | None = None, **others: Any
) -> Exported:
    for name, value in others.items():
        _refuse(value, f"--{_FLAGS.get(name, name)} has no meaning for a run of a study of encoders")
    require("torch", extra="train")
    from voxmix.export.backbone import export_backbone

    folder = output or path / EXPORT_FOLDER
    card, files = export_backbone(path, folder, license=license)
    if card.get("text"):
        hear.tell(
            "the tokenizer is not written, since its entries are pieces of the reports; where they may be passed on, copy "
            f"tokenizer.json from the run's folder into {folder}"
        )
    return Exported(folder=folder, files=files, read=folder / "README.md", run=card["run_id"])


_FLAGS = {"line": "monai", "data_license": "data-license"}


def export_mixture_of(
    path: Path,
    *,
    loader: Loader,
    output: Path | None = None,
    strategy: str | None = None,
    hear: Listener = QUIET,
) -> Exported:
    """Write the mixture of a study, or of one of its runs, for a data loader, as :func:`voxmix.export.feeds.write_feed` does.

    Raises:
        InputError: ``path`` is neither, or belongs to no study; or a strategy that it does not have.
        StepPendingError: no mixture is allocated yet; names the command.
    """
    from voxmix.export.feeds import write_feed

    if is_encoder_run(path):
        raise InputError(
            f"{path} is a run of a study of encoders, and has no mixture; leave --mixture-for out"
        )
    study = _study_of(path)
    if study is None:
        raise InputError(
            f"{path} belongs to no study, so its volumes are not known; give the study for --mixture-for"
        )
    view = StudyView(study)
    if is_run(path):
        _refuse(strategy, "a run has one mixture, so --strategy has no effect")
        card = read_mapping(path / CARD_FILE)
        mixture, budget = Mixture.from_dict(card["mixture"]), card["budget"]
    else:
        with hear.waiting("choosing the mixture"):
            mixture = exported_mixture(view, exported_strategy(view, strategy))
            budget = study.config.allocation.draws_to_train(mixture)
    folder = output or study.export_dir / loader
    files = write_feed(mixture, folder, loader=loader, budget=budget, cache=view.cache)
    return Exported(folder=folder, files=tuple(file.name for file in files), read=files[-1], mixture=mixture)


def _study_of(path: Path) -> Study | None:
    """Return the study that a path is, or that holds the run it is; None of a run or an export outside a study."""
    if is_study(path):
        return Study.open(path)
    if is_run(path):
        root = path.resolve().parent.parent
        return Study.open(root) if (root / STUDY_FILE).is_file() else None
    raise InputError(
        f"{path} is neither a study ({STUDY_FILE}) nor a finished run or export ({CARD_FILE}); give one of these"
    )


def is_run(path: Path) -> bool:
    """Return whether a path is the folder of a finished run, or an export."""
    return (path / CARD_FILE).is_file()


def is_encoder_run(path: Path) -> bool:
    """Return whether a path is the folder of a finished run of a study of encoders, or an export of one."""
    return is_run(path) and "objective" in read_mapping(path / CARD_FILE)


def _refuse(value: object, why: str) -> None:
    if value is not None:
        raise InputError(f"{why}; leave it out")


def exported_strategy(study: Study | StudyView, wanted: str | None) -> str:
    """Return the strategy to export: the wanted one, or the one that the study's report gives as the answer.

    Raises:
        InputError: no such strategy in the study.
        StepPendingError: no mixture is allocated yet; names the command.
    """
    view = StudyView.of(study)
    strategies = tuple(view.allocations)
    name = wanted or answer_content(view).answer
    if name in view.strategies_pending:
        raise StepPendingError(view.pending_words(name))
    if name not in strategies:
        given = f"no strategy {name!r}" if name else "the study has no answer of a law"
        raise InputError(f"{given}; give --strategy with one of {list(strategies)}")
    return name


def exported_mixture(study: Study | StudyView, strategy: str) -> Mixture:
    """Return the mixture of a strategy at the study's budget."""
    found = StudyView.of(study).allocations[strategy]
    return found if isinstance(found, Mixture) else found.mixture


def exported_run(study: Study | StudyView, strategy: str, *, seed: int | None) -> Path:
    """Return the folder of the finished run that trained a strategy's mixture; the first seed if none is named.

    Raises:
        InputError: no run of that seed is planned.
        StepPendingError: the run is not finished; names the command.
    """
    view = StudyView.of(study)
    specs = view.checks_by_strategy[strategy]
    chosen = [spec for spec in specs if seed is None or spec.seed == seed]
    if not chosen:
        raise InputError(f"no run of {strategy} with seed {seed}; its seeds are {[s.seed for s in specs]}")
    finished = [folder for spec in chosen if is_finished(folder := view.study.run_dir(spec))]
    if not finished:
        raise view.steps["pretrain"].pending(view, f"no run of {strategy} is finished")
    return finished[0]
