"""Scores of encoders, finetuned or probed: read without torch, with intervals and paired tests between initializations."""

from voxmix.scores.compare import Comparison, Difference, compare
from voxmix.scores.estimate import Estimate
from voxmix.scores.forecast import Decision, Forecast, judge_law
from voxmix.scores.metric import (
    ACCURACY,
    AUC,
    AUPRC,
    AUROC,
    BALANCED,
    DICE,
    METRICS,
    SURFACE,
    Metric,
    main_score,
    mean_score,
)
from voxmix.scores.proxy import ProxyAgreement, proxy_agreement
from voxmix.scores.rank import rank_correlation
from voxmix.scores.result import (
    ClassifiedCase,
    DownstreamResult,
    LabeledCase,
    ScoredCase,
    SegmentedCase,
    ValuedCase,
    read_result,
)
from voxmix.scores.table import ScoreTable

__all__ = [
    "ACCURACY",
    "AUC",
    "AUPRC",
    "AUROC",
    "BALANCED",
    "DICE",
    "METRICS",
    "SURFACE",
    "ClassifiedCase",
    "Comparison",
    "Decision",
    "Difference",
    "DownstreamResult",
    "Estimate",
    "Forecast",
    "LabeledCase",
    "Metric",
    "ProxyAgreement",
    "ScoreTable",
    "ScoredCase",
    "SegmentedCase",
    "ValuedCase",
    "compare",
    "judge_law",
    "main_score",
    "mean_score",
    "proxy_agreement",
    "rank_correlation",
    "read_result",
]
