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
    from voxmix.study.clinical_tasks import FinetunedTask as FinetunedTask
    from voxmix.study.config import DataSettings as DataSettings
    from voxmix.study.config import FitSettings as FitSettings
    from voxmix.study.config import PhantomSettings as PhantomSettings
    from voxmix.study.config import StudyAllocation as StudyAllocation
    from voxmix.study.config import StudyConfig as StudyConfig
    from voxmix.study.costs import StudyCost as StudyCost
    from voxmix.study.exports import export_encoder_of as export_encoder_of
    from voxmix.study.exports import export_mixture_of as export_mixture_of
    from voxmix.study.folder import Study as Study
    from voxmix.study.laws import fit_laws as fit_laws
    from voxmix.study.laws import judge_laws as judge_laws
    from voxmix.study.laws import law_of as law_of
    from voxmix.study.listener import Listener as Listener
    from voxmix.study.making import with_compute as with_compute
    from voxmix.study.mixtures import allocate_strategies as allocate_strategies
    from voxmix.study.mixtures import allocations_if as allocations_if
    from voxmix.study.pilot import Pilot as Pilot
    from voxmix.study.pilot import run_pilot as run_pilot
    from voxmix.study.pilot import write_budgets as write_budgets
    from voxmix.study.pipeline import StudyRun as StudyRun
    from voxmix.study.pipeline import allocate as allocate
    from voxmix.study.pipeline import estimate as estimate
    from voxmix.study.pipeline import finetune as finetune
    from voxmix.study.pipeline import fit as fit
    from voxmix.study.pipeline import open_study as open_study
    from voxmix.study.pipeline import prepare as prepare
    from voxmix.study.pipeline import pretrain as pretrain
    from voxmix.study.pipeline import refine as refine
    from voxmix.study.pipeline import report as report
    from voxmix.study.pipeline import run as run
    from voxmix.study.pipeline import run_step as run_step
    from voxmix.study.pipeline import run_steps as run_steps
    from voxmix.study.pipeline import run_study as run_study
    from voxmix.study.report_contents import answer_content as answer_content
    from voxmix.study.report_contents import make_report as make_report
    from voxmix.study.report_contents import report_content as report_content
    from voxmix.study.report_contents import report_studies as report_studies
    from voxmix.study.scores import compare_scores as compare_scores
    from voxmix.study.scores import proxy_losses as proxy_losses
    from voxmix.study.scores_of_mixtures import scores_over_mixtures as scores_over_mixtures
    from voxmix.study.starting import StartedStudy as StartedStudy
    from voxmix.study.starting import start_study as start_study
    from voxmix.study.status import StepState as StepState
    from voxmix.study.status import next_step as next_step
    from voxmix.study.status import study_status as study_status
    from voxmix.study.step import Progress as Progress
    from voxmix.study.step import Step as Step
    from voxmix.study.steps import STEPS as STEPS
    from voxmix.study.upcoming import runs_left as runs_left
    from voxmix.study.upcoming import study_domains as study_domains
    from voxmix.study.view import StudyView as StudyView

_NAMES = {
    "checks": ("check_study", "study_problems", "study_remarks"),
    "clinical_tasks": ("FinetunedTask",),
    "config": (
        "DataSettings",
        "FitSettings",
        "PhantomSettings",
        "StudyAllocation",
        "StudyConfig",
    ),
    "costs": ("StudyCost",),
    "exports": ("export_encoder_of", "export_mixture_of"),
    "folder": ("Study",),
    "laws": ("fit_laws", "judge_laws", "law_of"),
    "listener": ("Listener",),
    "making": ("with_compute",),
    "mixtures": ("allocate_strategies", "allocations_if"),
    "pilot": ("Pilot", "run_pilot", "write_budgets"),
    "pipeline": (
        "StudyRun",
        "allocate",
        "estimate",
        "finetune",
        "fit",
        "open_study",
        "prepare",
        "pretrain",
        "refine",
        "report",
        "run",
        "run_step",
        "run_steps",
        "run_study",
    ),
    "report_contents": ("answer_content", "make_report", "report_content", "report_studies"),
    "scores": ("compare_scores", "proxy_losses"),
    "scores_of_mixtures": ("scores_over_mixtures",),
    "starting": ("StartedStudy", "start_study"),
    "status": ("StepState", "next_step", "study_status"),
    "step": ("Progress", "Step"),
    "steps": ("STEPS",),
    "upcoming": ("runs_left", "study_domains"),
    "view": ("StudyView",),
}
_PUBLIC = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["presets", *_PUBLIC]

if not TYPE_CHECKING:  # a type checker then names a misspelled name

    def __getattr__(name: str) -> Any:
        if name == "presets":
            return import_module("voxmix.study.presets")
        if name not in _PUBLIC:
            raise AttributeError(f"module 'voxmix.study' has no attribute {name!r}")
        return getattr(import_module(f"voxmix.study.{_PUBLIC[name]}"), name)
