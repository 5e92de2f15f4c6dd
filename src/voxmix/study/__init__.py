"""A study: its folder and file, its steps, and one call for each of them.

Names below are loaded when first used: to open a study costs neither SciPy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxmix.study import presets as presets
    from voxmix.study.checks import check_study as check_study
    from voxmix.study.checks import study_problems as study_problems
    from voxmix.study.checks import study_remarks as study_remarks
    from voxmix.study.config import DataSettings as DataSettings
    from voxmix.study.config import FitSettings as FitSettings
    from voxmix.study.config import PhantomSettings as PhantomSettings
    from voxmix.study.config import StudyAllocation as StudyAllocation
    from voxmix.study.config import StudyConfig as StudyConfig
    from voxmix.study.exports import exported_mixture as exported_mixture
    from voxmix.study.exports import exported_run as exported_run
    from voxmix.study.exports import exported_strategy as exported_strategy
    from voxmix.study.folder import Study as Study
    from voxmix.study.report_contents import make_report as make_report
    from voxmix.study.report_contents import report_content as report_content
    from voxmix.study.scores import compare_scores as compare_scores
    from voxmix.study.scores import proxy_losses as proxy_losses
    from voxmix.study.status import Step as Step
    from voxmix.study.status import finetuning_counts as finetuning_counts
    from voxmix.study.status import study_fitness as study_fitness
    from voxmix.study.status import study_status as study_status
    from voxmix.study.steps import allocate_strategies as allocate_strategies
    from voxmix.study.steps import allocations_if as allocations_if
    from voxmix.study.steps import check_runs as check_runs
    from voxmix.study.steps import checks_by_strategy as checks_by_strategy
    from voxmix.study.steps import encoder_runs as encoder_runs
    from voxmix.study.steps import fit_laws as fit_laws
    from voxmix.study.steps import other_volumes_sentence as other_volumes_sentence
    from voxmix.study.steps import proxy_runs as proxy_runs
    from voxmix.study.steps import proxy_table as proxy_table
    from voxmix.study.steps import read_allocations as read_allocations
    from voxmix.study.steps import read_laws as read_laws
    from voxmix.study.steps import study_cache as study_cache
    from voxmix.study.upcoming import runs_left as runs_left
    from voxmix.study.upcoming import study_domains as study_domains

_PUBLIC = {
    "DataSettings": "config",
    "FitSettings": "config",
    "PhantomSettings": "config",
    "Step": "status",
    "Study": "folder",
    "StudyAllocation": "config",
    "StudyConfig": "config",
    "allocate_strategies": "steps",
    "allocations_if": "steps",
    "check_runs": "steps",
    "check_study": "checks",
    "checks_by_strategy": "steps",
    "compare_scores": "scores",
    "encoder_runs": "steps",
    "exported_mixture": "exports",
    "exported_run": "exports",
    "exported_strategy": "exports",
    "finetuning_counts": "status",
    "fit_laws": "steps",
    "make_report": "report_contents",
    "other_volumes_sentence": "steps",
    "proxy_losses": "scores",
    "proxy_runs": "steps",
    "proxy_table": "steps",
    "read_allocations": "steps",
    "read_laws": "steps",
    "report_content": "report_contents",
    "runs_left": "upcoming",
    "study_cache": "steps",
    "study_domains": "upcoming",
    "study_fitness": "status",
    "study_problems": "checks",
    "study_remarks": "checks",
    "study_status": "status",
}

__all__ = ["presets", *_PUBLIC]

if not TYPE_CHECKING:  # a type checker then names a misspelled name

    def __getattr__(name: str) -> Any:
        if name == "presets":
            return import_module("voxmix.study.presets")
        if name not in _PUBLIC:
            raise AttributeError(f"module 'voxmix.study' has no attribute {name!r}")
        return getattr(import_module(f"voxmix.study.{_PUBLIC[name]}"), name)
