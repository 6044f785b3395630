"""One self-contained HTML page about decisions and their explanations."""

from fsl_explain.report.html import render_page, write_page
from fsl_explain.report.page import Case, Page, PageTable

__all__ = ["Case", "Page", "PageTable", "render_page", "write_page"]
