"""One self-contained HTML page about decisions and their explanations."""

from fsl_explain.report.html import render_page, write_page
from fsl_explain.report.page import Case, Page

__all__ = ["Case", "Page", "render_page", "write_page"]
