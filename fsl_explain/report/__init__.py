"""One self-contained HTML page about decisions and their explanations."""

from fsl_explain.report.grid_figure import draw_grid, write_figure
from fsl_explain.report.html import render_page, write_page
from fsl_explain.report.page import Case, Page

__all__ = ["Case", "Page", "draw_grid", "render_page", "write_figure", "write_page"]
