"""What a study does without torch: plan its runs, fit the laws, allocate, compare, report."""

from voxmix.analysis.checks import check_study, study_problems
from voxmix.analysis.contents import make_report, report_content
from voxmix.analysis.exports import exported_mixture, exported_run, exported_strategy
from voxmix.analysis.scores import compare_scores, proxy_losses
from voxmix.analysis.status import Step, finetuning_counts, study_fitness, study_status
from voxmix.analysis.steps import (
    allocate_strategies,
    allocations_if,
    check_runs,
    checks_by_strategy,
    encoder_runs,
    fit_laws,
    other_volumes_sentence,
    proxy_runs,
    proxy_table,
    read_allocations,
    read_laws,
    study_cache,
)
from voxmix.analysis.upcoming import runs_left, study_domains

__all__ = [
    "Step",
    "allocate_strategies",
    "allocations_if",
    "check_runs",
    "check_study",
    "checks_by_strategy",
    "compare_scores",
    "encoder_runs",
    "exported_mixture",
    "exported_run",
    "exported_strategy",
    "finetuning_counts",
    "fit_laws",
    "make_report",
    "other_volumes_sentence",
    "proxy_losses",
    "proxy_runs",
    "proxy_table",
    "read_allocations",
    "read_laws",
    "report_content",
    "runs_left",
    "study_cache",
    "study_domains",
    "study_fitness",
    "study_problems",
    "study_status",
]
