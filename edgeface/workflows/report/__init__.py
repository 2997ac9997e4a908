"""The benchmark as one HTML page that can be sent to a colleague, and the same as data."""

from __future__ import annotations

from edgeface.workflows.report.judge import PairTest
from edgeface.workflows.report.page import render, write_page
from edgeface.workflows.report.result import Report, make_report

__all__ = ["PairTest", "Report", "make_report", "render", "write_page"]
