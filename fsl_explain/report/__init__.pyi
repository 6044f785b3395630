from .grid_figure import draw_grid, write_figure
from .html import render_page, write_page
from .page import Case, MapRow, Page

__all__ = ["Case", "MapRow", "Page", "draw_grid", "render_page", "write_figure", "write_page"]
