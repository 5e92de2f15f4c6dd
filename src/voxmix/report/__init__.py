"""The report of a study: one self-contained HTML file, and its tables for terminals and other tools."""

from voxmix.report.content import Check, DomainSummary, Picture, ReportContent
from voxmix.report.document import render_report, write_report
from voxmix.report.table import Column, Table, to_csv, to_markdown
from voxmix.report.tables import summary_tables

__all__ = [
    "Check",
    "Column",
    "DomainSummary",
    "Picture",
    "ReportContent",
    "Table",
    "render_report",
    "summary_tables",
    "to_csv",
    "to_markdown",
    "write_report",
]
