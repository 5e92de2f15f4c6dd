"""Labels of reports by rules: findings, tubes and lines that are said to be there, denied, or in doubt, with the words."""

from voxmix.texts.labels.check import LabelCheck, LabelScore, check_labels
from voxmix.texts.labels.label import Labels, Mention, label_report, label_reports
from voxmix.texts.labels.rules import LabelRule, Rules
from voxmix.texts.labels.tables import DEFAULT_RULES

__all__ = [
    "DEFAULT_RULES",
    "LabelCheck",
    "LabelRule",
    "LabelScore",
    "Labels",
    "Mention",
    "Rules",
    "check_labels",
    "label_report",
    "label_reports",
]
