"""A study of encoders: objectives and starts on nested subsets of one's own images, at equal compute (arXiv 2509.12818).

Names below are loaded when first used: to open a study costs neither SciPy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxmix.encoder_study.config import EncoderStudyConfig as EncoderStudyConfig
    from voxmix.encoder_study.config import MadeRadiographs as MadeRadiographs
    from voxmix.encoder_study.folder import EncoderStudy as EncoderStudy
    from voxmix.encoder_study.folder_probes import ProbedFolders as ProbedFolders
    from voxmix.encoder_study.folder_probes import probe_folders as probe_folders
    from voxmix.encoder_study.laws import fit_study_laws as fit_study_laws
    from voxmix.encoder_study.pipeline import open_encoder_study as open_encoder_study
    from voxmix.encoder_study.pipeline import run_encoder_study as run_encoder_study
    from voxmix.encoder_study.pipeline import run_step as run_step
    from voxmix.encoder_study.probing import ProbedStudy as ProbedStudy
    from voxmix.encoder_study.probing import probe_encoders as probe_encoders
    from voxmix.encoder_study.probing import score_table as score_table
    from voxmix.encoder_study.starting import start_encoder_study as start_encoder_study
    from voxmix.encoder_study.status import study_state as study_state
    from voxmix.encoder_study.steps import STEPS as STEPS
    from voxmix.encoder_study.training import TrainedRun as TrainedRun
    from voxmix.encoder_study.training import trained_runs as trained_runs
    from voxmix.encoder_study.view import EncoderView as EncoderView

_NAMES = {
    "config": ("EncoderStudyConfig", "MadeRadiographs"),
    "folder": ("EncoderStudy",),
    "folder_probes": ("ProbedFolders", "probe_folders"),
    "laws": ("fit_study_laws",),
    "pipeline": ("open_encoder_study", "run_encoder_study", "run_step"),
    "probing": ("ProbedStudy", "probe_encoders", "score_table"),
    "starting": ("start_encoder_study",),
    "status": ("study_state",),
    "steps": ("STEPS",),
    "training": ("TrainedRun", "trained_runs"),
    "view": ("EncoderView",),
}
_PUBLIC = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_PUBLIC]

if not TYPE_CHECKING:  # a type checker then names a misspelled name

    def __getattr__(name: str) -> Any:
        if name not in _PUBLIC:
            raise AttributeError(f"module 'voxmix.encoder_study' has no attribute {name!r}")
        return getattr(import_module(f"voxmix.encoder_study.{_PUBLIC[name]}"), name)
