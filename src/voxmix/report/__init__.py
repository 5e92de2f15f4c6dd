"""The report of a study: one self-contained HTML file, and its tables for terminals and other tools."""

from voxmix.report.content import Check, DomainSummary, Montage, Picture, ReportContent
from voxmix.report.document import (
    render_encoder_report,
    render_report,
    render_studies_report,
    write_encoder_report,
    write_report,
    write_studies_report,
)
from voxmix.report.encoder_content import EncoderReportContent, Example, RunSummary, SubsetSummary
from voxmix.report.law_content import law_content, score_law_content
from voxmix.report.score_tables import tables_of_scores
from voxmix.report.table import Column, Table, to_csv, to_markdown
from voxmix.report.tables import strategy_tables, summary_tables

__all__ = [
    "Check",
    "Column",
    "DomainSummary",
    "EncoderReportContent",
    "Example",
    "Montage",
    "Picture",
    "ReportContent",
    "RunSummary",
    "SubsetSummary",
    "Table",
    "law_content",
    "render_encoder_report",
    "render_report",
    "render_studies_report",
    "score_law_content",
    "strategy_tables",
    "summary_tables",
    "tables_of_scores",
    "to_csv",
    "to_markdown",
    "write_encoder_report",
    "write_report",
    "write_studies_report",
]
